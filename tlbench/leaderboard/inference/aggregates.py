"""Aggregates over pairs and seeds: the interquartile mean, performance profiles, the Pareto front.

Dimension key:  K strategies  Q pairs  R seeds  B resamples  P thresholds

Sources: Agarwal, Schwarzer, Castro, Courville & Bellemare 2021, "Deep Reinforcement Learning at the Edge of the
Statistical Precipice"; Dolan & Moré 2002, "Benchmarking optimization software with performance profiles".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.leaderboard.statistics import RESAMPLES, Estimate, percentile_interval

if TYPE_CHECKING:
    from tlbench.leaderboard.statistics import Floats, Ints


class Profile(NamedTuple):
    """``shares`` [K, P] of what each strategy does beyond each of the ``thresholds`` [P]."""

    thresholds: Floats
    shares: Floats


def interquartile_mean(values: Floats) -> Floats:
    """The mean of the middle half of the last axis: floor(N / 4) smallest and largest values are left out."""
    n = values.shape[-1]
    cut = n // 4
    if cut:
        values = np.partition(values, [cut, n - cut - 1], axis=-1)[..., cut : n - cut]
    middle: Floats = values.mean(axis=-1)
    return middle


FEWEST = 400
"""Resamples of a large board: more values need fewer, and the percentiles are then still good to a twentieth."""


def iqm(scores_QR: Floats, seeds_Q: Ints, rng: np.random.Generator) -> Estimate:
    """The interquartile mean of one strategy's scores over all pairs and seeds, with its stratified bootstrap interval.

    Seeds are resampled within each pair and pairs stay as they are (Agarwal et al. 2021, section 4.1): the interval is
    about these pairs, not about others. One seed gives none. A seed that a pair lacks is NaN.
    """
    there = np.isfinite(scores_QR)
    value = float(interquartile_mean(scores_QR[there]))
    if (seeds_Q < 2).all():
        return Estimate(value)
    packed = np.sort(np.where(there, scores_QR, np.inf), axis=1)  # the seeds that there are stand first
    starts, n = np.arange(len(seeds_Q)).repeat(seeds_Q), seeds_Q.repeat(seeds_Q)
    resamples = int(np.clip(400_000 // len(n), FEWEST, RESAMPLES))
    chunk = max(1, 2_000_000 // len(n))
    means = []
    for start in range(0, resamples, chunk):
        draws = (rng.random((min(chunk, resamples - start), len(n))) * n).astype(np.int64)
        means.append(interquartile_mean(packed[starts, draws]))
    return percentile_interval(np.concatenate(means), value)


def score_profile(scores_KQR: Floats, thresholds_P: Floats) -> Profile:
    """The share of runs with a score above each threshold (Agarwal et al. 2021, section 4.2), pairs weighing alike."""
    there = np.isfinite(scores_KQR)
    filled = np.where(there, scores_KQR, -np.inf)
    seeds = there.sum(axis=2)
    shares = np.stack([((filled > t).sum(axis=2) / seeds).mean(axis=1) for t in thresholds_P], axis=1)
    return Profile(thresholds_P, shares)


def ratio_profile(costs_KQ: Floats, ratios_P: Floats) -> Profile:
    """The share of pairs on which a cost is within each ratio of the least of all strategies (Dolan & Moré 2002).

    Costs are not negative: errors, seconds. Where the least is 0 it is within any ratio of itself alone.
    """
    least = costs_KQ.min(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(costs_KQ == least, 1.0, costs_KQ / least)
    return Profile(ratios_P, (ratio[..., None] <= ratios_P).mean(axis=1))


def pareto(score_K: Floats, cost_K: Floats) -> frozenset[int]:
    """Places that none other dominates: at least the score for at most the cost, and one of them better.

    Places whose score or cost is NaN are left out: they neither stand on the front nor dominate.
    """
    known = np.isfinite(score_K) & np.isfinite(cost_K)
    as_good = (score_K[:, None] >= score_K) & (cost_K[:, None] <= cost_K) & known[:, None]
    better = as_good & ((score_K[:, None] > score_K) | (cost_K[:, None] < cost_K))
    return frozenset(np.flatnonzero(known & ~better.any(axis=0)).tolist())
