"""Small shared mathematics for authors of strategies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.api.types import Batch, Step, Terms

__all__ = ["class_means", "reverse_gradient", "supervised"]


def supervised(model: nn.Module) -> Callable[[Batch, Step], Terms]:
    """The loss function of plain supervised training: mean cross-entropy of ``model`` on one labelled pool."""

    def loss(batch: Batch, step: Step) -> Terms:
        return F.cross_entropy(model(batch.x), batch.y)

    return loss


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return -ctx.strength * grads[0], None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """Identity forwards; multiplies the gradient by ``-strength`` backwards (Ganin & Lempitsky 2015, eq. 7-8)."""
    reversed_: Tensor = _Reverse.apply(x, strength)  # type: ignore[no-untyped-call]
    return reversed_


def class_means(x_BD: Tensor, y_B: Tensor, num_classes: int) -> Tensor:
    """Mean of the rows of each class, [C, D]; zeros for a class without rows."""
    one_hot_BC = F.one_hot(y_B, num_classes).to(x_BD.dtype)
    return one_hot_BC.T @ x_BD / one_hot_BC.sum(0).clamp(min=1)[:, None]
