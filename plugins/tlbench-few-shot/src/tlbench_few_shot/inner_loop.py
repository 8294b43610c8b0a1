"""The inner loop: a few plain gradient steps on a support set, through which an outer loss may differentiate."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Parameters: TypeAlias = dict[str, Tensor]
"""Parameters by name, as ``torch.func.functional_call`` takes them."""


def descend(
    loss: Callable[[Parameters], Tensor],
    parameters: Mapping[str, Tensor],
    lr: float,
    steps: int,
    *,
    first_order: bool = False,
) -> Parameters:
    """theta' = theta - lr * grad loss(theta), ``steps`` times (Finn, Abbeel & Levine 2017, sec. 2.2).

    What it returns depends on ``parameters`` through the gradients too, so that an outer derivative has the terms
    with the Hessian, (I - lr * H) for each step; ``first_order`` takes the gradients for constants (sec. 5.2).
    Composes with ``torch.func.vmap``. Works under ``torch.no_grad``.
    """
    now = dict(parameters)
    for _ in range(steps):
        slope = torch.func.grad(loss)(now)
        now = {name: w - lr * (slope[name].detach() if first_order else slope[name]) for name, w in now.items()}
    return now
