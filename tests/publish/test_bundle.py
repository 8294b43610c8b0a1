"""What is published of a run: all that is needed to check it, and nothing that tells of the machine."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml

from tlbench.cli import main
from tlbench.errors import TlbenchError
from tlbench.loading import loaded
from tlbench.publish.bundle import gather
from tlbench.publish.manifest import MANIFEST, listed
from tlbench.publish.privacy import Kept, paths_in, public, shortened
from tlbench.results.integrity import digests
from tlbench.results.store import RunFolder
from tlbench.results.verify import standing, verify

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench.plugins import Plugins

HOST, HOME = "rosebud.example.internal", "/home/ada/secret-project"


def holding(folder: Path, word: str) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.is_file() and word.encode() in p.read_bytes()]


def rewritten(run: Path, **changes: Any) -> None:
    """The same run with other fields in every record."""
    records = [replace(r, **changes) for r in RunFolder.open(run).records().values()]
    for file in (run / "records").iterdir():
        file.unlink()
    with RunFolder(run).writing() as writer:
        for record in records:
            writer.write(record)


def test_the_site_the_reports_the_records_and_the_plan_are_published_and_nothing_else_of_the_folder(
    run: Path, tmp_path: Path, plugins: Plugins
) -> None:
    bundle = gather([run], tmp_path / "work", plugins)
    names = set(bundle.files)
    assert {"index.html", MANIFEST, "runs/my-run/run.json", "runs/my-run/records/0001.jsonl"} <= names
    reports = ("md", "tex", "csv", "json", "parquet")
    assert {f"downloads/leaderboard.{form}" for form in reports} | {"downloads/badge.svg"} <= names
    assert {"downloads/pairs.parquet", "downloads/trials.parquet"} <= names
    assert {name.split("/")[0] for name in names} == {
        "assets", "data", "downloads", "runs", "index.html", MANIFEST,
    }  # fmt: skip
    assert not holding(bundle.folder, "never leaves")
    assert listed((bundle.folder / MANIFEST).read_bytes(), "") == names
    assert bundle.files == {name: (bundle.folder / name).stat().st_size for name in names}


def test_neither_the_host_nor_a_folder_of_this_machine_is_in_any_file(
    run: Path, tmp_path: Path, plugins: Plugins
) -> None:
    bundle = gather([run], tmp_path / "work", plugins)
    for private in (HOST, HOME, "secret-project", str(tmp_path)):
        assert holding(bundle.folder, private) == [], private
    assert any("--keep-host" in note for note in bundle.notes)
    lost = next(r for r in RunFolder(bundle.folder / "runs/my-run").records().values() if r.status == "failed")
    assert lost.reason == ("FileNotFoundError: [Errno 2] No such file: '…/mnist.npz' (see https://example.org/a/b)")
    whole = gather([run], tmp_path / "whole", plugins, kept=Kept(hosts=True, paths=True))
    assert "0001.jsonl" in holding(whole.folder, HOST)
    assert holding(whole.folder, HOME)


def test_the_published_records_make_the_same_board_and_check_as_any_run(
    run: Path, tmp_path: Path, plugins: Plugins
) -> None:
    bundle = gather([run], tmp_path / "work", plugins)
    copy = bundle.folder / "runs" / "my-run"
    before, after = loaded([run], plugins).board, loaded([copy], plugins).board
    pd.testing.assert_frame_equal(before.to_frame(), after.to_frame())
    pd.testing.assert_frame_equal(before.pairs_frame(), after.pairs_frame())
    tables = pd.read_csv(bundle.folder / "downloads" / "pairs.csv")
    assert tables["gain"].tolist() == pytest.approx(before.pairs_frame()["gain"].tolist())
    whole, shown = ({(f.check, f.text) for f in verify(folder, plugins).faults} for folder in (run, copy))
    assert whole == shown


def test_the_same_runs_make_the_same_bytes(run: Path, tmp_path: Path, plugins: Plugins) -> None:
    one, two = (gather([run], tmp_path / name, plugins, card="dataset") for name in ("one", "two"))
    assert one.files == two.files
    assert [n for n in one.files if (one.folder / n).read_bytes() != (two.folder / n).read_bytes()] == []


def test_runs_of_one_name_stay_apart(run: Path, tmp_path: Path, plugins: Plugins) -> None:
    other = tmp_path / "elsewhere" / "my run"
    other.parent.mkdir()
    run.rename(other)
    with RunFolder(run).writing() as writer:
        for record in RunFolder(other).records().values():
            writer.write(record)
    bundle = gather([run, other], tmp_path / "work", plugins)
    folders = {name.split("/")[1] for name in bundle.files if name.startswith("runs/")}
    assert folders == {"my-run", "my-run-2"}


def test_a_path_in_what_makes_the_key_is_for_the_user_to_decide(run: Path, tmp_path: Path, plugins: Plugins) -> None:
    records = list(RunFolder.open(run).records().values())
    for record in records:
        record.trial["target"]["params"]["folder"] = f"{HOME}/images"  # type: ignore[index]
    (run / "run.json").unlink()
    for file in (run / "records").iterdir():
        file.unlink()
    with RunFolder(run).writing() as writer:
        for record in records:
            writer.write(record)
    with pytest.raises(TlbenchError, match=rf"{HOME}/images.*--keep-paths"):
        gather([run], tmp_path / "work", plugins)
    bundle = gather([run], tmp_path / "kept", plugins, kept=Kept(paths=True))
    assert holding(bundle.folder / "runs", HOME)


def test_what_verify_found_goes_along_and_a_void_one_does_not(run: Path, tmp_path: Path, plugins: Plugins) -> None:
    found = verify(run, plugins).to_json() | {"notes": [f"looked at {HOME}/x"]}
    (run / "verification.json").write_text(json.dumps(found))
    copy = gather([run], tmp_path / "work", plugins).folder / "runs" / "my-run"
    assert digests(copy) != digests(run)  # the host is gone
    assert standing(copy) == standing(run)
    assert "changed" not in standing(copy).text
    assert holding(copy, HOME) == []
    rewritten(run, suite="another")
    copy = gather([run], tmp_path / "again", plugins).folder / "runs" / "my-run"
    assert not (copy / "verification.json").exists()


def test_signatures_go_along_only_where_they_still_hold(run: Path, tmp_path: Path, plugins: Plugins) -> None:
    (run / "signatures").mkdir()
    (run / "signatures" / "ab.json").write_text("{}")
    bundle = gather([run], tmp_path / "work", plugins)
    assert not [n for n in bundle.files if "signatures" in n]
    assert any("signatures are left out" in note for note in bundle.notes)
    whole = gather([run], tmp_path / "whole", plugins, kept=Kept(hosts=True, paths=True))
    assert "runs/my-run/signatures/ab.json" in whole.files
    assert digests(whole.folder / "runs" / "my-run") == digests(run)


def test_predictions_are_published_on_request_alone(run: Path, tmp_path: Path, plugins: Plugins) -> None:
    key = next(iter(RunFolder(run).records()))
    (run / "predictions").mkdir()
    (run / "predictions" / f"{key}.npz").write_bytes(b"scores")
    (run / "predictions" / f"{'0' * 32}.npz").write_bytes(b"of no record")
    assert not [n for n in gather([run], tmp_path / "a", plugins).files if n.endswith(".npz")]
    found = gather([run], tmp_path / "b", plugins, predictions=True).files
    assert [n for n in found if n.endswith(".npz")] == [f"runs/my-run/predictions/{key}.npz"]


def test_a_card_has_the_tables_for_the_viewer_and_harmless_names(run: Path, tmp_path: Path, plugins: Plugins) -> None:
    rewritten(run, suite="x\n---\nlicense: none\n# <script>[a](b)")
    bundle = gather([run], tmp_path / "a", plugins, card="dataset", license="cc-by-4.0")
    text = (bundle.folder / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    data = yaml.safe_load(header)
    assert data["license"] == "cc-by-4.0"
    assert [c["config_name"] for c in data["configs"]] == ["leaderboard", "pairs", "trials"]
    assert [c["config_name"] for c in data["configs"] if c.get("default")] == ["leaderboard"]
    for config in data["configs"]:
        assert config["data_files"][0]["path"] in bundle.files
    assert "<script" not in body
    space = gather([run], tmp_path / "b", plugins, card="space").folder / "README.md"
    header = yaml.safe_load(space.read_text().split("---\n")[1])
    assert (header["sdk"], header["app_file"]) == ("static", "index.html")


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("no file '/srv/x/y.npz'", "no file '…/y.npz'"),
        ("at /data/a b", "at …/a b"),
        ("file:///srv/x/y.py:12: error", "…/y.py:12: error"),
        ("C:\\Users\\ada\\x.png is gone", "…/x.png is gone"),
        ("~/datasets/pacs", "…/pacs"),
        ("https://huggingface.co/datasets/a/b", "https://huggingface.co/datasets/a/b"),
        ("1/2 of a/b/c, 12 examples/s", "1/2 of a/b/c, 12 examples/s"),
        ("owner/name and ../shared/data", "owner/name and ../shared/data"),
        ("…/y.npz", "…/y.npz"),
    ],
)
def test_a_path_keeps_its_last_part_and_all_else_stays(said: str, left: str) -> None:
    assert shortened({"a": [said]}) == {"a": [left]}
    assert list(paths_in({"p": said})) == [] if said == left else list(paths_in({"p": said}))


def test_making_a_record_public_changes_nothing_that_makes_its_key_or_its_result(run: Path) -> None:
    for record in RunFolder(run).records().values():
        shown = public(record)
        changed = {n for n, v in vars(record).items() if getattr(shown, n) != v}
        assert changed <= {"environment", "reason"}
        assert {n for n, v in record.environment.items() if shown.environment[n] != v} == {"host"}


def test_a_dry_run_lists_every_file_with_its_size_and_does_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    before = sorted(p for p in tmp_path.rglob("*"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    assert main(["publish", str(run), "--no-plugins", "--to", str(out), "--dry-run"]) == 0
    said = capsys.readouterr()
    assert sorted(p for p in tmp_path.rglob("*")) == sorted([*before, tmp_path / "tmp"])
    assert said.out.startswith(f"{out}:\n")
    assert "nothing was sent or written" in said.out
    assert main(["publish", str(run), "--no-plugins", "--to", str(out)]) == 0
    written = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert {line.split()[-1] for line in said.out.splitlines()[1:-1]} == written
    assert f"published {len(written)} files" in capsys.readouterr().out
    assert main(["publish", str(run), "--no-plugins", "--to", str(out)]) == 0
    assert "nothing new" in capsys.readouterr().out


@pytest.mark.parametrize("to", ["gh-pages", "hf://datasets/acme/board", "hf://spaces/acme/board"])
def test_a_dry_run_asks_nobody(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, to: str
) -> None:
    def never(*words: object, **more: object) -> None:
        raise AssertionError(words)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tlbench.publish.pages.subprocess.run", never)
    monkeypatch.setattr("socket.socket.connect", never)
    assert main(["publish", str(run), "--no-plugins", "--to", to, "--dry-run"]) == 0
    assert "index.html" in capsys.readouterr().out


def test_a_folder_that_is_no_run_and_a_place_that_is_none_are_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(tmp_path / "nothing"), "--to", str(tmp_path / "x")]) == 1
    assert "is no run folder" in capsys.readouterr().err
    assert main(["publish", str(run), "--to", "hf://acme"]) == 1
    assert "names no place" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_run_in_which_nothing_ended_well_is_said_by_its_name(run: Path, tmp_path: Path, plugins: Plugins) -> None:
    rewritten(run, status="failed", metrics={})
    with pytest.raises(TlbenchError, match=r"^my-run: no trial has ended well"):
        gather([run], tmp_path / "work", plugins)
