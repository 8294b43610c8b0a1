"""Score: the learning curve, the selected point and the final scores of a fitted trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.errors import TrialError
from tlbench.evaluation import predict as scoring
from tlbench.training.context import curve_steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlbench.api.recipe import Recipe
    from tlbench.api.types import Metric, Pool, Predictor, Problem
    from tlbench.training.tape import Tape


def evaluate(
    problem: Problem,
    predictors: Mapping[str, Predictor],
    tape: Tape,
    *,
    recipe: Recipe,
    metrics: Mapping[str, Metric],
    conditions: scoring.Conditions,
    rng: np.random.Generator,
    budget: int,
    exclusive: bool,
) -> dict[str, Any]:
    """The parts of a record that come from scoring; the trained modules end at the selected point.

    ``rng`` draws the test examples of the curve; ``exclusive`` says whether the device was the trial's alone,
    without which there is no throughput.
    """
    main = "target" if "target" in problem.test else next(iter(problem.test))
    test, metric = problem.test[main], next(iter(metrics.values()))
    rows = scoring.curve_rows(len(test), recipe.curve_examples, rng)
    rule = recipe.selection

    positions = tape.points()
    if tape.snapshots and tape.snapshots[-1].step != (tape.snapshots[positions[-1]].step if positions else -1):
        positions.append(len(tape.snapshots) - 1)  # the end, where a strategy left part of its budget unused
    curve: list[float] = []
    chosen: list[float] = []
    for position in positions:
        tape.restore(position)
        if rule == "oracle":
            whole = scoring.predict(predictors[main], test, conditions)
            chosen.append(_score(metric, whole, test))
            curve.append(_score(metric, whole, test, rows))
            continue
        curve.append(_score(metric, scoring.predict(predictors[main], test, conditions, rows), test, rows))
        if rule != "last" and problem.validation is not None:
            chosen.append(
                _score(metric, scoring.predict(predictors[main], problem.validation, conditions), problem.validation)
            )
    selected = len(positions) - 1
    if chosen:
        selected = int(np.argmax(np.array(chosen) * (1 if metric.higher_is_better else -1)))
    if positions and selected != len(positions) - 1:
        tape.restore(positions[selected])

    found: dict[str, dict[str, float]] = {}
    windows: list[tuple[int, float]] = []
    for name, pool in problem.test.items():
        scores = scoring.predict(predictors[name], pool, conditions, windows=windows if name == main else None)
        found[name] = {m.name: _score(m, scores, pool) for m in metrics.values()}
    if not positions:  # nothing was trained: the curve is one point, before any step
        curve = [_score(metric, scoring.predict(predictors[main], test, conditions, rows), test, rows)]
    return {
        "metrics": found,
        "curve": {
            "pool": main,
            "metric": metric.name,
            "examples": len(test) if rows is None else len(rows),
            "steps": [tape.snapshots[p].step for p in positions] or [0],
            "scores": curve,
            "seconds": [tape.snapshots[p].seconds for p in positions] or [0.0],
            "validation": chosen or None,
            "selected": tape.snapshots[positions[selected]].step if positions else 0,
            "budget": budget,
            "points": curve_steps(budget, recipe.curve_points) if positions else [0],
        },
        "losses": {"steps": tape.loss_steps, **tape.losses} if tape.loss_steps else None,
        "throughput": _throughput(tape, predictors[main], test, conditions, windows) if exclusive else None,
        "cost": {
            "steps": tape.steps,
            "examples": dict(tape.examples),
            "forward_flops": scoring.forward_flops(predictors[main], test, conditions),
            "energy_j": None,
        },
    }


def _score(metric: Metric, scores: Any, pool: Pool, rows: Any = None) -> float:
    assert pool.y is not None
    y = np.asarray(pool.y if rows is None else pool.y[rows])
    value = metric.score(scores if rows is None or len(scores) == len(y) else scores[rows], y)
    if np.ndim(value) != 0:
        raise TrialError(
            f"the metric {metric.name} returned an array of shape {list(np.shape(value))}; expected a number"
        )
    if not np.isfinite(value):
        raise TrialError(f"the metric {metric.name} is {value}")
    return float(value)


def _throughput(
    tape: Tape, predictor: Predictor, test: Pool, conditions: scoring.Conditions, windows: list[tuple[int, float]]
) -> dict[str, Any]:
    training = scoring.rate_of([(w.examples, w.seconds) for w in tape.windows])
    if len(windows) < 4:  # too few for a steady state: score the test set again
        for _ in range(3):
            scoring.predict(predictor, test, conditions, windows=windows)
    inference = scoring.rate_of(windows)
    return {
        "training": training._asdict() if training else None,
        "inference": inference._asdict() if inference else None,
        "latency_ms": scoring.latency(predictor, test, conditions)._asdict(),
    }
