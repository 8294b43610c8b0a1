"""The space in which examples of two domains are compared, as NumPy tables.

Dimension key:  S source examples  T target examples  D features
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from tlbench import SkipTrial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlbench import Context

Array: TypeAlias = "NDArray[Any]"

Space = Literal["features", "inputs"]
"""The frozen backbone's features before any training, or the inputs themselves, flattened."""


class TwoDomains(NamedTuple):
    """``source`` [S, D] and ``target`` [T, D] in float64."""

    source: Array
    target: Array


def compared_in(ctx: Context, space: Space, target: str) -> TwoDomains:
    """The pools ``source`` and ``target``, each feature standardised over the examples of both domains together."""
    source_SD, target_TD = (_table(ctx, pool, space) for pool in ("source", target))
    both = np.concatenate([source_SD, target_TD])
    mean_D, std_D = both.mean(0), both.std(0)
    std_D[std_D == 0] = 1
    return TwoDomains((source_SD - mean_D) / std_D, (target_TD - mean_D) / std_D)


def _table(ctx: Context, pool: str, space: Space) -> Array:
    x = ctx.features(pool).x if space == "features" else ctx.inputs(pool).x
    if isinstance(x, Mapping):
        raise SkipTrial("these inputs have several parts and no distance; say space: features")
    table: Array = x.reshape(len(x), -1).cpu().numpy().astype(np.float64)
    return table
