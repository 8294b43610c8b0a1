"""Gradual unfreezing: from the head downwards, one block after the other, lower blocks at lower rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tlbench import Group
from tlbench.functional import supervised

if TYPE_CHECKING:
    from tlbench import Context, Fitted


def stages(blocks: int, steps: int, share: float) -> list[tuple[int, int]]:
    """(blocks trained, for how many steps): none, then one more from the top at a time, all of them at the end.

    The stages before the last divide ``share`` of the steps evenly; stages without a step are left out.
    """
    ends = [min(round(share * steps * (i + 1) / blocks), steps - 1) for i in range(blocks)] + [steps]
    begins = [0, *ends[:-1]]
    return [(i, end - begin) for i, (begin, end) in enumerate(zip(begins, ends, strict=True)) if end > begin]


@dataclass(frozen=True)
class GradualUnfreezing:
    """The head first, then one more block from the top at a time, with discriminative rates (Howard & Ruder 2018).

    Section 3.3 unfreezes one group of layers an epoch; here ``share`` of the budget is divided among the stages and
    the rest trains everything. Section 3.2: the rate of each block is that of the part above it divided by
    ``decay``; the head has the recipe's. The slanted triangular rates of section 3.2 are the recipe's ``schedule:
    linear`` with ``warmup: 0.1`` (they end at 0, not at 1/32 of the peak). Each stage is a training of its own:
    schedule and optimiser start anew, as they do in the authors' library. A frozen block is frozen whole, its
    BatchNorm's statistics with it. With ten blocks a decay of 2.6 leaves the lowest almost no rate; the paper has
    four groups.
    """

    name: ClassVar[str] = "gradual-unfreezing"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    share: float = 0.5
    """Share of the steps over which the blocks are unfrozen; the rest trains all of them."""
    decay: float = 2.6
    """What each block's rate is divided by on the way down; 1 for equal rates."""
    lr: float = 1.0
    """Multiplies the recipe's learning rate."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share must be in (0, 1), got {self.share}")
        if self.decay < 1:
            raise ValueError(f"decay must be at least 1, got {self.decay}")
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()
        from_top = list(model.backbone.blocks)[::-1]
        model.backbone.requires_grad_(False)
        for trained, steps in stages(len(from_top), ctx.steps_left, self.share):
            groups = [Group(model.head, lr=self.lr)]
            for depth, block in enumerate(from_top[:trained], start=1):
                block.requires_grad_(True)
                groups.append(Group(block, lr=self.lr / self.decay**depth))
            # the model itself comes last: it names no new parameter, and puts what is frozen into evaluation mode
            ctx.train(supervised(model), update=[*groups, model], steps=steps)
        fitted: Fitted = model
        return fitted
