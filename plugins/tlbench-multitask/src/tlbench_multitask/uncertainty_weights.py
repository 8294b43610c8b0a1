"""Uncertainty weights: each task's loss divided by a variance that is learned with the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from tlbench import Group
from tlbench_multitask.two_tasks import BOTH, Norms, trunk_and_heads

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def uncertainty_weighted(loss: Tensor, log_variance: Tensor) -> Tensor:
    """L / sigma^2 + log sigma for a cross-entropy L, with log_variance = log sigma^2 (Kendall et al. 2018, eq. 10).

    The Gaussian likelihood of a regression has L / (2 sigma^2) instead (eq. 5, 7). For a fixed L both are least at a
    variance in proportion to L: here at sigma^2 = 2 L.
    """
    return torch.exp(-log_variance) * loss + log_variance / 2


class LogVariances(nn.Module):
    """log sigma^2 of the two tasks, 0 at the start: both weights begin at 1."""

    def __init__(self) -> None:
        super().__init__()
        self.target = nn.Parameter(torch.zeros(()))
        self.source = nn.Parameter(torch.zeros(()))


@dataclass(frozen=True)
class UncertaintyWeights:
    """A shared trunk whose task weights 1 / sigma_t^2 are learned (Kendall, Gal & Cipolla 2018, eq. 10).

    The sum over tasks of L_t / sigma_t^2 + log sigma_t is minimised over the network and over log sigma_t^2, which
    keeps the variance positive and never divides by nothing. Both tasks are classifications, so the form for
    classification is used: no 1/2 before the loss. The variances have no weight decay, which would pull both
    weights to 1. The final weights go into the record. The step, the sampling of the tasks and the BatchNorms are
    those of ``shared-trunk``.
    """

    name: ClassVar[str] = "uncertainty-weights"
    needs: ClassVar[frozenset[str]] = frozenset({"target", "source"})
    start: ClassVar[str] = "weights"

    lr: float = 1.0
    """Multiplies the recipe's learning rate for the two log variances."""
    norms: Norms = "own"
    """BatchNorms: each task's own, or the same for both."""

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")

    def fit(self, ctx: Context) -> Fitted:
        tasks = trunk_and_heads(ctx, self.norms)
        log_variances = LogVariances()

        def loss(target: Batch, source: Batch, step: Step) -> Terms:
            losses = tasks.losses(target, source)
            return {
                "target": uncertainty_weighted(losses.target, log_variances.target),
                "source": uncertainty_weighted(losses.source, log_variances.source),
            }

        learned = Group(log_variances, lr=self.lr, weight_decay=0.0)
        ctx.train(loss, update=[tasks.target, tasks.source, learned], on=BOTH)
        ctx.report("weight of target", float(torch.exp(-log_variances.target.detach())))
        ctx.report("weight of source", float(torch.exp(-log_variances.source.detach())))
        return tasks.predictors
