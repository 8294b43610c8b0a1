"""The metric ``roc-auc``: how often an example of one class is ranked above one of another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pairwise_auc(margin_N: NDArray[Any], positive_N: NDArray[Any]) -> float:
    """P(margin of a positive > margin of a negative) + P(equal) / 2, from the ranks (Mann & Whitney 1947)."""
    from scipy.stats import rankdata

    positives = int(positive_N.sum())
    negatives = len(positive_N) - positives
    above = rankdata(margin_N)[positive_N].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


@dataclass(frozen=True)
class RocAuc:
    """Area under the ROC curve, in [0, 1]; blind to thresholds and to how rare a class is; 0.5 is chance.

    For two classes, of the margin s_1 - s_0. For more, the mean over the pairs of classes that occur, each of the
    margin of the one over the other among the examples of the two (after Hand & Till 2001, whose measure ranks by
    probabilities). Where a single class occurs it is undefined, and 0.5 is given.
    """

    name: ClassVar[str] = "roc-auc"
    higher_is_better: ClassVar[bool] = True

    def score(self, scores: NDArray[Any], y: NDArray[Any]) -> float:
        areas = []
        for i, j in combinations(np.unique(y), 2):
            rows = (y == i) | (y == j)
            margin = scores[rows, j].astype(np.float64) - scores[rows, i]
            areas.append(pairwise_auc(margin, y[rows] == j))
        return float(np.mean(areas)) if areas else 0.5
