"""LwF: on the target's images the source's head keeps saying what it said before."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench import Group, SkipTrial, TrialError
from tlbench.functional import supervised

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def old_output_loss(scores_BC: Tensor, recorded_BC: Tensor, temperature: float) -> Tensor:
    """-sum_i y'_i log yhat'_i, mean over the batch, with y'_i = y_i^(1/T) / sum_j y_j^(1/T) (Li & Hoiem 2016, eq. 2-4).

    For y = softmax(z), y^(1/T) renormalised is softmax(z / T). Both arguments are scores, before the softmax.
    """
    return F.cross_entropy(scores_BC / temperature, (recorded_BC / temperature).softmax(1))


@dataclass(frozen=True)
class LwF:
    """Fine-tuning that holds the old head's outputs on the target (Li & Hoiem 2016, Learning without Forgetting).

    L_new + weight * L_old, the old outputs of temperature T on both sides (eq. 1-4; no factor T^2 in this paper). The
    new head warms up alone first, as in the paper's figure 2; then everything trains. The outputs that are
    held are those of the unchanged source model on the very batch, in evaluation mode: the recorded ones, and right
    under augmentation too. Returns a predictor of the source beside that of the target, for tasks that score both.
    Departures: the warm-up has a share of the steps and does not run to convergence; weight decay is the recipe's.
    """

    name: ClassVar[str] = "lwf"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[str] = "source"

    weight: float = 1.0
    """Weight of the old outputs' loss beside the target's cross-entropy."""
    temperature: float = 2.0
    """T; larger looks more at the small probabilities."""
    warmup: float = 0.1
    """Share of the steps in which only the new head is trained."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), got {self.warmup}")

    def fit(self, ctx: Context) -> Fitted:
        try:
            before = ctx.source_classifier().eval().requires_grad_(False)
        except TrialError as error:
            raise SkipTrial(f"lwf holds the outputs of the source's classifier: {error}") from error
        model, old_head = ctx.classifier(), copy.deepcopy(before.head).requires_grad_(True)

        def loss(target: Batch, step: Step) -> Terms:
            features_BD = model.backbone(target.x)
            with torch.no_grad():
                recorded_BC = before(target.x)
            old = old_output_loss(old_head(features_BD), recorded_BC, self.temperature)
            return {"task": F.cross_entropy(model.head(features_BD), target.y), "lwf": self.weight * old}

        if first := min(round(self.warmup * ctx.steps_left), ctx.steps_left - 1):
            model.backbone.requires_grad_(False)
            ctx.train(supervised(model), update=[Group(model.head), model], steps=first)
            model.backbone.requires_grad_(True)
        ctx.train(loss, update=[model, old_head])
        return {"target": model, "source": nn.Sequential(model.backbone, old_head)}
