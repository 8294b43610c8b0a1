"""Places: where a bundle can go, and how each is named on the command line.

FOLDER                      a folder on this machine
gh-pages                    a branch of a git remote that serves pages
hf://datasets/OWNER/NAME    a data set of the hub
hf://spaces/OWNER/NAME      a static Space of the hub
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGES = "gh-pages"
FORMS = "a folder, gh-pages, hf://datasets/OWNER/NAME or hf://spaces/OWNER/NAME"


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


def place(to: str, *, remote: str = "origin", branch: str = PAGES, private: bool = False) -> Place:
    """The place of this name. Raises ``TlbenchError`` where it names none."""
    if to == PAGES:
        from tlbench.publish.pages import Pages

        return Pages(remote, branch)
    if to.startswith("hf:"):
        found = re.fullmatch(r"hf://(datasets|spaces)/([\w.-]+/[\w.-]+)/?", to, re.ASCII)
        if found is None:
            raise TlbenchError(f"--to {to!r} names no place of the hub; it is {FORMS}")
        from tlbench.publish.hub import Hub

        return Hub("dataset" if found[1] == "datasets" else "space", found[2], private)
    if re.match(r"\w[\w+.-]*://|\w+@[\w.-]+:", to):
        raise TlbenchError(f"--to {to!r} is no place that tlbench knows: it is {FORMS} (--remote names a git remote)")
    if not to.strip():
        raise TlbenchError(f"--to is empty; it is {FORMS}")
    from tlbench.publish.folder import Folder

    return Folder(Path(to))
