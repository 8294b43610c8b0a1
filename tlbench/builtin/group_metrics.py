"""Metrics over groups of examples: how a predictor does where it does worst.

A data set says which group each example is of (a hospital, a background, a speaker); strategies do not see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from tlbench.api.data import Array


def group_accuracies(scores: Array, y: Array, group: Array) -> Array:
    """Accuracy within each group that occurs, float64 [G]; scores [N, C], y [N], group int64 [N]."""
    right = scores.argmax(1) == y
    _, place = np.unique(group, return_inverse=True)
    found: Array = np.bincount(place, weights=right) / np.bincount(place)
    return found


@dataclass(frozen=True)
class WorstGroupAccuracy:
    """The lowest accuracy over the groups of examples that occur in the test (Sagawa et al. 2020); in [0, 1].

    For groups of spurious attributes as they have them, name a column of class and attribute together. A small group
    makes it noisy: the record says how small the smallest is.
    """

    name: ClassVar[str] = "worst-group-accuracy"
    higher_is_better: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"group"})

    def score(self, scores: Array, y: Array, group: Array) -> float:
        return float(group_accuracies(scores, y, group).min())


@dataclass(frozen=True)
class GroupGap:
    """The highest minus the lowest accuracy over the groups of examples that occur in the test; in [0, 1].

    0 for equal accuracy everywhere, which a predictor that is always wrong has too: read it beside the accuracy.
    """

    name: ClassVar[str] = "group-gap"
    higher_is_better: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"group"})

    def score(self, scores: Array, y: Array, group: Array) -> float:
        found = group_accuracies(scores, y, group)
        return float(found.max() - found.min())
