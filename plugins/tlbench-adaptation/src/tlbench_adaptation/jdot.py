"""DeepJDOT: carry the source's features and labels to the target by optimal transport within each batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench_adaptation.two_domains import Passes, features_of_both

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def joint_cost(
    source_ND: Tensor, y_N: Tensor, target_MD: Tensor, scores_MC: Tensor, features: float, labels: float
) -> Tensor:
    """c_ij = features ||s_i - t_j||^2 + labels CE(y_i, f(t_j)), [N, M] (Damodaran et al. 2018, eq. 6).

    The squared distance is the sum over the features, as in the paper.
    """
    with torch.autocast(source_ND.device.type, enabled=False):  # the exact transport wants exact costs
        source_ND, target_MD = source_ND.float(), target_MD.float()
        distance = source_ND.square().sum(1)[:, None] + target_MD.square().sum(1)[None, :] - 2 * source_ND @ target_MD.T
        surprise = -scores_MC.float().log_softmax(1).T[y_N]
        return features * distance.clamp(min=0) + labels * surprise


def transport_plan(cost_NM: Tensor) -> Tensor:
    """The plan [N, M] of least cost between uniform weights: rows sum to 1 / N, columns to 1 / M."""
    import numpy as np
    import ot  # type: ignore[import-untyped]

    cost = cost_NM.detach().cpu().numpy().astype(np.float64)
    plan = ot.emd(np.full(len(cost), 1 / len(cost)), np.full(cost.shape[1], 1 / cost.shape[1]), cost)
    return torch.from_numpy(plan).to(cost_NM)


@dataclass(frozen=True)
class JDOT:
    """Joint distribution optimal transport (Courty et al. 2017) on deep features (DeepJDOT, Damodaran et al. 2018).

    Each step solves the exact transport between the source and the target batch for the cost that the network
    gives now, and then lowers that cost along the plan, which is a constant for the gradient (sec. 3.3: the two
    are updated in turn). So target examples get the labels of the source examples that they are near to.
    Departures: the network starts where every other strategy's does, not from a training on the source; batches
    are of the recipe's size, and the smaller they are, the worse a batch's plan stands for that of the domains.
    """

    name: ClassVar[str] = "jdot"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    features: float = 0.001
    """Weight of the squared distance of the features (the paper's alpha)."""
    labels: float = 0.0001
    """Weight of the target's cross-entropy against the labels carried over (the paper's lambda)."""
    passes: Passes = "separate"
    """Whether the two domains pass the backbone together or each by itself, which differs under BatchNorm."""

    def __post_init__(self) -> None:
        for name in ("features", "labels"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()

        def loss(source: Batch, target: Batch, step: Step) -> Terms:
            source_BD, target_BD = features_of_both(model.backbone, source.x, target.x, self.passes)
            cost = joint_cost(source_BD, source.y, target_BD, model.head(target_BD), self.features, self.labels)
            return {
                "task": F.cross_entropy(model.head(source_BD), source.y),
                "transport": (transport_plan(cost) * cost).sum(),
            }

        ctx.train(loss, update=model, on=("source", "target_unlabelled"))
        fitted: Fitted = model
        return fitted
