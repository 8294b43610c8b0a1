"""What one turn of a round leaves for the next, in memory that stays where it is, as a replayed step needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Kept:
    """``kept`` are the tensors of this round, without their gradients."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []

    def keep(self, *tensors: Tensor) -> None:
        """Keep these in the place of the last round's."""
        if [(t.shape, t.dtype) for t in tensors] != [(t.shape, t.dtype) for t in self.kept]:
            self.kept = [tensor.detach().clone() for tensor in tensors]
        else:
            for kept, tensor in zip(self.kept, tensors, strict=True):
                kept.copy_(tensor.detach())
