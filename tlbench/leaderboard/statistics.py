"""Statistics: paired intervals, verdicts, and the gains of a learning curve.

Dimension key:  N trials  P evaluation points of a curve  Q pairs  C cells (pair and seed)  B resamples

Every function is pure: arrays in, arrays or plain numbers out; a missing number is NaN.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlbench.api.columns import Estimate as Estimate
from tlbench.leaderboard.special import normal_quantile, t_quantile

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

LEVEL = 0.95
RESAMPLES = 2000
NEVER = -np.inf
"""The speed-up of a strategy that never gets to its reference's final score; ``inf``: it starts there."""


# ---- one pair: differences that share their seeds ------------------------------------------------


def error_floor(step: Any, n: Any) -> Any:
    """The least standard error of a mean of ``n`` differences of two scores that move in steps of ``step``.

    A score of ``m`` test examples moves in steps of 1/m, so each score carries a rounding error that is uniform
    over one step (variance step²/12) and a difference carries two of them: step / sqrt(6 n). Without it three
    equal gains of a single test example would have no spread and be called certain.
    """
    return step / np.sqrt(6.0 * np.asarray(n))


def student_intervals(mean: Floats, deviation: Floats, n: Ints, step: Floats) -> tuple[Floats, Floats]:
    """Student's t intervals (Student 1908) of many means at once: low [Q], high [Q]; NaN where n < 2.

    ``deviation`` is the standard deviation with n - 1 in the denominator; ``step`` the resolution of the score, 0 where
    it is unknown. The standard error is never below ``error_floor``: equal differences give a short interval about
    their value, and differences that are all 0 stay undecided. Where the resolution is unknown too, equal
    differences give that one point.
    """
    enough = n >= 2
    n_safe = np.where(enough, n, 2)
    error = np.maximum(np.where(enough, deviation, 0.0) / np.sqrt(n_safe), error_floor(step, n_safe))
    half = np.where(enough, t_quantile(n_safe - 1, 0.5 + LEVEL / 2) * error, np.nan)
    return mean - half, mean + half


def paired_interval(differences: Any, step: float = 0.0) -> Estimate:
    """The mean of the paired differences [R] of one pair's seeds, with ``student_intervals``' interval."""
    d = np.asarray(differences, dtype=np.float64)
    if not len(d):
        return Estimate()
    spread = d.std(ddof=1) if len(d) > 1 else 0.0
    low, high = student_intervals(d.mean()[None], np.array([spread]), np.array([len(d)]), np.array([step]))
    return Estimate(float(d.mean()), float(low[0]), float(high[0]))


def verdicts(low: Any, high: Any) -> NDArray[np.str_]:
    """``helps`` where the whole interval is above 0, ``hurts`` where it is below, else ``undecided``."""
    return np.where(np.asarray(low) > 0, "helps", np.where(np.asarray(high) < 0, "hurts", "undecided"))


# ---- many pairs ----------------------------------------------------------------------------------


def wilson(hits: int, of: int) -> Estimate:
    """A share with its interval (Wilson 1927, without continuity correction), as scipy's ``binomtest`` has it."""
    if of == 0:
        return Estimate()
    share, z = hits / of, normal_quantile(0.5 + 0.5 * LEVEL)
    scale = 2 * (of + z**2)
    middle, half = (2 * of * share + z**2) / scale, z / scale * math.sqrt(4 * of * share * (1 - share) + z**2)
    return Estimate(share, middle - half if hits else 0.0, middle + half if hits < of else 1.0)


def depth(means: Floats) -> float:
    """How deep negative transfer goes: the mean over pairs of min(gain, 0); never positive."""
    return float(np.minimum(means, 0.0).mean()) if len(means) else np.nan


def percentile_interval(means: Floats, value: float, floor: float = 0.0) -> Estimate:
    """The percentile interval of bootstrap means [B] about ``value``, no narrower than the error ``floor`` makes it."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    half = normal_quantile(1 - tail) * floor
    return Estimate(value, min(float(low), value - half), max(float(high), value + half))


def weighted_mean(values_C: Floats, sizes: Ints, weights: Floats) -> float:
    """The mean over pairs (weighted) of the means over each pair's seeds."""
    if not len(values_C):
        return np.nan
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    return float(np.average(np.add.reduceat(values_C, starts) / sizes, weights=weights))


