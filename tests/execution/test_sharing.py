"""Trainings that see nothing of the target are done once for all targets, and nobody can tell from the results."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.api.trials import Plan
from tlbench.execution import sharing
from tlbench.execution.bench import make_spec
from tlbench.execution.in_process import InProcess
from tlbench.execution.processes import WorkerProcesses
from tlbench.execution.switches import Switches
from tlbench.execution.work import HostWork
from tlbench.plugins import Plugins
from tlbench.run import Options, Run
from tlbench.training.streams import Stream

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench.api.records import Record

STEPS = 12
SUITE = """
tlbench: 1
name: shared
sources: {domains}
targets: {domains}
tasks: {tasks}
backbones: [{{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}}]
strategies: {strategies}
seeds: {seeds}
recipe: {{steps: 12, batch_size: 16, curve_points: 4{recipe}}}
"""
DOMAINS = "[digits, {name: digits, shift: inverted}, {name: digits, shift: rotated}, {name: digits, shift: noisy}]"
NOISY = '''
from dataclasses import dataclass
from typing import ClassVar
import torch
from tlbench import hookimpl
from tlbench.functional import supervised

@dataclass(frozen=True)
class Noisy:
    """Trains on the source with noise from the common generator, as dropout does."""
    name: ClassVar[str] = "noisy"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "same_classes"})

    def fit(self, ctx):
        model = ctx.classifier()
        ctx.train(lambda b, s: supervised(model)(b, s) + 0 * torch.rand(()), update=model, on=("source",))
        return model

@hookimpl
def tlbench_strategies():
    return [Noisy]
'''


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How many batches were drawn in this process: one for each step of each training."""
    drawn: Counter[int] = Counter()
    batch = Stream.batch

    def counted(self: Stream, step: int) -> Any:
        drawn["batches"] += 1
        return batch(self, step)

    monkeypatch.setattr(Stream, "batch", counted)
    return drawn


def planned(
    folder: Path,
    *,
    strategies: str = "[]",
    tasks: str = "[adaptation]",
    seeds: int = 1,
    recipe: str = "",
    **wanted: Any,
) -> tuple[Plan, HostWork]:
    folder.mkdir(parents=True, exist_ok=True)
    suite = folder / "suite.yaml"
    suite.write_text(SUITE.format(domains=DOMAINS, tasks=tasks, strategies=strategies, seeds=seeds, recipe=recipe))
    (folder / "noisy.py").write_text(NOISY)
    plugins = Plugins.discover(extra=[str(folder / "noisy.py")], entry_points=False)
    run = Run.of(str(suite), plugins, Options(cache=folder / "cache", out=folder / "run", device="cpu"))
    plan = run.plan({})
    names = wanted.get("only")
    trials = tuple(t for t in plan.trials if names is None or t.strategy.name in names)
    spec = make_spec(
        plugins=plugins,
        run=folder / "run",
        base=folder,
        data_root=None,
        cache=folder / "cache",
        suite="shared",
        metrics=("accuracy", "log-loss"),
        device="cpu",
    )
    return Plan(plan.suite, trials), HostWork(spec)


def done(plan: Plan, work: HostWork, *, share: bool = True, workers: int | None = None) -> dict[str, Record]:
    quiet = HostWork({**work.spec, "switches": Switches(share=share).to_json()})
    executor: Any = InProcess() if workers is None else WorkerProcesses(workers=workers)
    records = {record.key: record for record in executor.run(plan, quiet)}
    assert {r.status for r in records.values()} == {"ok"}, [r.reason for r in records.values()]
    return records


def said(record: Record) -> Any:
    """All of a record but clocks, rates, memory and whose training it was."""
    cost = {k: v for k, v in record.cost.items() if k != "trained_by"}
    curve = {k: v for k, v in (record.curve or {}).items() if k != "seconds"}
    return record.metrics, curve, record.losses, cost, record.data, record.seeds, record.resumed_from


def trained(records: dict[str, Record], strategy: str) -> int:
    mine = [r for r in records.values() if r.trial["strategy"]["name"] == strategy]
    return sum("trained_by" not in r.cost for r in mine)


def test_twelve_pairs_of_four_sources_take_four_trainings_and_their_records_are_the_same_bit_for_bit(
    tmp_path: Path, batches: Counter[int]
) -> None:
    plan, work = planned(tmp_path, strategies="[source-only]", only={"source-only"})
    assert len(plan.trials) == 12
    shared = done(plan, work)
    assert batches.pop("batches") == 4 * STEPS
    assert trained(shared, "source-only") == 4
    alone = done(plan, work, share=False)
    assert batches.pop("batches") == 12 * STEPS
    assert {k: said(r) for k, r in shared.items()} == {k: said(r) for k, r in alone.items()}


