"""Streams: a batch is a pure function of (seed, pool, step).

So there is no iterator to save, a killed trial goes on with the very batch it would have had, and all
strategies of a pair and seed see the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tlbench.api.types import Batch, EpisodeBatch
from tlbench.data.rows import Rows
from tlbench.errors import TrialError
from tlbench.training.ahead import Ahead, first_of
from tlbench.training.sending import sent

if TYPE_CHECKING:
    from tlbench.api.data import Array, Episodes

Augment = Callable[[Any, int], Any]
"""(inputs [B, ...], step) -> inputs of the same shape."""
Change = Callable[[Batch, torch.Generator], Batch]
"""What a strategy does to a whole batch; the generator depends on seed and step."""


class Stream:
    """Shuffled batches of a pool; the last partial batch of an epoch is left out.

    A pool smaller than the batch is shown whole at each step. The pool is on the device, or on the disk where ``x`` is
    ``Rows``; then its batches, the same to the bit, are read one step ahead for ``device``.
    """

    def __init__(
        self,
        x: Any,
        y: Tensor | None,
        *,
        batch_size: int,
        seed: int,
        scale: Callable[[Any], Any],
        augment: Augment | None = None,
        changes: tuple[Change, ...] = (),
        device: torch.device | None = None,
    ) -> None:
        self._x, self._y = x, y
        self._device = device or first_of(x).device
        self._size = len(first_of(x))
        self.batch_size = min(batch_size, self._size)
        self.per_epoch = self._size // self.batch_size
        self._seed, self._scale, self._augment, self._changes = seed, scale, augment, changes
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)
        self._order_of = lru_cache(2)(self._shuffled)
        self._ahead = Ahead(x, self._rows_on_disk, self._device) if isinstance(x, Rows) else None

    def __len__(self) -> int:
        return self._size

    @property
    def resident(self) -> tuple[Any, Tensor | None, Callable[[Any], Any]] | None:
        """Inputs, labels and scaling, where a batch is no more than scaled rows of them; else ``None``."""
        return None if self._augment is not None or self._changes else (self._x, self._y, self._scale)

    def rows(self, step: int) -> Tensor:
        """Which examples make up the batch of this step, int64 [B]."""
        epoch, k = divmod(step, self.per_epoch)
        return self.order(epoch)[k * self.batch_size : (k + 1) * self.batch_size]

    def order(self, epoch: int) -> Tensor:
        """All examples in the order of this epoch, int64 [N]."""
        if epoch != self._epoch:
            self._epoch, self._order = epoch, sent(torch.from_numpy(self._order_of(epoch)), self._device)
        return self._order

    def _shuffled(self, epoch: int) -> Array:
        return np.random.default_rng([self._seed, epoch]).permutation(self._size)

    def _rows_on_disk(self, step: int) -> Array:
        """What ``rows`` gives, for the thread that reads ahead."""
        epoch, k = divmod(step, self.per_epoch)
        return self._order_of(epoch)[k * self.batch_size : (k + 1) * self.batch_size]

    def batch(self, step: int) -> Batch:
        """The batch of this step, scaled and augmented."""
        rows = self.rows(step)
        x = self._scale(taken(self._x, rows) if self._ahead is None else self._ahead(step))
        if self._augment is not None:
            x = self._augment(x, step)
        batch = Batch(x, None if self._y is None else self._y.index_select(0, rows), rows)
        batch = changed(batch, self._changes, self._seed, step)
        return batch if batch.rows is rows else replace(batch, rows=rows)


class EpisodeStream:
    """Episodes drawn from a labelled pool, on the device or as ``Rows`` on the disk: classes, then examples of each."""

    def __init__(
        self,
        x: Any,
        y: Tensor,
        episodes: Episodes,
        *,
        seed: int,
        scale: Callable[[Any], Any],
        augment: Augment | None = None,
        changes: tuple[Change, ...] = (),
        device: torch.device | None = None,
    ) -> None:
        each = episodes.shots + episodes.queries
        labels = y.cpu().numpy()
        rows = [np.flatnonzero(labels == c) for c in np.unique(labels)]
        self._rows = [r for r in rows if len(r) >= each]
        if len(self._rows) < episodes.ways:
            raise TrialError(
                f"an episode of {episodes.ways} ways with {episodes.shots} shots and {episodes.queries} queries needs "
                f"{episodes.ways} classes of {each} examples; the pool {episodes.pool} has {len(self._rows)} of them"
            )
        self._x, self._device, self._episodes = x, device or first_of(x).device, episodes
        self._drawn = lru_cache(2)(self._draw)
        self._ahead = Ahead(x, self._rows_on_disk, self._device) if isinstance(x, Rows) else None
        self._seed, self._scale, self._augment, self._changes = seed, scale, augment, changes
        self.batch_size = episodes.count * episodes.ways * each

    def __len__(self) -> int:
        return sum(map(len, self._rows))

    def batch(self, step: int) -> EpisodeBatch:
        """The episodes of this step."""
        support, query = self._drawn(step)
        e = self._episodes
        return EpisodeBatch(self._part(support, e.shots, 2 * step), self._part(query, e.queries, 2 * step + 1))

    def _draw(self, step: int) -> tuple[Array, Array]:
        """Which examples support and query are, int64 [E, ways * shots] and [E, ways * queries]."""
        e = self._episodes
        rng = np.random.default_rng([self._seed, step])
        support, query = [], []
        for _ in range(e.count):
            classes = rng.choice(len(self._rows), e.ways, replace=False)
            drawn = np.stack([rng.choice(self._rows[c], e.shots + e.queries, replace=False) for c in classes])
            support.append(drawn[:, : e.shots].ravel())
            query.append(drawn[:, e.shots :].ravel())
        return np.stack(support), np.stack(query)

    def _rows_on_disk(self, part: int) -> Array:
        return self._drawn(part // 2)[part % 2].ravel()

    def _part(self, rows_EN: Array, each: int, part: int) -> Batch:
        rows = sent(torch.from_numpy(rows_EN), self._device)
        x = self._scale(taken(self._x, rows.reshape(-1)) if self._ahead is None else self._ahead(part))
        if self._augment is not None:
            x = self._augment(x, part)
        x = changed(Batch(x), self._changes, self._seed, part).x
        y = torch.arange(self._episodes.ways, device=self._device).repeat_interleave(each).expand(len(rows), -1)
        if isinstance(x, Mapping):
            return Batch({name: one.reshape(*rows.shape, *one.shape[1:]) for name, one in x.items()}, y)
        return Batch(x.reshape(*rows.shape, *x.shape[1:]), y)


def taken(x: Any, rows: Tensor) -> Any:
    """These rows of the inputs; ``index_select`` gives what ``x[rows]`` does at half the cost of a small batch."""
    if isinstance(x, Mapping):
        return {name: part.index_select(0, rows) for name, part in x.items()}
    return x.index_select(0, rows)


def changed(batch: Batch, changes: tuple[Change, ...], seed: int, step: int) -> Batch:
    """The batch after each change in turn; what they draw depends on seed and step alone."""
    for place, change in enumerate(changes):
        generator = torch.Generator().manual_seed((seed + place + step * 0x9E3779B97F4A7C15) % 2**63)
        batch = change(batch, generator)
    return batch
