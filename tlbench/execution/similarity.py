"""Similarity: what transfer did to the backbone, compared with where it started on the same test examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from tlbench.data.inputs import to_tensors
from tlbench.errors import TrialError
from tlbench.evaluation.predict import CHUNK, Conditions
from tlbench.models.blocks import features_at

if TYPE_CHECKING:
    from tlbench.api.data import Array, Pool
    from tlbench.api.types import Comparison
    from tlbench.models.factory import ModelFactory, Origin

EXAMPLES = 512
"""Most test examples that backbones are compared on, evenly spaced over the pool."""


class Found(NamedTuple):
    """A predictor's backbone, and where it started."""

    backbone: Any
    origin: Origin


def similarity(
    comparisons: Mapping[str, Comparison], fitted: Any, models: ModelFactory, pool: Pool, conditions: Conditions
) -> dict[str, Any]:
    """Parts of a record's ``data``: ``similarity`` of each block by metric, or why each metric is ``absent``.

    ``fitted`` is what ``fit`` returned, at the selected point. Its first backbone that the host made is compared with
    a fresh one from the same start.
    """
    if not comparisons:
        return {}
    found = backbone_of(fitted, models)
    if isinstance(found, str):
        return {"absent": dict.fromkeys(comparisons, found)}
    after, origin = found
    before: Any = models.make_backbone(*origin).eval()
    rows = np.unique(np.linspace(0, len(pool) - 1, min(EXAMPLES, len(pool))).astype(np.int64))
    blocks: dict[str, list[float | None]] = {name: [] for name in comparisons}
    for block in range(len(before.blocks)):
        try:
            pair = [_features(net, pool, rows, block, conditions) for net in (before, after.eval())]
        except TrialError:  # a block that is never called by itself
            pair = []
        for name, metric in comparisons.items():
            blocks[name].append(_value(metric, *pair) if pair else None)
    said = {name: {"start": origin.start, "examples": len(rows), "blocks": values} for name, values in blocks.items()}
    return {"similarity": said}


def backbone_of(fitted: Any, models: ModelFactory) -> Found | str:
    """The backbone within what ``fit`` returned, or why there is none to compare."""
    predictor = fitted.get("target", next(iter(fitted.values()))) if isinstance(fitted, Mapping) else fitted
    if not isinstance(predictor, nn.Module):
        return "the predictor is no module that shows its backbone"
    made = [(m, models.origins[m]) for m in predictor.modules() if m in models.origins]
    if not made:
        return "the predictor holds no backbone that the host made"
    backbone, origin = made[0]
    if origin.start == "random":
        return "the backbone starts from random weights"
    return Found(backbone, origin)


def _features(net: nn.Module, pool: Pool, rows: Array, block: int, conditions: Conditions) -> Array:
    """Features float32 [N, D] of one block, averaged over space or tokens."""
    parts = []
    for begin in range(0, len(rows), CHUNK):
        chosen = rows[begin : begin + CHUNK]
        x = {k: v[chosen] for k, v in pool.x.items()} if isinstance(pool.x, Mapping) else pool.x[chosen]
        with torch.no_grad(), conditions.cast():
            out = features_at(net, conditions.scale(to_tensors(x, conditions.device)), block)
        parts.append(out.float().cpu().numpy())
    return np.concatenate(parts)


def _value(metric: Comparison, before: Array, after: Array) -> float | None:
    value = metric.compare(before, after)
    return float(value) if value is not None and np.isfinite(value) else None
