"""Contract checks for each kind of plugin, and small problems that a method must solve; one line each.

    from tlbench.testing import check_strategy
    def test_my_method_keeps_the_contract():
        check_strategy(MyMethod())

Each check raises ``AssertionError`` with what was broken. They use the host's own loop, evaluation and stores.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import random
import sys
import tempfile
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tlbench.api.recipe import Recipe
from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Plan, Trial, canonical
from tlbench.api.types import Array, Domain, Pool, Problem, Seeds, Shape, Split, Start
from tlbench.builtin.references import Scratch, SourceOnly, SourceTraining
from tlbench.builtin.small_backbones import MLP
from tlbench.builtin.tasks import Adaptation, FineTuning, SourceTrainingTask
from tlbench.data.cache import DataCache
from tlbench.data.inputs import scaling
from tlbench.errors import SkipTrial, TrialError
from tlbench.evaluation.predict import Conditions, predict
from tlbench.models.factory import ModelFactory
from tlbench.training.checkpoint import Checkpoints, Interrupted
from tlbench.training.context import TrialContext, open_context
from tlbench.training.tape import Tape

__all__ = [
    "Toy",
    "check_backbone",
    "check_beats",
    "check_dataset",
    "check_executor",
    "check_metric",
    "check_reporter",
    "check_strategy",
    "check_task",
    "covariate_shift",
    "few_labels",
    "reachable_arrays",
    "score",
]

CPU = torch.device("cpu")


# ---- small problems ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Toy:
    """A transfer problem that trains in about a second: two domains, a task, a backbone and a recipe."""

    source: Domain
    target: Domain
    task: Any
    backbone: Any = field(default_factory=lambda: MLP(hidden=(32, 16)))
    recipe: Recipe = field(default_factory=lambda: Recipe(steps=120, batch_size=32, lr=5e-3, schedule="constant"))

    def problem(self, seed: int) -> Problem:
        """The problem of one seed; the same at each call."""
        built: Problem = self.task.build(self.source, self.target, Seeds(seed), self.recipe.selection)
        return built


def few_labels() -> Toy:
    """Three classes told apart in 2 of 40 directions; the source has 600 examples, the target 2 of each class.

    The target is the source moved a little, so that what the source teaches holds; from six examples alone the
    two directions cannot be found among the forty.
    """
    rng = np.random.default_rng(7)
    mixing = np.linalg.qr(rng.normal(size=(40, 40)))[0]

    def split(per_class: int, shift: float) -> Split:
        y = np.repeat(np.arange(3), per_class)
        angle = 2 * np.pi * y / 3
        signal = 3.0 * np.stack([np.cos(angle), np.sin(angle)], 1) + shift
        x = np.concatenate([signal, np.zeros((len(y), 38))], 1) + rng.normal(size=(len(y), 40))
        order = rng.permutation(len(y))
        return Split((x @ mixing).astype(np.float32)[order], y[order])

    names = ("a", "b", "c")
    source = Domain("toy-source", {"train": split(200, 0.0), "test": split(50, 0.0)}, names, "features")
    target = Domain("toy-target", {"train": split(30, 0.3), "test": split(100, 0.3)}, names, "features")
    return Toy(source, target, FineTuning(labels=2))


def covariate_shift() -> Toy:
    """Two classes; one feature tells them apart in both domains, a second one in the source only.

    In the target the second feature is three times as wide and independent of the class. A classifier of the source
    leans on both alike, and in the target the second drowns the first (about 0.6). The wide feature is what tells
    the two domains apart, by its covariance and by every other measure; features that match between the domains
    must leave it out, and the first feature alone gives the source's labels just as well: so alignment ends at
    almost no error. With the source's labels exchanged it ends at almost no success, as it must.
    """
    rng = np.random.default_rng(3)

    def split(size: int, moved: bool) -> Split:
        y = rng.integers(2, size=size)
        side = np.where(y == 1, 3.0, -3.0)
        lasting = side + rng.normal(size=size)
        fleeting = 10 * rng.normal(size=size) if moved else side + rng.normal(size=size)
        rest = 2 * rng.normal(size=(size, 2))
        return Split(np.column_stack([lasting, fleeting, rest]).astype(np.float32), y)

    names = ("left", "right")
    source = Domain("toy-source", {"train": split(400, False), "test": split(200, False)}, names, "features")
    target = Domain("toy-target", {"train": split(400, True), "test": split(400, True)}, names, "features")
    recipe = Recipe(steps=400, batch_size=64, lr=1e-2, schedule="constant")
    return Toy(source, target, Adaptation(), MLP(hidden=(16,)), recipe)


# ---- running a strategy on one -------------------------------------------------------------------


@dataclass(eq=False)
class Fit:
    """A fitted strategy and what it was fitted with."""

    fitted: Any
    ctx: TrialContext
    tape: Tape
    problem: Problem

    def scores(self) -> Mapping[str, Array]:
        """Scores [N, C] of each test pool."""
        conditions = Conditions(CPU, "float32", scaling(self.ctx.models.transform, CPU))
        found = {}
        for name, pool in self.problem.test.items():
            predictor = self.fitted
            if isinstance(predictor, Mapping):
                assert name in predictor, f"fit() returned predictors for {sorted(predictor)}; {name!r} is scored too"
                predictor = predictor[name]
            assert callable(predictor), (
                f"fit() returned a {type(predictor).__name__}; expected a predictor: inputs [B, ...] -> scores [B, C]"
            )
            if isinstance(predictor, torch.nn.Module):
                predictor.eval()
            try:
                found[name] = predict(predictor, pool, conditions)
            except TrialError as error:
                raise AssertionError(str(error)) from error
        return found


def _fit(
    strategy: Any,
    toy: Toy,
    seed: int = 0,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    extra: bool = False,
) -> Fit:
    problem = toy.problem(seed)
    pools = dict(problem.train)
    if strategy.name in toy.task.references:
        pools |= problem.withheld
    if extra:
        pools = _every_pool(toy, problem)
    missing = strategy.needs - set(pools)
    assert not missing, (
        f"{strategy.name} needs {sorted(missing)}, which the toy problem does not have; it has {sorted(pools)}"
    )
    wanted = strategy.needs | getattr(strategy, "uses", frozenset())
    start: Start = getattr(strategy, "start", None) or toy.task.start
    weights = _source_weights(toy, seed) if start == "source" else None
    models = ModelFactory(toy.backbone, "toy", toy.target.shape, Seeds(seed), CPU, weights)
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    tape = Tape(folder)
    ctx = open_context(
        {name: pool for name, pool in pools.items() if name in wanted},
        num_classes=problem.num_classes,
        models=models,
        recipe=toy.recipe,
        start=start,
        tape=tape,
        checkpoints=Checkpoints(folder, every=0.0 if folder else 1e9),
        stop=stop,
    )
    return Fit(strategy.fit(ctx), ctx, tape, problem)


def _every_pool(toy: Toy, problem: Problem) -> dict[str, Pool]:
    """Every pool that a first-release task can offer, for the contract checks."""
    source, target = toy.source.splits["train"], toy.target.splits["train"]
    classes = problem.num_classes
    pools = {
        "source": Pool(source.x, source.y, classes),
        "source_val": Pool(source.x[:60], source.y[:60], classes),  # type: ignore[index]
        "source_unlabelled": Pool(source.x, None, classes),
        "target": Pool(target.x, target.y, classes),
        "target_val": Pool(target.x[:30], target.y[:30], classes),  # type: ignore[index]
        "target_unlabelled": Pool(target.x, None, classes),
    }
    return pools | dict(problem.train)


@cache
def _source_weights(toy: Toy, seed: int) -> Mapping[str, Tensor]:
    training = dataclasses.replace(toy, target=toy.source, task=SourceTrainingTask())
    fitted = _fit(SourceTraining(), training, seed).fitted
    return {name: value.detach().clone() for name, value in fitted.state_dict().items()}


def score(strategy: Any, toy: Toy, seed: int = 0) -> float:
    """Test accuracy of a strategy on a toy problem."""
    fit = _fit(strategy, toy, seed)
    pool = fit.problem.test["target"]
    assert pool.y is not None
    return float((fit.scores()["target"].argmax(1) == pool.y).mean())


def check_beats(strategy: Any, toy: Toy, margin: float = 0.05, seeds: Iterable[int] = (0, 1, 2)) -> None:
    """The strategy beats the task's reference on the toy problem by ``margin`` of accuracy, on the mean over seeds."""
    reference: Any = {"scratch": Scratch(), "source-only": SourceOnly()}[toy.task.references[0]]
    ours = [score(strategy, toy, seed) for seed in seeds]
    theirs = [score(reference, toy, seed) for seed in seeds]
    assert np.mean(ours) >= np.mean(theirs) + margin, (
        f"{strategy.name} reaches {np.mean(ours):.3f} {np.round(ours, 3)} and {reference.name} {np.mean(theirs):.3f} "
        f"{np.round(theirs, 3)}; expected at least {margin} more"
    )