@pytest.mark.parametrize("recipe", [", selection: source-val", ", selection: target-val", ", augmentation: crop-flip"])
def test_whatever_the_recipe_a_shared_training_gives_the_same_records(tmp_path: Path, recipe: str) -> None:
    plan, work = planned(tmp_path, strategies="[source-only]", only={"source-only"}, recipe=recipe)
    shared, alone = done(plan, work), done(plan, work, share=False)
    assert trained(shared, "source-only") == 4
    assert {k: said(r) for k, r in shared.items()} == {k: said(r) for k, r in alone.items()}


def test_seeds_and_parameters_have_trainings_of_their_own(tmp_path: Path, batches: Counter[int]) -> None:
    strategies = "[source-only, {name: source-only, lr: 0.5, label: slow}]"
    plan, work = planned(tmp_path, strategies=strategies, seeds=2, only={"source-only"})
    assert len(plan.trials) == 2 * 2 * 12
    done(plan, work)
    assert batches["batches"] == 2 * 2 * 4 * STEPS


def test_a_source_model_and_source_only_share_one_training_where_their_recipes_are_the_same(
    tmp_path: Path, batches: Counter[int]
) -> None:
    tasks = "[adaptation, {name: fine-tuning, labels: 5}]"
    names = {"source-only", "source-training"}
    both, work = planned(tmp_path, strategies="[source-only, linear-probe]", tasks=tasks, only=names)
    assert Counter(t.kind for t in both.trials) == {"trial": 24, "source-model": 4}  # under both tasks
    shared = done(both, work)
    assert batches.pop("batches") == 4 * STEPS
    alone = done(both, work, share=False)
    assert {k: said(r) for k, r in shared.items()} == {k: said(r) for k, r in alone.items()}
    assert [shared[t.key].artifact for t in both.trials] == [alone[t.key].artifact for t in both.trials]


def test_two_workers_do_no_training_twice(tmp_path: Path) -> None:
    plan, work = planned(tmp_path, strategies="[source-only]", only={"source-only"})
    records = done(plan, work, workers=2)
    assert trained(records, "source-only") == 4
    by = {r.cost["trained_by"] for r in records.values() if "trained_by" in r.cost}
    assert by == {k for k, r in records.items() if "trained_by" not in r.cost}
    assert not sharing.kept_in(tmp_path / "run").exists()


def test_a_shared_training_counts_what_it_took_where_it_was_done(tmp_path: Path) -> None:
    plan, work = planned(tmp_path, strategies="[source-only]", only={"source-only"})
    records = done(plan, work)
    for record in records.values():
        if (by := record.cost.get("trained_by")) is not None:
            assert record.curve is not None
            assert record.clocks["training"] >= record.curve["seconds"][-1] > 0
            assert record.curve["seconds"] == (records[by].curve or {})["seconds"]
            assert record.memory["peak_rss"] > 0


def test_a_training_that_draws_from_the_common_generators_is_done_for_each_pair(
    tmp_path: Path, batches: Counter[int]
) -> None:
    plan, work = planned(tmp_path, strategies="[noisy]", only={"noisy"})
    assert len(plan.trials) == 12
    done(plan, work)
    assert batches["batches"] == 12 * STEPS


def test_what_sees_the_target_is_never_shared(tmp_path: Path) -> None:
    plan, work = planned(tmp_path, tasks="[{name: fine-tuning, labels: 5}]", strategies="[fine-tune]")
    records = done(plan, work)
    assert all("trained_by" not in r.cost for r in records.values())


def test_of_too_many_trainings_the_oldest_go_and_who_took_one_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, mine = tmp_path / "shared", tmp_path / "mine"
    for age, name in enumerate("abc"):
        (home / name).mkdir(parents=True)
        (home / name / "phase-0.safetensors").write_bytes(b"x" * 1000)
        os.utime(home / name, (100 + age, 100 + age))
    sharing._link(home / "a", mine)
    monkeypatch.setattr(sharing, "MOST", 2000)
    sharing._bound(home)
    assert sorted(p.name for p in home.iterdir()) == ["b", "c"]
    assert (mine / "phase-0.safetensors").stat().st_size == 1000
    monkeypatch.setattr(sharing, "MOST", 10)
    sharing._bound(home)
    assert [p.name for p in home.iterdir()] == ["c"]
