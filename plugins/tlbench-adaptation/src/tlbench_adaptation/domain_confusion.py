"""Domain confusion: features for which a domain classifier's best answer is "either"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench import Turn
from tlbench_adaptation.critics import domain_critic
from tlbench_adaptation.dann import domain_loss
from tlbench_adaptation.kept import Kept
from tlbench_adaptation.two_domains import Passes, features_of_both

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def confusion_loss(verdict_B: Tensor) -> Tensor:
    """Cross-entropy of the domain classifier against the uniform target (Tzeng et al. 2015, eq. 4): -sum_d 1/2 log q_d.

    ``verdict_B`` are logits of one domain against the other; the mean over the examples is at least log 2.
    """
    return (F.softplus(verdict_B) + F.softplus(-verdict_B)).mean() / 2


@dataclass(frozen=True)
class DomainConfusion:
    """Adversarial training against the uniform target (Tzeng et al. 2015, eq. 3 to 6).

    Two players move in each round, both from where the round began, as the paper's updates do "given the other
    from the previous iteration": the network lowers the source's cross-entropy plus the confusion loss, and the
    domain classifier lowers its own cross-entropy on the features of that round. Unlike DANN's reversed gradient,
    the network is never paid for making the domain classifier wrong, only for making it undecided.
    Departures: the paper's soft-label loss (eq. 7) needs labels of the target and is left out; its domain
    classifier is one linear layer.
    """

    name: ClassVar[str] = "domain-confusion"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    weight: float = 1.0
    """Weight of the confusion loss beside the source's cross-entropy."""
    hidden: int = 64
    """Width of the domain classifier's two hidden layers."""
    critic_steps: int = 1
    """Updates of the domain classifier in each round."""
    passes: Passes = "separate"
    """Whether the two domains pass the backbone together or each by itself, which differs under BatchNorm."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")
        for name in ("hidden", "critic_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()
        critic = domain_critic(model.backbone.num_features, self.hidden)
        seen = Kept()  # this round's features: no second pass, no second update of BatchNorm's statistics

        def confuse(source: Batch, target: Batch, step: Step) -> Terms:
            source_BD, target_BD = features_of_both(model.backbone, source.x, target.x, self.passes)
            seen.keep(source_BD, target_BD)
            return {
                "task": F.cross_entropy(model.head(source_BD), source.y),
                "confusion": self.weight * confusion_loss(critic(torch.cat([source_BD, target_BD])).squeeze(1)),
            }

        def tell_apart(source: Batch, target: Batch, step: Step) -> Terms:
            source_BD, target_BD = seen.kept
            return {"domain": domain_loss(critic(source_BD).squeeze(1), critic(target_BD).squeeze(1))}

        pools = ("source", "target_unlabelled")
        ctx.take_turns(Turn(confuse, model, pools), Turn(tell_apart, critic, pools, times=self.critic_steps))
        fitted: Fitted = model
        return fitted
