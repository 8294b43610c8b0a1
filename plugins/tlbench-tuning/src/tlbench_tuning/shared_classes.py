"""Frozen features of a source and a target with the same classes, and a linear predictor on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlbench import Context, Predictor

    Array = NDArray[Any]


class Labelled(NamedTuple):
    """Features [N, D] and labels [N]."""

    x: Array
    y: Array


class Scale(NamedTuple):
    """(x - mean) / std, both [D]."""

    mean: Array
    std: Array


def standardised_features(ctx: Context) -> tuple[Labelled, Labelled, Scale]:
    """Source, target, and the scale of the source's features that both are brought to."""
    source, target = ctx.features("source"), ctx.features("target")
    xs_ND, xt_ND = (b.x.cpu().numpy().astype(np.float64) for b in (source, target))
    std_D = xs_ND.std(0)
    scale = Scale(xs_ND.mean(0), np.where(std_D > 0, std_D, 1.0))
    xs_ND, xt_ND = ((x - scale.mean) / scale.std for x in (xs_ND, xt_ND))
    return Labelled(xs_ND, source.y.cpu().numpy()), Labelled(xt_ND, target.y.cpu().numpy()), scale


def to_predictor(ctx: Context, weight_DC: Array, scale: Scale) -> Predictor:
    """Weights for standardised features, the last row the bias, as a predictor behind the frozen backbone."""
    plain_DC = weight_DC[:-1] / scale.std[:, None]
    weight = torch.from_numpy(plain_DC).float().to(ctx.device)
    bias = torch.from_numpy(weight_DC[-1] - scale.mean @ plain_DC).float().to(ctx.device)
    return ctx.on_features(lambda x_BD: x_BD.float() @ weight + bias)
