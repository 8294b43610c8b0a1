"""LP-FT and WiSE-FT: fine-tuning from a solved head, and the average of its two ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from tlbench import Group
from tlbench.functional import supervised
from tlbench_tuning.probe import probe, set_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from tlbench import Context, Fitted


@dataclass(frozen=True)
class LPFT:
    """Linear probing to its optimum, then fine-tuning of everything from there (Kumar et al. 2022, LP-FT).

    A random head distorts good features in the first steps of fine-tuning; a head at its optimum does not. As in
    the authors' code the probe is logistic regression on features in evaluation mode, its strength chosen on
    validation examples or by cross-validation. It takes none of the budget's steps; all of them fine-tune.
    Departure: the paper chooses the rate of the second part from a grid; here it is a parameter, below that of
    plain fine-tuning by default.
    """

    name: ClassVar[str] = "lp-ft"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    uses: ClassVar[frozenset[str]] = frozenset({"target_val"})

    lr: float = 0.1
    """Multiplies the recipe's learning rate."""
    freeze_norm: bool = False
    """Whether BatchNorm keeps its statistics and scales: the first batch then meets the features that were probed."""

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")

    def fit(self, ctx: Context) -> Fitted:
        fitted: Fitted = _tuned_from_probe(ctx, self.lr, self.freeze_norm)[0]
        return fitted


def between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) theta_start + alpha theta_end (Wortsman et al. 2022); counters are the end's."""
    return {k: torch.lerp(start[k], v, alpha) if v.is_floating_point() else v for k, v in end.items()}


@dataclass(frozen=True)
class WiSEFT:
    """The weights halfway between before and after fine-tuning (Wortsman et al. 2022, WiSE-FT).

    Departure: the paper starts from the zero-shot head of a vision-language model. A new head has no such start;
    here it is the linear probe at its optimum, so that the start is a classifier too (LP-FT's start and its end are
    averaged). BatchNorm's running statistics are averaged like weights. Learning curves show the fine-tuning; the
    average is the last point.
    """

    name: ClassVar[str] = "wise-ft"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    uses: ClassVar[frozenset[str]] = frozenset({"target_val"})

    alpha: float = 0.5
    """Share of the fine-tuned weights; 0 is the probe and 1 is ``lp-ft``."""
    lr: float = 0.1
    """Multiplies the recipe's learning rate."""
    freeze_norm: bool = False
    """Whether BatchNorm keeps its statistics and its scales, as in ``lp-ft``."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {self.alpha}")
        if self.lr <= 0:
            raise ValueError(f"lr must be positive, got {self.lr}")

    def fit(self, ctx: Context) -> Fitted:
        model, start = _tuned_from_probe(ctx, self.lr, self.freeze_norm)
        model.load_state_dict(between(start, model.state_dict(), self.alpha))
        fitted: Fitted = model
        return fitted


def _tuned_from_probe(ctx: Context, lr: float, freeze_norm: bool) -> tuple[Any, dict[str, Tensor]]:
    """The classifier after fine-tuning, and its state before."""
    model = ctx.classifier()
    set_head(model.head, *probe(ctx))
    start = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for module in model.modules():
        if freeze_norm and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.requires_grad_(False)  # the loop keeps what is frozen whole in evaluation mode
    ctx.train(supervised(model), update=Group(model, lr=lr))
    return model, start
