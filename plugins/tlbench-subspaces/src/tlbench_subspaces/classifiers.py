"""The classifier behind mapped features: 1-NN, a linear SVM or logistic regression, chosen on the source alone.

Dimension key:  N examples  D features  C classes  K classes that the training examples have
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from tlbench import Context, Fitted

Array: TypeAlias = "NDArray[Any]"
Scorer: TypeAlias = Callable[[Array], Array]
"""Features [N, D] -> scores [N, C]; the largest is the predicted class."""

Classifier = Literal["1-nn", "svm", "logistic"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""The values of C among which the SVM and the logistic regression choose; the smallest of equally good ones."""
FOLDS = 5
"""Folds of that choice, stratified, in the order of the examples; no more than the rarest class has examples."""
CHUNK = 1024
"""Examples whose distances are computed at once."""


def classifier_of(kind: Classifier, x_ND: Array, y_N: Array, num_classes: int) -> Scorer:
    """Fit a classifier of this kind."""
    return over_all_classes({"1-nn": nearest, "svm": linear_svm, "logistic": logistic}[kind], x_ND, y_N, num_classes)


def over_all_classes(fit: Callable[[Array, Array], Scorer], x: Array, y_N: Array, num_classes: int) -> Scorer:
    """Scores [N, C] from a fit that scores the classes present, [N, K]; an absent class scores less than any other."""
    present = np.unique(y_N)
    scores = fit(x, y_N) if len(present) > 1 else lambda x: np.zeros((len(x), 1))

    def of_all(x: Array) -> Array:
        found = scores(x)
        out: Array = np.repeat(found.min(axis=1, keepdims=True) - 1, num_classes, axis=1)
        out[:, present] = found
        return out

    return of_all


def nearest(x_ND: Array, y_N: Array) -> Scorer:
    """Minus the Euclidean distance to the nearest training example of each class present, [N, K]: 1-NN."""
    from sklearn.metrics.pairwise import euclidean_distances

    members = [y_N == label for label in np.unique(y_N)]

    def scores(x: Array) -> Array:
        parts = []
        for i in range(0, len(x), CHUNK):
            distance = euclidean_distances(x[i : i + CHUNK], x_ND)
            parts.append(-np.stack([distance[:, rows].min(axis=1) for rows in members], axis=1))
        return np.concatenate(parts)

    return scores


def linear_svm(x_ND: Array, y_N: Array) -> Scorer:
    """A linear support vector machine, one class against one, with C chosen by cross-validation."""
    from sklearn.svm import SVC

    unit = size_of(x_ND)
    gram = x_ND @ x_ND.T / unit**2  # once for all folds and all C
    strength = best_strength(lambda: SVC(kernel="precomputed"), gram, y_N)
    model = SVC(kernel="linear", C=strength).fit(x_ND / unit, y_N)
    return lambda x: columns(model.decision_function(x / unit))


def logistic(x_ND: Array, y_N: Array) -> Scorer:
    """Logistic regression with an L2 penalty, C chosen by cross-validation."""
    from sklearn.linear_model import LogisticRegression

    def make() -> Any:
        return LogisticRegression(max_iter=5000)

    unit = size_of(x_ND)
    model = make().set_params(C=best_strength(make, x_ND / unit, y_N)).fit(x_ND / unit, y_N)
    return lambda x: columns(model.decision_function(x / unit))


def size_of(x_ND: Array) -> float:
    """The root of the mean squared entry, 1 for z-scores: what features are divided by, so that C has one meaning."""
    return float(np.sqrt(np.square(x_ND).mean())) or 1.0


def best_strength(make: Callable[[], Any], x: Array, y_N: Array) -> float:
    """The C of best cross-validated accuracy; 1 where a class has one example and nothing can be held out."""
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    rarest = int(np.unique(y_N, return_counts=True)[1].min())
    if rarest < 2:
        return 1.0
    search = GridSearchCV(make(), {"C": STRENGTHS}, cv=StratifiedKFold(min(FOLDS, rarest)), error_score="raise")
    return float(search.set_params(refit=False).fit(x, y_N).best_params_["C"])


def columns(decision: Array) -> Array:
    """Scikit-learn's decision values as [N, K]; of two classes it gives one number, for the second."""
    return np.stack([-decision, decision], axis=1) if decision.ndim == 1 else decision


# ---- between the context and the classifier ------------------------------------------------------


class TwoDomains(NamedTuple):
    """Frozen features in float64: the source [N, D] with its labels [N], and the unlabelled target [M, D]."""

    source: Array
    y: Array
    target: Array


def two_domains(ctx: Context) -> TwoDomains:
    """The features of the pools ``source`` and ``target_unlabelled``."""
    source = ctx.features("source")
    return TwoDomains(_array(source.x), source.y.cpu().numpy(), _array(ctx.features("target_unlabelled").x))


def classify_mapped(
    ctx: Context,
    classifier: Classifier,
    source: Callable[[Array], Array],
    target: Callable[[Array], Array],
) -> Fitted:
    """Train the classifier on the source through one map; predict the target through the other."""
    pool = ctx.features("source")
    scores = classifier_of(classifier, source(_array(pool.x)), pool.y.cpu().numpy(), ctx.num_classes)
    return predictor(ctx, lambda x: scores(target(x)))


def predictor(ctx: Context, scores: Scorer) -> Fitted:
    """A predictor from a function of frozen features, NumPy in and out."""

    def score(x_BD: Tensor) -> Tensor:
        return torch.from_numpy(scores(_array(x_BD))).to(x_BD.device)

    return ctx.on_features(score)


def _array(x: Tensor) -> Array:
    array: Array = x.detach().double().cpu().numpy()
    return array
