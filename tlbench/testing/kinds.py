"""The contracts of backbones, data sets, tasks, metrics, executors and reporters."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from tlbench.api.data import Array, Domain, Pool, Problem, Seeds, Shape, Split
from tlbench.api.recipe import Recipe
from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Plan, Trial, canonical
from tlbench.data.cache import DataCache
from tlbench.data.soundness import require_sound
from tlbench.errors import DataError, SkipTrial
from tlbench.models.factory import ModelFactory
from tlbench.testing.classes import check_class
from tlbench.testing.toys import CPU, few_labels


def check_backbone(backbone: Any, shape: Shape | None = None) -> None:
    """Features [B, D] that are finite; blocks that hold every parameter once; the same seed gives the same weights."""
    check_class(backbone, "backbone", "load")
    assert hasattr(backbone, "pretrained_on"), (
        "a backbone needs `pretrained_on`: what its own weights were trained on, or None"
    )
    shape = shape or Shape("image", (3, 32, 32))
    factory = ModelFactory(backbone, "check", shape, Seeds(0), CPU)
    another = ModelFactory(backbone, "check", shape, Seeds(0), CPU)
    model: Any = backbone.load(shape, pretrained=False)
    assert isinstance(model, torch.nn.Module), f"load() returned a {type(model).__name__}; expected an nn.Module"
    for name in ("num_features", "transform", "blocks"):
        assert hasattr(model, name), f"what load() returns needs `{name}`"
    model = factory.make_backbone("weights").eval()
    transform = factory.transform
    dims = (transform.channels, transform.size, transform.size) if transform else shape.dims
    x = torch.randn(2, *dims, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features, again = model(x), model(x)
    assert features.shape == (2, model.num_features), (
        f"features have shape {list(features.shape)}, expected [2, {model.num_features}]"
    )
    assert bool(torch.isfinite(features).all()), "features are not finite"
    assert torch.equal(features, again), "features differ between two passes in evaluation mode"
    names = {id(p): name for name, p in model.named_parameters()}
    inside = [id(p) for block in model.blocks for p in block.parameters()]
    twice = sorted(names.get(p, "?") for p in set(inside) if inside.count(p) > 1)
    assert not twice, f"in two blocks: {', '.join(twice)}"
    outside = sorted(name for p, name in names.items() if p not in set(inside))
    assert not outside, f"in no block: {', '.join(outside)}"
    assert set(inside) <= set(names), "a block has parameters that the model does not have"
    frozen = sorted(name for name, p in model.named_parameters() if not p.requires_grad)
    assert not frozen, f"load() froze {', '.join(frozen)}; freezing is the strategies' affair"
    one, two = factory.make_backbone("random").state_dict(), another.make_backbone("random").state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one), (
        "random weights differ for the same seed: draw from torch's generator"
    )


def check_dataset(dataset: Any, *, data_root: Path | None = None, base: Path | None = None) -> Domain:
    """Train and test splits with labels in range, of stated types, that share no memory; the same at each load."""
    check_class(dataset, "dataset", "load")
    with tempfile.TemporaryDirectory() as folder:
        caches = [DataCache(Path(folder), data_root, base or Path(folder), None) for _ in range(2)]
        domain: Domain = dataset.load(caches[0])
        again: Domain = dataset.load(caches[1])
        for each in (domain, again):
            try:
                require_sound(each, str(dataset.name), thorough=True)
            except DataError as error:
                raise AssertionError(str(error)) from error
        assert set(domain.splits) == set(again.splits), "the splits differ between two loads"
        arrays: list[Array] = []
        for name, split in domain.splits.items():
            other = again.splits[name]
            assert np.array_equal(split.y, other.y), f"the labels of {name} differ between two loads"
            pairs = zip(_parts(split), _parts(other), strict=True)
            assert all(np.array_equal(x, y) for x, y in pairs), f"the examples of {name} differ between two loads"
            arrays += [*_parts(split), split.y]
            if split.group is not None and other.group is not None:
                assert np.array_equal(split.group, other.group), f"the groups of {name} differ between two loads"
                arrays.append(split.group)
        for i, x in enumerate(arrays):
            assert not any(np.shares_memory(x, other) for other in arrays[i + 1 :]), "two splits share memory"
        # memory-mapped arrays go with the folder
        splits = {
            n: Split(
                s.x if isinstance(s.x, Mapping) else np.array(s.x),
                np.array(s.y),
                None if s.group is None else np.array(s.group),
            )
            for n, s in domain.splits.items()
        }
        return dataclasses.replace(domain, splits=splits)


def _parts(split: Split | Pool) -> list[Array]:
    return list(split.x.values()) if isinstance(split.x, Mapping) else [split.x]


def check_task(task: Any) -> None:
    """Pools as offered, labels withheld where the name says so, no labelled test example to train on, test pools with
    labels, the same for the same seed; under each selection rule, or a ``SkipTrial`` where a rule does not apply."""
    check_class(task, "task", "build")
    for name in ("offers", "references", "start", "needs_source"):
        assert hasattr(type(task), name), f"a task needs `{name}`"
    toy = few_labels()
    _check_problem(task, *(task.build(toy.source, toy.target, Seeds(0), "last") for _ in range(2)))
    for rule in ("source-val", "target-val"):
        try:
            problem, again = (task.build(toy.source, toy.target, Seeds(0), rule) for _ in range(2))
        except SkipTrial:
            continue
        _check_problem(task, problem, again)
        assert problem.validation is None or problem.validation.y is not None, (
            f"the validation pool of the rule {rule!r} has no labels"
        )


def _check_problem(task: Any, problem: Problem, again: Problem) -> None:
    assert set(problem.train) <= set(task.offers), (
        f"pools {sorted(set(problem.train) - set(task.offers))} are not in `offers`"
    )
    withheld = set(getattr(task, "withholds", frozenset()))
    assert set(problem.withheld) <= withheld, f"pools {sorted(set(problem.withheld) - withheld)} are not in `withholds`"
    assert problem.test, "nothing is scored"
    tested = [x for pool in problem.test.values() for x in _parts(pool)]
    for name, pool in problem.test.items():
        assert pool.y is not None, f"the test pool {name} has no labels to score by"
        assert pool.num_classes == problem.num_classes, f"{name} has {pool.num_classes} classes"
    for name, pool in problem.train.items():
        assert len(pool) > 0, f"the pool {name} is empty"
        assert not name.endswith("_unlabelled") or pool.y is None, f"the pool {name} has labels"
        assert pool.y is None or not any(np.shares_memory(x, t) for x in _parts(pool) for t in tested), (
            f"the pool {name} has labelled test examples"
        )
        same = zip(_parts(pool), _parts(again.train[name]), strict=True)
        assert all(np.array_equal(x, other) for x, other in same), f"the pool {name} differs for the same seed"
        assert pool.y is None or np.array_equal(pool.y, np.asarray(again.train[name].y)), (
            f"the labels of {name} differ for the same seed"
        )


def check_metric(metric: Any) -> None:
    """A finite float that does not depend on the order of the examples, and prefers right scores to wrong ones.

    A metric that needs ``group`` gets groups, some of which occur once, and must not mind what they are called.
    One that compares backbones must give the same for any order of the examples, and a number for equal features.
    """
    if hasattr(metric, "compare"):
        _check_comparison(metric)
        return
    check_class(metric, "metric", "score")
    needs: frozenset[str] = getattr(metric, "needs", frozenset())
    assert needs in (frozenset(), frozenset({"group"})), f"a metric may need `group` and nothing else, not {needs}"
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    group = np.where(np.arange(60) < 2, np.arange(60), 2 + np.arange(60) // 3 % 4)
    scores = rng.normal(size=(60, 3))

    def score(scores: Array, rows: Array, names: Array = group) -> Any:
        return metric.score(scores, y[rows], names[rows]) if needs else metric.score(scores, y[rows])

    every, order = np.arange(60), rng.permutation(60)
    value = score(scores, every)
    assert isinstance(value, float), f"a metric returns a float, not a {type(value).__name__}"
    assert np.isfinite(value), "the metric is not finite"
    assert np.isclose(value, score(scores[order], order)), "the metric depends on the order of the examples"
    assert np.isclose(value, score(scores, every, 1000 - 7 * group)), "the metric depends on the groups' numbers"
    if needs:  # right in every group, or wrong in the smallest only
        right, wrong = score(4 * np.eye(3)[y], every), score(4 * np.eye(3)[np.where(group == 0, y + 1, y) % 3], every)
    else:
        right, wrong = score(4 * np.eye(3)[y], every), score(4 * np.eye(3)[(y + 1) % 3], every)
    assert (right > wrong) == metric.higher_is_better, "`higher_is_better` does not fit: it prefers wrong scores"


def _check_comparison(metric: Any) -> None:
    check_class(metric, "metric", "compare")
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 40, 6)).astype(np.float32)
    order = rng.permutation(40)
    for x, y in ((before, after), (before, before)):
        value = metric.compare(x, y)
        assert isinstance(value, float), f"compare() returns a float, not a {type(value).__name__}"
        assert np.isfinite(value), "the metric is not finite"
        assert np.isclose(value, metric.compare(x[order], y[order])), "the metric depends on the order of the examples"


def check_executor(executor: Any) -> None:
    """A record for every trial, parents before those that start from them, and a failure that stops nothing."""
    check_class(executor, "executor", "run")
    plan = _toy_plan()
    work = _ToyWork(fails=plan.trials[2].key)
    records = list(executor.run(plan, work))
    assert sorted(r.key for r in records) == sorted(t.key for t in plan.trials), "each trial must get one record"
    statuses = {r.key: r.status for r in records}
    assert statuses[plan.trials[2].key] == Status.FAILED, "the record of a failed trial must say so"
    assert sorted(work.begun) == sorted(work.order), "each trial that runs must be announced by `work.started`, once"
    order = work.order
    assert order.index(plan.trials[0].key) < order.index(plan.trials[1].key), "a trial ran before its parent"
    stopped = _ToyWork(fails="", stop=True)
    list(executor.run(plan, stopped))
    assert not stopped.order, "a trial began although `work.stopping()` said to stop"


def check_reporter(reporter: Any) -> None:
    """Files below the folder, written from a small leaderboard with a name that must be escaped."""
    from tlbench.leaderboard.board import build

    check_class(reporter, "reporter", "report")
    records = [_toy_record(t, value) for t, value in zip(_toy_plan().trials, (0.5, 0.6, 0.4), strict=True)]
    with tempfile.TemporaryDirectory() as name:
        paths = list(reporter.report(build(records), Path(name)))
        assert paths, "a reporter returns the files that it wrote"
        for path in paths:
            assert Path(path).is_file(), f"{path} was not written"
            assert Path(path).resolve().is_relative_to(Path(name).resolve()), f"{path} is outside the folder"


def _toy_plan() -> Plan:
    def choice(name: str) -> Choice:
        return Choice(name, name, {})

    first = Trial(
        source=None,
        target=choice("toy"),
        task=choice("fine-tuning"),
        strategy=choice("scratch"),
        backbone=choice("mlp"),
        recipe=Choice("recipe", "recipe", dataclasses.asdict(Recipe(steps=10))),
        seed=0,
    )
    other = dataclasses.replace(first, strategy=choice("fine-tune"), reference="scratch")
    second = dataclasses.replace(other, source=choice("<b>|=1+1"), parents=(first.key,))
    third = dataclasses.replace(other, source=choice("other"))
    return Plan("toy", (first, second, third))


def _toy_record(trial: Trial, value: float, status: Status = Status.OK) -> Record:
    curve = {
        "pool": "target",
        "metric": "accuracy",
        "examples": 10,
        "steps": [0],
        "scores": [value],
        "seconds": [0.0],
        "selected": 0,
    }
    return Record(trial.key, status, trial.to_json(), "toy", metrics={"target": {"accuracy": value}}, curve=curve)


class _ToyWork:
    """Work that takes no time, for executors that run it in this process."""

    spec: ClassVar[Mapping[str, Any]] = json.loads(
        canonical({"device": "cpu", "threads": 1, "shared": False, "suite": "toy"})
    )

    def __init__(self, fails: str, stop: bool = False) -> None:
        self._fails, self._stop = fails, stop
        self.order: list[str] = []
        self.begun: list[str] = []

    def __call__(self, trial: Trial) -> Record:
        self.order.append(trial.key)
        return _toy_record(trial, 0.5, Status.FAILED if trial.key == self._fails else Status.OK)

    def started(self, trial: Trial, slot: str) -> None:
        self.begun.append(trial.key)

    def stopping(self) -> bool:
        return self._stop
