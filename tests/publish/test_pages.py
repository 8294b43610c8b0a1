"""Publishing to pages: real git against a bare repository on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tlbench.errors import TlbenchError
from tlbench.publish.manifest import MANIFEST
from tlbench.publish.pages import Git, Pages, hidden

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlbench.publish.model import Bundle

BRANCH = "refs/heads/gh-pages"


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare repository with a first commit, and the current folder is a clone of it with somebody's work under way."""
    for variable in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "gitconfig").write_text(
        "[user]\n name = Ada\n email = ada@example.org\n[init]\n defaultBranch = main\n"
        "[core]\n autocrlf = input\n safecrlf = false\n"
    )
    remote, clone = tmp_path / "remote.git", tmp_path / "clone"
    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True)
    subprocess.run(["git", "clone", "--quiet", str(remote), str(clone)], check=True, capture_output=True)
    (clone / "code.py").write_text("1")
    git(clone, "add", ".")
    git(clone, "commit", "-m", "first")
    git(clone, "push", "origin", "HEAD:main")
    (clone / "code.py").write_text("2")
    (clone / "staged.py").write_text("staged")
    git(clone, "add", "staged.py")
    (clone / "untracked.py").write_text("untracked")
    monkeypatch.chdir(clone)
    return remote


def published(remote: Path, branch: str = "gh-pages") -> dict[str, str]:
    names = git(remote, "ls-tree", "-r", "--name-only", branch).splitlines()
    return {name: git(remote, "show", f"{branch}:{name}") for name in names}


