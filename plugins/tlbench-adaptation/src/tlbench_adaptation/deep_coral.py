"""Deep CORAL: match the covariances of the features of the two domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench import TrialError
from tlbench_adaptation.two_domains import Passes, features_of_both

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def covariance(x_BD: Tensor) -> Tensor:
    """Covariance [D, D] of the columns, over B - 1: that of ``torch.cov``, to the bit on the CPU.

    On a GPU ``torch.cov`` waits for the device, to compare two numbers that it made itself.
    """
    x_DB = x_BD.T
    x_DB = x_DB - (x_DB.sum(1) / len(x_BD))[:, None]
    return x_DB @ x_DB.T / (len(x_BD) - 1)


def coral_loss(source_BD: Tensor, target_BD: Tensor) -> Tensor:
    """Squared Frobenius distance of the two covariances over 4 D^2 (Sun & Saenko 2016, eq. 1 to 3).

    Covariances divide by B - 1, so each domain needs at least two examples.
    """
    with torch.autocast(source_BD.device.type, enabled=False):  # bfloat16 loses the difference of two covariances
        gap_DD = covariance(source_BD.float()) - covariance(target_BD.float())
    return gap_DD.square().sum() / (4 * source_BD.shape[1] ** 2)


@dataclass(frozen=True)
class DeepCORAL:
    """Supervised training on the source plus the CORAL loss on the features (Sun & Saenko 2016).

    Departures: the paper applies the loss to the last fully connected layer (class scores) of AlexNet;
    here it is applied to the backbone's features. The paper sets the weight so that both losses are about
    equal at the end of training; here it is a constant.
    """

    name: ClassVar[str] = "deep-coral"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    weight: float = 1.0
    """Weight of the CORAL loss beside the source's cross-entropy."""
    passes: Passes = "separate"
    """Whether the two domains pass the backbone together or each by itself, which differs under BatchNorm."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()

        def loss(source: Batch, target: Batch, step: Step) -> Terms:
            if min(len(source), len(target)) < 2:
                raise TrialError("deep-coral needs two examples of each domain in a batch; batches here have one")
            source_BD, target_BD = features_of_both(model.backbone, source.x, target.x, self.passes)
            return {
                "task": F.cross_entropy(model.head(source_BD), source.y),
                "coral": self.weight * coral_loss(source_BD, target_BD),
            }

        ctx.train(loss, update=model, on=("source", "target_unlabelled"))
        fitted: Fitted = model
        return fitted
