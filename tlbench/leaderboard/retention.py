"""Source retention: what is still known of the source after transfer (the score on it, minus the source model's)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def retentions(records: Sequence[Record], metric: str) -> list[float]:
    """For each record its score on the source's test examples minus that of the model trained on the source alone.

    That model is the parent that the trial started from, or else the run's source model of the same source, backbone,
    recipe and seed. NaN where the trial has no predictor for the source, where its result is not of the target alone
    (generalised zero-shot), or where there is no such model.
    """
    before: dict[Any, float] = {}
    for record in records:
        if record.trial["kind"] == "source-model" and (score := _on_source(record, metric)) is not None:
            before[record.key] = before[_axes(record.trial, "target")] = score
    found = []
    for record in records:
        after = None
        alone = "source" in record.metrics and record.scored == "target"
        if alone and record.trial["kind"] == "trial" and record.trial["source"]:
            after = _on_source(record, metric)
        if after is None:
            found.append(math.nan)
            continue
        parents = [before[key] for key in record.trial["parents"] if key in before]
        old = parents[0] if parents else before.get(_axes(record.trial, "source"), math.nan)
        found.append(after - old)
    return found


def _on_source(record: Record, metric: str) -> float | None:
    value = record.metrics.get("source", {}).get(metric) if record.status is Status.OK else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _axes(trial: Mapping[str, Any], source: str) -> tuple[Any, ...]:
    """What tells source models apart; theirs is the axis ``target``."""
    return (*(Choice.from_json(trial[axis]).digest for axis in (source, "backbone", "recipe")), trial["seed"])
