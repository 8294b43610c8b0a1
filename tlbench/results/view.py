"""Looking at a run: its status, and everything about one trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tlbench.api.records import Record, Status
from tlbench.api.trials import Trial
from tlbench.discovery.checks import printable

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
                f"[{style}]{status}[/] ×{count}  {escape(printable(reason))}\n"
                f"    [dim]e.g. {example['key'][:12]}  {escape(printable(example['title']))}[/]"
            )
    if trials:
        parts += _trials(list(run.records().values()))
    parts += [f"[yellow]note[/] {escape(printable(problem))}" for problem in state["problems"]]
    return Group(*parts)


def _trials(records: Sequence[Record]) -> Iterator[RenderableType]:
    """A line for every record, in a table for each task, backbone and recipe."""
    tables: dict[str, list[tuple[Record, Trial]]] = {}
    for record in records:
        trial = Trial.from_json(record.trial)
        task = "source training" if trial.kind == "source-model" else trial.task.label
        axes = [task, trial.backbone.label, *([trial.recipe.label] if trial.recipe.label != trial.recipe.name else [])]
        tables.setdefault(" · ".join(axes), []).append((record, trial))
    for title, rows in tables.items():
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for name in ("key", "status"):
            table.add_column(name, no_wrap=True)
        for name in ("score", "time", "seed"):
            table.add_column(name, justify="right", no_wrap=True)
        for name in ("strategy", "source", "target"):
            table.add_column(name, overflow="fold")
        for record, trial in rows:
            total = record.clocks.get("total")
            names = (trial.strategy.label, trial.source.label if trial.source else "–", trial.target.label)
            table.add_row(
                record.key[:12],
                Text(record.status, STYLES.get(record.status, "red")),
                _score(record) or "–",
                _seconds(total) if total is not None else "–",
                str(trial.seed),
                *(Text(printable(name)) for name in names),
            )
        yield Text(f"\n{printable(title)}", "dim italic")
        yield table


def _score(record: Record) -> str:
    if not record.curve or not record.metrics:
        return ""
    return f"{record.metrics[record.scored or ''][record.curve['metric']]:.4f}"


def sparkline(values: Sequence[float]) -> str:
    """Eight heights, from the smallest value to the largest."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[round(7 * (v - low) / span)] for v in values)


def trial_view(record: Record, run: RunFolder) -> RenderableType:
    """Everything about one trial: what came of it, what it cost, what it was, and where it ran."""
    trial = Trial.from_json(record.trial)
    head = Text(printable(trial.title), "bold")
    parts: list[RenderableType] = [head, _rows([("key", record.key), ("status", _status(record))])]
    log = run.log(record.key)
    printed = f"{log} ({log.stat().st_size:,} bytes)" if log.is_file() and log.stat().st_size else None
    git = record.environment.get("git") or {}
    sections: dict[str, list[tuple[str, object]]] = {
        "result": [*_results(record)],
        "cost": [
            ("time", "  ".join(f"{name} {_seconds(value)}" for name, value in record.clocks.items())),
            *((_rate_name(name), _rate(name, rate)) for name, rate in (record.throughput or {}).items() if rate),
            ("memory", "  ".join(f"{_words(n)} {v / 2**20:,.0f} MiB" for n, v in record.memory.items() if v)),
            *((_words(name), _flat(value) if isinstance(value, Mapping) else _amount(value))
              for name, value in record.cost.items()),
        ],
        "trial": [
            *((axis, _choice(record.trial[axis])) for axis in AXES if record.trial[axis]),
            ("seed", str(trial.seed)),
            ("starts from", ", ".join(trial.parents)),
            ("compared with", trial.reference),
        ],
        "data": [(_words(name), _flat(v) if isinstance(v, Mapping) else v) for name, v in record.data.items()],
        "ran": [
            ("when", _when(record)),
            ("resumed from", f"step {record.resumed_from}" if record.resumed_from else None),
            ("device", _flat(device) if isinstance(device := record.environment.get("device"), Mapping) else device),
            ("software", "  ".join(f"{n} {v}" for n, v in (record.environment.get("versions") or {}).items())),
            ("commit", f"{git.get('commit')}{' with local changes' if git.get('dirty') else ''}" if git else None),
            ("system", record.environment.get("system")),
            ("host", record.environment.get("host")),
            ("random seeds", _flat(record.seeds)),
            ("weights", _flat(record.artifact or {})),
            ("printed", printed),
        ],
    }  # fmt: skip
    for title, rows in sections.items():
        if any(said not in _NOTHING for _, said in rows):
            parts += [Text(f"\n{title}", "dim italic"), _rows(rows)]
    return Group(*parts)


