"""The desk: all that a strategy is fitted with in one trial, to open as many contexts as the trial has fits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from tlbench.errors import TrialError
from tlbench.evaluation.predict import Conditions, rate_of
from tlbench.execution.episodes import EpisodeScores, about_episodes, queries_of, support_of
from tlbench.execution.score import judge_of
from tlbench.training.checkpoint import Checkpoints, Interrupted
from tlbench.training.context import Extras, TrialContext, open_context
from tlbench.training.graphs import Graphs
from tlbench.training.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from functools import partial

    from tlbench.api.data import Pool, Problem, TestEpisodes
    from tlbench.api.recipe import Recipe
    from tlbench.api.types import Predictor, Start
    from tlbench.evaluation.judging import Predictions
    from tlbench.execution.bench import Bench
    from tlbench.execution.clock import Clocks
    from tlbench.models.factory import ModelFactory

REFITS_AT_ONCE = 25
"""Episodes that are fitted before the test side is built for scoring them; their models are kept meanwhile."""


@dataclass(frozen=True, eq=False)
class Desk:
    """A trial's strategy, models, recipe and conditions; nothing of the test side."""

    strategy: Any
    models: ModelFactory
    recipe: Recipe
    start: Start
    num_classes: int
    extras: Extras
    bench: Bench
    conditions: Conditions

    def context(
        self,
        given: Mapping[str, Pool],
        tape: Tape,
        checkpoints: Checkpoints,
        meet: Callable[[partial[None]], bool] | None = None,
    ) -> TrialContext:
        """A context over these pools; ``meet`` as in ``open_context``."""
        switches, on_gpu = self.bench.switches, self.bench.device.type == "cuda"
        return open_context(
            given,
            num_classes=self.num_classes,
            models=self.models,
            recipe=self.recipe,
            start=self.start,
            tape=tape,
            checkpoints=checkpoints,
            judge=judge_of(self.bench.metrics, self.conditions),
            stop=self.bench.stop,
            features=self.bench.features,
            extras=self.extras,
            graphs=Graphs() if switches.graphs and on_gpu else None,
            compile=switches.compile and on_gpu,
            meet=meet,
        )


def refit(
    desk: Desk,
    given: Mapping[str, Pool],
    build: Callable[[], Problem],
    clocks: Clocks,
    reseed: Callable[[], None],
    keep: Callable[[Predictions], dict[str, Any] | None],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit an ordinary strategy on the support set of each test episode; a record's parts, and what to say of the data.

    ``build`` makes the problem, and ``keep`` stores the predictions where that is wanted. The problem's test side is
    dropped before each fit and built again to score a few of them. There is no learning curve: each episode has a
    training of its own, of the recipe's budget.
    """
    episodes, tests = _without_tests(build)
    scored = EpisodeScores(desk.bench.metrics, desk.conditions)
    steps, seconds, seen = 0, 0.0, dict[str, int]()
    windows: list[tuple[int, float]] = []
    for begin in range(0, len(episodes), REFITS_AT_ONCE):
        chosen = range(begin, min(begin + REFITS_AT_ONCE, len(episodes)))
        predictors = []
        with clocks.measure("training"):
            for index in chosen:
                if desk.bench.stop():
                    raise Interrupted
                reseed()  # each episode by itself: the same whatever came before
                tape, began = Tape(None), time.perf_counter()
                pools = {**given, "target": support_of(episodes, index)}
                fitted = desk.strategy.fit(desk.context(pools, tape, Checkpoints(None)))
                tape.close()
                predictors.append(one_predictor(fitted))
                windows.append((len(pools["target"]), time.perf_counter() - began))
                steps, seconds = steps + tape.steps, seconds + tape.seconds
                for name, count in tape.examples.items():
                    seen[name] = seen.get(name, 0) + count
        with clocks.measure("evaluation"):
            _score_some(scored, build, chosen, predictors)
    means = scored.means()
    metric = next(iter(desk.bench.metrics))
    inference, exclusive = rate_of(scored.windows), not desk.bench.spec["shared"]
    rates = {"training": None, "inference": inference._asdict() if inference else None, "latency_ms": None}
    record = {
        "metrics": {"target": means},
        "curve": {
            "pool": "target",
            "metric": metric,
            "examples": len(episodes),
            "steps": [0],
            "scores": [means[metric]],
            "seconds": [0.0],
            "validation": None,
            "selected": 0,
            "budget": desk.recipe.total_steps(len(support_of(episodes, 0))),
            "points": [0],
        },
        "throughput": rates if exclusive else None,
        "cost": {"steps": steps, "examples": seen, "forward_flops": None, "energy_j": None},
        "predictions": keep(scored.predictions),
    }
    about = scored.predictions.said(desk.bench.metrics.values())
    if refused := dict.fromkeys(desk.bench.comparisons, "the backbone is fitted to each episode"):
        about["absent"] = about.get("absent", {}) | refused
    return record, {"test": tests, "episodes": about_episodes(episodes, scored, refitted=True), **about}


def _without_tests(build: Callable[[], Problem]) -> tuple[TestEpisodes, dict[str, int]]:
    """The episodes with their support sets, and how many test examples there are."""
    problem = build()
    assert problem.episodes is not None
    return problem.episodes, {name: len(pool) for name, pool in problem.test.items()}


def _score_some(
    scored: EpisodeScores, build: Callable[[], Problem], chosen: range, predictors: Sequence[Predictor]
) -> None:
    """In a function of its own: a strategy can hold the frames that it was called from."""
    problem = build()
    for index, predictor in zip(chosen, predictors, strict=True):
        scored.add(predictor, queries_of(problem, index))


def predictors_of(fitted: Any, problem: Problem) -> dict[str, Predictor]:
    """A predictor for each scored pool, in evaluation mode. Raises ``TrialError`` where one is missing."""
    if isinstance(fitted, Mapping):
        if missing := sorted(set(problem.test) - set(fitted) - problem.optional):
            raise TrialError(
                f"fit() returned predictors for {sorted(fitted)}; the task also scores {', '.join(missing)}"
            )
        found = {name: fitted[name] for name in problem.test if name in fitted}
    else:
        one = one_predictor(fitted)
        found = {name: one for name in problem.test if name not in problem.optional}
    return {name: _ready(predictor) for name, predictor in found.items()}


def one_predictor(fitted: Any) -> Predictor:
    """The predictor of the target that ``fit`` returned; raises ``TrialError`` for anything else."""
    if isinstance(fitted, Mapping) and "target" in fitted:
        fitted = fitted["target"]
    if not callable(fitted):
        raise TrialError(
            "fit() returned something to adapt to episodes, and this task has none"
            if hasattr(fitted, "adapt")
            else f"fit() returned a {type(fitted).__name__}; expected a predictor: inputs [B, ...] -> scores [B, C]"
        )
    return _ready(fitted)


def _ready(predictor: Predictor) -> Predictor:
    if isinstance(predictor, nn.Module):
        predictor.eval()
    return predictor
