"""Metrics of what transfer did to the backbone, block by block.

Dimension key:  N examples  P features before  Q features after
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from tlbench.api.data import Array


def unbiased_hsic(k_NN: Array, l_NN: Array) -> float:
    """The unbiased estimate of HSIC from two Gram matrices, N > 3 (Song et al. 2012, eq. 5)."""
    n = len(k_NN)
    k_NN, l_NN = k_NN - np.diag(np.diag(k_NN)), l_NN - np.diag(np.diag(l_NN))
    k_N, l_N = k_NN.sum(0), l_NN.sum(0)
    whole = (k_NN * l_NN).sum() + k_N.sum() * l_N.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k_N @ l_N)
    return float(whole / (n * (n - 3)))


def linear_cka(before_NP: Array, after_NQ: Array) -> float | None:
    """Linear centred kernel alignment of two sets of features of the same examples; ``None`` where it is undefined.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = X X', L = Y Y' (Kornblith, Norouzi, Lee & Hinton 2019, eq. 2), and
    with the unbiased HSIC, as the biased one goes to 1 where there are more features than examples. 1 for equal
    features, up to rotation, reflection and scale; about 0, and possibly a little below, for unrelated ones. Undefined
    for fewer than four examples and for features that do not vary.
    """
    if len(before_NP) < 4:
        return None
    grams = []
    for x in (before_NP.astype(np.float64), after_NQ.astype(np.float64)):
        x = x - x.mean(0)  # changes nothing but the rounding
        grams.append(x @ x.T)
    k_NN, l_NN = grams
    own_k, own_l = unbiased_hsic(k_NN, k_NN), unbiased_hsic(l_NN, l_NN)
    if own_k <= 0 or own_l <= 0:
        return None
    return unbiased_hsic(k_NN, l_NN) / float(np.sqrt(own_k * own_l))


@dataclass(frozen=True)
class CKA:
    """Linear CKA of each block of the backbone before and after transfer (Kornblith et al. 2019).

    1 where a block's features are what they were, up to a rotation and a scale. Unlike in the paper, features are
    averaged over space or tokens first, as everywhere here, and the estimate is the unbiased one.
    """

    name: ClassVar[str] = "cka"

    def compare(self, before: Array, after: Array) -> float | None:
        return linear_cka(before, after)
