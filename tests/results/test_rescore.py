"""Rescore: metrics added later are those that a run with them would have had."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tlbench.cli import main
from tlbench.plugins import Plugins
from tlbench.reports import board_of
from tlbench.results.rescore import rescore
from tlbench.results.store import RunFolder
from tlbench.results.valid import current
from tlbench.results.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from tests.results.conftest import RunSmall


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.discover(entry_points=False)


def test_a_metric_added_later_is_the_one_computed_by_hand_and_the_others_stay(
    run_folder: Path, plugins: Plugins
) -> None:
    before = RunFolder.open(run_folder).records()
    assert rescore(run_folder, ["macro-f1"], plugins).added == len(before)
    after = RunFolder.open(run_folder).records()
    assert set(after) == set(before)
    for key, record in after.items():
        (pool,) = record.metrics
        with np.load(run_folder / "predictions" / f"{key}.npz") as stored:
            scores, y = stored[f"scores.{pool}"], stored[f"y.{pool}"]
        by_hand = f1_score(y, scores.argmax(1), labels=range(10), average="macro", zero_division=0.0)
        assert record.metrics[pool] == {
            "accuracy": before[key].metrics[pool]["accuracy"],
            "macro-f1": pytest.approx(by_hand, abs=1e-12),
        }
        assert record.provenance is not None
        assert record.provenance["rescored"][0]["metrics"] == ["macro-f1"]
        assert record.curve == before[key].curve


def test_the_run_is_what_it_would_have_been_with_the_metric_and_is_not_run_again(
    run_folder: Path, run_small: RunSmall, plugins: Plugins, tmp_path: Path
) -> None:
    rescore(run_folder, ["macro-f1"], plugins)
    both = run_small(tmp_path / "both", ("metrics: [accuracy]", "metrics: [accuracy, macro-f1]"))
    fresh, added = RunFolder.open(both).records(), RunFolder.open(run_folder).records()
    assert {k: r.metrics for k, r in added.items()} == {k: r.metrics for k, r in fresh.items()}
    files = len(list((run_folder / "records").iterdir()))
    run_small(run_folder, ("metrics: [accuracy]", "metrics: [accuracy, macro-f1]"))
    assert len(list((run_folder / "records").iterdir())) == files  # no trial ran


def test_the_board_ranks_by_the_new_metric(run_folder: Path, plugins: Plugins) -> None:
    rescore(run_folder, ["macro-f1"], plugins)
    run = RunFolder.open(run_folder)
    here = current(run.records(), run.planned())
    board = board_of(here, run.planned(), plugins, "macro-f1")
    assert board.metric == "macro-f1"
    row = next(r for r in board.groups[0].rows if r.label == "linear-probe")
    its = [r.metrics["target"]["macro-f1"] for r in here if r.trial["strategy"]["name"] == "linear-probe"]
    assert row.cells["score"].value == pytest.approx(np.mean(its))


def test_a_rescored_run_still_passes_verification(run_folder: Path, plugins: Plugins) -> None:
    rescore(run_folder, ["macro-f1", "log-loss"], plugins)
    assert verify(run_folder, plugins).faults == ()


def test_what_has_the_metric_already_is_left_alone(run_folder: Path, plugins: Plugins) -> None:
    first = rescore(run_folder, ["macro-f1"], plugins)
    again = rescore(run_folder, ["macro-f1", "accuracy"], plugins)
    assert (again.added, again.had) == (0, first.added)


def test_results_without_predictions_are_named_and_get_no_number(
    run_folder: Path, plugins: Plugins, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, broken = sorted((run_folder / "predictions").iterdir())[:2]
    gone.unlink()
    broken.write_bytes(broken.read_bytes()[:-1])
    assert main(["rescore", str(run_folder), "--metric", "macro-f1", "--no-plugins", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert set(told["lacking"]) == {gone.stem, broken.stem}
    records = RunFolder.open(run_folder).records()
    assert "macro-f1" not in records[gone.stem].metrics["target"]
    assert told["added"] == len(records) - 2


def test_a_copy_is_rescored_and_the_run_left_alone(run_folder: Path, plugins: Plugins, tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {f.name: f.read_bytes() for f in sorted((folder / "records").iterdir())}

    before = content(run_folder)
    found = rescore(run_folder, ["nmi"], plugins, tmp_path / "copy")
    assert content(run_folder) == before
    records = RunFolder.open(tmp_path / "copy").records()
    assert found.added == len(records)
    assert all("nmi" in r.metrics[r.scored or ""] for r in records.values())


def test_an_unknown_metric_suggests_the_nearest_one_and_nothing_is_written(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rescore", str(run_folder), "--metric", "macro-f2", "--no-plugins"]) == 1
    assert "Did you mean 'macro-f1'?" in capsys.readouterr().err
    assert len(list((run_folder / "records").iterdir())) == 1


def test_people_are_told_how_to_rank_by_it(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(run_folder / "leaderboard")
    assert main(["rescore", str(run_folder), "--metric", "nmi", "--no-plugins"]) == 0
    out: Any = capsys.readouterr().out
    assert "18 results gained nmi" in out
    assert "--metric nmi" in out
