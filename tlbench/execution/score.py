"""Score: the learning curve, the selected point and the final scores of a fitted trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.evaluation import predict as scoring
from tlbench.evaluation.judging import Judge, Predictions, Scored, needs_group
from tlbench.training.context import curve_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tlbench.api.data import Array, Pool, Problem
    from tlbench.api.recipe import Recipe
    from tlbench.api.types import Metric, Predictor
    from tlbench.training.tape import Tape


@dataclass(eq=False)
class PoolScorer:
    """Scores of predictors on test pools: the main one's on some rows for the curve, and all of them in the end."""

    problem: Problem
    predictors: Mapping[str, Predictor]
    metrics: Mapping[str, Metric]
    conditions: scoring.Conditions
    rows: Array | None
    windows: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        tests = self.problem.test
        self.main = "target" if "target" in tests else next(iter(tests))
        self.metric = next(iter(self.metrics.values()))
        self.judge = Judge(self.problem.matching)
        self.examples = len(tests[self.main]) if self.rows is None else len(self.rows)
        self.predictions = Predictions({})

    def at_point(self, *, whole: bool) -> tuple[float, float | None]:
        """The main score on the curve's rows and, where ``whole``, on all of the test as well."""
        predictor, pool = self.predictors[self.main], self.problem.test[self.main]
        rows = self.rows
        if not whole:
            scores = scoring.predict(predictor, pool, self.conditions, rows)
            return self.judge(self.metric, scored(pool, scores, rows)), None
        scores = scoring.predict(predictor, pool, self.conditions)
        own = self.judge(self.metric, scored(pool, scores))
        return own if rows is None else self.judge(self.metric, scored(pool, scores[rows], rows)), own

    def at_end(self) -> float:
        """What ``at_point`` gives after ``final``."""
        return self.at_point(whole=False)[0]

    def on_validation(self) -> float:
        """The main score on the examples that choose."""
        pool = self.problem.validation
        assert pool is not None
        scores = scoring.predict(self.predictors[self.main], pool, self.conditions)
        return self.judge(self.metric, scored(pool, scores))

    def final(self) -> dict[str, dict[str, float]]:
        """Every metric on every pool that has a predictor."""
        pools = {}
        for name, predictor in self.predictors.items():
            pool = self.problem.test[name]
            windows = self.windows if name == self.main else None
            pools[name] = scored(pool, scoring.predict(predictor, pool, self.conditions, windows=windows))
        self.predictions = Predictions(pools, self.problem.matching, self.problem.harmonic)
        return self.predictions.judged(self.metrics.values())

    def rates(self) -> dict[str, Any]:
        """Examples/s and latency of the main predictor."""
        predictor, pool = self.predictors[self.main], self.problem.test[self.main]
        while len(self.windows) < 4:  # too few for a steady state: score the test set again
            scoring.predict(predictor, pool, self.conditions, windows=self.windows)
        inference = scoring.rate_of(self.windows)
        return {
            "inference": inference._asdict() if inference else None,
            "latency_ms": scoring.latency(predictor, pool, self.conditions)._asdict(),
        }

    def flops(self) -> int | None:
        return scoring.forward_flops(self.predictors[self.main], self.problem.test[self.main], self.conditions)


def evaluate(scorer: Any, tape: Tape, *, recipe: Recipe, budget: int, exclusive: bool) -> dict[str, Any]:
    """The parts of a record that come from scoring; the trained modules end at the selected point.

    ``scorer`` is a ``PoolScorer`` or an ``EpisodeScorer``; ``exclusive`` says whether the device was the trial's
    alone, without which there is no throughput.
    """
    rule = recipe.selection
    positions = tape.points()
    if tape.snapshots and tape.snapshots[-1].at != (tape.snapshots[positions[-1]].at if positions else -1):
        positions.append(len(tape.snapshots) - 1)  # the end, where a strategy left part of its budget unused
    curve: list[float] = []
    chosen: list[float] = []
    for position in positions:
        tape.restore(position)
        score, whole = scorer.at_point(whole=rule == "oracle")
        curve.append(score)
        if whole is not None:
            chosen.append(whole)
        elif rule not in ("last", "oracle") and scorer.problem.validation is not None:
            chosen.append(scorer.on_validation())
    selected = len(positions) - 1
    if chosen:
        selected = int(np.argmax(np.array(chosen) * (1 if scorer.metric.higher_is_better else -1)))
    if positions:
        tape.restore(positions[selected] if selected != len(positions) - 1 else len(tape.snapshots) - 1)
    found = scorer.final()
    if not positions:  # nothing was trained: the curve is one point, before any step
        curve = [scorer.at_end()]
    training = scoring.rate_of([(w.examples, w.seconds) for w in tape.windows])
    return {
        "metrics": found,
        "curve": {
            "pool": scorer.main,
            "metric": scorer.metric.name,
            "examples": scorer.examples,
            "steps": [tape.snapshots[p].at for p in positions] or [0],
            "scores": curve,
            "seconds": [tape.snapshots[p].seconds for p in positions] or [0.0],
            "validation": chosen or None,
            "selected": tape.snapshots[positions[selected]].at if positions else 0,
            "budget": budget,
            "points": curve_steps(budget, recipe.curve_points) if positions else [0],
        },
        "losses": {"steps": tape.loss_steps, **tape.losses} if tape.loss_steps else None,
        "throughput": {"training": training._asdict() if training else None, **scorer.rates()} if exclusive else None,
        "cost": {
            "steps": tape.steps,
            "examples": dict(tape.examples),
            "forward_flops": scorer.flops(),
            "energy_j": None,
        },
    }


def scored(pool: Pool, scores: Array, rows: Array | None = None) -> Scored:
    """Scores of a pool's examples, or of these rows of it, with their labels and groups."""
    chosen = slice(None) if rows is None else rows
    return Scored(scores, np.asarray(pool.y)[chosen], None if pool.group is None else np.asarray(pool.group)[chosen])


def judge_of(metrics: Mapping[str, Metric], conditions: scoring.Conditions) -> Callable[[Predictor, Pool], float]:
    """What ``ctx.score`` does: the run's first metric that needs no groups, of a predictor on a pool."""
    metric = next((m for m in metrics.values() if not needs_group(m)), next(iter(metrics.values())))

    def judge(predictor: Predictor, pool: Pool) -> float:
        return Judge()(metric, scored(pool, scoring.predict(predictor, pool, conditions)))

    return judge
