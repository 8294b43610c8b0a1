"""Cache: arrays decoded once, kept by the hash of their content's key, read back memory-mapped and checked."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.errors import DataError

if TYPE_CHECKING:
    from tlbench.api.data import Array, Domain

FORMAT = 1
MANIFEST = "manifest.json"
CHUNK = 1 << 24
"""Bytes that are hashed at a time."""


@dataclass
class DataCache:
    """The cache of one run: an implementation of ``tlbench.Cache``.

    ``folder``        where entries are kept; where it cannot be written, arrays stay in memory
    ``data_root``     a folder whose ``owner/name`` folders stand in for the hub
    ``base``          the folder that relative paths in a suite are relative to
    ``memory_limit``  bytes that one data set may take; ``None``: 80 % of what is free when it is asked for
    ``warnings``      what went wrong without stopping anything, one text each
    ``keep``          ``False``: nothing is read from the folder or written to it; arrays are built at each call
    """

    folder: Path
    data_root: Path | None
    base: Path
    memory_limit: int | None = None
    warnings: list[str] = field(default_factory=list)
    keep: bool = True

    def arrays(self, key: str, build: Callable[[], Mapping[str, Array]]) -> Mapping[str, Array]:
        """``build()`` the first time, then the same arrays from disk; always read-only.

        ``key`` must hash everything that the arrays depend on. An entry is whole or absent: it is written
        beside its place and renamed. Of several processes one builds and the others wait for it; should two
        build after all (a file system without locks), the second takes the first one's. A damaged entry is
        built anew. What cannot be written stays in memory and is stated in ``warnings``.
        """
        if not self.keep:
            return _read_only({name: np.ascontiguousarray(array) for name, array in build().items()})
        entry = self.folder / "arrays" / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        if (found := _read(entry, key)) is not None:
            with contextlib.suppress(OSError):  # a cache that is only read
                os.utime(entry)  # when it was last used, for whoever makes room
            return found
        with _alone(entry.with_suffix(".lock")):
            if (found := _read(entry, key)) is not None:
                return found
            built = {name: np.ascontiguousarray(array) for name, array in build().items()}
            try:
                return _write(entry, key, built)
            except OSError as error:
                self._warn(f"the data cache {self.folder} cannot be written ({error.strerror or error}); "
                           "data stays in memory and is decoded again next time")  # fmt: skip
        return _read_only(built)

    def require_memory(self, num_bytes: int, what: str) -> None:
        """Raise ``DataError`` where ``num_bytes`` would not fit the memory limit."""
        limit = self.memory_limit if self.memory_limit is not None else int(0.8 * available_memory())
        if num_bytes > limit:
            raise DataError(
                f"{what} needs {_size(num_bytes)} of memory and the limit is {_size(limit)}"
                f"{'' if self.memory_limit is not None else ' (80 % of what is free)'}. "
                "Cap its examples (max_train, max_test), ask for smaller images (image_size), or raise the limit."
            )

    def _warn(self, text: str) -> None:
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
        rows = max(1, CHUNK * len(array) // max(1, array.nbytes))
        for start in range(0, len(array), rows):
            digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()


def pack(value: Any) -> Array:
    """Plain data as an array of bytes, so that an entry can hold a few words beside its numbers."""
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)


def unpack(array: Array) -> Any:
    """The inverse of ``pack``."""
    return json.loads(array.tobytes())


# ---- entries: a folder of .npy files and a manifest ----------------------------------------------


def _read_only(arrays: dict[str, Array]) -> dict[str, Array]:
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _read(entry: Path, key: str) -> dict[str, Array] | None:
    """The entry's arrays, memory-mapped; ``None`` where it is absent or damaged."""
    try:
        manifest = json.loads((entry / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT or manifest["key"] != key:
            return None
        arrays = {}
        for name, stated in manifest["arrays"].items():
            path = entry / stated["file"]
            stat = path.stat()
            if stat.st_size != stated["bytes"]:
                return None
            # Unchanged since it was written: no need to read it all. Copied or touched: the hash decides.
            if stat.st_mtime_ns != stated["mtime_ns"] and _hash(path) != stated["blake2b"]:
                return None
            arrays[name] = np.load(path, mmap_mode="r" if stated["mapped"] else None, allow_pickle=False)
            if arrays[name].dtype.str != stated["dtype"] or list(arrays[name].shape) != stated["shape"]:
                return None
            arrays[name].flags.writeable = False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return arrays


def _write(entry: Path, key: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Write an entry beside its place, move it there whole, and read it back."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    sweep(entry.parent)
    ours = Path(tempfile.mkdtemp(prefix=".new-", dir=entry.parent))
    try:
        stated = {}
        for number, (name, array) in enumerate(arrays.items()):
            path = ours / f"{number}.npy"
            with path.open("wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            stat = path.stat()
            stated[name] = {
                "file": path.name,
                "bytes": stat.st_size,
                "mtime_ns": stat.st_mtime_ns,
                "blake2b": _hash(path),
                "dtype": array.dtype.str,
                "shape": list(array.shape),
                "mapped": array.size > 0,  # an empty file region cannot be mapped
            }
        (ours / MANIFEST).write_text(json.dumps({"format": FORMAT, "key": key, "arrays": stated}))
        for _ in range(10):
            try:
                ours.rename(entry)
            except OSError:
                if not entry.exists():
                    raise
            if (found := _read(entry, key)) is not None:
                return found
            trash = Path(tempfile.mkdtemp(prefix=".old-", dir=entry.parent))
            entry.rename(trash / entry.name)  # damaged; a reader that has it mapped keeps its pages
            shutil.rmtree(trash, ignore_errors=True)
        raise OSError(f"{entry} is damaged again and again")
    finally:
        shutil.rmtree(ours, ignore_errors=True)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time; without a lock where the folder cannot be written or has no locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(path.open("wb")), fcntl.LOCK_EX)  # ends with the process, killed or not
        yield


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written more than a day ago."""
    for pattern in (".new-*", ".old-*"):
        for left in folder.glob(pattern):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > 86_400:
                    shutil.rmtree(left, ignore_errors=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**29 else f"{num_bytes / 2**20:.1f} MiB"
