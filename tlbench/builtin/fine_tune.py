"""Fine-tuning in its usual forms: all weights, the head only, part of the blocks, at whichever rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tlbench.api.types import Fitted, Group
from tlbench.errors import TrialError
from tlbench.functional import supervised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from tlbench.api.types import Context


@dataclass(frozen=True)
class FineTune:
    """Train on the labelled target from the transferred weights (Yosinski et al. 2014; Kornblith et al. 2019).

    A frozen block is frozen whole: its BatchNorm keeps affine parameters and running statistics.
    ``layer_decay`` gives each block a rate lower than the block above it (Howard & Ruder 2018, sec. 3.2,
    who use 1 / 2.6); ``head_first`` trains the head alone for a share of the steps and then everything
    (after Kumar et al. 2022, LP-FT, who train the head to its optimum).
    """

    name: ClassVar[str] = "fine-tune"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    train: Literal["all", "head"] = "all"
    """Everything, or the head on the frozen backbone."""
    freeze_first: int = 0
    """Blocks frozen from the input side."""
    freeze_last: int = 0
    """Blocks frozen from the output side of the backbone; the head is never frozen."""
    lr: float = 1.0
    """Multiplies the recipe's learning rate."""
    backbone_lr: float = 1.0
    """Multiplies the backbone's learning rate once more; below 1, the head learns faster."""
    layer_decay: float = 1.0
    """Factor from each block's rate to that of the block below it."""
    head_first: float = 0.0
    """Share of the steps in which only the head is trained, before the rest trains everything."""

    def __post_init__(self) -> None:
        for name in ("lr", "backbone_lr", "layer_decay"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("freeze_first", "freeze_last"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.head_first < 1:
            raise ValueError(f"head_first must be in [0, 1), got {self.head_first}")
        if self.train == "head" and (self.freeze_first or self.freeze_last or self.head_first):
            raise ValueError(
                "train: head freezes the whole backbone; leave out freeze_first, freeze_last and head_first"
            )

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()
        head = Group(model.head, lr=self.lr)
        blocks: Sequence[nn.Module] = list(model.backbone.blocks)
        if self.freeze_first + self.freeze_last > len(blocks):
            raise TrialError(
                f"fine-tune was told to freeze {self.freeze_first} + {self.freeze_last} blocks; "
                f"the backbone has {len(blocks)}"
            )
        if (alone := self._steps_of_head(ctx.steps_left)) > 0:
            model.backbone.requires_grad_(False)
            model.backbone.eval()
            ctx.train(supervised(model), update=head, steps=alone)
            model.backbone.requires_grad_(True)
        if self.train == "all":
            tuned = range(self.freeze_first, len(blocks) - self.freeze_last)
            for i, block in enumerate(blocks):
                block.requires_grad_(i in tuned)
            # the last block is at the backbone's rate, each block below it at layer_decay times the one above
            rates = [self.lr * self.backbone_lr * self.layer_decay ** (len(blocks) - 1 - i) for i in range(len(blocks))]
            # the model itself comes last: a parameter keeps the group that it was first named in
            ctx.train(supervised(model), update=[head, *(Group(blocks[i], lr=rates[i]) for i in tuned), model])
        fitted: Fitted = model
        return fitted

    def _steps_of_head(self, steps: int) -> int:
        """For how many steps the head trains alone; at least one is left for the rest."""
        if self.train == "head":
            return steps
        return min(max(1, round(self.head_first * steps)), steps - 1) if self.head_first else 0