# ---- strategies ----------------------------------------------------------------------------------


def check_strategy(strategy: Any) -> None:
    """The whole contract of a strategy, on a small problem with every pool that it may ask for.

    It is a frozen dataclass with ``name``, ``needs`` and a docstring; its scores are finite and [N, C]; the same
    seed gives the same scores; a training that was stopped and resumed gives the same; it changes neither itself
    nor its pools; it asks for no more than the budget; and nothing that it can reach from its context holds a test
    example.
    """
    _check_class(strategy, "strategy", "fit")
    assert isinstance(getattr(type(strategy), "needs", None), frozenset), "`needs` must be a frozenset of pool names"
    assert isinstance(getattr(type(strategy), "uses", frozenset()), frozenset), (
        "`uses` must be a frozenset of pool names"
    )
    toy = dataclasses.replace(few_labels(), recipe=Recipe(steps=24, batch_size=16, curve_points=6))
    before = {name: _copy_of(pool) for name, pool in _every_pool(toy, toy.problem(0)).items()}
    own = copy.deepcopy(vars(strategy))
    try:
        first = _fit(strategy, toy, extra=True)
    except TrialError as error:
        raise AssertionError(f"fit() failed: {error}") from error
    _check_pools_as_before(first.ctx, before)
    assert vars(strategy) == own, "fit() changed the strategy itself: state lives in the call, not on self"
    scores = first.scores()
    again = _fit(strategy, toy, extra=True).scores()
    for name in scores:
        assert np.array_equal(scores[name], again[name]), (
            "the same seed gave other scores: draw from ctx.rng or torch, and keep no state on self"
        )
    reachable = reachable_arrays(first.ctx)
    for pool in first.problem.test.values():
        for array in reachable:
            assert not _same_data(array, pool), "test data can be reached from the context"
    _check_resume(strategy, toy, scores)


