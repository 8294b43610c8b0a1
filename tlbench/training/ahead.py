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


BLOCK = 1 << 20
"""Bytes that are read at once where batches are smaller: handing over to the thread costs as much as a small batch."""


class Ahead:
    """``ahead(step)`` gives x [B, ...] on the device, the rows that ``rows_of(step)`` names, bit by bit.

    While the device works on a step, a thread copies the next one's rows from the file into memory that the device can
    fetch from by itself (pinned, on CUDA); of small batches a block. The thread touches no device: copies are queued by
    whoever asks for the batch, in the order of its other work, so nothing waits for the device. Two blocks are in
    memory at a time. Steps may be asked for in any order; only what follows is there already.
    """

    def __init__(self, x: Rows, rows_of: Callable[[int], Array], device: torch.device) -> None:
        self._x, self._rows_of, self._device = x, rows_of, device
        self._dtype = torch.from_numpy(np.empty(0, x.dtype)).dtype
        self._pool = ThreadPoolExecutor(1, "tlbench-ahead")
        self._steps = range(0)
        self._block: tuple[Tensor, ...] = ()
        self._next: Future[tuple[Tensor, ...]] | None = None
        self._span = self._most = 0

    def __call__(self, step: int) -> Tensor:
        if step not in self._steps:
            if self._next is None or step != self._steps.stop:
                if self._next is not None:
                    self._next.result()
                self._span = self._span or max(1, BLOCK // max(1, self._x[:1].nbytes * len(self._rows_of(step))))
                self._next = self._begin(range(step, step + self._span))
                self._steps = range(step, step)
            self._block = self._next.result()
            self._most = max(self._most, sum(map(len, self._block)))
            self._steps = range(step, step + self._span)
            self._next = self._begin(range(self._steps.stop, self._steps.stop + self._span))
        batch = self._block[step - self._steps.start]
        if self._device.type != "cpu":
            return batch.to(self._device, non_blocking=True)
        if self._span > 1:
            return batch.clone()  # the receiver may change it, and its neighbours are in the same memory
        self._steps = range(step + 1, step + 1)  # handed out: who asks again gets it read again
        return batch

    def _begin(self, steps: range) -> Future[tuple[Tensor, ...]]:
        """A block that is being read; its memory is taken here, for the thread is to do nothing that a device sees."""
        pinned = self._device.type == "cuda" and self._most > 0
        shape = (self._most, *self._x.shape[1:])
        buffer = torch.empty(shape, dtype=self._dtype, pin_memory=True) if pinned else None
        return self._pool.submit(_read, self._x, self._rows_of, steps, buffer, self._dtype)


def _read(
    x: Rows, rows_of: Callable[[int], Any], steps: range, buffer: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    each = [rows_of(step) for step in steps]
    rows = np.concatenate(each)
    if buffer is None or len(buffer) < len(rows):
        buffer = torch.empty((len(rows), *x.shape[1:]), dtype=dtype)
    found = buffer[: len(rows)]
    x.read(rows, found.numpy())
    return torch.split(found, [len(part) for part in each])


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
