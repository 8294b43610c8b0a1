"""Estimate how long a plan will take, from the clocks of past records."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tlbench.api.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlbench.api.records import Record
    from tlbench.api.trials import Plan


@dataclass(frozen=True)
class Estimate:
    """``seconds`` until all is done (``None`` where no record helps); of the trials to run, how many have a
    record like them (``known``) and how many are taken to last as long as the median trial (``unknown``).
    """

    seconds: float | None
    known: int
    unknown: int


def estimate(plan: Plan, records: Iterable[Record], workers: int = 1) -> Estimate:
    """The time for the trials of ``plan`` that are still to run, shared evenly by ``workers``.

    Each lasts as long as the median of the finished trials most like it: of the same strategy, task, target and
    backbone (by label) under the same recipe; under any recipe; on any target; with any backbone; under any task.
    """
    clocks: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for record in records:
        total = record.clocks.get("total")
        if record.status is not Status.OK or total is None:
            continue
        names = {axis: record.trial.get(axis) or {} for axis in ("strategy", "task", "target", "backbone", "recipe")}
        for key in _likeness(
            str(names["strategy"].get("name")),
            str(names["task"].get("name")),
            str(names["target"].get("label")),
            str(names["backbone"].get("label")),
            str(names["recipe"].get("params")),
        ):
            clocks[key].append(float(total))
    medians = {key: median(values) for key, values in clocks.items()}
    seconds, known, unknown = 0.0, 0, 0
    for trial in plan.todo:
        if trial.skip is not None:
            continue
        keys = _likeness(
            trial.strategy.name, trial.task.name, trial.target.label, trial.backbone.label, str(trial.recipe.params)
        )
        found = next((medians[key] for key in keys[:-1] if key in medians), None)
        if found is None:
            unknown += 1
        else:
            known += 1
            seconds += found
    if unknown:
        anything = medians.get(())
        return Estimate(None if anything is None else (seconds + unknown * anything) / workers, known, unknown)
    return Estimate(seconds / workers, known, unknown)


def _likeness(strategy: str, task: str, target: str, backbone: str, recipe: str) -> tuple[tuple[str, ...], ...]:
    """Keys from the closest likeness to none at all."""
    return (
        (strategy, task, target, backbone, recipe),
        (strategy, task, target, backbone),
        (strategy, task, backbone),
        (strategy, task),
        (strategy,),
        (),
    )
