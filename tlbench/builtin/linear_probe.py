"""Linear probe: logistic regression on the frozen backbone's features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from tlbench.functional import ABSENT, logistic_probe

__all__ = ["ABSENT", "LinearProbe"]

if TYPE_CHECKING:
    from tlbench.api.data import Array
    from tlbench.api.types import Context, Fitted


@dataclass(frozen=True)
class LinearProbe:
    """Logistic regression on standardised, frozen features (Donahue et al. 2014; Kornblith et al. 2019).

    The regularisation is chosen for accuracy from ``strengths`` values of C, evenly spaced in the logarithm:
    on the validation examples where the selection rule sets some apart, otherwise by stratified cross-validation
    on the training examples; then the fit is repeated on all of them. With a single example of some class there
    is nothing to choose on, and C is 1. Takes no gradient step: its learning curve is one point.
    Departure: Kornblith et al. search 45 values of the regularisation.
    """

    name: ClassVar[str] = "linear-probe"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    uses: ClassVar[frozenset[str]] = frozenset({"target_val"})

    lowest: float = 1e-4
    """The smallest C, the strongest regularisation."""
    highest: float = 1e2
    """The largest C."""
    strengths: int = 7
    """How many values of C are tried."""
    folds: int = 5
    """Folds of the cross-validation, at most as many as the rarest class has examples."""

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.highest:
            raise ValueError(f"need 0 < lowest <= highest, got {self.lowest} and {self.highest}")
        if self.strengths < 1 or self.folds < 2:
            raise ValueError(f"need strengths >= 1 and folds >= 2, got {self.strengths} and {self.folds}")

    def fit(self, ctx: Context) -> Fitted:
        train = ctx.features("target")
        x, y, split = train.x.cpu().numpy(), train.y.cpu().numpy(), None
        if "target_val" in ctx.pools:
            held = ctx.features("target_val")
            split = len(y)
            x, y = np.concatenate([x, held.x.cpu().numpy()]), np.concatenate([y, held.y.cpu().numpy()])
        weight_DC, bias_C = self.solve(x.astype(np.float64), y, ctx.num_classes, split)
        weight = torch.from_numpy(weight_DC).float().to(ctx.device)
        bias = torch.from_numpy(bias_C).float().to(ctx.device)
        return ctx.on_features(lambda x_BD: x_BD.float() @ weight + bias)

    def solve(self, x_ND: Array, y_N: Array, num_classes: int, split: int | None = None) -> tuple[Array, Array]:
        """Weight [D, C] and bias [C] for raw features; rows from ``split`` on are the validation examples."""
        strengths = np.geomspace(self.lowest, self.highest, self.strengths).tolist()
        return logistic_probe(x_ND, y_N, num_classes, strengths, folds=self.folds, split=split)
