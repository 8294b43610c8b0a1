"""The suite: what its author asked for, checked and expanded, before anything is planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench.api.trials import Choice

Filter: TypeAlias = Mapping[str, frozenset[str | int]]
"""Axis (``source``, ``target``, ``task``, ``strategy``, ``backbone``, ``seed``) -> labels or seeds that fit it.

A trial fits a filter where it fits all the filter's axes.
"""

SOURCE_TRAINING = "source-training"
"""The task and the strategy that train a backbone on its source: the planner runs them, no suite names them."""

AXES = ("source", "target", "task", "strategy", "backbone", "seed")


@dataclass(frozen=True)
class Suite:
    """A suite as it was read: every name known, every parameter checked, every grid expanded.

    ``path``           the file
    ``base``           the folder that relative paths in data sets are relative to
    ``data_root``      the folder that stands in for the hub, or ``None``
    ``pairs``          (source, target), in the order of the file; a source may be ``pretrained``
    ``recipe``         all fields of ``Recipe``; ``source_recipe`` the same for the training of source models
    ``metrics``        names; the first is the score
    ``include``        a trial must fit one of these, where there are any; ``exclude``: must fit none
    ``timeout``        seconds for each trial, or ``None``

    Labels are unique among the choices of one axis; sources and targets share their labels.
    """

    name: str
    path: Path
    base: Path
    description: str
    expect: str
    data_root: Path | None
    sources: tuple[Choice, ...]
    targets: tuple[Choice, ...]
    pairs: tuple[tuple[Choice, Choice], ...]
    tasks: tuple[Choice, ...]
    backbones: tuple[Choice, ...]
    strategies: tuple[Choice, ...]
    seeds: tuple[int, ...]
    recipe: Choice
    source_recipe: Choice
    metrics: tuple[str, ...]
    include: tuple[Filter, ...]
    exclude: tuple[Filter, ...]
    timeout: float | None
