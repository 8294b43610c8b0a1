"""The host's side of episodes, seen from two strategies with one rule: paired, scored alike, and with an interval."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlbench import Record, Status
from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.trial import run_trial
from tlbench.plugins import Plugins
from tlbench.run import Options, Run

EPISODES, WAYS, QUERIES = 600, 4, 5

SUITE = f"""
tlbench: 1
name: episodes
sources: [{{name: digits, classes: [0, 1, 2, 3, 4]}}]
targets: [{{name: digits, classes: [5, 6, 7, 8, 9]}}]
tasks: [{{name: few-shot, ways: {WAYS}, shots: 2, queries: {QUERIES}, episodes: {EPISODES}}}]
backbones: [{{name: identity, size: 8}}]
strategies: [adapts, refitted]
seeds: 1
recipe: {{steps: 1}}
metrics: [accuracy]
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Record], dict[str, Any]]:
    """The records of the two strategies, and what each saw."""
    folder = tmp_path_factory.mktemp("episodes")
    plugins = Plugins.discover(extra=[str(Path(__file__).parent / "few_shot_spies.py")], entry_points=False)
    (folder / "suite.yaml").write_text(SUITE)
    run = Run.of(str(folder / "suite.yaml"), plugins, Options(cache=folder / "cache", out=folder / "run"))
    spec = make_spec(
        plugins=plugins, run=folder / "run", base=folder, data_root=None, cache=folder / "cache", suite="episodes",
        metrics=("accuracy",), device="cpu",
    )  # fmt: skip
    seen = sys.modules[plugins.get("strategies", "adapts").cls.__module__].SEEN
    bench, records = Bench(spec), {}
    for trial in run.plan({}).trials:
        if trial.strategy.name in ("adapts", "refitted"):
            with bench.at_home():
                records[trial.strategy.name] = run_trial(trial, bench)
    return records, seen


def test_strategies_that_adapt_and_strategies_that_are_refitted_are_scored_on_the_same_episodes(both: Any) -> None:
    records, seen = both
    assert {name: r.status for name, r in records.items()} == {"adapts": Status.OK, "refitted": Status.OK}
    assert len(seen["adapts"]) == EPISODES
    assert seen["adapts"].keys() == seen["refitted"].keys()
    for support, predicted in seen["adapts"].items():
        assert predicted.equal(seen["refitted"][support])  # the same queries too
    assert records["adapts"].metrics == records["refitted"].metrics


@pytest.mark.parametrize("kind", ["adapts", "refitted"])
def test_the_record_has_the_mean_over_episodes_and_its_normal_interval(both: Any, kind: str) -> None:
    records, seen = both
    truth = np.repeat(np.arange(WAYS), QUERIES)
    right = np.array([(predicted.numpy() == truth).mean() for predicted in seen[kind].values()])
    assert 0.5 < right.mean() < 1
    record = records[kind]
    assert record.metrics["target"]["accuracy"] == pytest.approx(right.mean())
    said = record.data["episodes"]
    assert (said["count"], said["ways"], said["shots"], said["queries"]) == (EPISODES, WAYS, 2, QUERIES)
    assert said["refitted"] is (kind == "refitted")
    variance = ((right - right.mean()) ** 2).sum() / (EPISODES - 1)
    assert said["half_width"]["accuracy"] == pytest.approx(1.96 * np.sqrt(variance / EPISODES))
