"""The image's side of a trained model: backbone, features on one scale, and a layer into the descriptions' space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from tlbench_zero_shot.spectrum import standardisation

if TYPE_CHECKING:
    from tlbench import Context

Train = Literal["head", "all"]
"""What learns: the layers behind the frozen backbone, or the backbone with them."""


class Tower(nn.Module):
    """x [B, ...] -> head((backbone(x) - mean) / scale); mean and scale are those of the source before training."""

    def __init__(self, backbone: nn.Module, mean_D: Tensor, scale_D: Tensor, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.mean_D: Tensor
        self.scale_D: Tensor
        self.register_buffer("mean_D", mean_D)
        self.register_buffer("scale_D", scale_D)

    def forward(self, x: Any) -> Tensor:
        out: Tensor = self.head((self.backbone(x) - self.mean_D) / self.scale_D)
        return out


def tower(ctx: Context, width: int, train: Train, *, bias: bool) -> Tower:
    """The trial's backbone with a linear layer to ``width`` behind it.

    Features that come in small numbers, such as histograms that sum to 1, would hardly learn at the rates that suit
    networks; hence the scale.
    """
    backbone = ctx.backbone().requires_grad_(train == "all")
    mean_D, scale_D = standardisation(ctx.features("source").x)
    return Tower(backbone, mean_D, scale_D, nn.Linear(len(mean_D), width, bias=bias)).to(ctx.device)


def candidates_of(y_B: Tensor, ways: int, order_BS: Tensor) -> Tensor:
    """For each example a task of its own: bool [B, S], true for its class and ``ways`` - 1 others.

    ``order`` are random numbers; the others are those with the largest.
    """
    rank_BS = order_BS.scatter(1, y_B[:, None], torch.inf)
    kept = torch.zeros_like(order_BS, dtype=torch.bool)
    return kept.scatter(1, rank_BS.topk(min(ways, order_BS.shape[1]), dim=1).indices, True)
