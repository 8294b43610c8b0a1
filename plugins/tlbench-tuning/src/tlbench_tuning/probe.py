"""A linear probe: logistic regression on the frozen features of a context's labelled target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tlbench.functional import logistic_probe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlbench import Context

STRENGTHS = tuple(float(c) for c in np.geomspace(1e-4, 1e2, 7))
"""The values of C that are tried; a smaller C is a stronger regularisation."""


def probe(ctx: Context, block: int | None = None, folds: int = 5) -> tuple[Tensor, Tensor]:
    """Weight [D, C] and bias [C] for the features of the backbone, or of one of its blocks, in evaluation mode.

    C is chosen on ``target_val`` where the selection rule set it apart, else by cross-validation.
    """
    train = ctx.features("target", block)
    x_ND, y_N, split = train.x.cpu().numpy(), train.y.cpu().numpy(), None
    if "target_val" in ctx.pools:
        held = ctx.features("target_val", block)
        split = len(y_N)
        x_ND, y_N = np.concatenate([x_ND, held.x.cpu().numpy()]), np.concatenate([y_N, held.y.cpu().numpy()])
    solved = logistic_probe(x_ND.astype(np.float64), y_N, ctx.num_classes, STRENGTHS, folds=folds, split=split)
    weight_DC, bias_C = (torch.from_numpy(part).float().to(ctx.device) for part in solved)
    return weight_DC, bias_C


def set_head(head: nn.Module, weight_DC: Tensor, bias_C: Tensor) -> None:
    """Put a solved probe into a linear head."""
    head.load_state_dict({"weight": weight_DC.T, "bias": bias_C})
