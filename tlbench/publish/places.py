"""Places: where a bundle can go, and how each is named on the command line.

FOLDER                      a folder on this machine
gh-pages                    a branch of a git remote that serves pages
hf://datasets/OWNER/NAME    a data set of the hub
hf://spaces/OWNER/NAME      a static Space of the hub
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    from tlbench.publish.model import Place

PAGES = "gh-pages"
FORMS = "a folder, gh-pages, hf://datasets/OWNER/NAME or hf://spaces/OWNER/NAME"


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
