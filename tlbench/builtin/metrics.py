"""Metrics over the scores of a test pool; scores are any numbers of which the largest wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from tlbench.api.data import Array


@dataclass(frozen=True)
class Accuracy:
    """Share of examples whose largest score is their label's; in [0, 1]. Ties go to the lowest class."""

    name: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True

    def score(self, scores: Array, y: Array) -> float:
        return float((scores.argmax(1) == y).mean())


@dataclass(frozen=True)
class BalancedAccuracy:
    """Mean over the classes that occur of the share of their examples that is found; in [0, 1]."""

    name: ClassVar[str] = "balanced-accuracy"
    higher_is_better: ClassVar[bool] = True

    def score(self, scores: Array, y: Array) -> float:
        right = scores.argmax(1) == y
        return float(np.mean([right[y == c].mean() for c in np.unique(y)]))


@dataclass(frozen=True)
class MacroF1:
    """Mean over all classes of the harmonic mean of precision and recall; in [0, 1].

    A class that neither occurs nor is predicted counts 0, so that scores of one target are of one mean.
    """

    name: ClassVar[str] = "macro-f1"
    higher_is_better: ClassVar[bool] = True

    def score(self, scores: Array, y: Array) -> float:
        from sklearn.metrics import f1_score

        labels = np.arange(scores.shape[1])
        return float(f1_score(y, scores.argmax(1), labels=labels, average="macro", zero_division=0.0))
