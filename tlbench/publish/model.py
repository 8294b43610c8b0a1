"""What is published, what came of it, and what a place is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Bundle:
    """A folder, its files (paths below it, in order, with their sizes in bytes), and what to say of them."""

    folder: Path
    files: Mapping[str, int]
    notes: tuple[str, ...] = field(default=())

    @property
    def size(self) -> int:
        return sum(self.files.values())


class Published(NamedTuple):
    """Where it can be seen, whether anything there was changed, and how many stale files went."""

    address: str
    changed: bool
    removed: int = 0


class Place(Protocol):
    """Where a bundle goes. ``title`` is for people; ``card`` is what README.md it wants, if any."""

    @property
    def title(self) -> str: ...
    @property
    def card(self) -> str: ...
    def put(self, bundle: Bundle) -> Published:
        """Publish it, whole or not at all. Raises ``TlbenchError`` where that cannot be done."""
