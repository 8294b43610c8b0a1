"""Metrics of a clustering: how well clusters and classes agree, whatever the clusters are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from tlbench.api.data import Array


@dataclass(frozen=True)
class NMI:
    """Mutual information of clusters and classes over the mean of their entropies; in [0, 1].

    2 I(U, V) / (H(U) + H(V)): the arithmetic mean (scikit-learn's choice since 0.22; older papers use the geometric).
    An example's cluster is its largest score. Of a classifier, this compares predicted with true classes.
    """

    name: ClassVar[str] = "nmi"
    higher_is_better: ClassVar[bool] = True

    def score(self, scores: Array, y: Array) -> float:
        from sklearn.metrics import normalized_mutual_info_score

        return float(normalized_mutual_info_score(y, scores.argmax(1), average_method="arithmetic"))


@dataclass(frozen=True)
class ARI:
    """Adjusted Rand index of clusters and classes (Hubert & Arabie 1985): 1 for equal, 0 expected by chance.

    An example's cluster is its largest score. Can be negative, down to -0.5.
    """

    name: ClassVar[str] = "ari"
    higher_is_better: ClassVar[bool] = True

    def score(self, scores: Array, y: Array) -> float:
        from sklearn.metrics import adjusted_rand_score

        return float(adjusted_rand_score(y, scores.argmax(1)))
