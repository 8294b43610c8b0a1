"""Metrics of a predictor's confidence: how often it is right when it says how sure it is.

Strategies return scores of many kinds, and these metrics need probabilities. Scores whose rows all lie in [0, 1] and
sum to one are taken for probabilities; of all others the softmax is taken, as of logits. Of what is neither (distances,
margins, votes) the softmax is no statement of confidence, and the numbers say only how the method would do if its
scores were used so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from tlbench.api.data import Array

_TOLERANCE = 1e-3
"""How far from one a row of float32 probabilities may sum to."""


def are_probabilities(scores: Array) -> bool:
    """Whether scores [N, C] are shares: every row within [0, 1] and of sum one."""
    inside = scores.min() >= 0 and scores.max() <= 1 + _TOLERANCE
    return bool(inside and np.abs(scores.sum(1, dtype=np.float64) - 1).max() <= _TOLERANCE)


def probabilities(scores: Array) -> Array:
    """Scores [N, C] -> float64 [N, C] of which each row sums to one: as they are, or their softmax."""
    from scipy.special import softmax

    wide = scores.astype(np.float64)
    found: Array = wide / wide.sum(1, keepdims=True) if are_probabilities(scores) else softmax(wide, axis=1)
    return found


@dataclass(frozen=True)
class ECE:
    """Expected calibration error (Guo, Pleiss, Sun & Weinberger 2017, eq. 3): mean |accuracy - confidence|; in [0, 1].

    Examples are sorted by the probability of their predicted class into ``bins`` of equal width, ((m-1)/M, m/M]; each
    bin's accuracy is compared with its mean confidence, weighted by its share of the examples. Scores that are not
    probabilities go through a softmax first. A blind guess with the right class shares is well calibrated: read it
    beside the accuracy.
    """

    name: ClassVar[str] = "ece"
    higher_is_better: ClassVar[bool] = False

    bins: int = 15
    """Bins of equal width, 15 as in the paper."""

    def __post_init__(self) -> None:
        if self.bins < 1:
            raise ValueError(f"bins must be at least 1, got {self.bins}")

    def score(self, scores: Array, y: Array) -> float:
        share = probabilities(scores)
        confidence, right = share.max(1), share.argmax(1) == y
        place = np.clip(np.ceil(confidence * self.bins).astype(np.int64) - 1, 0, self.bins - 1)
        gap = np.bincount(place, weights=right - confidence, minlength=self.bins)
        return float(np.abs(gap).sum() / len(y))


@dataclass(frozen=True)
class Brier:
    """Mean over examples of the squared distance of probabilities and truth, sum_c (p_c - [y = c])^2 (Brier 1950).

    In [0, 2]. Scores that are not probabilities go through a softmax first. Some libraries give half of it, or 1/C.
    """

    name: ClassVar[str] = "brier"
    higher_is_better: ClassVar[bool] = False

    def score(self, scores: Array, y: Array) -> float:
        share = probabilities(scores)
        right = share[np.arange(len(y)), y]
        return float(((share**2).sum(1) - 2 * right + 1).mean())


@dataclass(frozen=True)
class LogLoss:
    """Mean negative log-likelihood in nats. Scores that are not probabilities go through a softmax first.

    Probabilities are cut off at 1e-7, so that no single example makes the mean infinite; logits are not.
    """

    name: ClassVar[str] = "log-loss"
    higher_is_better: ClassVar[bool] = False

    def score(self, scores: Array, y: Array) -> float:
        from scipy.special import log_softmax

        if are_probabilities(scores):
            log_share = np.log(np.clip(probabilities(scores), 1e-7, 1.0))
        else:
            log_share = log_softmax(scores.astype(np.float64), axis=1)
        return float(-log_share[np.arange(len(y)), y].mean())
