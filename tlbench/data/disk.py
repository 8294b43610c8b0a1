"""Disk: an entry of the data cache as a folder of .npy files and a manifest, whole or absent."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlbench.data.rows import release

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tlbench.api.data import Array

FORMAT = 1
MANIFEST = "manifest.json"


def read(entry: Path, key: str) -> dict[str, Array] | None:
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
            if stat.st_mtime_ns != stated["mtime_ns"] and hash_of(path) != stated["blake2b"]:
                return None
            arrays[name] = np.load(path, mmap_mode="r" if stated["mapped"] else None, allow_pickle=False)
            if arrays[name].dtype.str != stated["dtype"] or list(arrays[name].shape) != stated["shape"]:
                return None
            arrays[name].flags.writeable = False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return arrays


def write(entry: Path, key: str, arrays: Mapping[str, Array], begun: list[Path]) -> dict[str, Array]:
    """Write an entry beside its place, move it there whole, and read it back.

    Files in the folders ``begun`` are moved, and whole files of other entries linked; only the rest is written.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    sweep(entry.parent)
    ours = Path(tempfile.mkdtemp(prefix=".new-", dir=entry.parent))
    try:
        stated = {}
        for number, (name, array) in enumerate(arrays.items()):
            path = ours / f"{number}.npy"
            digest = _put(array, path, begun)
            stat = path.stat()
            stated[name] = {
                "file": path.name,
                "bytes": stat.st_size,
                "mtime_ns": stat.st_mtime_ns,
                "blake2b": digest,
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
            if (found := read(entry, key)) is not None:
                return found
            trash = Path(tempfile.mkdtemp(prefix=".old-", dir=entry.parent))
            entry.rename(trash / entry.name)  # damaged; a reader that has it mapped keeps its pages
            shutil.rmtree(trash, ignore_errors=True)
        raise OSError(f"{entry} is damaged again and again")
    finally:
        shutil.rmtree(ours, ignore_errors=True)


def _put(array: Array, path: Path, begun: list[Path]) -> str:
    """The array as a file at this path; the hash of the file."""
    source, place = _file_of(array), path.parent.parent.resolve()
    if source is not None and source.parent in [folder.resolve() for folder in begun]:
        array.flush()  # type: ignore[attr-defined]
        source.rename(path)
        release(array)
    elif source is not None and source.parent.parent == place:  # another entry's, which nobody changes in its place
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
            manifest = json.loads((source.parent / MANIFEST).read_bytes())
            stated = next(one for one in manifest["arrays"].values() if one["file"] == source.name)
            os.link(source, path)
            if path.stat().st_mtime_ns == stated["mtime_ns"]:
                return str(stated["blake2b"])
            path.unlink()
    if not path.exists():
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return hash_of(path)


def _file_of(array: Array) -> Path | None:
    """The file that holds this array and nothing else."""
    if not isinstance(array, np.memmap) or array.filename is None or not array.flags.c_contiguous:
        return None
    try:
        whole = np.load(array.filename, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return Path(array.filename).resolve() if (whole.shape, whole.dtype) == (array.shape, array.dtype) else None


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time; without a lock where the folder cannot be written or has no locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(path.open("wb")), fcntl.LOCK_EX)  # ends with the process, killed or not
        yield


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written more than a day ago."""
    for pattern in (".new-*", ".old-*", "*.partial"):
        for left in folder.glob(pattern):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > 86_400:
                    shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()


def folder_name(key: str) -> str:
    """What the folder of the entry with this key is called."""
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def hash_of(path: Path) -> str:
    """The BLAKE2b hash of a file, as a manifest has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
