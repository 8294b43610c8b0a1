"""MCC: make the class scores of the unlabelled target confuse as few classes as possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench_adaptation.two_domains import Passes, features_of_both

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def class_confusion(scores_BC: Tensor, temperature: float = 2.5) -> Tensor:
    """Minimum class confusion (Jin et al. 2020, eq. 2 to 7): how much the classes of a batch are taken for others.

    Y = softmax(Z / T); an example of entropy H weighs w_i = B (1 + exp(-H_i)) / sum_i (1 + exp(-H_i));
    C_jk = sum_i Y_ij w_i Y_ik; each row of C is divided by its sum; the loss is the sum off the diagonal over C.
    Between 0 (every example sure of one class) and 1 - 1/C (every example undecided). The weights are constants
    for the gradient: they say how much an example counts, and are not to be lowered themselves.
    """
    with torch.autocast(scores_BC.device.type, enabled=False):
        log_BC = (scores_BC.float() / temperature).log_softmax(1)
        share_BC = log_BC.exp()
        sureness_B = 1 + torch.exp((share_BC * log_BC).sum(1).detach())  # 1 + exp(-H)
        weight_B = len(scores_BC) * sureness_B / sureness_B.sum()
        confusion_CC = (share_BC * weight_B[:, None]).T @ share_BC
        # clamped: a class that no example of the batch can be taken for confuses nobody
        confusion_CC = confusion_CC / confusion_CC.sum(1, keepdim=True).clamp(min=1e-30)
        return (confusion_CC.sum() - confusion_CC.trace()) / len(confusion_CC)


@dataclass(frozen=True)
class MCC:
    """Supervised training on the source plus the class confusion of the target's scores (Jin et al. 2020, eq. 8).

    Nothing aligns the domains; what is lowered is that one target example is given to two classes at once.
    It assumes batches in which most classes occur. Departure: none in the loss; the paper trains the head at
    ten times the backbone's rate, which here is the recipe's rate for all.
    """

    name: ClassVar[str] = "mcc"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    weight: float = 1.0
    """Weight of the class confusion beside the source's cross-entropy."""
    temperature: float = 2.5
    """Divides the scores before the softmax; above 1 it shows the confusion that overconfidence hides."""
    passes: Passes = "separate"
    """Whether the two domains pass the backbone together or each by itself, which differs under BatchNorm."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()

        def loss(source: Batch, target: Batch, step: Step) -> Terms:
            source_BD, target_BD = features_of_both(model.backbone, source.x, target.x, self.passes)
            return {
                "task": F.cross_entropy(model.head(source_BD), source.y),
                "confusion": self.weight * class_confusion(model.head(target_BD), self.temperature),
            }

        ctx.train(loss, update=model, on=("source", "target_unlabelled"))
        fitted: Fitted = model
        return fitted
