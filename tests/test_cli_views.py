"""The commands that look closer: compare, curves, changes, and a leaderboard of a table from elsewhere."""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tlbench.cli import main
from tlbench.results.store import RunFolder

FACTORY = Path(__file__).parent / "leaderboard/factory.py"
OFFICE = Path(__file__).parents[1] / "benchmarks/replays/office-caltech10-surf.csv"


@pytest.fixture(scope="module")
def make() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(FACTORY)))


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def stored(folder: Path, records: list[Any]) -> Path:
    with RunFolder(folder).writing() as writer:
        for record in records:
            writer.write(record)
    return folder


@pytest.fixture
def run(tmp_path: Path, make: SimpleNamespace) -> Path:
    return stored(tmp_path / "runs/one", make.small_board())


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(w) for w in words] + ["--no-plugins"])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_compare_shows_one_strategy_against_another(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "compare", "good", "mixed", "--run", run)
    assert code == 0
    assert out.startswith("good against mixed")
    assert "overall" in out
    code, out, _ = called(capsys, "compare", "good", "mixed", "--run", run, "--json")
    assert json.loads(out)["groups"][0]["verdict"] in {"better", "undecided"}


def test_compare_takes_the_newest_run_where_none_is_named(
    run: Path,
    make: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    older = stored(tmp_path / "runs/older", [make.reference("c", 0, 0.5)])
    for file in (older / "records").glob("*"):
        os.utime(file, (1, 1))
    monkeypatch.chdir(tmp_path)
    code, out, err = called(capsys, "compare", "good", "mixed")
    assert code == 0
    assert "good against mixed" in out
    assert "runs/one" in err
    monkeypatch.chdir(run)
    code, _, err = called(capsys, "compare", "good", "mixed")
    assert code == 1
    assert "there is no run below runs/; name a run folder with --run" in err


def test_a_wrong_label_ends_with_the_nearest_and_without_a_traceback(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = called(capsys, "compare", "goood", "mixed", "--run", run)
    assert (code, out) == (1, "")
    assert err.startswith("error: unknown strategy 'goood'. Did you mean 'good'?")


def test_curves_are_shown_over_all_pairs_and_for_one(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "curves", run)
    assert code == 0
    assert "mean over 4 pairs" in out
    code, out, _ = called(capsys, "curves", run, "--pair", "a", "c", "--strategies", "good", "scratch")
    assert "a → c" in out
    assert "mixed" not in out
    code, out, _ = called(capsys, "curves", run, "--each-pair", "--json")
    assert [g["target"] for g in json.loads(out)["groups"]] == ["c", "d", "c", "d"]


def test_changes_end_with_2_where_something_differs_and_0_where_nothing_does(
    run: Path, make: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = called(capsys, "changes", run, run)
    assert code == 0
    assert "Nothing but noise differs." in out
    worse = [
        dataclasses.replace(r, metrics={"target": {"accuracy": r.metrics["target"]["accuracy"] - 0.2}})
        if r.trial["strategy"]["label"] == "good"
        else r
        for r in make.small_board()
    ]
    other = stored(tmp_path / "other", worse)
    code, out, _ = called(capsys, "changes", run, other)
    assert code == 2
    assert "good" in out
    code, out, _ = called(capsys, "changes", run, other, "--json")
    assert code == 2
    assert json.loads(out)["differ"] is True
    code, _, err = called(capsys, "changes", run, tmp_path / "none")
    assert code == 1
    assert "is no run folder" in err


def test_a_table_from_elsewhere_has_a_board_and_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("leaderboard", "--from", OFFICE, "--reference", "1NN", "--metric", "accuracy")
    code, out, _ = called(capsys, *words)
    assert code == 0
    assert "gain over 1NN" in out
    assert "48.8" in out
    assert "self-reported, not measured by tlbench" in " ".join(out.split())
    code, out, _ = called(capsys, *words, "--format", "csv", "--out", tmp_path / "out")
    assert code == 0
    assert all(Path(line).is_file() for line in out.splitlines())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "name one or more run folders, or a table from elsewhere with --from"),
        (("--from", OFFICE), "which strategy are gains measured against?"),
        (("--from", OFFICE, "--reference", "1N"), "unknown strategy '1N'. Did you mean '1NN'?"),
        (("--from", "none.csv", "--reference", "x"), "none.csv cannot be read"),
    ],
)
def test_a_wrong_table_is_one_clear_error(
    words: tuple[object, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = called(capsys, "leaderboard", *words)
    assert (code, out) == (1, "")
    assert complaint in err


def test_options_of_a_table_do_not_go_with_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "leaderboard", run, "--lower-is-better")
    assert code == 1
    assert "go with --from" in err


def test_the_board_says_how_far_a_run_may_be_believed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "leaderboard", run)
    assert code == 0
    assert "self-reported: nobody has verified this run" in out
    code, out, _ = called(capsys, "leaderboard", run, "--group", "fine")
    assert "fine-tuning 10 · small" in out
    code, _, err = called(capsys, "leaderboard", run, "--group", "zzz")
    assert code == 1
    assert "There are: fine-tuning 10 · small" in err
