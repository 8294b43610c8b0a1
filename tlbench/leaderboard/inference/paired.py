"""Paired differences: each pair's mean over its seeds with interval and p, and the mean over all pairs.

Dimension key:  C cells (source, target, seed)  Q pairs
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlbench.leaderboard.inference.crossed import Layout
from tlbench.leaderboard.special import t_probability
from tlbench.leaderboard.statistics import Estimate, error_floor, student_intervals, verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.leaderboard.statistics import Floats, Ints


@dataclass(frozen=True, eq=False)
class Paired:
    """What differences over cells say.

    ``starts``, ``seeds`` [Q]  where each pair's cells begin, and how many they are
    ``mean``, ``low``, ``high``, ``p`` [Q]  of Student's t over the pair's seeds; NaN, but for the mean, of one seed
    ``overall``  the mean over pairs with its 95 % interval for other sources and targets, as of the board's gain
    ``here``     the same with its interval for these pairs under other seeds
    """

    starts: Ints
    seeds: Ints
    mean: Floats
    low: Floats
    high: Floats
    p: Floats
    overall: Estimate
    here: Estimate

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Of each pair: ``helps``, ``hurts`` or ``undecided``."""
        return tuple(verdicts(self.low, self.high).tolist())


def paired(
    difference_C: Floats, source_C: Ints, target_C: Ints, seed_C: Ints, step_C: Floats, bound: float = np.inf
) -> Paired:
    """Differences of cells that lie pair by pair; at least one.

    ``source_C`` (-1: none) and ``target_C`` are numbers of domains: equal ones are the same domain. ``step_C`` is the
    resolution of the scores, 0 or NaN where it is unknown: no standard error is below what it allows. ``bound`` is the
    largest difference there can be: the intervals over pairs end there.
    """
    new = np.ones(len(difference_C), dtype=bool)
    new[1:] = (np.diff(source_C) != 0) | (np.diff(target_C) != 0)
    starts = np.flatnonzero(new)
    sizes = np.diff(np.append(starts, len(new)))
    at = np.cumsum(new) - 1
    mean = np.bincount(at, difference_C) / sizes
    deviation = np.sqrt(np.bincount(at, (difference_C - mean[at]) ** 2) / np.maximum(sizes - 1, 1))
    step = np.maximum.reduceat(np.nan_to_num(step_C), starts)
    low, high = student_intervals(mean, deviation, sizes, step)
    error = np.maximum(deviation / np.sqrt(sizes), error_floor(step, sizes))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, np.abs(mean) / error)
    p = np.where(sizes > 1, 2 * t_probability(np.maximum(sizes - 1, 1), -t), np.nan)
    overall = here = Estimate(float(mean.mean()))
    if len(starts) == 1:
        overall = here = Estimate(float(mean[0]), float(low[0]), float(high[0]))
    elif sizes.max() > 1:
        layout = Layout.of(sizes, np.ones(len(sizes)), source_C[starts], target_C[starts], seed_C)
        floor = float(error_floor(step.mean(), len(difference_C)))
        (overall,), (here,) = (of(difference_C[:, None], floor) for of in (layout.intervals, layout.intervals_here))
    overall, here = (Estimate(e.value, max(e.low, -bound), min(e.high, bound)) for e in (overall, here))
    return Paired(starts, sizes, mean, low, high, p, overall, here)


def false_discoveries(p: Sequence[float]) -> Floats:
    """p adjusted for the share of false discoveries (Benjamini & Hochberg 1995), from scipy; NaN stays NaN."""
    from scipy import stats

    values = np.asarray(p, dtype=np.float64)
    out = np.full(len(values), np.nan)
    known = np.isfinite(values)
    if known.any():
        out[known] = stats.false_discovery_control(values[known], method="bh")
    return out
