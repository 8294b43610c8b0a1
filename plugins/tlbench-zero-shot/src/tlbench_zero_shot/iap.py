"""IAP: a classifier of the seen classes, the attributes that its answers imply, and the class that has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from tlbench_zero_shot.logistic import class_probabilities, require_strength
from tlbench_zero_shot.probabilities import attribute_prior, class_scores
from tlbench_zero_shot.unseen import NEEDS, OnFeatures, classes_of, require_calibration

if TYPE_CHECKING:
    from tlbench import Context, Fitted


def implied_attributes(p_BS: Tensor, seen_SA: Tensor) -> tuple[Tensor, Tensor]:
    """log p(a_m = 1 | x) and log p(a_m = 0 | x), [B, A]: p(a_m | x) = sum_k p(a_m | y_k) p(y_k | x).

    (Lampert et al. 2009, eq. 3; p(a_m | y_k) is 1 for the value that class k has.) Both sums are taken, so that
    neither loses its digits where the other is nearly 1; attributes of all seen classes, or none, are 1/2.
    """
    p, has_SA = p_BS.double(), seen_SA.double()
    yes, no = ((p @ has).clamp(min=1e-300).log() for has in (has_SA, 1 - has_SA))
    constant_A = has_SA.amax(0) == has_SA.amin(0)
    half = torch.full((), 0.5, dtype=p.dtype, device=p.device).log()
    return torch.where(constant_A, half, yes), torch.where(constant_A, half, no)


@dataclass(frozen=True)
class IAP:
    """Indirect attribute prediction (Lampert, Nickisch & Harmeling 2009, eq. 3, then eq. 2 as in DAP).

    The attributes follow from the probabilities of the seen classes, not from the likeliest one. Attributes are had
    or not (others are cut at their mean); one that all seen classes have, or none, says nothing.
    Departure: the paper's classifier is a multi-class logistic regression on raw features or kernel maps of them;
    here on standardised frozen features.
    """

    name: ClassVar[str] = "iap"
    needs: ClassVar[frozenset[str]] = NEEDS

    strength: float = 1.0
    """Inverse penalty of the logistic regression of the seen classes, on features of length 1."""
    calibration: float = 0.0
    """Generalised zero-shot: taken off the scores of seen classes, here log-probabilities."""

    def __post_init__(self) -> None:
        require_strength(self.strength)
        require_calibration(self.calibration)

    def fit(self, ctx: Context) -> Fitted:
        classes = classes_of(ctx).binary()
        probabilities, prior_A = class_probabilities(ctx, self.strength), attribute_prior(classes.seen)

        def score(x_BD: Tensor) -> Tensor:
            return class_scores(*implied_attributes(probabilities(x_BD), classes.seen), classes.candidates, prior_A)

        return OnFeatures(score, classes, self.calibration).over(ctx)
