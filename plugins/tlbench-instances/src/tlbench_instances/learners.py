"""Weighted base learners: 0-or-1 rules learnt from examples with weights.

Dimension key:  N examples  D features
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from tlbench_instances.spaces import Array

Learner = Literal["linear-svm", "logistic", "stump"]
"""A linear support vector machine, logistic regression, or one threshold on one feature."""

Rule: TypeAlias = Callable[[Array], Array]
"""x [N, D] -> 0 or 1 for each example, float64 [N]."""


def weighted_rule(
    learner: Learner, x_ND: Array, y_N: Array, weight_N: Array, *, strength: float = 1.0, balance: bool = False
) -> Rule:
    """What ``learner`` makes of the examples; y is 0 or 1.

    Weights are a distribution: they are brought to a sum of one, so that ``strength`` (C) stands beside the mean loss
    and not the sum of losses; with ``balance`` both classes get one half. Examples of one class alone make a
    constant rule.
    """
    if y_N.min() == y_N.max():
        constant = float(y_N[0])
        return lambda x: np.full(len(x), constant)
    if balance:
        weight_N = weight_N / np.where(y_N == 1, weight_N[y_N == 1].sum(), weight_N[y_N == 0].sum())
    model = _model(learner, strength).fit(x_ND, y_N, sample_weight=weight_N / weight_N.sum())
    return lambda x: np.asarray(model.predict(x), dtype=np.float64)


def _model(learner: Learner, strength: float) -> Any:
    """Every one of them is deterministic: the primal SVM draws nothing, and a stump looks at all features."""
    if learner == "stump":
        from sklearn.tree import DecisionTreeClassifier

        return DecisionTreeClassifier(max_depth=1, random_state=0)
    if learner == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=strength, max_iter=5000)
    from sklearn.svm import LinearSVC

    return LinearSVC(C=strength, dual=False, max_iter=5000)
