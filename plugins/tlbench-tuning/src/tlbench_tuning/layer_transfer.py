"""Layer transfer: some blocks copied and the rest random; and its control, a network that copies from itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from tlbench import TrialError
from tlbench.functional import supervised

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from tlbench import Context, Fitted

Copied = Literal["first", "last"]


@dataclass(frozen=True)
class LayerTransfer:
    """Copies the first or the last blocks of the transferred backbone; the rest is random (Yosinski et al. 2014).

    In the paper's names AnB (copied blocks frozen) or AnB+ (tuned), n = ``blocks``, for networks A and B trained on
    source and target. Images usually copy the first blocks, speech the last ones. ``selffer`` is the control (BnB,
    BnB+): where AnB falls below BnB the features of the source are too special, and where BnB falls below scratch
    neighbouring blocks had grown used to each other. Random blocks are another draw than that which the source's
    model began from. Frozen blocks keep their BatchNorm's statistics. The head is never copied.
    """

    name: ClassVar[str] = "layer-transfer"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    copy: Copied = "first"
    """From which end of the backbone blocks are copied."""
    blocks: int = 1
    """How many; at 0 it is scratch with another draw of random weights."""
    tune_copied: bool = False
    """Whether the copied blocks are trained with the rest (AnB+) or stay as they are (AnB)."""

    def __post_init__(self) -> None:
        _require_count(self.blocks)

    def fit(self, ctx: Context) -> Fitted:
        return _grafted(ctx, ctx.backbone(), self.copy, self.blocks, self.tune_copied)


@dataclass(frozen=True)
class Selffer:
    """The control of layer transfer: blocks copied from a network trained on the target itself (Yosinski et al. 2014).

    BnB (copied blocks frozen) or BnB+ (tuned). First the backbone is trained on the target from random weights, in a
    branch with a budget of its own (``first_steps``), as the source's network had one; then its first or last
    blocks go into a network whose rest is drawn anew, and that trains on the whole budget of the trial, as after
    ``layer-transfer``. The record counts the steps of both; the learning curve shows the second.
    """

    name: ClassVar[str] = "selffer"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[str] = "random"

    copy: Copied = "first"
    """From which end of the backbone blocks are copied."""
    blocks: int = 1
    """How many."""
    tune_copied: bool = False
    """Whether the copied blocks are trained with the rest (BnB+) or stay as they are (BnB)."""
    first_steps: int | None = None
    """Steps of the first training; as many as the recipe has if left out."""

    def __post_init__(self) -> None:
        _require_count(self.blocks)
        if self.first_steps is not None and self.first_steps < 1:
            raise ValueError(f"first_steps must be at least 1, got {self.first_steps}")

    def fit(self, ctx: Context) -> Fitted:
        branch = ctx.using(steps=self.first_steps)
        base = branch.classifier()
        branch.train(supervised(base), update=base)
        return _grafted(ctx, base.backbone, self.copy, self.blocks, self.tune_copied)


def redraw(module: nn.Module, rng: np.random.Generator) -> None:
    """Another draw of a fresh network's random weights: the entries of each parameter, in another order.

    Entries of one parameter are drawn independently of one another and from one distribution by the usual
    initialisations, whatever that distribution is, so their order carries nothing.
    """
    with torch.no_grad():
        for weight in module.parameters():
            order = torch.from_numpy(rng.permutation(weight.numel())).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))


def _grafted(ctx: Context, donor: Any, copy: Copied, count: int, tune: bool) -> Fitted:
    """A random classifier with ``count`` blocks of the donor, trained on the target."""
    model = ctx.classifier("random")
    redraw(model, ctx.rng)
    ours, theirs = list(model.backbone.blocks), list(donor.blocks)
    if count > len(ours):
        raise TrialError(f"{count} blocks were to be copied; the backbone has {len(ours)}")
    chosen = range(count) if copy == "first" else range(len(ours) - count, len(ours))
    for i in chosen:
        ours[i].load_state_dict(theirs[i].state_dict())
        ours[i].requires_grad_(tune)
    ctx.train(supervised(model), update=model)
    fitted: Fitted = model
    return fitted


def _require_count(blocks: int) -> None:
    if blocks < 0:
        raise ValueError(f"blocks must not be negative, got {blocks}")
