"""The conditions of a measurement are looked at and left as they are."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tlbench.execution.environment import git_state

if TYPE_CHECKING:
    from pathlib import Path


def test_looking_at_a_checkout_writes_nothing_to_it(tmp_path: Path) -> None:
    """A file that was touched and not changed: a plain `git status` would note that in the index."""

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    module = tmp_path / "__init__.py"
    module.write_text("")
    git("init", "--quiet")
    git("add", "__init__.py")
    git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "first")
    os.utime(module, (1, 1))
    before = (tmp_path / ".git" / "index").read_bytes()
    state = git_state(tmp_path)
    assert state is not None
    assert state["dirty"] is False
    assert (tmp_path / ".git" / "index").read_bytes() == before
    git("status")
    assert (tmp_path / ".git" / "index").read_bytes() != before, "else the above shows nothing"
