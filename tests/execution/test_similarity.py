"""Before and after transfer: the backbone in the predictor against where it started, or why there is nothing to say."""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tlbench.api.records import Record, Status
from tlbench.errors import SuiteError
from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.trial import run_trial
from tlbench.plugins import Plugins
from tlbench.run import Options, Run

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = '''
from dataclasses import dataclass
from typing import ClassVar
import torch
from torch.nn import functional as F
from tlbench import hookimpl

MODELS = {}

@dataclass(frozen=True)
class Trains:
    """Trains all of its classifier."""
    name: ClassVar[str] = "trains"
    needs: ClassVar = frozenset({"target"})
    what: str = "all"
    wrapped: bool = False
    def fit(self, ctx):
        model = ctx.classifier(start="random" if self.what == "random" else None)
        ctx.train(lambda batch, step: F.cross_entropy(model(batch.x), batch.y), update=model)
        MODELS[self.what] = model
        return (lambda x: model(x)) if self.wrapped else model

@hookimpl
def tlbench_strategies():
    return [Trains]
'''
SUITE = """
tlbench: 1
name: similarity
sources: [{{name: digits, shift: inverted, classes: [0, 1, 2, 3, 4]}}]
targets: [{{name: digits, classes: [5, 6, 7, 8, 9]}}]
tasks: [{task}]
backbones: [{{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}}]
strategies: [{strategies}]
seeds: 1
recipe: {{steps: 30, batch_size: 16, curve_points: 2, lr: 0.1}}
metrics: [{metrics}]
"""


def run_of(
    folder: Path, strategies: str, task: str = "{name: fine-tuning, labels: 20}", metrics: str = "accuracy, cka"
) -> Run:
    (folder / "trains_plugin.py").write_text(PLUGIN)
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(strategies=strategies, task=task, metrics=metrics))
    plugins = Plugins.discover(extra=[str(folder / "trains_plugin.py")], entry_points=False)
    return Run.of(str(path), plugins, Options(cache=folder / "cache", out=folder / "run"))


def records_of(run: Run, folder: Path) -> dict[str, Record]:
    bench = Bench(
        make_spec(
            plugins=run.plugins, run=folder / "run", base=folder, data_root=None, cache=folder / "cache", suite="s",
            metrics=run.suite.metrics, device="cpu",
        )
    )  # fmt: skip
    found = {}
    for trial in run.plan({}).trials:
        with bench.at_home():
            record = run_trial(trial, bench)
        assert record.status == Status.OK, record.reason
        found["source" if trial.kind == "source-model" else trial.strategy.label] = record
    assert not run.plan({r.key: r for r in found.values()}).todo
    return found


def blocks(record: Record) -> list[Any]:
    said = record.data["similarity"]["cka"]
    assert said["start"] == "source"
    assert 4 < said["examples"] <= 512
    values: list[Any] = said["blocks"]
    return values


def test_a_frozen_block_is_exactly_as_before_and_a_trained_one_is_not(tmp_path: Path) -> None:
    run = run_of(tmp_path, "{name: fine-tune, train: head}, {name: fine-tune, freeze_first: 1}, fine-tune")
    records = records_of(run, tmp_path)
    head, last, whole = (blocks(r) for name, r in records.items() if name.startswith("fine-tune"))
    assert head == [1.0, 1.0]
    assert last[0] == 1.0
    assert last[1] < 1
    assert all(0 < v < 1 for v in whole)
    assert all("cka" not in scores for r in records.values() for scores in r.metrics.values())


def test_the_values_are_those_of_the_features_by_hand(tmp_path: Path) -> None:
    run = run_of(tmp_path, "{name: trains, what: all}")
    record = next(r for name, r in records_of(run, tmp_path).items() if name.startswith("trains"))
    after = sys.modules[run.plugins.get("strategies", "trains").cls.__module__].MODELS["all"].backbone.eval()
    state = load_file(tmp_path / "run" / "weights" / f"{record.trial['parents'][0]}.safetensors")
    before = copy.deepcopy(after)
    before.load_state_dict({k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")})
    images = run.plugins.instantiate("datasets", run.suite.targets[0]).load(None).splits["test"].x
    x = torch.from_numpy(images.copy()).float() / 127.5 - 1
    with torch.no_grad():
        features = [net(x).numpy().astype(np.float64) for net in (before, after)]
    (one, two), n = (f - f.mean(0) for f in features), len(x)
    biased = np.square(two.T @ one).sum() / np.linalg.norm(one.T @ one) / np.linalg.norm(two.T @ two)
    assert blocks(record)[-1] == pytest.approx(biased, abs=8 / n)  # the estimate differs from it by O(1 / n)
    assert biased < 1 - 16 / n


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        ("{name: trains, what: random}", "starts from random weights"),
        ("{name: trains, wrapped: true}", "no module that shows its backbone"),
        ("linear-probe", "no module"),
    ],
)
def test_where_there_is_nothing_to_compare_the_record_says_why(tmp_path: Path, strategy: str, why: str) -> None:
    run = run_of(tmp_path, strategy)
    record = list(records_of(run, tmp_path).values())[-1]
    assert "similarity" not in record.data
    assert why in record.data["absent"]["cka"]


def test_episodes_have_no_one_backbone_to_compare(tmp_path: Path) -> None:
    run = run_of(tmp_path, "linear-probe", "{name: few-shot, ways: 2, shots: 2, queries: 2, episodes: 2}")
    for name, record in records_of(run, tmp_path).items():
        assert name == "source" or "each episode" in record.data["absent"]["cka"]


def test_a_suite_begins_with_a_score(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="'cka' compares backbones and is no score"):
        run_of(tmp_path, "linear-probe", metrics="cka, accuracy")
