"""Significance of many strategies over many pairs: Friedman, Nemenyi, Wilcoxon with Holm's correction, cliques, wins.

Dimension key:  K strategies  Q pairs  R seeds

Scores are higher-is-better; every function is pure. Sources: Friedman 1937; Nemenyi 1963; Wilcoxon 1945; Holm 1979; how
they are used to compare learners: Demšar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets".
The tests take pairs for independent; pairs that share a source or a target are not quite, so that small p values of a
few sources and targets say less than they seem to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.leaderboard.statistics import student_intervals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tlbench.leaderboard.statistics import Floats, Ints

ALPHA = 0.05


class Test(NamedTuple):
    """A test's statistic and the probability of one at least as large if there were no difference."""

    statistic: float
    p: float


def without_rounding(scores: Floats) -> Floats:
    """Scores in units of the largest, to 12 digits: two means of the same numbers in another order are then equal."""
    largest = float(np.abs(scores).max(initial=0.0)) or 1.0
    rounded: Floats = np.round(scores / largest, 12)
    return rounded


def ranks(scores_KQ: Floats) -> Floats:
    """Ranks [K, Q] within each pair: 1 is best, equal scores share their mean rank."""
    scores_KQ = without_rounding(scores_KQ)
    order = np.argsort(-scores_KQ, axis=0, kind="stable")
    fallen = np.take_along_axis(scores_KQ, order, axis=0)
    count = len(fallen)
    new = np.ones((count + 1, fallen.shape[1]), dtype=bool)
    new[1:-1] = fallen[1:] != fallen[:-1]
    places = np.arange(count)[:, None]
    first = np.maximum.accumulate(np.where(new[:-1], places, 0), axis=0)
    last = np.minimum.accumulate(np.where(new[1:], places, count)[::-1], axis=0)[::-1]
    ranked = np.empty(fallen.shape[::-1]).T  # as scipy lays it out: sums over pairs then end in the same digits
    np.put_along_axis(ranked, order, (first + last) / 2 + 1, axis=0)
    return ranked


def friedman(scores_KQ: Floats) -> Test | None:
    """Whether all strategies are alike: Friedman's chi-square, corrected for ties, with K - 1 degrees of freedom.

    From scipy. ``None`` for fewer than three strategies or two pairs, or where every pair is one tie. Demšar's own
    example is without the correction (9.28 where this gives 10.23).
    """
    from scipy import stats

    strategies, pairs = scores_KQ.shape
    scores_KQ = without_rounding(scores_KQ)
    if strategies < 3 or pairs < 2 or (scores_KQ == scores_KQ[:1]).all():
        return None
    result = stats.friedmanchisquare(*scores_KQ)
    return Test(float(result.statistic), float(result.pvalue))


def critical_difference(strategies: int, pairs: int, alpha: float = ALPHA) -> float:
    """Nemenyi's critical difference of two mean ranks (Demšar 2006, section 3.2.2): q sqrt(K (K + 1) / (6 Q)).

    q is the studentized range for K groups and infinitely many degrees of freedom, divided by sqrt(2).
    """
    from scipy import stats

    q = float(stats.studentized_range.ppf(1 - alpha, strategies, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(strategies * (strategies + 1) / (6 * pairs)))


def nemenyi(mean_ranks_K: Floats, pairs: int) -> Floats:
    """Nemenyi's p values [K, K] of all differences of mean ranks, symmetric, 1 on the diagonal."""
    from scipy import stats

    count = len(mean_ranks_K)
    gap = np.abs(mean_ranks_K[:, None] - mean_ranks_K[None])
    scale = np.sqrt(count * (count + 1) / (6 * pairs)) / np.sqrt(2)
    different, place = np.unique(np.round(gap / scale, 9), return_inverse=True)
    p = np.clip(stats.studentized_range.sf(different, count, np.inf), 0.0, 1.0)
    p[different == 0] = 1.0
    found: Floats = p[place].reshape(count, count)
    return found


def wilcoxon_holm(scores_KQ: Floats) -> Floats:
    """p values [K, K] of Wilcoxon's signed-rank test for every two strategies, by Holm's correction over all of them.

    Two-sided, from scipy; pairs without a difference are split evenly between both signs (Demšar 2006, section 3.1.3).
    """
    from scipy import stats

    count = len(scores_KQ)
    first, second = np.triu_indices(count, 1)
    p = np.ones(len(first))
    difference = without_rounding(scores_KQ[first] - scores_KQ[second])
    differs = (difference != 0).any(axis=1)
    if differs.any():
        p[differs] = stats.wilcoxon(difference[differs], zero_method="zsplit", axis=1).pvalue
    out = np.ones((count, count))
    out[first, second] = out[second, first] = holm(p)
    return out


def holm(p: Floats) -> Floats:
    """Holm's step-down correction (Holm 1979) of M p values."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    out = np.empty_like(p)
    out[order] = np.minimum(stepped, 1.0)
    return out


def cliques(mean_ranks_K: Floats, alike_KK: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    """The bars of a critical-difference diagram: the longest runs in rank order in which every two are ``alike``.

    Two or more strategies each, as places in ``mean_ranks``, best first; none lies within another.
    """
    order = np.argsort(mean_ranks_K, kind="stable")
    found: list[tuple[int, ...]] = []
    reached = 0
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and alike_KK[order[end], order[start:end]].all():
            end += 1
        if end - start > 1 and end > reached:
            found.append(tuple(order[start:end].tolist()))
            reached = end
    return tuple(found)


def wins(scores_KQR: Floats, seeds_Q: Ints, step_Q: Floats) -> Ints:
    """How each strategy does against each other [K, K, 3]: pairs in which it is better, undecided, worse.

    Better where the paired t interval of the difference over the pair's seeds is above 0, as in the verdicts; a pair
    with one seed is undecided.
    """
    count, pairs = scores_KQR.shape[:2]
    out = np.zeros((count, count, 3), dtype=np.int64)
    for i in range(count - 1):
        difference = scores_KQR[i] - scores_KQR[i + 1 :]
        mean = np.nanmean(difference, axis=2)
        deviation = np.sqrt(np.nansum((difference - mean[..., None]) ** 2, axis=2) / np.maximum(seeds_Q - 1, 1))
        low, high = student_intervals(mean, deviation, np.broadcast_to(seeds_Q, mean.shape), step_Q)
        better, worse = (low > 0).sum(axis=1), (high < 0).sum(axis=1)
        counted = np.stack([better, pairs - better - worse, worse], axis=1)
        out[i, i + 1 :], out[i + 1 :, i] = counted, counted[:, ::-1]
    out[np.arange(count), np.arange(count), 1] = pairs
    return out


def alike_by_ranks(mean_ranks_K: Floats, difference: float) -> NDArray[np.bool_]:
    """Which two mean ranks [K, K] differ by less than the critical difference."""
    alike: NDArray[np.bool_] = np.abs(mean_ranks_K[:, None] - mean_ranks_K[None]) < difference
    return alike


def order_of(mean_ranks: Sequence[float]) -> tuple[int, ...]:
    """Places in the order of their mean rank, best first."""
    return tuple(np.argsort(np.asarray(mean_ranks), kind="stable").tolist())
