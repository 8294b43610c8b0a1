"""Pages: one commit on a branch of a git remote, made without touching the working tree, the index or other files.

Git itself does all that needs a remote, with the credentials that it has: nothing here sees them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench import __version__
from tlbench.errors import TlbenchError
from tlbench.leaderboard.text import clean
from tlbench.publish.manifest import MANIFEST, stale
from tlbench.publish.model import Published

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlbench.publish.model import Bundle

MESSAGE = f"Publish the leaderboard (tlbench {__version__})"
EMPTY = ".nojekyll"
"""Without this file GitHub would leave out what begins with an underscore."""
_TRIES = 2
_NO_COMMAND = 127
"""What ``env`` returns where there is no such command."""


class GitError(TlbenchError):
    """Git refused; what it said, without credentials."""


@dataclass(frozen=True)
class Pages:
    """A branch of a remote, given by the name that it has in the repository of the current folder or by its address."""

    remote: str = "origin"
    branch: str = "gh-pages"
    card = ""

    @property
    def title(self) -> str:
        return f"branch {self.branch} of {hidden(self.remote)}"

    def put(self, bundle: Bundle) -> Published:
        """Commit the bundle on top of what is there, and push it; the other files of the branch stay as they are.

        Where somebody else pushes at the same time, once more on top of theirs; never by force. Without a change
        there is no commit.
        """
        with tempfile.TemporaryDirectory(prefix="tlbench-pages-") as temporary:
            git = self._git(Path(temporary))
            blobs = _blobs(git, bundle, Path(temporary))
            for _ in range(_TRIES - 1):
                try:
                    return self._commit(git, blobs)
                except GitError as error:
                    if not re.search(r"rejected|fetch first|cannot lock ref|non-fast-forward", str(error)):
                        raise
            return self._commit(git, blobs)

    def _git(self, temporary: Path) -> Git:
        """The repository of the current folder, or for an address an empty one; with an index of its own."""
        environment = {"GIT_INDEX_FILE": str(temporary / "index")}
        if not sys.stdin or not sys.stdin.isatty():
            environment["GIT_TERMINAL_PROMPT"] = "0"  # nobody is there to answer
        if self.remote.startswith("-") or self.branch.startswith("-"):
            raise TlbenchError(f"{self.title}: a name cannot begin with a hyphen")
        if re.search(r"[:/\\]", self.remote):
            remote = self.remote if "://" in self.remote or ":" in self.remote else str(Path(self.remote).resolve())
            git = Git(temporary, environment | {"GIT_DIR": str(temporary / "git")}, remote, ("--depth=1",))
            git("init", "--quiet", "--bare")
        else:
            git = Git(Path.cwd(), environment, self.remote)
            try:
                git("remote", "get-url", self.remote)
            except GitError as error:
                raise TlbenchError(
                    f"the current folder has no git remote {self.remote!r}; --remote ADDRESS names another"
                ) from error
        git("check-ref-format", f"refs/heads/{self.branch}")
        return git

    def _commit(self, git: Git, blobs: Mapping[str, str]) -> Published:
        reference = f"refs/heads/{self.branch}"
        tip = git("ls-remote", git.remote, reference).partition("\t")[0]
        there: dict[str, str] = {}
        before = None
        Path(git.environment["GIT_INDEX_FILE"]).unlink(missing_ok=True)
        if tip:
            git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", *git.depth, git.remote, reference)
            git("read-tree", tip)
            for line in git("ls-tree", "-r", "-z", "--full-tree", tip).split("\0"):
                head, _, name = line.partition("\t")
                if name:
                    there[name] = head
            if MANIFEST in there:
                before = git.bytes("cat-file", "blob", f"{tip}:{MANIFEST}")
        gone = stale(there, before, blobs, self.title)
        none = "0" * len(blobs[MANIFEST])
        changes = [f"0 {none}\t{name}" for name in gone] + [f"100644 {sha}\t{name}" for name, sha in blobs.items()]
        git("update-index", "-z", "--index-info", given="\0".join(changes) + "\0")
        tree = git("write-tree")
        address = _address(git)
        if tip and tree == git("rev-parse", f"{tip}^{{tree}}"):
            return Published(address, changed=False)
        commit = git("commit-tree", tree, *(("-p", tip) if tip else ()), "-m", MESSAGE)
        git("push", "--quiet", git.remote, f"{commit}:{reference}")
        return Published(address, changed=True, removed=len(gone))


@dataclass(frozen=True)
class Git:
    """Git in a folder, with these variables added to the environment."""

    folder: Path
    environment: Mapping[str, str]
    remote: str
    depth: tuple[str, ...] = ()
    """How much of the remote's history is fetched: all of it, where this is a repository that others use."""

    def __call__(self, *words: str, given: str | None = None) -> str:
        """What it prints. Raises ``GitError`` where it refuses."""
        return self.bytes(*words, given=given).decode(errors="replace").strip()

    def bytes(self, *words: str, given: str | None = None) -> bytes:
        added = [f"{name}={value}" for name, value in {**self.environment, "LC_ALL": "C"}.items()]
        done = subprocess.run(
            ["env", *added, "git", "-C", str(self.folder), *words],
            input=None if given is None else given.encode(),
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            check=False,
        )
        if done.returncode == _NO_COMMAND:
            raise TlbenchError("git is not installed, and pages are published through it")
        if done.returncode:
            lines = [clean(line) for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
            raise GitError(f"git {words[0]} of {hidden(self.remote)} failed: {hidden('; '.join(lines[-6:]))}")
        return done.stdout


def hidden(said: str) -> str:
    """A text without the user and the password of any address in it."""
    return re.sub(r"([A-Za-z][\w+.-]*://)[^/\s]*@", r"\1", said)


def _blobs(git: Git, bundle: Bundle, temporary: Path) -> dict[str, str]:
    """The bundle's files in git's store, byte for byte: no filter, line ending or ignore file acts on them."""
    names = [*bundle.files]
    empty = temporary / "empty"
    empty.touch()
    paths = [str(bundle.folder / name) for name in names] + [str(empty)]
    shas = git("hash-object", "-w", "--no-filters", "--stdin-paths", given="\n".join(paths) + "\n").split()
    return dict(zip([*names, EMPTY], shas, strict=True))


def _address(git: Git) -> str:
    """Where GitHub shows the branch, where the remote is there; else the remote."""
    named = not re.search(r"[:/\\]", git.remote)
    address = hidden(git("remote", "get-url", git.remote) if named else git.remote)
    found = re.search(r"github\.com[:/]([\w-]+)/([\w.-]+?)(?:\.git)?/?$", address)
    if found is None:
        return address
    owner, name = found[1].lower(), found[2]
    site = f"https://{owner}.github.io/"
    return site if name.lower() == f"{owner}.github.io" else f"{site}{name}/"
