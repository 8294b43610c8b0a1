"""Entries: what is in the data cache, and taking entries out of it while others read it."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

from tlbench.data.disk import MANIFEST, sweep

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path


FUSING = "fusing"
"""The folder of a cache with measurements of whether fusing pays, a file for each."""


class Entry(NamedTuple):
    """An entry of the cache: its folder, its size on the disk [bytes] and when it was last used [s since 1970].

    ``is_data``: decoded data; else a measurement of whether fusing pays, a file.
    """

    path: Path
    num_bytes: int
    used: float
    is_data: bool = True


def entries(cache: Path) -> list[Entry]:
    """The whole entries of a cache folder, the least recently used first."""
    found = []
    for path in (cache / FUSING).glob("*.json"):
        with contextlib.suppress(OSError):
            found.append(Entry(path, path.stat().st_size, path.stat().st_mtime, is_data=False))
    for manifest in (cache / "arrays").glob(f"*/{MANIFEST}"):
        entry = manifest.parent
        if entry.name.startswith("."):
            continue
        with contextlib.suppress(OSError):  # another process took it away
            size = sum(_share(path.stat()) for path in entry.iterdir())
            found.append(Entry(entry, size, entry.stat().st_mtime))
    return sorted(found, key=lambda entry: (entry.used, entry.path))


def prune(
    cache: Path,
    *,
    older_than: float | None = None,
    max_bytes: int | None = None,
    spare: Callable[[Entry], bool] = lambda entry: False,
) -> list[Entry]:
    """Remove entries unused for ``older_than`` seconds, then the least recently used until ``max_bytes`` hold the rest.

    What ``spare`` says yes to stays. Gives those that were removed. Safe beside workers: an entry is moved away whole,
    so that a reader finds all of it or nothing; what a process has mapped stays readable until it lets go; an entry
    that is being built is left alone. What is wanted again is decoded or measured again. Raises ``ValueError`` for a
    negative limit.
    """
    for name, limit in (("older_than", older_than), ("max_bytes", max_bytes)):
        if limit is not None and limit < 0:
            raise ValueError(f"{name} must not be negative, got {limit}")
    kept = entries(cache)
    removed = []
    total = sum(entry.num_bytes for entry in kept)
    now = time.time()
    for entry in kept:
        old = older_than is not None and now - entry.used >= older_than
        if (old or (max_bytes is not None and total > max_bytes)) and not spare(entry) and remove(entry):
            removed.append(entry)
            total -= entry.num_bytes
    for part in ("arrays", FUSING):
        if (cache / part).is_dir():
            sweep(cache / part)
    return removed


def _share(stat: os.stat_result) -> int:
    """The bytes of a file, shared out among the entries that it belongs to."""
    return stat.st_size // max(1, stat.st_nlink)


def remove(entry: Entry) -> bool:
    """Take an entry out of the cache, safely beside workers; whether it is gone."""
    if entry.is_data:
        return _remove_folder(entry.path)
    try:
        entry.path.unlink()
    except OSError:
        return False
    return True


def _remove_folder(entry: Path) -> bool:
    """Whether the entry is gone; not where a process is building it anew.

    Its lock, an empty file, stays: a second one beside it would let two in.
    """
    lock = entry.with_suffix(".lock")
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(lock.open("wb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks, or one that cannot be written: the move below decides
        try:
            trash = tempfile.mkdtemp(prefix=".old-", dir=entry.parent)
            try:
                entry.rename(f"{trash}/{entry.name}")
            finally:
                shutil.rmtree(trash, ignore_errors=True)
        except OSError:
            return False
    return True
