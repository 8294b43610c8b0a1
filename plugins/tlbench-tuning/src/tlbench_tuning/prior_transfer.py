"""Prior transfer: a linear model of the target that is pulled to the linear model of the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tlbench_tuning.linear import logistic_towards, ridge_towards, with_bias
from tlbench_tuning.shared_classes import standardised_features, to_predictor

if TYPE_CHECKING:
    from tlbench import Context, Fitted


@dataclass(frozen=True)
class PriorTransfer:
    """The source's linear weights as the mean of the prior of the target's (Chelba & Acero 2004; Raina et al. 2006).

    On frozen features (the backbone ``identity`` gives the inputs themselves): W0 is fitted to the source around
    zero, then W to the target around W0. ``ridge`` is the closed form W = (X'X + strength I)^-1 (X'Y + strength W0)
    with Y of +1 for the class and -1 for others; ``logistic`` is Chelba & Acero's maximum-entropy model. For linear
    models this is exactly L2-SP. Features are standardised by the source, and the bias is a weight like the others.
    Needs the same classes in source and target, in one order. Takes no gradient step. Departure: Raina et al. learn
    a covariance too; here the prior is isotropic.
    """

    name: ClassVar[str] = "prior-transfer"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target", "same_classes"})

    model: Literal["logistic", "ridge"] = "logistic"
    """The loss: cross-entropy, or squares."""
    strength: float = 1.0
    """Pull to the source's weights, against the sum of the target's losses; so it counts like an example."""
    source_strength: float = 1.0
    """Pull of the source's weights to zero."""

    def __post_init__(self) -> None:
        for name in ("strength", "source_strength"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def fit(self, ctx: Context) -> Fitted:
        (xs_ND, ys_N), (xt_ND, yt_N), scale = standardised_features(ctx)
        zero_DC = np.zeros((xs_ND.shape[1] + 1, ctx.num_classes))
        prior_DC = self._solve(with_bias(xs_ND), ys_N, zero_DC, self.source_strength)
        weight_DC = self._solve(with_bias(xt_ND), yt_N, prior_DC, self.strength)
        return to_predictor(ctx, weight_DC, scale)

    def _solve(self, x_ND: Any, y_N: Any, prior_DC: Any, strength: float) -> Any:
        if self.model == "logistic":
            return logistic_towards(x_ND, y_N, prior_DC, strength)
        return ridge_towards(x_ND, 2.0 * np.eye(prior_DC.shape[1])[y_N] - 1, prior_DC, strength)
