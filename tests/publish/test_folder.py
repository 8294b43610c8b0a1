"""Publishing to a folder, and the names of places."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.errors import StoreError, TlbenchError
from tlbench.publish.folder import Folder
from tlbench.publish.hub import Hub
from tlbench.publish.manifest import MANIFEST
from tlbench.publish.pages import Pages
from tlbench.publish.places import place

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.publish.model import Bundle


def files(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_is_made_with_its_parents_replaced_and_left_where_nothing_is_new(
    tmp_path: Path, bundle_of: Callable[..., Bundle]
) -> None:
    out = tmp_path / "a" / "site"
    first, second = bundle_of(index_html="one", old__x_html="old"), bundle_of(index_html="two")
    assert Folder(out).put(first).changed
    assert files(out) == files(first.folder)
    inode = out.stat().st_ino
    assert not Folder(out).put(first).changed
    assert out.stat().st_ino == inode
    assert Folder(out).put(second)[1:] == (True, 1)
    assert files(out) == files(second.folder)
    assert [p.name for p in out.parent.iterdir()] == ["site"]


def test_an_empty_folder_may_be_used(tmp_path: Path, bundle_of: Callable[..., Bundle]) -> None:
    (tmp_path / "site").mkdir()
    assert Folder(tmp_path / "site").put(bundle_of(index_html="one")).changed


@pytest.mark.parametrize("what", ["thesis.tex", "README.md", ".git/config", "index.html"])
def test_a_folder_that_tlbench_did_not_make_is_never_touched(
    tmp_path: Path, bundle_of: Callable[..., Bundle], what: str
) -> None:
    out = tmp_path / "mine"
    (out / what).parent.mkdir(parents=True)
    (out / what).write_text("precious")
    with pytest.raises(StoreError, match=r"mine holds .*did not put there"):
        Folder(out).put(bundle_of(index_html="one"))
    assert files(out) == {what: "precious"}


def test_a_file_put_into_a_published_folder_is_not_lost(tmp_path: Path, bundle_of: Callable[..., Bundle]) -> None:
    out = tmp_path / "site"
    Folder(out).put(bundle_of(index_html="one"))
    (out / "notes.txt").write_text("precious")
    with pytest.raises(StoreError, match=r"'notes\.txt'"):
        Folder(out).put(bundle_of(index_html="two"))
    assert (out / "notes.txt").read_text() == "precious"
    (out / "notes.txt").unlink()
    (out / "link").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="'link'"):
        Folder(out).put(bundle_of(index_html="two"))


@pytest.mark.parametrize(
    "content", ["", "[]", '{"files": ["notes.txt"]}', '{"made_by": "tlbench publish", "files": 3}']
)
def test_a_damaged_manifest_protects_all(tmp_path: Path, bundle_of: Callable[..., Bundle], content: str) -> None:
    out = tmp_path / "site"
    out.mkdir()
    (out / "notes.txt").write_text("precious")
    (out / MANIFEST).write_text(content)
    with pytest.raises(StoreError, match="damaged"):
        Folder(out).put(bundle_of(index_html="one"))
    assert (out / "notes.txt").read_text() == "precious"


def test_where_the_new_folder_cannot_be_put_the_old_one_comes_back(
    tmp_path: Path, bundle_of: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    Folder(out).put(bundle_of(index_html="one"))
    whole = Path.replace

    def full(self: Path, target: Any) -> Path:
        if self.name.endswith(".part"):
            raise OSError(28, "No space left on device")
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError, match=r"cannot publish to .*No space left"):
        Folder(out).put(bundle_of(index_html="two"))
    assert (out / "index.html").read_text() == "one"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".site")] == []


def test_a_link_is_followed_and_stays_and_a_file_is_refused(tmp_path: Path, bundle_of: Callable[..., Bundle]) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    Folder(tmp_path / "link").put(bundle_of(index_html="one"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "index.html").read_text() == "one"
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StoreError, match="is a file"):
        Folder(tmp_path / "file").put(bundle_of(index_html="one"))


def test_each_place_has_its_name() -> None:
    assert place("hf://datasets/acme/board") == Hub("dataset", "acme/board")
    assert place("hf://spaces/acme/my.board_2", private=True) == Hub("space", "acme/my.board_2", True)
    assert place("gh-pages", remote="up", branch="docs") == Pages("up", "docs")
    assert place("out/site") == Folder(Path("out/site"))
    assert place("./gh-pages") == Folder(Path("gh-pages"))


@pytest.mark.parametrize(
    "to",
    ["hf://acme/board", "hf://models/acme/board", "hf://datasets/acme", "hf://datasets/a/b/c", "hf:datasets/a/b", "",
     "https://huggingface.co/datasets/a/b", "s3://bucket/x", "git@github.com:a/b.git", "hf://datasets/../b\n"],
)  # fmt: skip
def test_what_names_no_place_says_what_does(to: str) -> None:
    with pytest.raises(TlbenchError, match="hf://datasets/OWNER/NAME"):
        place(to)
