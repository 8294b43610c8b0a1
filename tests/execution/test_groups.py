"""Groups of examples: metrics get those of the test, no strategy ever does, and where there are none it is said."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlbench.api.records import Record, Status
from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.trial import run_trial
from tlbench.plugins import Plugins
from tlbench.results.predictions import read
from tlbench.run import Options, Run

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = '''
from dataclasses import dataclass, replace
from typing import ClassVar
import numpy as np
from tlbench import hookimpl
from tlbench.builtin.digits import Digits
from tlbench.testing import reachable_arrays

HELD = []

@dataclass(frozen=True)
class Grouped:
    """Digits in three groups by how much ink they have."""
    name: ClassVar[str] = "grouped"
    classes: tuple[int, ...] | None = None
    def load(self, cache):
        domain = Digits(classes=self.classes).load(cache)
        splits = {}
        for name, split in domain.splits.items():
            ink = split.x.reshape(len(split), -1).mean(1)
            splits[name] = replace(split, group=np.searchsorted([70, 85], ink).astype(np.int64))
        return replace(domain, splits=splits, group_names=("light", "middle", "dark"))

@dataclass(frozen=True)
class Looks:
    """The nearest class mean, after a look for groups in reach."""
    name: ClassVar[str] = "looks"
    needs: ClassVar = frozenset({"target"})
    uses: ClassVar = frozenset({"target_val", "source"})
    start: ClassVar[str] = "random"
    def fit(self, ctx):
        import torch
        arrays = [np.asarray(a.detach() if hasattr(a, "detach") else a) for a in reachable_arrays(ctx)]
        three = [a for a in arrays if a.ndim == 1 and a.dtype == np.int64 and len(a) and set(a) <= {0, 1, 2}]
        HELD.append((len(arrays), len(three), [pool.group for pool in ctx.given.values()]))
        seen = ctx.inputs("target")
        means = torch.stack([seen.x.flatten(1)[seen.y == c].mean(0) for c in range(ctx.num_classes)])
        predict = lambda x: -torch.cdist(x.flatten(1), means)
        ctx.report("own", ctx.score(predict, "target"))
        return predict

@hookimpl
def tlbench_datasets():
    return [Grouped]

@hookimpl
def tlbench_strategies():
    return [Looks]
'''
SUITE = """
tlbench: 1
name: groups
sources: [{source}]
targets: [{target}]
tasks: [{task}]
backbones: [{{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}}]
strategies: [looks, fine-tune]
seeds: 1
recipe: {{steps: 4, batch_size: 16, curve_points: 2, curve_examples: 40, selection: {selection}}}
metrics: [{metrics}]
"""


def records_of(
    folder: Path,
    metrics: str,
    *,
    source: str = "{name: digits, shift: inverted}",
    target: str = "grouped",
    task: str = "{name: fine-tuning, labels: 20}",
    selection: str = "last",
) -> tuple[Run, dict[str, Record], Any]:
    (folder / "groups_plugin.py").write_text(PLUGIN)
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(metrics=metrics, source=source, target=target, task=task, selection=selection))
    plugins = Plugins.discover(extra=[str(folder / "groups_plugin.py")], entry_points=False)
    run = Run.of(str(path), plugins, Options(cache=folder / "cache", out=folder / "run"))
    bench = Bench(
        make_spec(
            plugins=plugins, run=folder / "run", base=folder, data_root=None, cache=folder / "cache", suite="groups",
            metrics=run.suite.metrics, device="cpu", save_predictions=True,
        )
    )  # fmt: skip
    records = {}
    for trial in run.plan({}).trials:
        with bench.at_home():
            name = "source" if trial.kind == "source-model" else trial.strategy.name
            records[name] = run_trial(trial, bench)
    return run, records, sys.modules[plugins.get("strategies", "looks").cls.__module__].HELD


def by_hand(run: Run, record: Record) -> list[float]:
    scores, y, group = read(run.folder.path, record)["target"]
    assert group is not None
    return [float((scores.argmax(1) == y)[group == g].mean()) for g in range(3)]


@pytest.mark.parametrize("selection", ["last", "target-val", "oracle"])
def test_metrics_over_groups_get_the_groups_of_the_test_also_where_they_choose(tmp_path: Path, selection: str) -> None:
    run, records, _ = records_of(tmp_path, "worst-group-accuracy, accuracy, group-gap", selection=selection)
    for name in ("looks", "fine-tune"):
        record = records[name]
        assert record.status == Status.OK, record.reason
        each = by_hand(run, record)
        assert record.metrics["target"]["worst-group-accuracy"] == min(each)
        assert record.metrics["target"]["group-gap"] == max(each) - min(each)
        assert min(each) < max(each)
        assert record.curve is not None
        assert record.curve["metric"] == "worst-group-accuracy"
        assert record.data["groups"]["target"]["count"] == 3
    assert not run.plan({r.key: r for r in records.values()}).todo


def test_no_strategy_is_shown_a_group(tmp_path: Path) -> None:
    _, records, held = records_of(tmp_path, "accuracy, group-gap", selection="target-val")
    assert records["looks"].status == Status.OK, records["looks"].reason
    ((arrays, like_groups, groups),) = held
    assert arrays > 0
    assert like_groups == 0
    assert len(groups) >= 2  # target and target_val
    assert groups == [None] * len(groups)


def test_what_a_strategy_scores_itself_by_needs_no_groups(tmp_path: Path) -> None:
    _, records, _ = records_of(tmp_path, "worst-group-accuracy, accuracy")
    assert 0.5 < records["looks"].data["reported"]["own"] <= 1


def test_a_target_without_groups_leaves_the_metric_out_with_the_reason_and_is_done(tmp_path: Path) -> None:
    run, records, _ = records_of(tmp_path, "accuracy, group-gap", target="digits")
    record = records["looks"]
    assert record.status == Status.OK, record.reason
    assert set(record.metrics["target"]) == {"accuracy"}
    assert record.data["absent"] == {"group-gap": "the examples of target are in no groups"}
    assert "groups" not in record.data
    assert not run.plan({r.key: r for r in records.values()}).todo


@pytest.mark.parametrize(
    ("target", "task"),
    [
        ("digits", "{name: fine-tuning, labels: 5}"),
        ("{name: grouped, classes: [5, 6, 7]}", "{name: few-shot, ways: 2, shots: 1, queries: 2, episodes: 3}"),
    ],
)
def test_a_first_metric_that_needs_groups_skips_the_trial_where_there_are_none(
    tmp_path: Path, target: str, task: str
) -> None:
    source = "{name: digits, classes: [0, 1, 2]}"
    _, records, held = records_of(tmp_path, "worst-group-accuracy, accuracy", source=source, target=target, task=task)
    assert records["looks"].status == Status.SKIPPED
    assert "worst-group-accuracy is the suite's first metric and needs groups" in records["looks"].reason
    assert not held  # before any training
    assert records["source"].status == Status.OK  # a source model does without: others may start from it
    assert set(records["source"].metrics["source"]) == {"accuracy"}


def test_groups_are_the_same_however_the_data_come_back(tmp_path: Path) -> None:
    run, records, _ = records_of(tmp_path, "accuracy, group-gap")
    raw = run.plugins.build("datasets", "grouped", {}).load(None)
    stored = read(run.folder.path, records["looks"])["target"]
    assert np.array_equal(stored.group, raw.splits["test"].group)
