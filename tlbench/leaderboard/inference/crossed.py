"""Crossed intervals: the mean over pairs that share sources and targets, as a sample of both.

Dimension key:  Q pairs  C cells (pair and seed)  U units (pairs or cells)  M measures  F levels of a factor

Pairs (source, target) are not independent: all pairs of one source share its model, all pairs of one target share the
reference's trainings and the target's own ease. Drawing pairs as if they were independent makes intervals too narrow
by far: with realistic variances they hold the truth in 64 % of the cases for 3 x 3 pairs, 52 % for 6 x 6 and 50 % for
10 x 10 (``tests/leaderboard/test_coverage.py``). So the variance of the mean is that of two crossed random factors,
cluster by cluster (Cameron, Gelbach & Miller 2011, "Robust inference with multiway clustering"; for a whole grid it is
the moment estimator of the two-way random-effects analysis of variance, Searle, Casella & McCulloch 1992, chapter 4):

    V = max(V_a + V_b - V_ab, V_a, V_b) + max(C_ab, 0)

V_a is the variance between the clusters of one factor, V_ab that of the residuals of the additive model, and C_ab,
where the same domains are sources and targets, the covariance between what a domain gives and what it gains (after
Aronow, Samii & Assenova 2015). Student's t has the degrees of freedom of Satterthwaite (1946), at least those of the
smaller factor. The maxima keep chance from making intervals too narrow; where nothing is shared they are too wide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlbench.leaderboard.special import t_quantile
from tlbench.leaderboard.statistics import LEVEL, Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.leaderboard.statistics import Floats, Ints


@dataclass(frozen=True, eq=False)
class Design:
    """Which level of each factor every unit belongs to [U], and how much each counts in the mean [U], summing to 1.

    ``indicators`` [U, F] of each factor, by the levels that there are. A factor of one level is left out.
    """

    indicators: tuple[Floats, ...]
    weights: Floats
    common: tuple[Ints, Ints]
    """Places, in the first factor and in the second, of the levels that are the same thing."""

    @classmethod
    def of(cls, factors: Sequence[Ints], weights: Floats, *, same: bool = False) -> Design:
        """A design from the level of each unit in each factor; ``same``: equal levels of both are the same thing."""
        found = []
        first = second = np.zeros(0, dtype=np.int64)
        for levels in factors:
            names, place = np.unique(levels, return_inverse=True)
            if len(names) > 1:
                indicator = np.zeros((len(levels), len(names)))
                indicator[np.arange(len(levels)), place] = 1.0
                found.append(indicator)
        if same and len(found) == 2:
            _, first, second = np.intersect1d(np.unique(factors[0]), np.unique(factors[1]), return_indices=True)
        return cls(tuple(found), weights / weights.sum(), (first, second))

    def mean(self, values_UM: Floats) -> Floats:
        """The weighted mean [M] of each measure."""
        mean: Floats = self.weights @ values_UM
        return mean

    def error(self, values_UM: Floats) -> tuple[Floats, Floats]:
        """Standard error [M] of the means, and its degrees of freedom [M]; NaN where there is no factor."""
        count = values_UM.shape[1]
        if not self.indicators:
            return np.full(count, np.nan), np.full(count, np.nan)
        u = self.weights[:, None] * (values_UM - self.mean(values_UM))
        levels = [i.shape[1] for i in self.indicators]
        sums = [i.T @ u for i in self.indicators]
        parts = [n / (n - 1) * (s**2).sum(axis=0) for s, n in zip(sums, levels, strict=True)]
        if len(parts) == 1:
            return np.sqrt(parts[0]), np.full(count, levels[0] - 1.0)
        rest, free = self._residual(values_UM, u)
        variance, freedom = _combined((parts[0], parts[1], rest), (levels[0] - 1.0, levels[1] - 1.0, free))
        first, second = self.common
        if len(first) > 1:
            both = 2 * len(first) / (len(first) - 1) * (sums[0][first] * sums[1][second]).sum(axis=0)
            variance = variance + np.maximum(both, 0.0)
        return np.sqrt(variance), freedom

    def _residual(self, values_UM: Floats, u_UM: Floats) -> tuple[Floats, float]:
        """Variance of the mean from what the additive model of both factors leaves, and its degrees of freedom.

        Where it leaves none, as where every source has one target, units stand for themselves.
        """
        both = np.concatenate(self.indicators, axis=1)
        fit, _, rank, _ = np.linalg.lstsq(both, values_UM, rcond=None)
        free = len(values_UM) - int(rank)
        if free < 1:
            free = len(values_UM) - 1
            return (u_UM**2).sum(axis=0) * (free + 1) / free, float(free)
        residual = values_UM - both @ fit
        return (residual**2).sum(axis=0) / free * (self.weights**2).sum(), float(free)

    def intervals(self, values_UM: Floats, floor: Floats | float = 0.0) -> list[Estimate]:
        """The mean of each measure with its 95 % interval; the standard error is never below ``floor`` ([M] or one)."""
        means = self.mean(values_UM)
        known = np.isfinite(values_UM).all(axis=0)
        error, freedom = np.full((2, values_UM.shape[1]), np.nan)
        if known.any():
            error[known], freedom[known] = self.error(values_UM[:, known])
        return _intervals(means, error, freedom, floor)


def _combined(parts: tuple[Floats, Floats, Floats], free: tuple[float, float, float]) -> tuple[Floats, Floats]:
    """The variance V_a + V_b - V_ab, kept from falling below V_a and V_b, and its degrees of freedom."""
    a, b, rest = parts
    variance = np.maximum(a + b - rest, np.maximum(a, b))
    spread = a**2 / free[0] + b**2 / free[1] + rest**2 / free[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(spread > 0, variance**2 / spread, 1.0)
    least = min(free[:2])
    return variance, np.clip(freedom, least, max(least, free[2]))


def _intervals(means: Floats, error: Floats, freedom: Floats, floor: Floats | float) -> list[Estimate]:
    half = t_quantile(freedom, 0.5 + LEVEL / 2) * np.maximum(error, floor)
    return [Estimate(float(m), float(m - h), float(m + h)) for m, h in zip(means, half, strict=True)]


@dataclass(frozen=True, eq=False)
class Layout:
    """The cells of one row, pair by pair, and the two questions that their mean may answer.

    ``over``  what to expect on other sources and targets like these: units are the pairs' means over their seeds, the
              factors source and target. Where all pairs have one source (or one target), what they share varies with
              the seed alone: then units are the cells, and the factors pair and seed. One pair: the seeds
    ``here``  what to expect on these very pairs under other seeds: cells about their pair's mean, the factors the
              trainings that pairs may share: those of one target and seed, and those of one source and seed
    """

    over: Design
    here: tuple[Ints, ...]
    """For each factor of ``here`` the place [C] of each cell's cluster."""
    here_free: tuple[float, ...]
    sizes: Ints
    weights: Floats
    by_cell: bool

    @classmethod
    def of(cls, sizes: Ints, weights: Floats, source: Ints, target: Ints, seed: Ints) -> Layout:
        """``sizes``, ``weights``, ``source`` and ``target`` of each pair [Q], ``seed`` of each cell [C].

        A source of -1 is none; a source and a target of one number are the same domain.
        """
        pair = np.repeat(np.arange(len(sizes)), sizes)
        each = np.repeat(weights / sizes, sizes)
        clusters, free = [], []
        for factor in (target, source):
            if (factor >= 0).all():
                _, place = np.unique(np.stack((factor[pair], seed)), axis=1, return_inverse=True)
                clusters.append(place.ravel().astype(np.int64))
                free.append(float(place.max() + 1 - len(np.unique(factor))))
        lone = len(np.unique(target)) == 1 or (len(np.unique(source)) == 1 and source[0] >= 0)
        over = Design.of((pair, seed), each) if lone else Design.of((source, target), weights, same=True)
        return cls(over, tuple(clusters), tuple(free), sizes, each / each.sum(), lone)

    def mean(self, values_CM: Floats) -> Floats:
        """The mean over pairs [M] of the means over each pair's seeds."""
        mean: Floats = self.weights @ values_CM
        return mean

    def intervals(self, values_CM: Floats, floor: Floats | float = 0.0) -> list[Estimate]:
        """The mean over pairs [M] with its interval over sources and targets; as in ``Design.intervals``."""
        return self.over.intervals(values_CM if self.by_cell else self._means(values_CM), floor)

    def intervals_here(self, values_CM: Floats, floor: Floats | float = 0.0) -> list[Estimate]:
        """The mean over pairs [M] with its interval over the seeds of these pairs; none where no pair has two."""
        means, count = self.mean(values_CM), values_CM.shape[1]
        n = np.repeat(self.sizes, self.sizes)
        scale = self.weights * np.sqrt(n / np.maximum(n - 1, 1))
        u = scale[:, None] * (values_CM - np.repeat(self._means(values_CM), self.sizes, axis=0))
        parts = []
        for place in self.here:
            sums = np.stack([np.bincount(place, its) for its in u.T], axis=1)
            parts.append((sums**2).sum(axis=0))
        rest, free = (u**2).sum(axis=0), float(len(n) - len(self.sizes))
        if min(self.here_free) < 1:
            return _intervals(means, np.full(count, np.nan), np.full(count, np.nan), floor)
        if len(parts) == 1:
            return _intervals(means, np.sqrt(parts[0]), np.full(count, self.here_free[0]), floor)
        variance, freedom = _combined((parts[0], parts[1], rest), (self.here_free[0], self.here_free[1], free))
        return _intervals(means, np.sqrt(variance), freedom, floor)

    def _means(self, values_CM: Floats) -> Floats:
        starts = np.concatenate(([0], np.cumsum(self.sizes)[:-1]))
        means: Floats = np.add.reduceat(values_CM, starts, axis=0) / self.sizes[:, None]
        return means
