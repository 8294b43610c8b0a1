"""Data that do not fit the memory limit: the same records, in memory that does not grow with the data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.api.records import Record, Status
from tlbench.api.types import InputTransform
from tlbench.data.rows import Rows
from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.trial import run_trial
from tlbench.plugins import Plugins
from tlbench.run import Options, Run

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench.api.trials import Trial

SUITE = """
tlbench: 1
name: streamed
sources: [{{name: digits, shift: inverted, {source}}}]
targets: [{target}]
tasks: [{task}]
backbones: [{{name: small-cnn, size: 12, channels: 3, width: 4, depth: 2}}]
strategies: {strategies}
seeds: 1
recipe: {{steps: 30, batch_size: 32, curve_points: 3, augmentation: crop-flip}}
metrics: [accuracy, log-loss]
"""
TRANSFORM = InputTransform(12, 3, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SIZE = 1797 * 3 * 12 * 12
"""Bytes of the images at the backbone's size."""
NEARLY_NOTHING = 10_000


def records(folder: Path, task: str, strategies: str, limit: int | None) -> tuple[dict[str, Record], Bench, Trial]:
    plugins = Plugins.discover(extra=[], entry_points=False)
    folder.mkdir()
    suite = folder / "suite.yaml"
    classes = {"source": "half: all", "target": "digits"}
    if "few-shot" in task:  # of classes that the source does not have
        classes = {"source": "classes: [0, 1, 2, 3, 4]", "target": "{name: digits, classes: [5, 6, 7, 8, 9]}"}
    suite.write_text(SUITE.format(task=task, strategies=strategies, **classes))
    options = Options(cache=folder / "cache", out=folder / "run", device="cpu", memory_limit=limit)
    run = Run.of(str(suite), plugins, options)
    bench = Bench(
        make_spec(
            plugins=plugins, run=folder / "run", base=folder, data_root=None, cache=folder / "cache",
            suite="streamed", metrics=run.suite.metrics, device="cpu", memory_limit=limit,
        )
    )  # fmt: skip
    trials = run.plan({}).trials
    with bench.at_home():
        return {t.key: run_trial(t, bench) for t in trials}, bench, trials[-1]


def outcome(record: Record) -> Any:
    """What may not depend on where the data lie."""
    curve = {k: v for k, v in (record.curve or {}).items() if k != "seconds"}
    said = record.status, record.reason, record.metrics, curve, record.losses, record.data, record.seeds
    return json.dumps(said, default=str)


@pytest.mark.parametrize(
    ("task", "strategies"),
    [
        ("fine-tuning", "[fine-tune, linear-probe, l2-sp]"),
        ("{name: fine-tuning, labels: 5}", "[fine-tune, linear-probe]"),
        ("adaptation", "[source-only, target-oracle]"),
        ("{name: few-shot, ways: 2, shots: 1, queries: 5, episodes: 4}", "[linear-probe]"),
    ],
)
def test_a_matrix_has_the_same_records_whatever_the_limit(tmp_path: Path, task: str, strategies: str) -> None:
    whole, _, _ = records(tmp_path / "whole", task, strategies, None)
    assert {record.status for record in whole.values()} == {Status.OK}, [r.reason for r in whole.values()]
    for limit in (NEARLY_NOTHING, SIZE // 2):
        parts, bench, trial = records(tmp_path / f"limit{limit}", task, strategies, limit)
        assert isinstance(bench.domain(trial.target, TRANSFORM).splits["train"].x, Rows)
        assert {key: outcome(r) for key, r in parts.items()} == {key: outcome(r) for key, r in whole.items()}


def test_data_that_fit_twice_are_arrays_as_ever(tmp_path: Path) -> None:
    _, bench, trial = records(tmp_path / "run", "fine-tuning", "[fine-tune]", 2 * 1797 * 64)
    assert not isinstance(bench.domain(trial.target, None).splits["train"].x, Rows)
    bench.cache.memory_limit = 2 * 1797 * 64 - 2
    assert isinstance(bench.domain(trial.target, None).splits["train"].x, Rows)


def test_a_method_that_wants_a_whole_pool_that_does_not_fit_says_so(tmp_path: Path) -> None:
    found, _, _ = records(tmp_path / "run", "clustering", "[k-means]", NEARLY_NOTHING)
    failed = [record for record in found.values() if record.status != Status.OK]
    assert failed
    assert all("wanted as a whole" in record.reason for record in failed)
