"""Rescore: add metrics to a run from its stored predictions, without training again.

For each result that lacks a metric a new line is appended: the same record, under the same key (which says nothing of
metrics), with the new scores beside the old ones and ``provenance.rescored`` saying which, when and by which tlbench.
The learning curve stays that of the old metric, so columns of a curve stay empty on a board of the new one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tlbench.api.records import Record, Status
from tlbench.errors import PluginError, StoreError, TlbenchError, unknown
from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tlbench.plugins import Plugins


@dataclass(eq=False)
class Rescored:
    """What became of the results of a run: how many gained a metric, had it, or could not gain it, by key, and why."""

    added: int = 0
    had: int = 0
    lacking: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"added": self.added, "had": self.had, "lacking": self.lacking}


def rescore(folder: Path, metrics: Sequence[str], plugins: Plugins, out: Path | None = None) -> Rescored:
    """Add these metrics to every result that lacks one of them; into the run itself, or into a copy of it in ``out``.

    Raises ``PluginError`` for an unknown metric, ``StoreError`` where the run cannot be read or written.
    """
    if lost := [name for name in metrics if name not in plugins.offers("metrics")]:
        raise PluginError(unknown("metric", lost[0], plugins.offers("metrics")))
    RunFolder.open(folder)
    if out is not None:
        from tlbench.results.merge import merge

        copied = merge([folder], out)
        if copied.faults:
            raise StoreError(f"{folder} is damaged: {copied.faults[0].line}; `tlbench verify {folder}` says more")
    run = RunFolder.open(out or folder)
    built = {name: plugins.build("metrics", name, {}) for name in metrics}
    found = Rescored()
    records = run.records()
    with run.writing() as writer:
        for key, record in records.items():
            if record.status is not Status.OK or record.trial["kind"] == "ranking":
                continue
            wanted = [name for name in built if any(name not in scores for scores in record.metrics.values())]
            if not wanted:
                found.had += 1
                continue
            try:
                writer.write(_with(run.path, record, [built[name] for name in wanted]))
                found.added += 1
            except (TlbenchError, ValueError, ArithmeticError) as error:
                found.lacking[key] = str(error)
    return found


def _with(folder: Path, record: Record, metrics: Sequence[Any]) -> Record:
    """The record with more scores. Raises ``StoreError`` where there are no predictions or a score does not come."""
    from tlbench import __version__
    from tlbench.results.predictions import read, rescored

    scores = rescored(read(folder, record), metrics, record)
    names = [m.name for m in metrics]
    if lost := [f"{name} on {pool}" for name in names for pool in record.metrics if name not in scores.get(pool, {})]:
        raise StoreError(f"its predictions do not give {', '.join(lost)}")
    whole = {
        pool: {**old, **{n: scores[pool][n] for n in names if n not in old}} for pool, old in record.metrics.items()
    }
    done = {"metrics": names, "tlbench": __version__, "when": datetime.now(UTC).isoformat(timespec="seconds")}
    before = (record.provenance or {}).get("rescored", [])
    return replace(record, metrics=whole, provenance={**(record.provenance or {}), "rescored": [*before, done]})
