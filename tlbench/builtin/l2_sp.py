"""L2-SP: weight decay towards the transferred start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.api.types import Batch, Fitted, Group, Step, Terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.api.types import Context


def l2_sp_penalty(
    weights: Sequence[Tensor], start: Sequence[Tensor], head: Sequence[Tensor], alpha: float, beta: float
) -> Tensor:
    """alpha / 2 * ||w_shared - w_start||^2 + beta / 2 * ||w_head||^2 (Li, Grandvalet & Davoine 2018, eq. 4)."""
    drift = sum(((w - s).square().sum() for w, s in zip(weights, start, strict=True)), torch.zeros(()))
    size = sum((w.square().sum() for w in head), torch.zeros(()))
    return alpha / 2 * drift + beta / 2 * size


@dataclass(frozen=True)
class L2SP:
    """Fine-tuning that is pulled back to where the transferred weights started (Li, Grandvalet & Davoine 2018).

    The optimiser's own weight decay is off: it would pull to zero what the penalty pulls to the start.
    Departure: the paper uses SGD; under an adaptive optimiser the penalty's gradient is rescaled with the
    rest, so ``alpha`` means less there. BatchNorm's affine parameters are penalised like other weights.
    """

    name: ClassVar[str] = "l2-sp"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    alpha: float = 0.1
    """Strength of the pull of the backbone to its start."""
    beta: float = 0.01
    """Strength of the pull of the head, which has no start, to zero."""

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()
        weights, head = list(model.backbone.parameters()), list(model.head.parameters())
        start = [w.detach().clone() for w in weights]

        def loss(target: Batch, step: Step) -> Terms:
            return {
                "task": F.cross_entropy(model(target.x), target.y),
                "l2-sp": l2_sp_penalty(weights, start, head, self.alpha, self.beta),
            }

        ctx.train(loss, update=Group(model, weight_decay=0.0))
        fitted: Fitted = model
        return fitted
