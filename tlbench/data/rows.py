"""Rows: examples that stay on the disk until they are asked for, of a data set that does not fit the memory."""

from __future__ import annotations

import mmap
import os
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlbench.api.data import Array

PIECE = 1 << 24
"""Bytes that are read at a time."""
AT_ONCE = 32
"""Rows that are read before their pages are given back: the system may map 2 MiB around each."""
LITTLE = AT_ONCE << 21
"""Bytes of a file whose pages may all be mapped: no more than those rows would take."""
MOST_CORES = 32
"""Threads that prepare examples, at most."""


class Rows:
    """Rows of an array [N, ...], memory-mapped or not; stands in a pool where an array would.

    ``rows[chosen]`` with a slice, row numbers or a mask is another such view and reads nothing; one number reads one
    example; ``np.asarray(rows)`` reads all. What was read is the reader's own; the pages of the file are given back as
    one goes on. ``limit`` is how many bytes of such data may be in memory at once.
    """

    def __init__(self, array: Array, limit: int, rows: Array | None = None) -> None:
        self._array, self._rows, self.limit = array, rows, limit
        self._is_slow = False
        self.dtype = array.dtype
        self.shape: tuple[int, ...] = (len(array) if rows is None else len(rows), *array.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @cached_property
    def order(self) -> Array:
        """The places of the view's rows in the order of the file."""
        return np.arange(len(self)) if self._rows is None else np.argsort(self._rows, kind="stable")

    def __getitem__(self, chosen: Any) -> Any:
        if isinstance(chosen, tuple):
            return np.asarray(self)[chosen]
        whole = np.arange(len(self)) if self._rows is None else self._rows
        rows = whole[chosen]
        if np.ndim(rows) != 1:
            return self._array[rows].copy() if np.ndim(rows) == 0 else self._array[rows]
        return Rows(self._array, self.limit, rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("examples on the disk cannot be had without a copy")
        found = self.read(slice(None))
        return found if dtype is None else found.astype(dtype, copy=False)

    def read(self, chosen: slice | Array, out: Array | None = None) -> Array:
        """These examples of the view, into ``out`` where it is given; copied without the interpreter's lock."""
        if out is None:
            count = len(range(*chosen.indices(len(self)))) if isinstance(chosen, slice) else len(chosen)
            out = np.empty((count, *self.shape[1:]), self.dtype)
        if self._rows is None and isinstance(chosen, slice):
            np.copyto(out, self._array[chosen])
            release(self._array)
            return out
        rows = np.asarray(chosen) if self._rows is None else self._rows[chosen]
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self._array)):
            raise IndexError(f"row {rows.max()} of {len(self._array)}")
        began = time.perf_counter()
        if self._is_slow:
            _announce(self._array, rows)
        step = max(1, len(rows)) if self._array.nbytes <= LITTLE else AT_ONCE
        for begin in range(0, len(rows), step):
            part = slice(begin, begin + step)
            np.take(self._array, rows[part], axis=0, out=out[part], mode="clip")  # "raise" would copy through a buffer
            if step == AT_ONCE:
                release(self._array)
        self._is_slow = time.perf_counter() - began > 20e-6 * len(rows) + out.nbytes / 5e8  # the disk, not memory
        return out


def release(array: Array) -> None:
    """Give the pages of a memory-mapped array back; what was written to them is kept, by the file."""
    if (base := _mapping(array)) is not None:
        base.madvise(mmap.MADV_DONTNEED)


def _mapping(array: Array) -> mmap.mmap | None:
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def _announce(array: Array, rows: Array) -> None:
    """Have the system begin to read all these rows; one after the other would wait for the disk at each."""
    if (base := _mapping(array)) is None:
        return
    first = array.ctypes.data - np.frombuffer(base, np.uint8, 1).ctypes.data
    for begin in (first + rows * array.strides[0]).tolist():
        page = begin - begin % mmap.PAGESIZE
        base.madvise(mmap.MADV_WILLNEED, page, begin + array.strides[0] - page)


def pieces(array: Array | Rows) -> Iterator[Array]:
    """The array in contiguous parts of a few MiB, in order; mapped pages are given back behind it."""
    step = max(1, PIECE * len(array) // max(1, array.nbytes))
    for begin in range(0, len(array), step):
        chosen = slice(begin, begin + step)
        yield array.read(chosen) if isinstance(array, Rows) else np.ascontiguousarray(array[chosen])
        if not isinstance(array, Rows):
            release(array)


def cores() -> int:
    """Threads to decode and resize with: the cores that this process may run on, up to a limit."""
    return min(len(os.sched_getaffinity(0)), MOST_CORES)
