"""Small shared mathematics for authors of strategies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench.linear_fits import Linear, logistic_fits, ridge_fits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tlbench.api.data import Array
    from tlbench.api.types import Batch, Step, Terms

__all__ = [
    "ABSENT",
    "Linear",
    "class_means",
    "logistic_fits",
    "logistic_probe",
    "reverse_gradient",
    "ridge_fits",
    "rows_of",
    "supervised",
]

ABSENT = -1e4
"""Score of a class that no training example has."""


def supervised(model: nn.Module) -> Callable[[Batch, Step], Terms]:
    """The loss function of plain supervised training: mean cross-entropy of ``model`` on one labelled pool."""

    def loss(batch: Batch, step: Step) -> Terms:
        return F.cross_entropy(model(batch.x), batch.y)

    return loss


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float | Tensor) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad, strength = grads[0], ctx.strength
        if isinstance(strength, Tensor) and grad.dtype in (torch.bfloat16, torch.float16):
            # as torch multiplies with a number: in float32, of which the product alone is rounded
            return (-strength * grad.float()).to(grad.dtype), None
        return -strength * grad, None


def reverse_gradient(x: Tensor, strength: float | Tensor) -> Tensor:
    """Identity forwards; multiplies the gradient by ``-strength`` backwards (Ganin & Lempitsky 2015, eq. 7-8).

    ``strength`` may be a 0-d tensor, as ``step.host`` gives it.
    """
    reversed_: Tensor = _Reverse.apply(x, strength)  # type: ignore[no-untyped-call]
    return reversed_


def class_means(x_BD: Tensor, y_B: Tensor, num_classes: int) -> Tensor:
    """Mean of the rows of each class, [C, D]; zeros for a class without rows."""
    one_hot_BC = F.one_hot(y_B, num_classes).to(x_BD.dtype)
    return one_hot_BC.T @ x_BD / one_hot_BC.sum(0).clamp(min=1)[:, None]


def logistic_probe(
    x_ND: Array,
    y_N: Array,
    num_classes: int,
    strengths: Sequence[float],
    *,
    folds: int = 5,
    split: int | None = None,
    joint: bool = False,
) -> tuple[Array, Array]:
    """Logistic regression on standardised features: weight [D, C] and bias [C] for the features as they came.

    C is the most accurate of ``strengths``: on the rows from ``split`` on, which are the validation examples, or by
    stratified cross-validation; then all rows are fitted. With one example of some class, or one strength, nothing
    is chosen (C is 1, or that strength). A class without rows has no weights and the bias ``ABSENT``.
    ``joint`` fits all strengths at once by ``logistic_fits``, closer to the minimum than scikit-learn's L-BFGS with its
    default tolerance, so that another strength may win where an example or two decide.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, StratifiedKFold
    from sklearn.preprocessing import StandardScaler

    weight_DC, bias_C = np.zeros((x_ND.shape[1], num_classes)), np.full(num_classes, ABSENT)
    present, counts = np.unique(y_N, return_counts=True)
    if len(present) == 1:
        bias_C[present] = 0.0
        return weight_DC, bias_C
    if split is not None and 0 < split < len(y_N) and len(np.unique(y_N[:split])) > 1:
        rule: Any = PredefinedSplit(np.where(np.arange(len(y_N)) < split, -1, 0))
    else:
        rule = StratifiedKFold(min(folds, int(counts.min()))) if counts.min() > 1 else None
    if joint:
        tried = [1.0] if rule is None else strengths
        coef_KD, intercept_K, scaler = _joint_probe(x_ND, np.searchsorted(present, y_N), tried, rule)
        weight_DC[:, present] = (coef_KD / scaler.scale_).T
        bias_C[present] = intercept_K - coef_KD @ (scaler.mean_ / scaler.scale_)
        return weight_DC, bias_C
    strength = 1.0 if rule is None else strengths[0]
    if rule is not None and len(strengths) > 1:
        strength = strengths[int(np.argmax(_held_out_accuracy(x_ND, y_N, strengths, rule)))]  # the first of equals
    scaler = StandardScaler().fit(x_ND)
    model = LogisticRegression(C=strength, max_iter=5000).fit(scaler.transform(x_ND), y_N)
    coef_KD, intercept_K = model.coef_, model.intercept_
    if len(present) == 2:  # scikit-learn keeps one row: the log-odds of the second class
        coef_KD, intercept_K = np.vstack([-coef_KD, coef_KD]) / 2, np.concatenate([-intercept_K, intercept_K]) / 2
    weight_DC[:, present] = (coef_KD / scaler.scale_).T
    bias_C[present] = intercept_K - coef_KD @ (scaler.mean_ / scaler.scale_)
    return weight_DC, bias_C


def _held_out_accuracy(x_ND: Array, y_N: Array, strengths: Sequence[float], rule: Any) -> Array:
    """Mean accuracy over the folds of ``rule`` for each strength, [S]; each fold is standardised once.

    To the bit what a grid search over a pipeline finds, without what that costs around each fit: of few examples it is
    more than the fits.
    """
    from sklearn import config_context
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    right_SF: list[list[float]] = [[] for _ in strengths]
    with config_context(skip_parameter_validation=True):
        for train, test in rule.split(x_ND, y_N):
            scaler = StandardScaler().fit(x_ND[train])
            z_ND, z_MD = scaler.transform(x_ND[train]), scaler.transform(x_ND[test])
            for right_F, strength in zip(right_SF, strengths, strict=True):
                model = LogisticRegression(C=strength, max_iter=5000).fit(z_ND, y_N[train])
                right_F.append(float((model.predict(z_MD) == y_N[test]).mean()))
    mean_S: Array = np.mean(right_SF, axis=1)
    return mean_S


def _joint_probe(x_ND: Array, y_N: Array, strengths: Sequence[float], rule: Any) -> tuple[Array, Array, Any]:
    """Weights [K, D] and bias [K] of standardised features by the strength that ``rule`` finds best; the scaler."""
    from sklearn.preprocessing import StandardScaler

    classes = int(y_N.max()) + 1
    # scikit-learn penalises one row of log-odds where there are two classes, which is half of what both rows give
    given_S = torch.tensor(strengths, dtype=torch.float64) / (2 if classes == 2 else 1)

    def fits(rows: Any, strength_S: Tensor) -> tuple[Any, Linear]:
        scaler = StandardScaler().fit(x_ND[rows])
        x_1ND, y_1N = torch.from_numpy(scaler.transform(x_ND[rows]))[None], torch.from_numpy(y_N[rows]).long()[None]
        return scaler, logistic_fits(x_1ND, y_1N, classes, strength_S)

    best = 0
    if len(strengths) > 1:
        right = []
        for train, test in rule.split(x_ND, y_N):
            scaler, found = fits(train, given_S)
            x_1ND = torch.from_numpy(scaler.transform(x_ND[test]))[None]
            said_SN = found.scores(x_1ND).argmax(-1).numpy()
            right.append((said_SN == y_N[test]).mean(-1))
        best = int(np.argmax(np.mean(right, 0)))  # the first of equals: the strongest regularisation
    scaler, found = fits(slice(None), given_S[best : best + 1])
    return found.weight[0].T.numpy(), found.bias[0].numpy(), scaler


def rows_of(x: Any, rows: Tensor) -> Any:
    """These rows of inputs [B, ...]: of one tensor, or of each tensor of a mapping."""
    return {name: part[rows] for name, part in x.items()} if isinstance(x, dict) else x[rows]
