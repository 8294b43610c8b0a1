"""Features of a source and a target batch, in one pass or in two."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

Passes = Literal["joint", "separate"]
"""How the two domains pass a network with BatchNorm: their statistics together, or each with its own."""


def features_of_both(backbone: nn.Module, source: Any, target: Any, passes: Passes) -> tuple[Tensor, Tensor]:
    """Features [B_s, D] and [B_t, D] of inputs of the two domains."""
    if passes == "separate":
        return backbone(source), backbone(target)
    both = (
        {k: torch.cat([source[k], target[k]]) for k in source}
        if isinstance(source, dict)
        else torch.cat([source, target])
    )
    size = len(next(iter(source.values())) if isinstance(source, dict) else source)
    features: Tensor = backbone(both)
    return features[:size], features[size:]
