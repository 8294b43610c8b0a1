"""Cache: arrays decoded once, kept by the hash of their content's key, read back memory-mapped and checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.data.disk import alone, folder_name, read, write
from tlbench.data.entries import prune
from tlbench.data.rows import pieces
from tlbench.errors import DataError

if TYPE_CHECKING:
    from tlbench.api.data import Array, Domain


@dataclass
class DataCache:
    """The cache of one run: an implementation of ``tlbench.Cache``.

    ``folder``        where entries are kept; where it cannot be written, arrays stay in memory
    ``data_root``     a folder whose ``owner/name`` folders stand in for the hub
    ``base``          the folder that relative paths in a suite are relative to
    ``memory_limit``  bytes that the examples of one data set may take in memory; larger ones stay on the disk and are
                      read batch by batch. ``None``: 80 % of what is free when it is asked for
    ``warnings``      what went wrong without stopping anything, one text each
    ``keep``          ``False``: nothing is read from the folder or written to it; arrays are built at each call
    ``limit``         bytes that the folder may hold: when more is written, what was not used for longest goes, never
                      what was just written; what is in use stays readable. ``None``: no limit
    """

    folder: Path
    data_root: Path | None
    base: Path
    memory_limit: int | None = None
    warnings: list[str] = field(default_factory=list)
    keep: bool = True
    limit: int | None = None
    _begun: list[Path] | None = field(default=None, repr=False)
    """Folders with files that ``build`` fills, while it does."""

    def arrays(self, key: str, build: Callable[[], Mapping[str, Array]]) -> Mapping[str, Array]:
        """``build()`` the first time, then the same arrays from disk; always read-only.

        ``key`` must hash everything that the arrays depend on. An entry is whole or absent: it is written
        beside its place and renamed. Of several processes one builds and the others wait for it; should two
        build after all (a file system without locks), the second takes the first one's. A damaged entry is
        built anew. What cannot be written stays in memory and is stated in ``warnings``.
        """
        if not self.keep:
            return _read_only({name: _contiguous(array) for name, array in build().items()})
        entry = self.folder / "arrays" / folder_name(key)
        if (found := read(entry, key)) is not None:
            with contextlib.suppress(OSError):  # a cache that is only read
                os.utime(entry)  # when it was last used, for whoever makes room
            return found
        with alone(entry.with_suffix(".lock")):
            if (found := read(entry, key)) is not None:
                return found
            with self._filled() as begun:
                built = {name: _contiguous(array) for name, array in build().items()}
                try:
                    written = write(entry, key, built, begun)
                except OSError as error:
                    self._stays(error)
                else:
                    if self.limit is not None:
                        # Measurements stay: they are next to nothing, and last digits depend on them.
                        prune(self.folder, max_bytes=self.limit, spare=lambda e: not e.is_data or e.path == entry)
                    return written
        return _read_only(built)

    def empty(self, shape: tuple[int, ...], dtype: Any, what: str) -> Array:
        """An array for ``build`` to fill and return: within ``arrays`` a mapped file, where there is room on the disk.

        Else it is in memory, and ``DataError`` is raised where the limit does not allow that. Whoever fills a large one
        calls ``tlbench.data.rows.release`` now and then, so that it does not count as memory.
        """
        num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if num_bytes and self._begun is not None:
            try:
                (self.folder / "arrays").mkdir(parents=True, exist_ok=True)
                folder = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder / "arrays"))
                self._begun.append(folder)
                array: Array = np.lib.format.open_memmap(folder / "0.npy", mode="w+", dtype=dtype, shape=shape)
                with (folder / "0.npy").open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)  # else a write could kill us
                return array
            except (OSError, AttributeError) as error:  # also a disk that is full, and a system that reserves no room
                self._stays(error)
        self.require_memory(num_bytes, what)
        return np.empty(shape, dtype)

    @contextlib.contextmanager
    def _filled(self) -> Iterator[list[Path]]:
        """Inside, ``empty`` makes files; the folders of those that were not taken go in the end."""
        outer, self._begun = self._begun, []
        try:
            yield self._begun
        finally:
            for folder in self._begun:
                shutil.rmtree(folder, ignore_errors=True)  # what is mapped stays readable
            self._begun = outer

    def room(self) -> int:
        """Bytes that the examples of one data set may take in memory now."""
        return self.memory_limit if self.memory_limit is not None else int(0.8 * available_memory())

    def require_memory(self, num_bytes: int, what: str) -> None:
        """Raise ``DataError`` where ``num_bytes`` would not fit the memory limit."""
        limit = self.room()
        if num_bytes > limit:
            raise DataError(
                f"{what} needs {_size(num_bytes)} of memory and the limit is {_size(limit)}"
                f"{'' if self.memory_limit is not None else ' (80 % of what is free)'}. "
                "Cap its examples (max_train, max_test), ask for smaller images (image_size), or raise the limit."
            )

    def _stays(self, error: OSError | AttributeError) -> None:
        reason = getattr(error, "strerror", None) or error
        text = (
            f"the data cache {self.folder} cannot be written ({reason}); "
            "data stays in memory and is decoded again next time"
        )
        if text not in self.warnings:
            self.warnings.append(text)


def available_memory() -> int:
    """Bytes that this process can take before the machine swaps or its container is killed."""
    import psutil

    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # no such group, or no limit ("max")
        limit = int((group / "memory.max").read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / "memory.current").read_text()) - int(stat.get("inactive_file", 0))
        free = min(free, max(0, limit - used))
    return free


def domain_hash(domain: Domain) -> str:
    """Hash of a domain's examples, labels, groups and their names; 32 hexadecimal digits.

    Arrays count by name, type, shape and bytes, and are read in pieces, so that memory-mapped ones stay on disk.
    """
    digest = hashlib.blake2b(digest_size=16)
    words = [domain.kind, list(domain.label_names)]
    digest.update(json.dumps([*words, list(domain.group_names)] if domain.group_names else words).encode())
    named: dict[str, Array] = {}
    for name, split in domain.splits.items():
        parts = split.x if isinstance(split.x, Mapping) else {"": split.x}
        named |= {f"{name}/x/{part}": array for part, array in parts.items()} | {f"{name}/y": split.y}
        if split.group is not None:
            named[f"{name}/group"] = split.group
    if domain.class_attributes is not None:
        named["class_attributes"] = domain.class_attributes
    if domain.groups is not None:
        named["groups"] = domain.groups
    if domain.graph is not None:
        named |= {"graph/x": domain.graph.x, "graph/edges": domain.graph.edges}
    for name in sorted(named):
        array = named[name]
        digest.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode())
        for piece in pieces(array):
            digest.update(piece.data)
    return digest.hexdigest()


def pack(value: Any) -> Array:
    """Plain data as an array of bytes, so that an entry can hold a few words beside its numbers."""
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)


def unpack(array: Array) -> Any:
    """The inverse of ``pack``."""
    return json.loads(array.tobytes())


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**29 else f"{num_bytes / 2**20:.1f} MiB"


def _contiguous(array: Array) -> Array:
    return array if isinstance(array, np.memmap) and array.flags.c_contiguous else np.ascontiguousarray(array)


def _read_only(arrays: dict[str, Array]) -> dict[str, Array]:
    for array in arrays.values():
        array.flags.writeable = False
    return arrays
