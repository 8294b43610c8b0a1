"""Stored predictions: a trial's test scores on disk, from which any metric can be computed again.

``RUN/predictions/KEY.npz`` has for each scored pool ``scores.POOL`` float32 [N, C] and ``y.POOL`` int64 [N], of
episodes [E, Q, C] and [E, Q], and ``group.POOL`` int64 [N] where the data set has groups of examples. They are as the
predictor gave them. The record's field ``predictions`` holds the file's hash and size, and what else the metrics depend
on. A file may come from strangers: it is checked throughout before anything of it is used, and nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import re
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.errors import StoreError
from tlbench.evaluation.judging import Predictions
from tlbench.evaluation.judging import Scored as Stored
from tlbench.results.store import check_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tlbench.api.data import Array
    from tlbench.api.records import Record
    from tlbench.api.types import Metric

__all__ = ["MOST_BYTES", "Stored", "read", "rescored", "stored", "write"]

MOST_BYTES = 2**30
"""Largest size of one trial's arrays; larger predictions are neither stored nor read."""
_MEMBER = re.compile(r"(scores|y|group)\.([A-Za-z0-9_-]{1,64})\.npy")
_TYPES = {"scores": "<f4", "y": "<i8", "group": "<i8"}
_HEADER = 4096
"""Most bytes that an array's header may have."""
_MOST_ARRAYS = 64


def path_of(folder: Path, key: str) -> Path:
    """Where a trial's predictions are kept."""
    return folder / "predictions" / f"{check_key(key)}.npz"


def write(folder: Path, key: str, predictions: Predictions) -> dict[str, Any]:
    """Store a trial's predictions, whole or not at all; what its record says of them.

    Equal predictions give an equal file. Raises ``StoreError`` where they are too large or the disk does not take them.
    """
    arrays: dict[str, Array] = {}
    for pool, scored in predictions.pools.items():
        for part, array in scored._asdict().items():
            if array is not None:
                arrays[f"{part}.{pool}"] = np.ascontiguousarray(array, dtype=_TYPES[part])
    if bad := [name for name in arrays if not _MEMBER.fullmatch(f"{name}.npy")]:
        raise StoreError(f"the predictions of {key} cannot be stored: {bad[0]!r} is no name for an array")
    if (size := sum(a.nbytes for a in arrays.values())) > MOST_BYTES:
        raise StoreError(f"the predictions of {key} have {size:,} bytes, and at most {MOST_BYTES:,} are stored")
    path = path_of(folder, key)
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        with partial.open("rb") as file:
            digest = hashlib.file_digest(file, _blake2b).hexdigest()
        size = partial.stat().st_size
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StoreError(f"the predictions of {key} cannot be stored: {error.strerror or error}") from error
    return {"blake2b": digest, "bytes": size, "matching": predictions.matching, "harmonic": predictions.harmonic}


def stored(folder: Path, record: Record) -> bool:
    """Whether the predictions that a record speaks of are there, by their size alone; ``read`` checks the content."""
    about = record.predictions
    if not about:
        return False
    try:
        return path_of(folder, record.key).stat().st_size == about.get("bytes")
    except OSError:
        return False


def read(folder: Path, record: Record) -> dict[str, Stored]:
    """The stored predictions of a trial, by pool, checked throughout; arrays are read-only.

    Raises ``StoreError`` that names the file and what is wrong: it is absent, a link, too large, not the one that
    the record speaks of, or no such arrays.
    """
    path = path_of(folder, record.key)
    about = record.predictions
    if not about:
        raise StoreError(f"{record.key} has no stored predictions: `tlbench run --save-predictions` stores them")
    if not isinstance(about.get("blake2b"), str) or not isinstance(about.get("bytes"), int):
        raise StoreError(f"the record of {record.key} does not say which predictions are its own")
    content = _content(path, about["bytes"])
    if _blake2b(content).hexdigest() != about["blake2b"]:
        raise StoreError(f"{path}: not the predictions that the record speaks of: their hash is another one")
    try:
        return _pools(_arrays(content))
    except (ValueError, EOFError, OSError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"{path}: no stored predictions: {error}") from error


