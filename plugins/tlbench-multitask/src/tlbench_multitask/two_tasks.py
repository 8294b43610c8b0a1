"""Two tasks on one trunk: a network for each task, whose trunks are one and the same but for their norms.

Every strategy of this distribution is a pair of networks and a way to combine the two losses. A step shows one
batch of each task, of the same size: tasks are sampled uniformly, and a task with fewer examples shows each of
them more often. A pool smaller than the batch is shown whole.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from tlbench import Batch, Context, Predictor

BOTH = ("target", "source")
"""The pools of a step, in the order in which losses get them."""

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

Norms = Literal["own", "shared"]
"""Whether each task has BatchNorms of its own, or both pass the same ones."""


class Losses(NamedTuple):
    """Mean cross-entropy of each task's batch."""

    target: Tensor
    source: Tensor


class TwoTasks(NamedTuple):
    """A network for each task, inputs [B, ...] -> scores [B, C_task]."""

    target: nn.Module
    source: nn.Module

    def losses(self, target: Batch, source: Batch) -> Losses:
        """The mean, not the sum, over each task's examples."""
        return Losses(
            F.cross_entropy(self.target(target.x), target.y), F.cross_entropy(self.source(source.x), source.y)
        )

    @property
    def predictors(self) -> Mapping[str, Predictor]:
        """What ``fit`` returns: both tasks are scored."""
        return {"target": self.target, "source": self.source}


def twin(trunk: nn.Module) -> nn.Module:
    """A second trunk with the very same parameters, except that its BatchNorms are copies of their own.

    Batch statistics of two domains differ, and one set of running statistics fits neither: a domain has its own
    (after Chang et al. 2019, domain-specific batch normalisation). Without BatchNorm there is nothing to part:
    the twin is the trunk itself.
    """
    norms = [m for m in trunk.modules() if isinstance(m, BATCH_NORMS)]
    if not norms:
        return trunk
    own = {id(p) for m in norms for p in m.parameters()}
    memo: dict[int, Any] = {id(p): p for p in trunk.parameters() if id(p) not in own}
    return copy.deepcopy(trunk, memo)


def trunk_and_heads(ctx: Context, norms: Norms) -> TwoTasks:
    """The trial's backbone as the trunk of two classifiers, each with a head for its own classes."""
    target = ctx.classifier(num_classes=ctx.classes("target"))
    source = ctx.classifier(num_classes=ctx.classes("source"))
    source.backbone = target.backbone if norms == "shared" else twin(target.backbone)
    return TwoTasks(target, source)
