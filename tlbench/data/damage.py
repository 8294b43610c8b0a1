"""Damage: entries of the data cache that are no longer what was written, found by reading all of them.

A run does not: a file of the size and time with which it was written counts as unchanged. What rots keeps both.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

from tlbench.data.disk import FORMAT, MANIFEST, folder_name, hash_of
from tlbench.data.entries import Entry, entries

if TYPE_CHECKING:
    from pathlib import Path


class Damage(NamedTuple):
    """An entry that is not what was written, and what is wrong with it."""

    entry: Entry
    why: str


def damaged(cache: Path) -> list[Damage]:
    """The damaged entries of a cache folder, the least recently used first; nothing is changed.

    Every byte is read, a file that entries share once. An entry that another process takes away or makes anew
    meanwhile is no damage.
    """
    found, known = [], dict[tuple[int, int], str]()
    for entry in entries(cache):
        if _fault(entry, known) is None:
            continue
        if (why := _fault(entry, {})) is not None and entry.path.exists():  # looked at again: it may be another by now
            found.append(Damage(entry, why))
    return found


def _fault(entry: Entry, known: dict[tuple[int, int], str]) -> str | None:
    try:
        return _fault_of_data(entry.path, known) if entry.is_data else _fault_of_measurement(entry.path)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _fault_of_data(folder: Path, known: dict[tuple[int, int], str]) -> str | None:
    """``known`` are the hashes of files that were read, by device and number on it."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        version, key = manifest["format"], str(manifest["key"])
        stated = [
            (str(name), str(s["file"]), int(s["bytes"]), str(s["blake2b"])) for name, s in manifest["arrays"].items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be understood"
    if version != FORMAT:
        return None  # of another version of tlbench, which will know
    if folder_name(key) != folder.name:
        return f"{MANIFEST} is of another entry"
    for name, file, num_bytes, digest in stated:
        path = folder / file
        if not path.is_file():
            return f"{name} ({file}) is missing"
        stat = path.stat()
        if stat.st_size != num_bytes:
            return f"{name} ({file}) has {stat.st_size:,} bytes and was written with {num_bytes:,}"
        at = (stat.st_dev, stat.st_ino)
        if at not in known:
            known[at] = hash_of(path)
        if known[at] != digest:
            return f"{name} ({file}) has another content than was written"
    return None


def _fault_of_measurement(path: Path) -> str | None:
    try:
        is_sound = math.isfinite(float(json.loads(path.read_bytes())["gain"]))
    except (ValueError, KeyError, TypeError):
        is_sound = False
    return None if is_sound else "holds no measurement"
