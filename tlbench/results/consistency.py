"""Consistency: what must hold within one record, whoever made it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tlbench.api.records import Record, Status
from tlbench.api.trials import Trial
from tlbench.results.integrity import Fault
from tlbench.results.sameness import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RANGES: Mapping[str, tuple[float, float]] = {
    "accuracy": (0, 1),
    "balanced-accuracy": (0, 1),
    "macro-f1": (0, 1),
    "nmi": (0, 1),
    "ari": (-1, 1),
    "log-loss": (0, math.inf),
    "ece": (0, 1),
}
"""What the built-in metrics can be; of others a number is asked for and no more."""
_ROUNDING = 1e-9


def key_faults(record: Record) -> Iterator[str]:
    """The key must follow from the trial that the record describes, and its parents be keys."""
    key = Trial.from_json(record.trial).key
    if key != record.key:
        yield f"the key {record.key} is not that of the trial described, {key}"
    if record.key in record.trial["parents"]:
        yield "the trial is its own parent"


def score_faults(record: Record) -> Iterator[str]:
    """Scores where there is a result and nowhere else, each within what its metric can be."""
    if record.status is not Status.OK:
        if record.metrics or record.curve or record.artifact or record.predictions:
            yield f"it ended as {record.status} and yet has a result"
        return
    if record.trial["kind"] == "ranking":
        return
    if not record.metrics or not all(record.metrics.values()):
        yield "it ended well and yet has no score"
    for pool, scores in record.metrics.items():
        for name, value in scores.items():
            low, high = RANGES.get(name, (-math.inf, math.inf))
            if not low - _ROUNDING <= value <= high + _ROUNDING:
                yield f"{name} on {pool} is {value:.6g}, outside of {low:g} to {high:g}"
        n = examples(record, pool)
        share = scores.get("accuracy")
        if share is not None and n and pool in (record.data.get("test") or {}) and not record.data.get("episodes"):
            right = share * n
            if abs(right - round(right)) > 1e-6 * max(right, 1):
                yield f"accuracy on {pool} is {share:.6g}, which is no number of {n:,} test examples"
    yield from _harmonic(record)


def _harmonic(record: Record) -> Iterator[str]:
    """The harmonic mean must be that of the other pools' scores."""
    for name, value in record.metrics.get("harmonic", {}).items():
        others = [scores[name] for pool, scores in record.metrics.items() if pool != "harmonic" and name in scores]
        if not others:
            yield f"{name} has a harmonic mean of nothing"
            continue
        expected = len(others) / sum(1 / v for v in others) if min(others) > 0 else 0.0
        if not math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-12):
            yield f"the harmonic mean of {name} is {value:.6g}; of its pools it is {expected:.6g}"


def curve_faults(record: Record) -> Iterator[str]:
    """A curve of ascending steps, of a metric that was scored, whose selected point is the result where it must be.

    It must where it is scored on all test examples of its pool and not on some, nor on some of the episodes.
    """
    curve = record.curve
    if curve is None:
        return
    steps, scores, selected = curve["steps"], curve["scores"], curve.get("selected")
    if not len(steps) == len(scores) == len(curve["seconds"]):
        yield "the curve has not as many scores and seconds as steps"
        return
    if any(a >= b for a, b in pairwise(steps)):
        yield "the steps of the curve do not ascend"
    low, high = RANGES.get(curve["metric"], (-math.inf, math.inf))
    if not all(low - _ROUNDING <= s <= high + _ROUNDING for s in scores):
        yield f"the curve leaves {low:g} to {high:g}, which its metric cannot"
    final = record.metrics.get(curve["pool"], {}).get(curve["metric"])
    if final is None:
        yield f"the curve is of {curve['metric']} on {curve['pool']}, which was not scored"
    elif selected is not None and selected not in steps:
        yield f"the result is of step {selected}, which the curve does not have"
    elif _whole(record, curve):
        point = scores[steps.index(selected)] if selected is not None else scores[-1]
        if abs(point - final) > _reach(record):
            yield f"the curve has {point:.6g} where the result is {final:.6g}, on the same test examples"


def _reach(record: Record) -> float:
    """How far a point of the curve and the result may be apart: two test examples; a CPU scores both alike."""
    device = record.environment.get("device")
    on_cpu = not isinstance(device, Mapping) or str(device.get("device", "cpu")) == "cpu"
    return _ROUNDING if on_cpu else 2 / max(examples(record, (record.curve or {})["pool"]), 1)


def _whole(record: Record, curve: Mapping[str, Any]) -> bool:
    n = examples(record, curve["pool"])
    return bool(n) and curve["examples"] == n and not record.data.get("episodes")


CHECKS: Mapping[str, Callable[[Record], Iterator[str]]] = {
    "keys": key_faults,
    "scores": score_faults,
    "curves": curve_faults,
}


def faults_of(record: Record, where: str) -> list[Fault]:
    """All that is wrong within a record of the right shape."""
    found: list[Fault] = []
    for check, faults in CHECKS.items():
        try:
            found += [Fault(check, where, text, record.key) for text in faults(record)]
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            text = f"cannot be checked: {type(error).__name__}: {str(error)[:200]}"
            found.append(Fault(check, where, text, record.key))
    return found
