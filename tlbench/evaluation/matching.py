"""Matching: clusters have no names, so each is given to one class, as well as can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tlbench.api.data import Array


def matched(scores: Array, y: Array) -> Array:
    """Scores of clusters [N, K] -> scores of classes [N, K] with the columns in the best order for y int [N] in 0..K-1.

    The one-to-one matching with the most examples of the matched class (the Hungarian method, from scipy): after it,
    accuracy is clustering accuracy.
    """
    from scipy.optimize import linear_sum_assignment

    k = scores.shape[1]
    table = np.zeros((k, k), dtype=np.int64)
    np.add.at(table, (y, scores.argmax(1)), 1)
    _, cluster_of_class = linear_sum_assignment(table, maximize=True)
    found: Array = scores[:, cluster_of_class]
    return found
