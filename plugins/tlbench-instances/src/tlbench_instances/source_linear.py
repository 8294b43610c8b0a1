"""A linear classifier of the source whose strength was chosen: the reference that adaptation results must meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

if TYPE_CHECKING:
    from tlbench import Context, Fitted
    from tlbench_instances.spaces import Array


@dataclass(frozen=True)
class SourceLinear:
    """Source-only with a tuned linear classifier on the frozen features: logistic regression or a linear SVM.

    C is the most accurate of ``strengths`` values from ``lowest`` to ``highest``, evenly spaced in the logarithm, the
    smallest of equals; chosen on the source's validation examples where the selection rule sets some apart, or else
    on the last tenth of the source's examples, which are then not trained on. Looks at no target example.
    No paper's method: a published gain over an untuned source classifier may be smaller than what tuning it gives.
    Takes no gradient step. Records the chosen C as ``strength``.
    """

    name: ClassVar[str] = "source-linear"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "same_classes"})
    uses: ClassVar[frozenset[str]] = frozenset({"source_val"})

    model: Literal["logistic", "linear-svm"] = "logistic"
    """Logistic regression, or a linear support vector machine with the squared hinge loss."""
    lowest: float = 1e-5
    """The smallest C, the strongest regularisation."""
    highest: float = 1.0
    """The largest C."""
    strengths: int = 6
    """How many values of C are tried."""

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.highest:
            raise ValueError(f"need 0 < lowest <= highest, got {self.lowest} and {self.highest}")
        if self.strengths < 1:
            raise ValueError(f"strengths must be at least 1, got {self.strengths}")

    def fit(self, ctx: Context) -> Fitted:
        source = ctx.features("source")
        x_ND, y_N = source.x.cpu().numpy(), source.y.cpu().numpy()
        if "source_val" in ctx.pools:
            held = ctx.features("source_val")
            x_VD, y_V = held.x.cpu().numpy(), held.y.cpu().numpy()
        else:
            kept = len(y_N) - max(1, len(y_N) // 10)
            x_ND, x_VD, y_N, y_V = x_ND[:kept], x_ND[kept:], y_N[:kept], y_N[kept:]
        candidates = [self._fitted(x_ND, y_N, c) for c in np.geomspace(self.lowest, self.highest, self.strengths)]
        best = max(candidates, key=lambda model: model.score(x_VD, y_V))
        ctx.report("strength", best.C)
        weight, bias = (torch.from_numpy(part).float().to(ctx.device) for part in _linear(best, ctx.num_classes))
        return ctx.on_features(lambda x_BD: x_BD.float() @ weight + bias)

    def _fitted(self, x_ND: Array, y_N: Array, strength: float) -> Any:
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC

        if self.model == "logistic":
            return LogisticRegression(C=strength, max_iter=5000).fit(x_ND, y_N)
        return LinearSVC(C=strength, max_iter=20_000, random_state=0).fit(x_ND, y_N)


def _linear(model: Any, num_classes: int) -> tuple[Array, Array]:
    """Weight [D, C] and bias [C]; scikit-learn has one row for two classes, and none for a class without examples."""
    from tlbench.functional import ABSENT

    coef_KD, intercept_K = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coef_KD, intercept_K = np.vstack([-coef_KD, coef_KD]) / 2, np.concatenate([-intercept_K, intercept_K]) / 2
    weight_DC, bias_C = np.zeros((coef_KD.shape[1], num_classes)), np.full(num_classes, ABSENT)
    weight_DC[:, model.classes_], bias_C[model.classes_] = coef_KD.T, intercept_K
    return weight_DC, bias_C
