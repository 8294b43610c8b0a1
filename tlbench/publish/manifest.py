"""The manifest: a file that says which of the published files are ours, so that no others are ever touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tlbench.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

MANIFEST = "tlbench-published.json"
MADE_BY = "tlbench publish"
HARMLESS = frozenset({".gitattributes", ".gitignore", ".nojekyll", "CNAME", "LICENSE", "LICENSE.md", "README.md"})
"""What a place may hold before the first publication."""
MOST_BYTES = 64 << 20


def manifest(files: Iterable[str]) -> str:
    """The manifest of these files, which are paths below it."""
    return json.dumps({"made_by": MADE_BY, "files": sorted({*files, MANIFEST})}, indent=0) + "\n"


def listed(content: bytes, where: str) -> frozenset[str]:
    """The files that a manifest lists. Raises ``StoreError`` where it is none."""
    try:
        data: Any = json.loads(content) if len(content) <= MOST_BYTES else None
        files = data["files"] if data["made_by"] == MADE_BY else None
        if isinstance(files, list) and all(isinstance(name, str) for name in files):
            return frozenset(files)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise StoreError(f"{where}: {MANIFEST} is damaged, so it cannot be known which files are ours; nothing was changed")


def stale(there: Iterable[str], before: bytes | None, now: Iterable[str], where: str) -> list[str]:
    """The files that an earlier publication left and this one has not.

    Raises ``StoreError`` where the place holds what no publication put there, and has no manifest.
    """
    files = set(there)
    if before is None:
        if others := sorted(files - HARMLESS):
            some = ", ".join(map(repr, others[:3])) + (f" and {len(others) - 3} others" if len(others) > 3 else "")
            raise StoreError(f"{where} holds files that tlbench did not put there: {some}; choose an empty place")
        return []
    return sorted((listed(before, where) & files) - set(now) - {MANIFEST})