def test_the_first_publication_makes_the_branch_and_touches_no_other_file(
    remote: Path, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    clone = tmp_path / "clone"
    before = git(clone, "status", "--porcelain=v2", "--branch"), (clone / ".git" / "index").read_bytes()
    bundle = bundle_of(index_html="one", data__x_js="a\r\nb", runs__a__records__1_jsonl="{}", build__a_o="ignored?")
    done = Pages().put(bundle)
    assert done.changed
    found = published(remote)
    assert found.keys() == bundle.files.keys() | {".nojekyll"}
    assert subprocess.check_output(["git", "-C", str(remote), "show", "gh-pages:data/x.js"]) == b"a\r\nb"
    assert (git(clone, "status", "--porcelain=v2", "--branch"), (clone / ".git" / "index").read_bytes()) == before
    assert git(remote, "rev-list", "--count", BRANCH) == "1"
    assert git(remote, "log", "-1", "--format=%an", BRANCH) == "Ada"
    assert git(clone, "for-each-ref", "refs/heads").count("\n") == 0


def test_nothing_new_makes_no_commit_and_an_update_takes_out_only_its_own(
    remote: Path, tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    Pages().put(bundle_of(index_html="one", old__page_html="old"))
    assert not Pages().put(bundle_of(index_html="one", old__page_html="old")).changed
    assert git(remote, "rev-list", "--count", BRANCH) == "1"
    theirs = tmp_path / "theirs"
    subprocess.run(["git", "clone", "--quiet", "--branch", "gh-pages", str(remote), str(theirs)], check=True)
    (theirs / "CNAME").write_text("board.example.org")
    git(theirs, "add", ".")
    git(theirs, "commit", "-m", "a name")
    git(theirs, "push", "origin", "HEAD")
    done = Pages().put(bundle_of(index_html="two", new_html="new"))
    assert (done.changed, done.removed) == (True, 1)
    found = published(remote)
    assert found.keys() == {"index.html", "new.html", "CNAME", ".nojekyll", MANIFEST}
    assert found["index.html"] == "two"
    assert git(remote, "rev-list", "--count", BRANCH) == "3"


def test_who_pushes_at_the_same_time_is_kept_and_ours_goes_on_top(
    remote: Path, tmp_path: Path, bundle_of: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    Pages().put(bundle_of(index_html="one"))
    theirs = tmp_path / "theirs"
    subprocess.run(["git", "clone", "--quiet", "--branch", "gh-pages", str(remote), str(theirs)], check=True)
    whole, waiting = Git.__call__, ["LICENSE"]

    def meanwhile(self: Git, *words: str, **more: object) -> str:
        if words[0] == "push" and waiting:
            (theirs / waiting.pop()).write_text("theirs")
            git(theirs, "add", ".")
            git(theirs, "commit", "-m", "meanwhile")
            git(theirs, "push", "origin", "HEAD")
        return whole(self, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Git, "__call__", meanwhile)
    assert Pages().put(bundle_of(index_html="two")).changed
    assert waiting == []
    assert published(remote)["index.html"] == "two"
    assert published(remote)["LICENSE"] == "theirs"
    assert git(remote, "log", "--format=%s", BRANCH).splitlines()[1] == "meanwhile"


def test_a_remote_that_refuses_is_said_and_nothing_is_forced(remote: Path, bundle_of: Callable[..., Bundle]) -> None:
    Pages().put(bundle_of(index_html="one"))
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nprintf 'protected\\033[31m branch\\n' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(TlbenchError, match="protected") as error:
        Pages().put(bundle_of(index_html="two"))
    assert "\x1b" not in str(error.value)
    assert published(remote)["index.html"] == "one"


def test_a_branch_with_other_content_is_left_alone(remote: Path, bundle_of: Callable[..., Bundle]) -> None:
    with pytest.raises(TlbenchError, match=r"branch main of origin holds files .*'code\.py'"):
        Pages(branch="main").put(bundle_of(index_html="one"))
    assert published(remote, "main") == {"code.py": "1"}


def test_an_address_works_from_any_folder_and_leaves_no_trace_there(
    remote: Path, tmp_path: Path, bundle_of: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(TlbenchError, match="no git remote 'origin'; --remote ADDRESS"):
        Pages().put(bundle_of(index_html="one"))
    assert Pages(str(remote)).put(bundle_of(index_html="one")).changed
    assert Pages(f"file://{remote}", "site").put(bundle_of(index_html="one")).changed
    assert not Pages(f"file://{remote}", "site").put(bundle_of(index_html="one")).changed
    assert published(remote, "site")["index.html"] == "one"
    assert list(elsewhere.iterdir()) == []


def test_what_git_refuses_is_told_without_the_password_in_an_address(
    remote: Path, bundle_of: Callable[..., Bundle]
) -> None:
    address = "http://ada:s3cret-t0ken@127.0.0.1:9/board.git"  # the port of nobody
    with pytest.raises(TlbenchError, match="failed") as error:
        Pages(address).put(bundle_of(index_html="one"))
    assert "127.0.0.1" in str(error.value)
    assert "s3cret" not in str(error.value) + Pages(address).title
    assert (
        hidden("fatal: 'https://x-access-token:abc@github.com/a/b' denied") == "fatal: 'https://github.com/a/b' denied"
    )


@pytest.mark.parametrize(("name", "words"), [("--upload-pack=touch x", "hyphen"), ("nobody", "no git remote")])
def test_a_name_that_is_no_remote_is_said(
    remote: Path, bundle_of: Callable[..., Bundle], name: str, words: str
) -> None:
    with pytest.raises(TlbenchError, match=words):
        Pages(name).put(bundle_of(index_html="one"))


@pytest.mark.parametrize("branch", ["--all", "a..b", "a b", "x^{}"])
def test_a_name_that_is_no_branch_is_said(remote: Path, bundle_of: Callable[..., Bundle], branch: str) -> None:
    with pytest.raises(TlbenchError):
        Pages(branch=branch).put(bundle_of(index_html="one"))
    assert git(remote, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_git_that_does_not_know_who_commits_says_how_to_tell_it(
    remote: Path, tmp_path: Path, bundle_of: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gitconfig").write_text("[user]\n useConfigOnly = true\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(TlbenchError, match=r"user\.name|user\.email|tell me who you are"):
        Pages().put(bundle_of(index_html="one"))


def test_a_machine_without_git_is_told(
    remote: Path, tmp_path: Path, bundle_of: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "env").symlink_to(str(shutil.which("env")))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(TlbenchError, match="git is not installed"):
        Pages().put(bundle_of(index_html="one"))