def _copy_of(pool: Pool) -> tuple[Array, Array | None]:
    return np.array(pool.x), None if pool.y is None else np.array(pool.y)


def _check_pools_as_before(ctx: TrialContext, before: Mapping[str, tuple[Array, Array | None]]) -> None:
    """The pools, the copies of them that batches are made of, and the features that other trials will get."""
    for name, pool in ctx.given.items():
        x, y = before[name]
        assert np.array_equal(x, np.asarray(pool.x)), f"the strategy changed the pool {name}"
        assert y is None or np.array_equal(y, np.asarray(pool.y)), f"the strategy changed the labels of {name}"
        inputs, labels = ctx._tensors(name)
        assert np.array_equal(x, inputs.numpy()), f"the strategy changed the batches of {name} in place"
        assert y is None or np.array_equal(y, labels.numpy()), f"the strategy changed the labels of {name} in place"  # type: ignore[union-attr]
        assert torch.equal(ctx.features(name).x, ctx._through_backbone(inputs)), (
            f"the strategy changed the features of {name} in place; others share them"
        )


def _check_resume(strategy: Any, toy: Toy, scores: Mapping[str, Array]) -> None:
    """Stop at several places and go on; the scores must be those of an unbroken fit."""
    for steps in (1, 7, 20):
        with tempfile.TemporaryDirectory() as name:
            calls = iter([False] * steps)
            try:
                fit = _fit(strategy, toy, folder=Path(name), stop=partial(next, calls, True), extra=True)
            except Interrupted:
                fit = _fit(strategy, toy, folder=Path(name), extra=True)
            for pool, values in fit.scores().items():
                assert np.array_equal(values, scores[pool]), f"stopped and resumed, it gave other scores on {pool}"


def reachable_arrays(root: object) -> list[Any]:
    """Every array and tensor within reach of an object, through closures too; not through modules and classes."""
    namespaces = {id(vars(m)) for m in list(sys.modules.values()) if isinstance(m, types.ModuleType)}
    seen: set[int] = set(namespaces)
    found, stack = [], [root]
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, types.ModuleType | type | types.BuiltinFunctionType):
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray | Tensor):
            found.append(item)
        if isinstance(item, np.ndarray) and item.base is not None:
            stack.append(item.base)
        stack.extend(gc.get_referents(item))
        stack.extend(gc.get_referents(getattr(item, "__dict__", None)))
    return found


def _same_data(array: Any, pool: Pool) -> bool:
    value = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    own = [pool.y, *(pool.x.values() if isinstance(pool.x, Mapping) else (pool.x,))]
    return any(
        o is not None
        and o.size > 1
        and (np.shares_memory(value, o) or (value.shape == o.shape and np.array_equal(value, o)))
        for o in own
    )


