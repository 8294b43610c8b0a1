"""A move: one step of one turn, written plainly. What makes steps faster is held against this."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tlbench.api.types import Step, Turn


@dataclass(frozen=True)
class Move:
    """Loss, gradient and step of one turn over the parameters ``trained``; nothing here waits for the device.

    ``alone``  there are no other turns, whose weights must not collect gradient
    """

    turn: Turn
    optimizers: Sequence[torch.optim.Optimizer]
    trained: Sequence[Tensor]
    alone: bool
    cast: Callable[[], Any]
    clip_norm: float | None
    clip: Callable[[Any, float], object] = nn.utils.clip_grad_norm_

    def __call__(self, given: Sequence[Any], step: Step) -> Mapping[str, Tensor]:
        """Take the step; the terms of its loss, detached and still on the device."""
        with self.cast():
            terms = self.turn.loss(*given, step)
        named = {"loss": terms} if isinstance(terms, Tensor) else terms
        total = add_up(named)
        for parameter in self.trained:  # what zero_grad() does, without its bookkeeping
            parameter.grad = None
        if self.alone:
            total.backward()  # type: ignore[no-untyped-call]
        else:
            torch.autograd.backward(total, inputs=self.trained)
        if self.clip_norm is not None:
            self.clip(self.trained, self.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        return {name: term.detach() for name, term in named.items()}


def add_up(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of the terms. Raises ``ValueError`` where there are none."""
    total: Tensor | None = None
    for term in terms.values():
        total = term if total is None else total + term
    if total is None:
        raise ValueError("the loss function returned no terms")
    return total


def autocast(device: torch.device, precision: str) -> Callable[[], Any]:
    """What the loss is computed in: nothing special, or bfloat16 where torch holds it to be safe."""
    if precision == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)
