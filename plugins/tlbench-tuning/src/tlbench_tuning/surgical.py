"""Surgical fine-tuning: one block, or all of them at rates that follow their relative gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench import Group, TrialError
from tlbench.functional import rows_of, supervised
from tlbench_tuning.probe import probe, set_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from tlbench import Batch, Context, Fitted

CHUNK = 256
"""Examples whose gradient is taken at once."""


def relative_gradient_norms(loss: Tensor, blocks: Sequence[Sequence[Tensor]]) -> Tensor:
    """||g|| / ||theta|| of each block's parameters (Lee et al. 2023, Auto-RGN), [blocks]."""
    grads = iter(torch.autograd.grad(loss, [w for block in blocks for w in block], materialize_grads=True))
    norms = [(_norm([next(grads) for _ in block]), _norm(block)) for block in blocks]
    return torch.stack([g / w.clamp(min=1e-12) for g, w in norms])


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([t.detach().square().sum() for t in tensors]).sum().sqrt()


@dataclass(frozen=True)
class Surgical:
    """Tunes one chosen block, or every block at a rate in proportion to ||g|| / ||theta|| (Lee et al. 2023).

    A shift of the inputs asks for the first block, a shift of the labels for the last. Without ``block`` the rates
    are set by Auto-RGN: relative gradient norms of the target's loss, divided by the largest, multiply the recipe's
    rate; they are measured anew ``rounds`` times, and each round is a training of its own (schedule and optimiser
    start anew). The head is trained too. Departures: the paper keeps the source's classes and head; a new head is
    first put at the optimum of the linear probe, for at a random head the gradients say nothing of the blocks.
    Norms are of a whole block, the paper's of each tensor apart from BatchNorm's.
    """

    name: ClassVar[str] = "surgical"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    uses: ClassVar[frozenset[str]] = frozenset({"target_val"})

    block: int | None = None
    """The block that is tuned, from the input (0) or from the end (-1); if left out, all at Auto-RGN's rates."""
    rounds: int = 5
    """How often Auto-RGN measures, at equal distances."""
    lr: float = 1.0
    """Multiplies the recipe's learning rate."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()
        set_head(model.head, *probe(ctx))
        head, blocks = Group(model.head, lr=self.lr), list(model.backbone.blocks)
        if self.block is not None:
            if not -len(blocks) <= self.block < len(blocks):
                raise TrialError(f"there is no block {self.block}: the backbone has blocks 0 to {len(blocks) - 1}")
            model.backbone.requires_grad_(False)
            blocks[self.block].requires_grad_(True)
            ctx.train(supervised(model), update=[head, Group(model, lr=self.lr)])
        else:
            rounds = min(self.rounds, ctx.steps_left)
            for left in range(rounds, 0, -1):
                rates = _rates(model, blocks, ctx.inputs("target"))
                groups = [Group(b, lr=self.lr * rate) for b, rate in zip(blocks, rates, strict=True)]
                ctx.train(supervised(model), update=[head, *groups, model], steps=ctx.steps_left // left)
        fitted: Fitted = model
        return fitted


def _rates(model: Any, blocks: Sequence[nn.Module], target: Batch) -> list[float]:
    """Auto-RGN's factor of each block: mean relative gradient norm over the target, divided by the largest."""
    model.eval()
    weights = [list(block.parameters()) for block in blocks]
    total = torch.zeros(len(blocks))
    for rows in torch.split(torch.arange(len(target)), CHUNK):
        loss = F.cross_entropy(model(rows_of(target.x, rows)), target.y[rows])
        total += relative_gradient_norms(loss, weights).cpu() * len(rows)
    return [float(rate) for rate in total / total.max().clamp(min=1e-12)]
