"""Ahead: batches of a pool that does not fit the memory, read one step ahead of the training by a thread."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tlbench.data.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tlbench.api.data import Array


class Ahead:
    """``ahead(step)`` gives x [B, ...] on the device, the rows that ``rows_of(step)`` names, bit by bit.

    While the device works on a step, a thread copies the next one's rows from the file into memory that the device can
    fetch from by itself (pinned, on CUDA). The thread touches no device: copies are queued by whoever asks for the
    batch, in the order of its other work, so nothing waits for the device. Two batches are in memory at a time. Steps
    may be asked for in any order; only one that follows the last is there already. No rows: nothing is read.
    """

    def __init__(self, x: Rows, rows_of: Callable[[int], Array], device: torch.device) -> None:
        self._x, self._rows_of, self._device = x, rows_of, device
        self._dtype = torch.from_numpy(np.empty(0, x.dtype)).dtype
        self._pool = ThreadPoolExecutor(1, "tlbench-ahead")
        self._next: tuple[int, Future[Tensor]] | None = None
        self._most = 0

    def __call__(self, step: int) -> Tensor:
        if self._next is None or self._next[0] != step:
            if self._next is not None:
                self._next[1].result()
            self._next = (step, self._begin(step))
        read = self._next[1].result()
        self._most = max(self._most, len(read))
        self._next = (step + 1, self._begin(step + 1))
        return read.to(self._device, non_blocking=True)

    def _begin(self, step: int) -> Future[Tensor]:
        """A batch that is being read; its memory is taken here, for the thread is to do nothing that a device sees."""
        pinned = self._device.type == "cuda"
        shape = (self._most, *self._x.shape[1:])
        buffer = torch.empty(shape, dtype=self._dtype, pin_memory=True) if pinned and self._most else None
        return self._pool.submit(_read, self._x, self._rows_of, step, buffer, self._dtype)


def _read(x: Rows, rows_of: Callable[[int], Any], step: int, buffer: Tensor | None, dtype: torch.dtype) -> Tensor:
    rows = rows_of(step)
    if buffer is None or len(buffer) < len(rows):
        buffer = torch.empty((len(rows), *x.shape[1:]), dtype=dtype)
    found = buffer[: len(rows)]
    x.read(rows, found.numpy())
    return found


def chunks(x: Any, size: int, device: torch.device) -> Iterator[Any]:
    """The inputs in order, ``size`` at a time, on the device where they are or from the disk."""
    count = len(first_of(x))
    if isinstance(x, Rows):
        ahead = Ahead(x, lambda k: np.arange(k * size, min((k + 1) * size, count)), device)
        yield from (ahead(k) for k in range(-(-count // size)))
        return
    for begin in range(0, count, size):
        rows = slice(begin, begin + size)
        yield {name: part[rows] for name, part in x.items()} if isinstance(x, Mapping) else x[rows]


def first_of(x: Any) -> Any:
    """The inputs, or the first of several."""
    return next(iter(x.values())) if isinstance(x, Mapping) else x
