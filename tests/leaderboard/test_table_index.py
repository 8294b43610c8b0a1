"""The index of a board: the same board as from the text, and never believed over it."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlbench.leaderboard import board, index, pairing
from tlbench.leaderboard.compact import Texts
from tlbench.leaderboard.pairing import Pairing, pair
from tlbench.leaderboard.statistics import CurveGains
from tlbench.leaderboard.table import Table
from tlbench.loading import loaded
from tlbench.plugins import Plugins
from tlbench.results.lines import to_line
from tlbench.results.store import RunFolder

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.discover()


@pytest.fixture(params=["quick", "everything"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a real run, of which an index is kept however small it is."""
    monkeypatch.setattr(index, "LEAST_BYTES", 1)
    copy = tmp_path / "run"
    shutil.copytree(RESULTS / request.param, copy, ignore=shutil.ignore_patterns("leaderboard", "index"))
    return copy


def kept(run: Path) -> Path:
    (path,) = (run / "index").glob("*.npz")
    return path


def read(run: Path) -> Any:
    return index.read([run], None, index.state([run], None))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(a.dtype.kind == b.dtype.kind and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, CurveGains):
        return all(map(same, a, b))
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[k], b[k]) for k in a)
    return bool(a == b)


def test_a_table_from_the_index_is_that_of_the_text(run: Path, plugins: Plugins) -> None:
    text = loaded([run], plugins)
    found = read(run)
    assert found is not None
    for field in dataclasses.fields(Table):
        assert same(getattr(text.board.table, field.name), getattr(found.table, field.name)), field.name
    for field in dataclasses.fields(Pairing):
        assert same(getattr(text.board.pairing, field.name), getattr(found.pairing, field.name)), field.name
    again = loaded([run], plugins)
    assert again.notes == text.notes
    assert again.board.to_frame().equals(text.board.to_frame())
    assert again.board.pairs_frame().equals(text.board.pairs_frame())
    assert again.board.notes == text.board.notes
    assert again.records == text.records
    assert again.planned == text.planned


def test_what_the_index_says_of_references_is_used(
    run: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_pairing(table: Table) -> Pairing:
        pytest.fail("references were looked for again")

    loaded([run], plugins)
    for module in (board, pairing):
        monkeypatch.setattr(module, "pair", no_pairing)
    assert loaded([run], plugins).board.groups
    monkeypatch.setattr(board, "pair", pair)  # of grids made one the table is another
    assert loaded([run], plugins, tuned=True).board.groups


def test_many_equal_texts_are_kept_once_and_read_as_a_sequence() -> None:
    texts = Texts.of(["", "b", "", "a", "b"])
    assert texts.distinct == ("", "b", "a")
    assert texts == ["", "b", "", "a", "b"]
    assert texts[1:] == ("b", "", "a", "b")
    assert (texts[-1], len(texts), Texts.of(texts) is texts) == ("b", 5, True)
    assert Texts.of(()) == ()
    with pytest.raises(IndexError):
        texts[5]
    for places in ([0, 3], [-1]):
        with pytest.raises(ValueError, match="in 3 texts"):
            Texts(texts.distinct, np.array(places))


def test_the_index_is_what_a_second_board_is_made_of(
    run: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded([run], plugins)
    monkeypatch.setattr(RunFolder, "lines", lambda *_, **__: pytest.fail("the text was read"))
    assert loaded([run], plugins).board.groups


def test_a_record_more_makes_the_index_stale(run: Path, plugins: Plugins) -> None:
    before = loaded([run], plugins)
    record = next(r for r in before.records.values() if r.status == "ok" and r.trial["kind"] == "trial")
    pool = record.scored or ""
    better = {**record.metrics, pool: dict.fromkeys(record.metrics[pool], 1.0)}
    with (run / "records" / "99990101T000000-000000000.jsonl").open("w") as file:
        file.write(to_line(dataclasses.replace(record, metrics=better)))
    assert read(run) is None
    after = loaded([run], plugins)
    scores = {key: after.board.table.numbers["score"][i] for i, key in enumerate(after.board.table.keys)}
    assert scores[record.key] == 1.0
    assert read(run) is not None


def test_a_text_changed_within_its_size_and_dated_back_makes_the_index_stale(run: Path, plugins: Plugins) -> None:
    loaded([run], plugins)
    (file,) = (run / "records").glob("*.jsonl")
    at = file.stat()
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"status":"ok"', b'"status":"OK"', 1))
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert file.stat().st_size == at.st_size
    assert read(run) is None
    assert any("checksum" in note for note in loaded([run], plugins).notes)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another"])
def test_a_damaged_index_is_passed_over_and_replaced(run: Path, plugins: Plugins, damage: str) -> None:
    before = loaded([run], plugins)
    path = kept(run)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "cut": content[:middle],
            "flipped": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
            "empty": b"",
            "another": b"PK\x03\x04 nothing of the sort",
        }[damage]
    )
    assert read(run) is None
    assert loaded([run], plugins).board.to_frame().equals(before.board.to_frame())
    assert read(run) is not None


def test_an_index_that_came_with_a_copy_of_the_run_is_not_believed(run: Path, plugins: Plugins) -> None:
    loaded([run], plugins)
    theirs = run.with_name("submission")
    shutil.copytree(run, theirs)
    for file in theirs.rglob("*"):
        shutil.copystat(run / file.relative_to(theirs), file)
    kept(theirs).rename(index._place([theirs], None))
    assert read(run) is not None
    assert read(theirs) is None


def test_a_folder_that_cannot_be_written_to_has_a_board_without_an_index(run: Path, plugins: Plugins) -> None:
    (run / "index").write_text("a file where the folder would be")
    assert loaded([run], plugins).board.groups
    assert (run / "index").read_text().startswith("a file")


def test_a_small_run_has_no_index(tmp_path: Path, plugins: Plugins) -> None:
    copy = tmp_path / "run"
    shutil.copytree(RESULTS / "quick", copy, ignore=shutil.ignore_patterns("leaderboard", "index"))
    loaded([copy], plugins)
    assert not (copy / "index").exists()


def test_a_tuned_board_and_one_of_all_pairs_come_from_the_same_index(run: Path, plugins: Plugins) -> None:
    tuned = loaded([run], plugins, tuned=True)
    usual = loaded([run], plugins)
    shutil.rmtree(run / "index")
    assert loaded([run], plugins).board.to_frame().equals(usual.board.to_frame()), "the tuned table is not what is kept"
    wide = loaded([run], plugins, common=False)
    assert loaded([run], plugins, tuned=True).board.to_frame().equals(tuned.board.to_frame())
    assert loaded([run], plugins, common=False).board.to_frame().equals(wide.board.to_frame())
