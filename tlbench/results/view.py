"""Looking at a run: its status, and everything about one trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tlbench.api.records import Record, Status
from tlbench.api.trials import Trial

if TYPE_CHECKING:
    from tlbench.results.store import RunFolder

STYLES = {Status.OK: "green", Status.SKIPPED: "dim", Status.INTERRUPTED: "yellow"}
_BLOCKS = "▁▂▃▄▅▆▇█"


def status_json(run: RunFolder) -> dict[str, Any]:
    """Counts by status, and the trials that have no record or did not end well."""
    records, planned = run.records(), run.planned()
    here = [records[t.key] for t in planned if t.key in records] if planned else list(records.values())
    return {
        "folder": str(run.path),
        "planned": len(planned),
        "statuses": dict(Counter(str(r.status) for r in here)),
        "missing": [t.key for t in planned if t.key not in records and t.kind == "trial"],
        "ended": [
            {"key": r.key, "status": r.status, "title": Trial.from_json(r.trial).title, "reason": r.reason}
            for r in here
            if r.status not in (Status.OK, Status.SKIPPED)
        ],
        "problems": run.problems,
    }


def status_view(run: RunFolder, *, trials: bool = False) -> RenderableType:
    """The same for people; with ``trials``, a line for every record."""
    state = status_json(run)
    counts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for status, count in sorted(state["statuses"].items()):
        counts.add_row(Text(status, STYLES.get(Status(status), "red")), str(count))
    if state["missing"]:
        counts.add_row(Text("not run", "yellow"), str(len(state["missing"])))
    parts: list[RenderableType] = [Text(state["folder"], "bold"), counts]
    reasons = Counter((e["status"], e["reason"]) for e in state["ended"])
    if reasons:
        parts.append(Text("\nwhat did not end well", "bold"))
        for (status, reason), count in reasons.most_common(20):
            example = next(e for e in state["ended"] if (e["status"], e["reason"]) == (status, reason))
            style = STYLES.get(Status(status), "red")
            parts.append(
                f"[{style}]{status}[/] ×{count}  {escape(reason)}\n"
                f"    [dim]e.g. {example['key'][:12]}  {escape(example['title'])}[/]"
            )
    if trials:
        table = Table("key", "status", "score", "trial", box=None, padding=(0, 2, 0, 0))
        for record in run.records().values():
            style = STYLES.get(record.status, "red")
            table.add_row(
                record.key[:12], Text(record.status, style), _score(record), Text(Trial.from_json(record.trial).title)
            )
        parts += ["", table]
    parts += [f"[yellow]note[/] {escape(problem)}" for problem in state["problems"]]
    return Group(*parts)


def _score(record: Record) -> str:
    if not record.curve or not record.metrics:
        return ""
    return f"{record.metrics[record.curve['pool']][record.curve['metric']]:.4f}"


def sparkline(values: Sequence[float]) -> str:
    """Eight heights, from the smallest value to the largest."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[round(7 * (v - low) / span)] for v in values)


def trial_view(record: Record, run: RunFolder) -> RenderableType:
    """Everything about one trial."""
    trial = Trial.from_json(record.trial)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")

    def row(name: str, value: object) -> None:
        if value not in (None, "", {}, ()):
            table.add_row(name, Text(str(value)))

    row("trial", trial.title)
    row("key", record.key)
    table.add_row("status", Text(record.status, STYLES.get(record.status, "red")))
    row("reason", record.reason)
    for pool, scores in record.metrics.items():
        row(f"scores on {pool}", _pairs(scores, "{:.4f}"))
    if record.curve:
        curve = record.curve
        row(f"curve of {curve['metric']}", f"{sparkline(curve['scores'])}  on {curve['examples']} examples")
        row("  at steps", "  ".join(f"{s}: {v:.3f}" for s, v in zip(curve["steps"], curve["scores"], strict=True)))
        row("  selected step", curve["selected"])
    for name, values in (record.losses or {}).items():
        if name != "steps":
            known = [v for v in values if v is not None]
            row(f"loss {name}", f"{sparkline(known)}  {known[0]:.4g} → {known[-1]:.4g}")
    row("seconds", _pairs(record.clocks, "{:.2f}"))
    for name, rate in (record.throughput or {}).items():
        row(f"{name}" if name == "latency_ms" else f"{name} examples/s", _pairs(rate or {}, "{:.4g}"))
    row("memory in MiB", _pairs({k: v / 2**20 for k, v in record.memory.items() if v}, "{:.0f}"))
    row("cost", _flat(record.cost))
    for axis in ("source", "target", "task", "strategy", "backbone", "recipe"):
        choice = record.trial[axis]
        if choice:
            row(axis, f"{choice['label']}  {_flat({'name': choice['name'], **choice['params']})}")
    row("seed", record.trial["seed"])
    row("parents", ", ".join(record.trial["parents"]))
    row("data", _flat(record.data))
    row("seeds", _flat(record.seeds))
    row("environment", _flat(record.environment))
    row("weights", _flat(record.artifact or {}))
    row("started, finished", f"{record.started}  {record.finished}")
    row("resumed from step", record.resumed_from or None)
    log = run.log(record.key)
    row("log", f"{log} ({log.stat().st_size} bytes)" if log.is_file() else None)
    return table


def _pairs(values: Mapping[str, float], form: str) -> str:
    return "  ".join(f"{k} {form.format(v)}" for k, v in values.items())


def _flat(values: Mapping[str, Any], prefix: str = "") -> str:
    parts = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            parts.append(_flat(value, f"{prefix}{name}."))
        elif value is not None:
            parts.append(f"{prefix}{name}={value}")
    return "  ".join(p for p in parts if p)
