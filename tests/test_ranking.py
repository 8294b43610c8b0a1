"""Ranking sources: what is scored, how right a score is said to be, and that nothing trains on the target for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.stats import weightedtau

from tlbench.cli import main
from tlbench.errors import SuiteError
from tlbench.plugins import Plugins
from tlbench.ranking import Candidate, Ranking, Setting, ordered, ranking_plan
from tlbench.results.store import RunFolder
from tlbench.run import Options, Run
from tlbench.transferability import SCORES

if TYPE_CHECKING:
    from pathlib import Path

AT = Setting("t", "fine-tuning")
A, B, C = (Candidate(name, "net") for name in "abc")


def test_the_verdict_on_a_score_is_its_weighted_tau_and_the_regret_of_its_pick() -> None:
    scores = {AT: {A: {"logme": 0.3, "knn": 0.1}, B: {"logme": 0.2, "knn": 0.5}, C: {"logme": 0.1, "knn": 0.4}}}
    reached = {AT: {"fine-tune": {A: 0.9, B: 0.7, C: 0.8}}}
    found = {v.score: v for v in Ranking(scores, reached).verdicts()}
    assert found["logme"].regret == 0
    assert found["knn"].regret == pytest.approx(0.2)
    assert found["logme"].tau == weightedtau([0.3, 0.2, 0.1], [0.9, 0.7, 0.8]).statistic
    assert found["knn"].n == 3


def test_only_candidates_with_both_a_score_and_a_result_are_judged_by_and_one_is_too_few() -> None:
    scores = {AT: {A: {"logme": 0.3}, B: {"logme": 0.2, "leep": -1.0}, C: {"leep": -2.0}}}
    ranking = Ranking(scores, {AT: {"fine-tune": {A: 0.9, B: 0.7}}})
    assert [(v.score, v.n) for v in ranking.verdicts()] == [("logme", 2)]


def test_candidates_are_ordered_by_their_mean_rank_over_the_scores_that_all_have() -> None:
    found = {A: {"leep": -3.0, "logme": 0.1, "knn": 0.1}, B: {"logme": 0.2, "knn": 0.3}, C: {"logme": 0.3, "knn": 0.2}}
    assert ordered(found, ["leep", "logme", "knn"]) == [B, C, A]


def suite(folder: Path, tasks: str = "[{name: fine-tuning, labels: 5}]", sources: str = "") -> str:
    path = folder / "suite.yaml"
    path.write_text(
        f"""
tlbench: 1
name: ranked
sources: [{{name: digits, shift: inverted}}, {{name: digits, shift: shuffled}}{sources}]
targets: [{{name: digits, shift: rotated}}]
tasks: {tasks}
backbones: [{{name: mlp, hidden: [16]}}]
strategies: [fine-tune]
seeds: 1
recipe: {{steps: 40}}
"""
    )
    return str(path)


def test_the_plan_trains_source_models_and_scores_each_source_once_and_nothing_else(tmp_path: Path) -> None:
    plugins = Plugins.discover(entry_points=False)
    run = Run.of(suite(tmp_path), plugins, Options(cache=tmp_path / "cache", out=tmp_path / "run"))
    plan = ranking_plan(run.suite, plugins, {}, lambda key: True)
    assert [t.kind for t in plan.trials] == ["source-model", "ranking"] * 2
    models = {t.key for t in run.plan({}).trials if t.kind == "source-model"}
    assert {t.key for t in plan.trials if t.kind == "source-model"} == models  # the matrix will find them trained


def test_a_suite_without_a_labelled_target_has_nothing_to_rank(tmp_path: Path) -> None:
    plugins = Plugins.discover(entry_points=False)
    run = Run.of(suite(tmp_path, "[adaptation]"), plugins, Options(cache=tmp_path / "cache", out=tmp_path / "run"))
    with pytest.raises(SuiteError, match="nothing to rank: strategy 'source-scores' needs target"):
        ranking_plan(run.suite, plugins, {}, lambda key: True)


def test_the_command_ranks_before_the_matrix_has_run_and_judges_the_scores_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["--matrix", suite(tmp_path), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache"),
            "--executor", "in-process", "--no-plugins"]  # fmt: skip
    assert main(["rank-sources", *here, "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    (setting,) = before["settings"]
    assert {c["source"] for c in setting["candidates"]} == {"digits(shift=inverted)", "digits(shift=shuffled)"}
    for candidate in setting["candidates"]:
        assert set(candidate["scores"]) == set(SCORES)
        assert all(np.isfinite(v) for v in candidate["scores"].values())
    assert before["verdicts"] == []
    assert main(["run", *here, "--quiet"]) == 0
    capsys.readouterr()
    assert main(["rank-sources", *here, "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "how right each score was" in shown
    assert "reached by" in shown
    records = RunFolder.open(tmp_path / "run").records().values()
    assert sorted(r.trial["kind"] for r in records) == ["ranking"] * 2 + ["source-model"] * 2 + ["trial"] * 4
    assert main(["leaderboard", str(tmp_path / "run")]) == 0
    assert "source-scores" not in capsys.readouterr().out


def test_a_source_that_cannot_be_scored_is_said_and_the_others_are_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["--matrix", suite(tmp_path, sources=", pretrained"), "--out", str(tmp_path / "run"),
            "--cache", str(tmp_path / "cache"), "--executor", "in-process", "--no-plugins", "--json"]  # fmt: skip
    assert main(["rank-sources", *here]) == 2
    found = json.loads(capsys.readouterr().out)
    assert len(found["settings"][0]["candidates"]) == 2
    assert "brings no pre-trained weights" in found["missing"][0]
