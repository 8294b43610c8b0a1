"""Trials that differ in the seed alone run side by side; nobody can tell from results, nor from each other's end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.api.records import Status
from tlbench.api.trials import Plan
from tlbench.execution.bench import make_spec
from tlbench.execution.in_process import InProcess
from tlbench.execution.processes import WorkerProcesses
from tlbench.execution.switches import Switches
from tlbench.execution.work import HostWork
from tlbench.plugins import Plugins
from tlbench.results.sameness import compare
from tlbench.run import Options, Run

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench.api.records import Record

SUITE = """
tlbench: 1
name: together
sources: {sources}
targets: {targets}
tasks: [{task}]
backbones: [{backbone}]
strategies: [{strategy}]
seeds: {seeds}
recipe: {{steps: 120, batch_size: 32, curve_points: 4}}
"""
SMALL = "{name: mlp, hidden: [16], size: 8}"
CNN = "{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}"
PLUGIN = '''
import os, random
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
import torch
from tlbench import SkipTrial, hookimpl
from tlbench.functional import supervised

@dataclass(frozen=True)
class Draws:
    """Draws from the common generators before, between and after its trainings, and trains unequally often."""
    name: ClassVar[str] = "draws"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    def fit(self, ctx):
        ctx.report("before", float(torch.rand(()) + np.random.rand() + random.random()))
        model = ctx.classifier()
        print("the model of seed", ctx.seed)
        if ctx.seed == 1:
            raise SkipTrial("not this seed")
        ctx.train(supervised(model), update=model, steps=110)
        ctx.report("between", float(torch.rand(()) + np.random.rand() + random.random()))
        if ctx.seed != 2:
            ctx.train(lambda b, s: supervised(model)(b, s) + 0 * torch.rand(()), update=model)
        ctx.report("after", float(torch.rand(()) + np.random.rand() + random.random()))
        return model

@dataclass(frozen=True)
class Fragile(Draws):
    """Takes the process with it where the seed is 1."""
    name: ClassVar[str] = "fragile"

    def fit(self, ctx):
        model = ctx.classifier()
        def loss(batch, step):
            return supervised(model)(batch, step)
        ctx.train(loss, update=model)
        if ctx.seed == 1:
            os._exit(3)
        return model

@hookimpl
def tlbench_strategies():
    return [Draws, Fragile]
'''


def planned(
    folder: Path, strategy: str, *, backbone: str = SMALL, seeds: int = 3, **more: Any
) -> tuple[Plan, HostWork]:
    (folder / "run" / "logs").mkdir(parents=True, exist_ok=True)
    suite = folder / "suite.yaml"
    words = {"task": "fine-tuning", "sources": "[{name: digits, shift: inverted}]", "targets": "[digits]"} | more
    suite.write_text(SUITE.format(strategy=strategy, backbone=backbone, seeds=seeds, **words))
    (folder / "own.py").write_text(PLUGIN)
    plugins = Plugins.discover(extra=[str(folder / "own.py")], entry_points=False)
    run = Run.of(str(suite), plugins, Options(cache=folder / "cache", out=folder / "run", device="cpu"))
    plan = run.plan({})
    spec = make_spec(
        plugins=plugins,
        run=folder / "run",
        base=folder,
        data_root=None,
        cache=folder / "cache",
        suite="together",
        metrics=("accuracy", "log-loss"),
        device="cpu",
        switches=Switches(fuse_seeds=True),
    )
    return Plan(plan.suite, tuple(t for t in plan.trials if t.strategy.name not in ("majority",))), HostWork(spec)


def both(plan: Plan, work: HostWork, executor: Any = None) -> tuple[dict[str, Record], dict[str, Record]]:
    """Records of the trials one by one, and together."""
    single = HostWork({**work.spec, "switches": Switches().to_json()})
    alone = {r.key: r for r in InProcess().run(plan, single)}
    return alone, {r.key: r for r in (executor or InProcess()).run(plan, work)}


def decide(folder: Path, monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    """Every measurement finds this gain."""
    monkeypatch.setattr("tlbench.training.fusing._Together.measure", lambda self: gain)


def close(a: Record, b: Record) -> None:
    assert (a.status, a.data, a.seeds) == (b.status, b.data, b.seeds), b.reason
    assert a.curve is not None
    assert b.curve is not None
    assert a.losses is not None
    assert b.losses is not None
    assert a.curve["steps"] == b.curve["steps"]
    assert a.losses["steps"] == b.losses["steps"]
    assert a.losses.keys() == b.losses.keys()
    for name, column in a.losses.items():
        assert column == pytest.approx(b.losses[name], rel=1e-3)
    for pool, metrics in a.metrics.items():
        assert metrics == pytest.approx(b.metrics[pool], rel=1e-3)


def exact(record: Record) -> Any:
    curve = {k: v for k, v in (record.curve or {}).items() if k != "seconds"}
    cost = {k: v for k, v in record.cost.items() if k != "fused"}
    return record.status, record.reason, record.metrics, curve, record.losses, record.data, record.seeds, cost


@pytest.mark.parametrize("strategy", ["fine-tune", "l2-sp", "{name: fine-tune, layer_decay: 0.5}"])
def test_the_seeds_of_a_network_of_layers_are_fused_and_score_the_same(
    tmp_path: Path, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(tmp_path, monkeypatch, 2.0)
    alone, together = both(*planned(tmp_path, strategy))
    assert alone.keys() == together.keys()
    for key, record in together.items():
        close(alone[key], record)
        before = {"source_seeds": 3, "source_steps": 120} if record.trial["parents"] else {}
        assert record.cost["fused"] == {"seeds": 3, "steps": 120, **before}
        compared = compare(alone[key], record)
        assert compared.outcome != "different"
        assert any("seeds trained as one" in condition for condition in compared.conditions)
        assert record.environment["device"]["shared"]
        assert record.throughput is None
        assert record.clocks["training"] > 0
        assert record.clocks["total"] >= record.clocks["training"]
    assert not any("fused" in record.cost for record in alone.values())


def test_a_training_shared_by_targets_is_fused_and_still_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(tmp_path, monkeypatch, 2.0)
    targets = "[digits, {name: digits, shift: rotated}]"
    alone, together = both(*planned(tmp_path, "source-only", task="adaptation", targets=targets, seeds=2))
    shared = [r for r in together.values() if "trained_by" in r.cost]
    assert len(shared) == sum("trained_by" in r.cost for r in alone.values()) > 0
    for key, record in together.items():
        close(alone[key], record)
    assert all(r.cost["fused"]["seeds"] == 2 for r in together.values() if r.trial["strategy"]["name"] == "source-only")


def test_the_clocks_of_a_group_add_up_to_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    decide(tmp_path, monkeypatch, 2.0)
    plan, work = planned(tmp_path, "fine-tune")
    list(InProcess().run(plan, work))  # data is there now
    began = time.perf_counter()
    records = list(InProcess().run(plan, work))
    assert sum(r.clocks["total"] for r in records) <= time.perf_counter() - began


def test_what_is_not_fused_has_the_very_same_records(tmp_path: Path) -> None:
    alone, together = both(*planned(tmp_path, "fine-tune", backbone=CNN))
    assert {k: exact(r) for k, r in alone.items()} == {k: exact(r) for k, r in together.items()}


def test_a_shape_that_loses_is_not_fused_and_the_measurement_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(tmp_path, monkeypatch, 0.9)
    plan, work = planned(tmp_path, "fine-tune")
    alone, together = both(plan, work)
    assert {k: exact(r) for k, r in alone.items()} == {k: exact(r) for k, r in together.items()}
    kept = [json.loads(path.read_text()) for path in (tmp_path / "cache" / "fusing").iterdir()]
    assert {(entry["gain"], entry["seeds"], tuple(entry["batches"])) for entry in kept} == {(0.9, 3, (32,))}
    decide(tmp_path, monkeypatch, 2.0)
    assert not any("fused" in r.cost for r in InProcess().run(plan, work))  # measured once, and held to


def test_each_seed_draws_what_it_draws_alone_and_may_end_before_the_others(tmp_path: Path) -> None:
    alone, together = both(*planned(tmp_path, "draws"))
    own = {k: r for k, r in together.items() if r.trial["strategy"]["name"] == "draws"}
    assert sorted(r.status for r in own.values()) == [Status.OK, Status.OK, Status.SKIPPED]
    for key, record in own.items():
        assert record.data.get("reported") == alone[key].data.get("reported")
        assert record.reason == alone[key].reason
        if record.status is Status.OK:
            close(alone[key], record)


def test_in_workers_each_trial_has_its_own_log_and_its_own_end(tmp_path: Path) -> None:
    plan, work = planned(tmp_path, "draws, fragile", backbone=CNN)
    own = [t for t in plan.trials if t.strategy.name in ("draws", "fragile")]
    plan = Plan(plan.suite, tuple(t for t in plan.trials if t in own or t.kind == "source-model"))
    records = {r.key: r for r in WorkerProcesses(workers=1).run(plan, work)}
    assert len(records) == len(plan.trials) == 9
    for trial in own:
        record, said = records[trial.key], (tmp_path / "run" / "logs" / f"{trial.key}.log").read_text()
        if trial.strategy.name == "draws":
            assert ("trained apart from the other seeds: conv2d is not known" in said) == (trial.seed != 1)
            assert f"the model of seed {trial.seed}\n" in said
            assert said.count("the model") == 1
            assert record.status == (Status.SKIPPED if trial.seed == 1 else Status.OK)
        else:  # seed 1 takes the process with it, and costs the others nothing
            assert record.status == (Status.FAILED if trial.seed == 1 else Status.OK)
            assert ("exit code 3" in record.reason) == (trial.seed == 1)


def test_a_group_that_is_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(tmp_path, monkeypatch, 2.0)
    plan, work = planned(tmp_path, "fine-tune")
    tuned = Plan(plan.suite, tuple(t for t in plan.trials if t.strategy.name == "scratch"))
    alone = {r.key: r for r in InProcess().run(tuned, HostWork({**work.spec, "switches": Switches().to_json()}))}
    steps = iter(range(10_000))
    stopped = HostWork(work.spec)
    bench = stopped._bench
    bench.stop = lambda: next(steps) > 60
    assert {r.status for r in stopped.together(tuned.trials)} == {Status.INTERRUPTED}
    again = {r.key: r for r in InProcess().run(tuned, work)}
    for key, record in again.items():
        assert 0 < record.resumed_from < 120
        close(alone[key], record)
        assert record.cost["fused"]["steps"] < 120
