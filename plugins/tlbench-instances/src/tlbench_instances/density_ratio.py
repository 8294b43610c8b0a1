"""Density ratios w(x) = p_T(x) / p_S(x) at the source examples: by a discriminator, by KMM, by KLIEP.

Dimension key:  S source examples  T target examples  L kernel centres  D features
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench_instances.spaces import Array


def effective_sample_size(weight_S: Array) -> float:
    """(sum w)^2 / sum w^2: from 1, where one example has all the weight, to S, where all have the same."""
    return float(weight_S.sum() ** 2 / np.square(weight_S).sum())


def rbf(a_ND: Array, b_MD: Array, width: float) -> Array:
    """exp(-|a - b|^2 / (2 width^2)), [N, M]."""
    from sklearn.metrics.pairwise import rbf_kernel

    kernel: Array = rbf_kernel(a_ND, b_MD, gamma=1 / (2 * width**2))
    return kernel


def median_distance(source_SD: Array, target_TD: Array, rng: np.random.Generator, most: int = 500) -> float:
    """The median distance between two examples of both domains together, from ``most`` of each at random."""
    from scipy.spatial.distance import pdist

    some = [x[rng.permutation(len(x))[:most]] for x in (source_SD, target_TD)]
    return float(np.median(pdist(np.concatenate(some)))) or 1.0


# ---- discriminator -------------------------------------------------------------------------------


def discriminator_weights(source_SD: Array, target_TD: Array, strength: float = 1.0) -> Array:
    """w(x) = n_S / n_T * p(T | x) / p(S | x), from a logistic regression between the domains (Bickel et al. 2007)."""
    from sklearn.linear_model import LogisticRegression

    of_target = np.repeat([0, 1], [len(source_SD), len(target_TD)])
    model = LogisticRegression(C=strength, max_iter=5000).fit(np.concatenate([source_SD, target_TD]), of_target)
    odds: Array = np.exp(np.clip(model.decision_function(source_SD), -50, 50))
    return len(source_SD) / len(target_TD) * odds


# ---- kernel mean matching ------------------------------------------------------------------------


def kmm_weights(
    source_SD: Array, target_TD: Array, width: float, largest: float = 1000.0, tolerance: float = 1e-7
) -> Array:
    """Kernel mean matching: the weighted source has the target's mean in kernel space (Huang et al. 2007).

    min 1/2 w' K w - kappa' w with 0 <= w_i <= largest and |sum_i w_i - S| <= S eps, where K_ij = k(x_i, x_j) over the
    source, kappa_i = S / T * sum_j k(x_i, x_j) over the target, and eps = (sqrt(S) - 1) / sqrt(S).
    Solved by accelerated projected gradients, started anew whenever they turn back.
    """
    kernel_SS = rbf(source_SD, source_SD, width)
    kappa_S = len(source_SD) * rbf(source_SD, target_TD, width).mean(1)
    size, slack = len(source_SD), 1 - 1 / np.sqrt(len(source_SD))
    low, high = size * (1 - slack), size * (1 + slack)
    step = 1 / kernel_SS.sum(1).max()  # the largest row sum bounds the largest eigenvalue
    weight = ahead = np.ones(size)
    pace = 1.0
    for _ in range(5000):
        new = _onto(ahead - step * (kernel_SS @ ahead - kappa_S), largest, low, high)
        moved = new - weight
        if np.abs(moved).max() < tolerance * max(1.0, np.abs(new).max()):
            return new
        turned_back = (ahead - new) @ moved > 0
        faster = 1.0 if turned_back else (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = new if turned_back else new + (pace - 1) / faster * moved
        weight, pace = new, faster
    return weight


def _onto(point: Array, largest: float, low: float, high: float) -> Array:
    """The nearest point with all entries in [0, largest] and their sum in [low, high]."""
    clipped = np.clip(point, 0, largest)
    if low <= clipped.sum() <= high:
        return clipped
    wanted = min(max(float(clipped.sum()), low), high)
    below, above = float(point.min()) - largest, float(point.max())  # shifts that give the largest sum and none
    for _ in range(100):
        middle = (below + above) / 2
        below, above = (middle, above) if np.clip(point - middle, 0, largest).sum() > wanted else (below, middle)
    return np.clip(point - (below + above) / 2, 0, largest)


# ---- KLIEP ---------------------------------------------------------------------------------------


class Mixture(NamedTuple):
    """w(x) = sum_l alpha_l k(x, centre_l) with ``alpha`` [L] >= 0 and ``centres`` [L, D]."""

    alpha: Array
    centres: Array
    width: float

    def __call__(self, x_ND: Array) -> Array:
        weights: Array = rbf(x_ND, self.centres, self.width) @ self.alpha
        return weights


def kliep(source_SD: Array, target_TD: Array, centres_LD: Array, width: float, tolerance: float = 1e-4) -> Mixture:
    """max_alpha sum_j log w(x_j) over the target, with the mean of w over the source 1 (Sugiyama et al. 2008).

    With b_l the source's mean of k(., centre_l) and pi_l = alpha_l b_l this is a mixture of k(., centre_l) / b_l with
    proportions pi, so that EM climbs to the same (global) optimum without the paper's step size. It stops where the
    mean log w is within ``tolerance`` of the optimum: it is concave in pi, so that what is left to gain is at most
    its steepest slope, max_l pull_l - 1.
    """
    ratio_TL = rbf(target_TD, centres_LD, width)
    mean_L = np.maximum(rbf(source_SD, centres_LD, width).mean(0), 1e-12)  # a centre far from any source example
    ratio_TL = np.maximum(ratio_TL / mean_L, 1e-300)
    pi_L = np.full(len(centres_LD), 1 / len(centres_LD))
    for _ in range(2000):
        pull_L = (ratio_TL / (ratio_TL @ pi_L)[:, None]).mean(0)
        if pull_L.max() - 1 < tolerance:
            break
        pi_L = pi_L * pull_L
    return Mixture(pi_L / mean_L, centres_LD, width)


def kliep_by_likelihood(
    source_SD: Array,
    target_TD: Array,
    widths: Sequence[float],
    rng: np.random.Generator,
    most: int = 100,
    folds: int = 5,
) -> Mixture:
    """KLIEP with the width of the highest mean log w on target examples left out (Sugiyama et al. 2008).

    The centres are ``most`` target examples at random; within a fold, those of them that are not left out.
    """
    order = rng.permutation(len(target_TD))
    centres = order[:most]
    width = widths[0]
    if len(widths) > 1 and len(target_TD) >= 2:
        edges = np.linspace(0, len(order), min(folds, len(order)) + 1).astype(int)
        order = rng.permutation(len(target_TD))
        parts = [order[a:b] for a, b in pairwise(edges)]
        likelihood = [
            np.mean([_left_out(source_SD, target_TD, centres, part, candidate) for part in parts])
            for candidate in widths
        ]
        width = widths[int(np.argmax(likelihood))]
    return kliep(source_SD, target_TD, target_TD[centres], width)


def _left_out(source_SD: Array, target_TD: Array, centres: Array, left_out: Array, width: float) -> float:
    """Mean log w of the target examples left out, by a fit on the others."""
    kept = np.setdiff1d(np.arange(len(target_TD)), left_out)
    among = np.setdiff1d(centres, left_out)
    fitted = kliep(source_SD, target_TD[kept], target_TD[among if len(among) else kept[:1]], width, tolerance=1e-3)
    return float(np.log(np.maximum(fitted(target_TD[left_out]), 1e-300)).mean())
