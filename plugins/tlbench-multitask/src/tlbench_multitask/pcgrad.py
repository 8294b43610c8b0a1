"""PCGrad: where two tasks pull the trunk against each other, each gives up what is against the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from tlbench_multitask.two_tasks import BOTH, Norms, trunk_and_heads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench import Batch, Context, Fitted, Step, Terms


def without_conflict(gradient_P: Tensor, other_P: Tensor) -> Tensor:
    """g_i - (g_i . g_j / |g_j|^2) g_j where g_i . g_j < 0, else g_i (Yu et al. 2020, algorithm 1)."""
    agreement = gradient_P @ other_P
    share = torch.where(agreement < 0, agreement / other_P.square().sum().clamp(min=1e-30), 0.0)
    return gradient_P - share * other_P


def with_gradient(loss: Tensor, parameters: Sequence[Tensor], gradient_P: Tensor) -> Tensor:
    """A scalar of the value of ``loss`` whose gradient in the parameters, laid end to end, is ``gradient_P``."""
    parts = torch.split(gradient_P.detach(), [p.numel() for p in parameters])
    linear = torch.stack([(p.flatten() * g).sum() for p, g in zip(parameters, parts, strict=True)]).sum()
    return loss.detach() + (linear - linear.detach())


@dataclass(frozen=True)
class PCGrad:
    """Gradient surgery on a shared trunk (Yu et al. 2020, algorithm 1): conflicting gradients are projected.

    Each task's gradient of the shared weights loses its part along the other's where the two point apart, the
    other's being the unprojected one; the sum of both is the step's gradient. Heads, and norms of a task's own,
    have one task and keep their gradient. With two tasks the random order of the paper changes nothing. A step costs
    one backward pass more than ``shared-trunk``, from which the rest is taken. The optimiser works on what is left:
    under an adaptive one the direction of the step is not the projected gradient's own, as in the paper.
    """

    name: ClassVar[str] = "pcgrad"
    needs: ClassVar[frozenset[str]] = frozenset({"target", "source"})
    start: ClassVar[str] = "weights"

    norms: Norms = "own"
    """BatchNorms: each task's own, or the same for both."""

    def fit(self, ctx: Context) -> Fitted:
        tasks = trunk_and_heads(ctx, self.norms)
        of_source = {id(p) for p in tasks.source.parameters()}
        shared = [p for p in tasks.target.parameters() if id(p) in of_source]
        own = [[p for p in m.parameters() if all(p is not s for s in shared)] for m in (tasks.target, tasks.source)]

        def loss(target: Batch, source: Batch, step: Step) -> Terms:
            losses = tasks.losses(target, source)
            parts = [
                torch.autograd.grad(one, shared + mine, allow_unused=True, materialize_grads=True)
                for one, mine in zip(losses, own, strict=True)
            ]
            g_target, g_source = (torch.cat([g.flatten() for g in part[: len(shared)]]) for part in parts)
            kept = (without_conflict(g_target, g_source), without_conflict(g_source, g_target))
            return {
                pool: with_gradient(one, shared + mine, torch.cat([g, *(h.flatten() for h in part[len(shared) :])]))
                for pool, one, mine, g, part in zip(BOTH, losses, own, kept, parts, strict=True)
            }

        ctx.train(loss, update=[tasks.target, tasks.source], on=BOTH)
        return tasks.predictors
