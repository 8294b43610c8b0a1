"""Small transfer problems, and how well a strategy does on them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tlbench.api.data import Array, Domain, Pool, Problem, Seeds, Split
from tlbench.api.recipe import Recipe
from tlbench.api.types import AdaptsAll, Batch, Start
from tlbench.builtin.metrics import Accuracy
from tlbench.builtin.references import Chance, Scratch, SourceOnly, SourceTraining
from tlbench.builtin.small_backbones import MLP
from tlbench.builtin.tasks import Adaptation, FineTuning, SourceTrainingTask
from tlbench.data.inputs import scaling, to_tensors
from tlbench.data.pools import pool_of, unlabelled
from tlbench.errors import TrialError
from tlbench.evaluation.matching import matched
from tlbench.evaluation.predict import Conditions, predict
from tlbench.execution.desk import predictors_of
from tlbench.execution.episodes import EpisodeScorer, queries_of, support_of
from tlbench.execution.score import judge_of
from tlbench.execution.together import scores_together
from tlbench.models.factory import ModelFactory
from tlbench.training.checkpoint import Checkpoints
from tlbench.training.context import Extras, TrialContext, open_context
from tlbench.training.tape import Tape

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")


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


@dataclass(eq=False)
class Fit:
    """A fitted strategy and what it was fitted with."""

    fitted: Any
    ctx: TrialContext
    tape: Tape
    problem: Problem

    @property
    def conditions(self) -> Conditions:
        return Conditions(CPU, "float32", scaling(self.ctx.models.transform, CPU))

    def scores(self) -> Mapping[str, Array]:
        """Scores [N, C] of each test pool; of few-shot, those of the queries of each of the first episodes."""
        try:
            if self.problem.episodes is not None:
                return self._of_episodes()
            found = predictors_of(self.fitted, self.problem)
            return {name: predict(f, self.problem.test[name], self.conditions) for name, f in found.items()}
        except TrialError as error:
            raise AssertionError(str(error)) from error

    def _of_episodes(self) -> Mapping[str, Array]:
        episodes = self.problem.episodes
        assert episodes is not None
        assert hasattr(self.fitted, "adapt"), f"fit() returned a {type(self.fitted).__name__}; expected one to adapt"
        found = {}
        for index in range(min(3, len(episodes))):
            support = support_of(episodes, index)
            batch = Batch(self.conditions.scale(to_tensors(support.x, CPU)), torch.from_numpy(support.y))
            queries = queries_of(self.problem, index)
            found[f"episode {index}"] = predict(self.fitted.adapt(batch), queries, self.conditions)
        return found

    def together(self) -> Mapping[str, Array]:
        """The scores of the same episodes, adapted to all at once; nothing where it adapts to one after the other."""
        episodes = self.problem.episodes
        if episodes is None or not isinstance(self.fitted, AdaptsAll):
            return {}
        try:
            found = [*scores_together(self.fitted, self.problem, self.conditions, range(min(3, len(episodes))))]
        except TrialError as error:
            raise AssertionError(str(error)) from error
        return {f"episode {index}": scores for index, scores in enumerate(found)}


def fit(
    strategy: Any,
    toy: Toy,
    seed: int = 0,
    folder: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    extra: bool = False,
    given: Mapping[str, Pool] | None = None,
) -> Fit:
    """Fit a strategy on a toy problem as the host would; ``extra`` offers it every pool that a task can.

    ``folder`` takes a checkpoint at every chance, ``stop`` says when to stop, and ``given`` adds pools.
    """
    problem = toy.problem(seed)
    pools = dict(problem.train)
    if strategy.name in toy.task.references:
        pools |= problem.withheld
    if extra:
        pools = every_pool(toy, problem)
    pools |= given or {}
    extras: dict[str, Any] = {
        "episodes": problem.episodes,
        "class_attributes": problem.class_attributes,
        "graphs": problem.graphs,
    }
    extras["same_classes"] = toy.source.label_names == toy.target.label_names
    missing = strategy.needs - set(pools) - {name for name, kept in extras.items() if kept}
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
        judge=judge_of({"accuracy": Accuracy()}, Conditions(CPU, "float32", scaling(models.transform, CPU))),
        stop=stop,
        extras=Extras(
            problem.class_attributes,
            problem.graphs,
            problem.episodes.shape if problem.episodes is not None else None,
            toy.source.num_classes,
        ),
    )
    return Fit(strategy.fit(ctx), ctx, tape, problem)


def every_pool(toy: Toy, problem: Problem) -> dict[str, Pool]:
    """Every pool that a task can offer, for the contract checks."""
    source, target = pool_of(toy.source.splits["train"], toy.source.num_classes), None
    if problem.episodes is None:
        target = pool_of(toy.target.splits["train"], toy.target.num_classes)
    pools = {"source": source, "source_val": _first(source, 60), "source_unlabelled": unlabelled(source)}
    if target is not None:
        pools |= {"target": target, "target_val": _first(target, 30), "target_unlabelled": unlabelled(target)}
    return pools | dict(problem.train)


def _first(pool: Pool, size: int) -> Pool:
    x = {k: v[:size] for k, v in pool.x.items()} if isinstance(pool.x, Mapping) else pool.x[:size]
    return Pool(x, None if pool.y is None else pool.y[:size], pool.num_classes)


@cache
def _source_weights(toy: Toy, seed: int) -> Mapping[str, Tensor]:
    training = dataclasses.replace(toy, target=toy.source, task=SourceTrainingTask())
    fitted = fit(SourceTraining(), training, seed).fitted
    return {name: value.detach().clone() for name, value in fitted.state_dict().items()}


def score(strategy: Any, toy: Toy, seed: int = 0) -> float:
    """Test accuracy of a strategy on a toy problem: on the target, or over its episodes."""
    problem = toy.problem(seed)
    if problem.episodes is not None:
        return _score_over_episodes(strategy, toy, seed)
    done = fit(strategy, toy, seed)
    pool, scores = done.problem.test["target"], done.scores()["target"]
    assert pool.y is not None
    if done.problem.matching == "clusters":
        scores = matched(scores, pool.y)
    return float((scores.argmax(1) == pool.y).mean())


def _score_over_episodes(strategy: Any, toy: Toy, seed: int) -> float:
    """As the host does: adapted to each episode, or fitted anew on each support set."""
    if "episodes" in strategy.needs:
        done = fit(strategy, toy, seed)
        return EpisodeScorer(done.problem, done.fitted, {"accuracy": Accuracy()}, done.conditions).final()["target"][
            "accuracy"
        ]
    problem, right = toy.problem(seed), []
    assert problem.episodes is not None
    for index in range(len(problem.episodes)):
        done = fit(strategy, toy, seed, given={"target": support_of(problem.episodes, index)})
        queries = queries_of(problem, index)
        right.append((predict(done.fitted, queries, done.conditions).argmax(1) == queries.y).mean())
    return float(np.mean(right))


def check_beats(
    strategy: Any, toy: Toy, margin: float = 0.05, seeds: Iterable[int] = (0, 1, 2), reference: Any = None
) -> None:
    """The strategy beats the reference on the toy problem by ``margin`` of accuracy, on the mean over seeds.

    ``reference`` is a strategy; where left out, the first one of the toy's task.
    """
    if reference is None:
        known: dict[str, Any] = {r.name: r for r in (Scratch(), SourceOnly(), Chance())}
        reference = known[toy.task.references[0]]
    ours = [score(strategy, toy, seed) for seed in seeds]
    theirs = [score(reference, toy, seed) for seed in seeds]
    assert np.mean(ours) >= np.mean(theirs) + margin, (
        f"{strategy.name} reaches {np.mean(ours):.3f} {np.round(ours, 3)} and {reference.name} {np.mean(theirs):.3f} "
        f"{np.round(theirs, 3)}; expected at least {margin} more"
    )