def _check_class(plugin: Any, kind: str, method: str) -> None:
    cls = type(plugin)
    assert dataclasses.is_dataclass(plugin), f"a {kind} must be a dataclass of its parameters"
    assert cls.__dataclass_params__.frozen, f"a {kind} must be a frozen dataclass: state lives in the call, not on self"
    assert isinstance(getattr(cls, "name", None), str), f"a {kind} needs `name: ClassVar[str]`"
    generated = f"{cls.__name__}("  # what a dataclass without a docstring gets
    assert not (cls.__doc__ or generated).startswith(generated), f"a {kind} needs a docstring: `tlbench list` shows it"
    assert callable(getattr(plugin, method, None)), f"a {kind} needs the method `{method}`"
    for item in dataclasses.fields(plugin):
        if item.init:
            assert (
                item.default is not dataclasses.MISSING
                or item.default_factory is not dataclasses.MISSING
                or kind == "dataset"
            ), f"the parameter {item.name!r} of a {kind} needs a default"


# ---- the other kinds -----------------------------------------------------------------------------


def check_backbone(backbone: Any, shape: Shape | None = None) -> None:
    """Features [B, D] that are finite; blocks that hold every parameter once; the same seed gives the same weights."""
    _check_class(backbone, "backbone", "load")
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
    _check_class(dataset, "dataset", "load")
    with tempfile.TemporaryDirectory() as folder:
        caches = [DataCache(Path(folder), data_root, base or Path(folder), None) for _ in range(2)]
        domain: Domain = dataset.load(caches[0])
        again: Domain = dataset.load(caches[1])
        assert {"train", "test"} <= set(domain.splits), (
            f"a domain needs train and test splits; this one has {sorted(domain.splits)}"
        )
        arrays: list[Array] = []
        for name, split in domain.splits.items():
            assert split.y.dtype == np.int64, f"labels of {name} are {split.y.dtype}, expected int64"
            assert len(split) > 0, f"the split {name} is empty"
            assert split.y.min() >= 0, f"the split {name} has negative labels"
            assert split.y.max() < domain.num_classes, (
                f"the split {name} has labels beyond its {domain.num_classes} classes"
            )
            assert np.array_equal(split.y, again.splits[name].y), f"the labels of {name} differ between two loads"
            for x, other in zip(_parts(split), _parts(again.splits[name]), strict=True):
                assert len(x) == len(split.y), f"{name} has {len(x)} examples and {len(split.y)} labels"
                expected = np.uint8 if domain.kind == "image" else np.float32
                assert x.dtype == expected or isinstance(split.x, Mapping), (
                    f"{name} is {x.dtype}, expected {expected.__name__}"
                )
                assert np.isfinite(x).all(), f"{name} has values that are not finite"
                assert np.array_equal(x, other), f"the examples of {name} differ between two loads"
            shape = tuple(_parts(split)[0].shape[1:])
            assert shape == domain.shape.dims, (
                f"examples of {name} have shape {shape}, those of train {domain.shape.dims}"
            )
            arrays += [*_parts(split), split.y]
        for i, x in enumerate(arrays):
            assert not any(np.shares_memory(x, other) for other in arrays[i + 1 :]), "two splits share memory"
        # memory-mapped arrays go with the folder
        splits = {
            n: Split(s.x if isinstance(s.x, Mapping) else np.array(s.x), np.array(s.y))
            for n, s in domain.splits.items()
        }
        return dataclasses.replace(domain, splits=splits)


def _parts(split: Split | Pool) -> list[Array]:
    return list(split.x.values()) if isinstance(split.x, Mapping) else [split.x]


def check_task(task: Any) -> None:
    """Pools as offered, labels withheld where the name says so, no labelled test example to train on, test pools with
    labels, the same for the same seed; under each selection rule, or a ``SkipTrial`` where a rule does not apply."""
    _check_class(task, "task", "build")
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
    """A finite float that does not depend on the order of the examples, and prefers right scores to wrong ones."""
    _check_class(metric, "metric", "score")
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    scores = rng.normal(size=(60, 3))
    value, order = metric.score(scores, y), rng.permutation(60)
    assert isinstance(value, float), f"a metric returns a float, not a {type(value).__name__}"
    assert np.isfinite(value), "the metric is not finite"
    assert np.isclose(value, metric.score(scores[order], y[order])), "the metric depends on the order of the examples"
    right, wrong = metric.score(4 * np.eye(3)[y], y), metric.score(4 * np.eye(3)[(y + 1) % 3], y)
    assert (right > wrong) == metric.higher_is_better, "`higher_is_better` does not fit: it prefers wrong scores"


def check_executor(executor: Any) -> None:
    """A record for every trial, parents before those that start from them, and a failure that stops nothing."""
    _check_class(executor, "executor", "run")
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

    _check_class(reporter, "reporter", "report")
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