def rescored(stored: Mapping[str, Stored], metrics: Iterable[Metric], record: Record) -> dict[str, dict[str, float]]:
    """Pool -> metric -> value, computed from stored predictions as the trial itself did.

    Clusters are matched, episodes averaged and the harmonic mean taken where the record says so. A metric that needs
    groups is left out where there are none. Raises ``TrialError`` where a metric gives no finite number.
    """
    about = record.predictions or {}
    known = Predictions(stored, str(about.get("matching", "labels")), bool(about.get("harmonic", False)))
    return known.judged(metrics)


def _blake2b(content: bytes = b"") -> Any:
    return hashlib.blake2b(content, digest_size=16)


def _content(path: Path, size: int) -> bytes:
    """The bytes of a regular file of that size; follows no link below the run folder."""
    if not 0 < size <= MOST_BYTES:
        raise StoreError(f"{path}: the record speaks of {size:,} bytes; at most {MOST_BYTES:,} are read")
    if path.parent.is_symlink():
        raise StoreError(f"{path.parent} is a link; predictions are read from the run folder alone")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = "it is a link" if path.is_symlink() else error.strerror
        raise StoreError(f"{path}: cannot be read: {why}") from error
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise StoreError(f"{path}: not a regular file")
        if about.st_size != size:
            raise StoreError(f"{path}: has {about.st_size:,} bytes, and the record speaks of {size:,}")
        return file.read(size)


def _arrays(content: bytes) -> dict[tuple[str, str], Array]:
    """(part, pool) -> array. Raises ``ValueError`` and what ``zipfile`` raises."""
    found: dict[tuple[str, str], Array] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) > _MOST_ARRAYS:
            raise ValueError(f"{len(members)} arrays, expected at most {_MOST_ARRAYS}")
        if (size := sum(m.file_size for m in members)) > MOST_BYTES + _HEADER * len(members):
            raise ValueError(f"{size:,} bytes when unpacked; at most {MOST_BYTES:,} are read")
        for member in members:
            name = _MEMBER.fullmatch(member.filename)
            if name is None or (name[1], name[2]) in found:
                raise ValueError(f"an array is called {member.filename[:100]!r}")
            with archive.open(member) as file:  # gives no more bytes than it declares
                found[name[1], name[2]] = _array(file.read(), member.filename, _TYPES[name[1]])
    return found


def _array(content: bytes, name: str, dtype: str) -> Array:
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name} is of another version of NumPy's format")
    shape, fortran, found = np.lib.format.read_array_header_1_0(file, max_header_size=_HEADER)
    if found != np.dtype(dtype) or fortran:
        raise ValueError(f"{name} is {found}, expected {np.dtype(dtype)} in C order")
    rest = memoryview(content)[file.tell() :]
    if min(shape, default=0) < 1 or math.prod(shape) * found.itemsize != len(rest):
        raise ValueError(f"{name} has {len(rest):,} bytes, which do not make an array of shape {list(shape)}")
    array: Array = np.frombuffer(rest, found).reshape(shape)
    return array


def _pools(arrays: Mapping[tuple[str, str], Array]) -> dict[str, Stored]:
    """Scores, labels and groups put together. Raises ``ValueError`` where they do not belong to each other."""
    found: dict[str, Stored] = {}
    for pool in dict.fromkeys(pool for _, pool in arrays):
        scores, y, group = (arrays.get((part, pool)) for part in Stored._fields)
        if scores is None or y is None:
            raise ValueError(f"the pool {pool} lacks its {'scores' if scores is None else 'labels'}")
        if scores.ndim not in (2, 3) or y.shape != scores.shape[:-1] or (group is not None and group.shape != y.shape):
            raise ValueError(f"the pool {pool} has scores of shape {list(scores.shape)} and labels {list(y.shape)}")
        if not np.isfinite(scores).all():
            raise ValueError(f"the pool {pool} has scores that are not finite")
        if y.min() < 0 or y.max() >= scores.shape[-1]:
            raise ValueError(f"the pool {pool} has labels outside of its {scores.shape[-1]} classes")
        found[pool] = Stored(scores, y, group)
    if not found:
        raise ValueError("it has no arrays")
    return found
