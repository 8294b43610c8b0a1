"""Streams: a batch is a pure function of (seed, pool, step).

So there is no iterator to save, a killed trial goes on with the very batch it would have had, and all
strategies of a pair and seed see the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlbench.api.types import Batch


class Stream:
    """Shuffled batches of a pool that stays on the device; the last partial batch of an epoch is left out.

    A pool smaller than the batch is shown whole at each step.
    """

    def __init__(
        self,
        x: Any,
        y: Tensor | None,
        *,
        batch_size: int,
        seed: int,
        scale: Callable[[Any], Any],
        augment: Callable[[Any, int], Any] | None = None,
    ) -> None:
        first = next(iter(x.values())) if isinstance(x, Mapping) else x
        self._x, self._y, self._device = x, y, first.device
        self._size = len(first)
        self._batch_size = min(batch_size, self._size)
        self._per_epoch = self._size // self._batch_size
        self._seed, self._scale, self._augment = seed, scale, augment
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return self._size

    def rows(self, step: int) -> Tensor:
        """Which examples make up the batch of this step, int64 [B]."""
        epoch, k = divmod(step, self._per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng([self._seed, epoch]).permutation(self._size)
            self._epoch, self._order = epoch, torch.from_numpy(order).to(self._device)
        return self._order[k * self._batch_size : (k + 1) * self._batch_size]

    def batch(self, step: int) -> Batch:
        """The batch of this step, scaled and augmented."""
        rows = self.rows(step)
        # index_select: the same examples as x[rows], at half the cost of a small batch
        x = (
            self._x.index_select(0, rows)
            if isinstance(self._x, Tensor)
            else {name: part.index_select(0, rows) for name, part in self._x.items()}
        )
        x = self._scale(x)
        if self._augment is not None:
            x = self._augment(x, step)
        return Batch(x, None if self._y is None else self._y.index_select(0, rows))
