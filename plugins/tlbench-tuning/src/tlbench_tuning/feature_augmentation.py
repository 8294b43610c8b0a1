"""Feature augmentation: every feature three times, for what is common, the source's and the target's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tlbench_tuning.linear import logistic_towards, with_bias
from tlbench_tuning.shared_classes import standardised_features, to_predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlbench import Context, Fitted

    Array = NDArray[Any]


def augmented(x_ND: Array, domain: Literal["source", "target"]) -> Array:
    """(x, x, 0) for the source and (x, 0, x) for the target (Daume 2007, sec. 3), [N, 3 D]."""
    zero_ND = np.zeros_like(x_ND)
    return np.concatenate([x_ND, x_ND, zero_ND] if domain == "source" else [x_ND, zero_ND, x_ND], axis=1)


@dataclass(frozen=True)
class FeatureAugmentation:
    """One linear model on features in three copies: common, the source's, the target's (Daume 2007).

    The target is scored by the sum of the common and its own weights. On frozen, standardised features; logistic
    regression on both domains together, each copy with a bias of its own. Needs the same classes in both domains, in
    one order. Takes no gradient step. Departure: the paper leaves the learner open and reports structured ones.
    """

    name: ClassVar[str] = "feature-augmentation"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target", "same_classes"})

    strength: float = 1.0
    """Pull of all weights to zero, against the sum of the losses over both domains."""

    def __post_init__(self) -> None:
        if self.strength <= 0:
            raise ValueError(f"strength must be positive, got {self.strength}")

    def fit(self, ctx: Context) -> Fitted:
        (xs_ND, ys_N), (xt_ND, yt_N), scale = standardised_features(ctx)
        x_ND = np.concatenate([augmented(with_bias(xs_ND), "source"), augmented(with_bias(xt_ND), "target")])
        zero_DC = np.zeros((x_ND.shape[1], ctx.num_classes))
        common_DC, _, own_DC = np.split(logistic_towards(x_ND, np.concatenate([ys_N, yt_N]), zero_DC, self.strength), 3)
        return to_predictor(ctx, common_DC + own_DC, scale)
