"""Files: where a path of a suite leads, and a hash of what lies there."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlbench.api.types import Cache


def find(cache: Cache, path: str, what: str) -> Path:
    """The file or folder that ``path`` means; ``what`` names the data set in an error.

    A relative path is tried from the suite's folder, from the data root and from the data root's parent.
    Raises ``DataError`` with all that was tried where nothing is there.
    """
    given = Path(path).expanduser()
    roots = [cache.base]
    if cache.data_root is not None:
        roots += [cache.data_root, cache.data_root.resolve().parent]
    tried = [given] if given.is_absolute() else [root / given for root in roots]
    for candidate in tried:
        if candidate.exists():
            return candidate
    places = "".join(f"\n  {candidate}" for candidate in tried)
    hint = "" if cache.data_root is not None or given.is_absolute() else "\nA data root (--data-root) is tried as well."
    raise DataError(f"{what}: there is no {path!r}. Tried:{places}{hint}")


def content_hash(files: Iterable[tuple[str, Path]]) -> str:
    """Hash of names and contents, in the order of the names; the folder that they lie in does not count."""
    digest = hashlib.blake2b(digest_size=16)
    for name, path in sorted(files):
        try:
            stat = path.stat()
            part = _file_hash(str(path.resolve()), stat.st_size, stat.st_mtime_ns)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        digest.update(f"{name}\x1f{stat.st_size}\x1f{part}\x1e".encode())
    return digest.hexdigest()


@lru_cache(maxsize=100_000)
def _file_hash(path: str, size: int, mtime_ns: int) -> str:
    """Hash of one file; size and time of change are arguments so that a changed file is read again."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
