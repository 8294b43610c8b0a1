"""BSS: the smallest singular values of a batch's features, which carry what does not transfer, are shrunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def bss_penalty(features_BD: Tensor, smallest: int = 1) -> Tensor:
    """Sum of the squares of the smallest singular values of the batch's features (Chen et al. 2019)."""
    with torch.autocast(features_BD.device.type, enabled=False):  # bfloat16 has no decomposition
        values: Tensor = torch.linalg.svdvals(features_BD.float())  # from the largest to the smallest
        return values[-smallest:].square().sum()


@dataclass(frozen=True)
class BSS:
    """Batch spectral shrinkage: fine-tuning with a penalty on the smallest singular values (Chen et al. 2019).

    CE + weight * sum of the squares of the k smallest singular values of the feature matrix of the batch. One
    decomposition a step, which costs throughput on wide features. A batch of one example has one singular value,
    its length.
    """

    name: ClassVar[str] = "bss"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    weight: float = 1e-3
    """eta, the weight of the penalty."""
    smallest: int = 1
    """k, how many singular values are shrunk."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")
        if self.smallest < 1:
            raise ValueError(f"smallest must be at least 1, got {self.smallest}")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()

        def loss(target: Batch, step: Step) -> Terms:
            features_BD = model.backbone(target.x)
            return {
                "task": F.cross_entropy(model.head(features_BD), target.y),
                "bss": self.weight * bss_penalty(features_BD, self.smallest),
            }

        ctx.train(loss, update=model)
        fitted: Fitted = model
        return fitted