def lower_median(values: Floats) -> float:
    """The middle value, the lower of two: ``inf`` and ``NEVER`` are ordered like all others. NaN for none."""
    return float(np.sort(values)[(len(values) - 1) // 2]) if len(values) else np.nan


# ---- learning curves -----------------------------------------------------------------------------


class CurveGains(NamedTuple):
    """The gains of N learning curves over their references' (Taylor & Stone 2009), NaN where there is none."""

    jump_start: Floats
    speed_up: Floats
    asymptote: Floats
    area_ratio: Floats


def curve_gains(steps_NP: Floats, scores_NP: Floats, rows: Ints, references: Ints) -> CurveGains:
    """Compare the learning curves of these ``rows`` with those of their ``references``, places in the same arrays.

    Curves are padded with NaN at their ends. Where either has fewer than two points there is no learning curve: all
    four are NaN.

    ``jump_start``  difference at the first evaluation point
    ``speed_up``    steps of the reference to its own final score ÷ steps of the strategy to that score; ``inf`` where
                    the strategy starts there, ``NEVER`` where it does not get there, 1 where both start there
    ``asymptote``   difference of the mean scores over the last fifth of the steps
    ``area_ratio``  (area - reference's area) / reference's area, areas by trapezoids over each curve's own steps
    """
    needed = np.zeros(len(steps_NP), dtype=bool)
    needed[rows] = needed[references] = True
    at = np.flatnonzero(needed)
    first, goal, reached, tail, height = (np.full(len(steps_NP), np.nan) for _ in range(5))
    points = np.zeros(len(steps_NP), dtype=np.int64)
    out = [np.full(len(rows), np.nan) for _ in CurveGains._fields]
    with np.errstate(divide="ignore", invalid="ignore"):
        for mine in _blocks(at):
            steps, scores = steps_NP[mine], scores_NP[mine]
            points[mine] = its = _count(np.isfinite(scores))
            first[mine], goal[mine] = scores[:, 0], scores[np.arange(len(mine)), np.maximum(its, 1) - 1]
            longest = functools.reduce(np.fmax, steps.T)
            reached[mine] = _steps_to(steps, scores, goal[mine])
            tail[mine] = _tail(steps, scores, longest)
            height[mine] = _height(steps, scores, longest)
        usable = np.flatnonzero((points[rows] > 1) & (points[references] > 1))
        for part in _blocks(usable):
            mine, other = rows[part], references[part]
            ours = _steps_to(steps_NP[mine], scores_NP[mine], goal[other])
            gains = (
                first[mine] - first[other],
                _speed(reached[other], ours),
                tail[mine] - tail[other],
                np.where(height[other] > 0, (height[mine] - height[other]) / height[other], np.nan),
            )
            for whole, its in zip(out, gains, strict=True):
                whole[part] = its
    return CurveGains(*out)


BLOCK = 4096
"""Curves that are worked on at a time: few enough to stay in the processor's cache."""


def _blocks(places: Ints) -> Iterator[Ints]:
    return (places[i : i + BLOCK] for i in range(0, len(places), BLOCK))


def _count(there_NP: NDArray[np.bool_]) -> Ints:
    """How many of each row; column by column, as rows are short."""
    return functools.reduce(np.add, there_NP.T.astype(np.int64), np.zeros(len(there_NP), dtype=np.int64))


def _steps_to(steps_NP: Floats, scores_NP: Floats, goal_N: Floats) -> Floats:
    """The first step at which the score is at least the goal; NaN where it never is."""
    first = np.full(len(steps_NP), np.nan)
    for steps, scores in zip(steps_NP.T[::-1], scores_NP.T[::-1], strict=True):
        np.copyto(first, steps, where=scores >= goal_N)
    return first


def _speed(reference: Floats, strategy: Floats) -> Floats:
    ratio = np.where(strategy == 0, np.where(reference == 0, 1.0, np.inf), reference / strategy)
    return np.where(np.isnan(strategy), NEVER, ratio)


def _tail(steps_NP: Floats, scores_NP: Floats, longest_N: Floats) -> Floats:
    """The mean score over the last fifth of the steps."""
    late = 5 * steps_NP >= 4 * longest_N[:, None]
    total: Floats = np.where(late, scores_NP, 0.0).sum(axis=1)
    mean: Floats = total / _count(late)
    return mean


def _height(steps_NP: Floats, scores_NP: Floats, longest_N: Floats) -> Floats:
    """The area under the curve ÷ the number of its steps."""
    areas = np.diff(steps_NP, axis=1) * (scores_NP[:, 1:] + scores_NP[:, :-1]) / 2
    height: Floats = np.where(np.isnan(areas), 0.0, areas).sum(axis=1) / (longest_N - steps_NP[:, 0])
    return height
