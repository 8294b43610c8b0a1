"""DANN: features in which a domain classifier cannot tell the two domains apart."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench.functional import reverse_gradient
from tlbench_adaptation.two_domains import Passes, features_of_both

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def adaptation_factor(progress: float, gamma: float = 10.0) -> float:
    """2 / (1 + exp(-gamma * progress)) - 1: from 0 at the start to nearly 1 (Ganin et al. 2016, sec. 5.2.2)."""
    return 2 / (1 + exp(-gamma * progress)) - 1


def domain_loss(verdict_source_B: Tensor, verdict_target_B: Tensor) -> Tensor:
    """Mean binary cross-entropy of the domain classifier's logits, source as 1 and target as 0, over all examples."""
    verdict = torch.cat([verdict_source_B, verdict_target_B])
    truth = torch.cat([torch.ones_like(verdict_source_B), torch.zeros_like(verdict_target_B)])
    return F.binary_cross_entropy_with_logits(verdict, truth)


@dataclass(frozen=True)
class DANN:
    """Domain-adversarial training by gradient reversal (Ganin et al. 2016, eq. 9 and sec. 5.2.2).

    The reversal's factor follows the progress of the training and scales only what reaches the backbone, not
    the domain classifier's own gradient. Departure: the paper anneals its learning rate as
    0.01 / (1 + 10 p)^0.75 with momentum; here the suite's recipe rules, for all strategies alike.
    """

    name: ClassVar[str] = "dann"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    weight: float = 1.0
    """Weight of the domain loss beside the source's cross-entropy."""
    hidden: int = 64
    """Width of the domain classifier's two hidden layers."""
    gamma: float = 10.0
    """How fast the reversal's factor rises."""
    passes: Passes = "separate"
    """Whether the two domains pass the backbone together or each by itself, which differs under BatchNorm."""

    def __post_init__(self) -> None:
        if self.weight < 0 or self.gamma <= 0 or self.hidden < 1:
            raise ValueError("need weight >= 0, gamma > 0 and hidden >= 1")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()
        critic = nn.Sequential(
            nn.Linear(model.backbone.num_features, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, 1),
        )

        def loss(source: Batch, target: Batch, step: Step) -> Terms:
            source_BD, target_BD = features_of_both(model.backbone, source.x, target.x, self.passes)
            factor = step.host(lambda now: adaptation_factor(now.progress, self.gamma))
            verdict = critic(reverse_gradient(torch.cat([source_BD, target_BD]), factor)).squeeze(1)
            return {
                "task": F.cross_entropy(model.head(source_BD), source.y),
                "domain": self.weight * domain_loss(verdict[: len(source_BD)], verdict[len(source_BD) :]),
            }

        ctx.train(loss, update=[model, critic], on=("source", "target_unlabelled"))
        fitted: Fitted = model
        return fitted