AXES = ("source", "target", "task", "strategy", "backbone", "recipe")
_NOTHING: tuple[object, ...] = (None, "", {}, ())


def _rows(rows: Iterable[tuple[str, object]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="bold", width=19, overflow="fold")
    table.add_column(overflow="fold")
    for name, said in rows:
        if said not in _NOTHING:
            table.add_row(
                Text(printable(name)), said if isinstance(said, Text) else Text(printable(str(said), keep_spaces=True))
            )
    return table


def _status(record: Record) -> Text:
    style = STYLES.get(record.status, "red")
    reason = printable(record.reason, keep_spaces=True)
    return Text(f"{record.status}: {reason}" if reason else str(record.status), style)


def _results(record: Record) -> Iterator[tuple[str, object]]:
    for pool, scores in record.metrics.items():
        yield f"on {pool}", "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
    if record.curve:
        curve = record.curve
        steps, scores = curve["steps"], curve["scores"]
        name, of = f"curve of {curve['metric']}", f"on {curve['examples']:,} examples"
        if len(steps) == 1:
            yield name, f"one point, {scores[0]:.3f} {of}: nothing was trained"
        else:
            yield name, f"{sparkline(scores)}  {scores[0]:.3f} → {scores[-1]:.3f}, {of}"
            yield "at step", "  ".join(f"{s}:{v:.3f}" for s, v in zip(steps, scores, strict=True))
        yield "result of", f"step {curve['selected']}" if curve.get("selected") is not None else None
    for name, values in (record.losses or {}).items():
        known = [v for v in values if v is not None] if name != "steps" else []
        if known:
            title = name if name == "loss" else f"loss {name}"
            yield title, f"{sparkline(known)}  {known[0]:.4g} → {known[-1]:.4g}"


def _rate_name(name: str) -> str:
    return "latency" if name == "latency_ms" else name


def _rate(name: str, rate: Mapping[str, Any]) -> str:
    if name == "latency_ms":
        of = f", of {rate['n']} single examples" if "n" in rate else ""
        return ", ".join(f"{k} {v:.3g} ms" for k, v in rate.items() if k != "n" and v is not None) + of
    if rate.get("median") is None:
        return _flat(rate)
    quartiles = f", quartiles {rate['q25']:,.0f} and {rate['q75']:,.0f}" if {"q25", "q75"} <= set(rate) else ""
    return f"{rate['median']:,.0f} examples/s{quartiles}" + (
        f", {rate['windows']} windows" if "windows" in rate else ""
    )


def _amount(value: object) -> object:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


def _choice(choice: Mapping[str, Any]) -> str:
    """The label, the plugin where the label is another name, and all parameters."""
    named = choice["label"].startswith(choice["name"])
    return f"{choice['label']}  {_flat(({} if named else {'name': choice['name']}) | dict(choice['params']))}".strip()


def _when(record: Record) -> str:
    times = [t.replace("T", " ").replace("+00:00", " UTC") for t in (record.started, record.finished) if t]
    return " to ".join(times)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _seconds(value: float) -> str:
    """``0.3 ms``, ``45 ms``, ``2.08 s``, ``154 s``"""
    if value < 0.1:
        return f"{1e3 * value:.2g} ms" if value < 0.01 else f"{1e3 * value:.0f} ms"
    return f"{value:.2f} s" if value < 100 else f"{value:,.0f} s"


def _flat(values: Mapping[str, Any], prefix: str = "") -> str:
    parts = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            parts.append(_flat(value, f"{prefix}{name}."))
        elif value is not None:
            parts.append(f"{prefix}{name}={value}")
    return "  ".join(p for p in parts if p)
