"""The hooks of a plugin, ordered by the life of a run. Each returns a list; none receives a registry.

Keep a hook module light: import the classes, and torch with them, inside the hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from tlbench.api.columns import Column
    from tlbench.api.records import Record
    from tlbench.api.trials import Trial

API_VERSION = 1
"""A plugin may state ``TLBENCH_API = 1`` in its module; another number is refused with the reason."""

hookspec = pluggy.HookspecMarker("tlbench")
hookimpl = pluggy.HookimplMarker("tlbench")


@hookspec
def tlbench_datasets() -> list[type]:  # type: ignore[empty-body]
    """Data sets that this plugin adds: classes of the shape of ``tlbench.Dataset``."""


@hookspec
def tlbench_tasks() -> list[type]:  # type: ignore[empty-body]
    """Tasks that this plugin adds: classes of the shape of ``tlbench.Task``."""


@hookspec
def tlbench_backbones() -> list[type]:  # type: ignore[empty-body]
    """Backbones that this plugin adds: classes of the shape of ``tlbench.Backbone``."""


@hookspec
def tlbench_strategies() -> list[type]:  # type: ignore[empty-body]
    """Strategies that this plugin adds: classes of the shape of ``tlbench.Strategy``."""


@hookspec
def tlbench_metrics() -> list[type]:  # type: ignore[empty-body]
    """Metrics that this plugin adds: classes of the shape of ``tlbench.Metric``."""


@hookspec
def tlbench_executors() -> list[type]:  # type: ignore[empty-body]
    """Executors that this plugin adds: classes of the shape of ``tlbench.Executor``."""


@hookspec
def tlbench_reporters() -> list[type]:  # type: ignore[empty-body]
    """Reporters that this plugin adds: classes of the shape of ``tlbench.Reporter``."""


@hookspec
def tlbench_columns() -> list[Column]:  # type: ignore[empty-body]
    """Columns that this plugin adds to the leaderboard: ``tlbench.Column`` objects, each one entry.

    Such as ``Column("spread", "spread", "points", "largest gain minus least", None, spread)`` with

        def spread(sample: Sample) -> Cell:
            values = sample.numbers["gain"]
            return Cell(float(values.max() - values.min()), text="...") if len(values) else Cell()

    What one raises costs its own cells, and the board says so. A key of another column is refused.
    """


@hookspec
def tlbench_trial_finished(trial: Trial, record: Record) -> None:
    """A trial ended, well or not. Look and do not touch: what is returned or raised changes nothing."""
