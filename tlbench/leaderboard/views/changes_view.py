"""Changes for people: a verdict first, then conditions, trials, scores by strategy, and the pairs that moved."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from tlbench.leaderboard import text
from tlbench.leaderboard.text import clean
from tlbench.leaderboard.views.compare_view import intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rich.console import RenderableType

    from tlbench.leaderboard.changes import Changes, PairChange

STYLES: Mapping[str, str] = {"better": "green", "worse": "red", "": ""}
MARKS: Mapping[str, str] = {"better": "▲", "worse": "▼", "": "·"}
MOST = 40
"""So many lines of a kind are shown; the rest are counted."""


def changes_view(found: Changes, old: str, new: str, width: int = 100) -> list[RenderableType]:
    """The changes for a terminal of so many columns, ready for ``Console.print``."""
    unit = f"{clean(found.metric)}{' × 100' if found.points else ''}"
    out: list[RenderableType] = [
        Text.assemble((clean(old), "bold"), " → ", (clean(new), "bold")),
        Text(f"{unit} · change: above 0 where the later run is better · intervals: 95 %", "dim"),
        Text(),
        *_verdict(found),
        Text(),
    ]
    named: list[tuple[str, Iterable[tuple[str, str]]]] = [
        ("conditions", ((n, f"{a or text.NONE} → {b or text.NONE}") for n, a, b in found.conditions)),
        ("data of other content", ((name, "scores on it are not compared") for name in found.data)),
        ("settings", ((f"{label}.{n} ({axis})", f"{a} → {b}") for axis, label, n, a, b in found.settings)),
        ("gone", ((f"{n:>4}", name) for name, n in found.gone.items())),
        ("added", ((f"{n:>4}", name) for name, n in found.added.items())),
        ("status", ((f"{n:>4}  {a} → {b}", f"{who}{f': {_short(why)}' if why else ''}")
                    for (a, b, who, why), n in found.statuses.items())),
    ]  # fmt: skip
    for title, lines in named:
        out += _lines(title, list(lines))
    if any(row.same < row.cells or row.code for row in found.rows):
        out += [*_rows(found, width), Text()]
    out += _pairs(found)
    return out


def _verdict(found: Changes) -> list[RenderableType]:
    """What a reader must know, in a few sentences."""
    lines = [
        f"{found.matched} trials in both; of {found.scored} with two scores {found.same} are equal to the last digit."
    ]
    tested = sum(math.isfinite(p.p) for p in found.pairs)
    for what, changes, held in (
        ("strategies over their pairs", found.rows, "intervals over seeds, held at 5 % for all together"),
        ("pairs", found.pairs, f"paired tests over seeds of {tested} pairs, false discoveries held at 5 %"),
    ):
        better, worse = (sum(c.verdict == which for c in changes) for which in ("better", "worse"))
        if better or worse:
            lines.append(f"Beyond seed noise, {what}: {better} better, {worse} worse ({held}).")
    if len(lines) == 1 and tested and found.same < found.scored:
        lines.append(f"No strategy and no pair of {tested} has changed by more than its seeds vary.")
    if found.unseeded:
        lines.append(f"{found.unseeded} pairs differ but have one seed: nobody can tell whether by more than noise.")
    if found.drifted:
        lines.append(
            f"{found.drifted} trials have the same code, data, device and software in both runs but another score: "
            "something is not deterministic."
        )
    if not found.differ:
        lines.append("Nothing but noise differs.")
    return [Text(line, "yellow" if i and "No" not in line[:3] else "") for i, line in enumerate(lines)]


def _lines(title: str, lines: list[tuple[str, str]]) -> list[RenderableType]:
    if not lines:
        return []
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(overflow="fold", max_width=34)
    table.add_column(overflow="fold")
    for name, said in lines[:MOST]:
        table.add_row(Text(" " * (len(name) - len(name.lstrip())) + clean(name.lstrip())), Text(clean(said)))
    rest = [Text(f"and {len(lines) - MOST} more", "dim")] if len(lines) > MOST else []
    return [Text(title, "dim italic"), table, *rest, Text()]


def _short(reason: str) -> str:
    first = reason.strip().splitlines()[0] if reason.strip() else ""
    return first if len(first) <= 160 else first[:159] + "…"


def _number(found: Changes, signed: bool = False) -> Callable[[float], str]:
    scale, digits = (100, 1) if found.points else (1, 3)
    return lambda value: text.number(scale * value, digits, signed)


def _rows(found: Changes, width: int) -> list[RenderableType]:
    """A line for each strategy whose scores or code changed, in a table for each task and backbone."""
    out: list[RenderableType] = [Text("scores by strategy, over the pairs and seeds of both runs", "dim italic")]
    rows = [row for row in found.rows if row.same < row.cells or row.code]
    shown = intervals([row.change for row in rows], _number(found, signed=True))
    wide = max(len("strategy"), *(cell_len(clean(row.strategy)) for row in rows))
    titles = list(dict.fromkeys((row.task, row.backbone) for row in rows))
    for title in titles:
        table = _table()
        table.add_column("strategy", overflow="fold", width=min(wide, max(16, width - 60)))
        for heading in ("change", "pairs", "equal", "code", "speed"):
            table.add_column(heading, no_wrap=True, justify="left" if heading in ("change", "pairs") else "right")
        for row, change in zip(rows, shown, strict=True):
            if (row.task, row.backbone) != title:
                continue
            counts = f"{row.better}▲ {row.worse}▼ {row.pairs - row.better - row.worse}·"
            table.add_row(
                Text(clean(row.strategy)),
                Text(change, STYLES[row.verdict]),
                Text(counts),
                f"{row.same}/{row.cells}",
                "changed" if row.code else "same",
                text.ratio(row.rate),
            )
        out += [Text(clean(" · ".join(title)), "bold"), table, Text()]
    return out[:-1]


def _pairs(found: Changes) -> list[RenderableType]:
    """The pairs that changed beyond noise, the largest change first; else those that differ most."""
    real = [p for p in found.pairs if p.verdict]
    moved = real or [p for p in found.pairs if p.change.value != 0]
    if not moved:
        return []
    moved = sorted(moved, key=lambda p: -abs(p.change.value))
    kept = moved[: MOST if real else 5]
    title = (
        "pairs that changed beyond the noise of their seeds" if real else "the largest differences, all within noise"
    )
    if not real and any(p.seeds == 1 for p in kept):
        title = "the largest differences; one seed, so no verdict"
    number = _number(found)
    shown = intervals([p.change for p in kept], _number(found, signed=True))
    wide = [max(map(cell_len, (heading, *names))) for heading, names in (
        ("strategy", (clean(p.strategy) for p in kept)), ("pair", (_pair(p) for p in kept)),
    )]  # fmt: skip
    out: list[RenderableType] = [Text(title, "dim italic")]
    for group in dict.fromkeys((p.task, p.backbone) for p in kept):
        table = _table()
        for heading, justify, width in (("strategy", "left", min(wide[0], 30)), ("pair", "left", min(wide[1], 36)),
                                        ("old", "right", None), ("new", "right", None), ("change", "left", None),
                                        ("seeds", "right", None), ("p", "right", None)):  # fmt: skip
            table.add_column(heading, justify=justify, width=width, overflow="fold")  # type: ignore[arg-type]
        for p, change in zip(kept, shown, strict=True):
            if (p.task, p.backbone) == group:
                table.add_row(
                    Text(clean(p.strategy)),
                    Text(_pair(p)),
                    number(p.old),
                    number(p.new),
                    Text(f"{change} {MARKS[p.verdict]}", STYLES[p.verdict]),
                    str(p.seeds),
                    text.NONE if math.isnan(p.p) else "< 0.001" if p.p < 0.001 else f"{p.p:.3f}",
                )
        out += [Text(clean(" · ".join(group)), "bold"), table, Text()]
    rest = f"and {len(moved) - len(kept)} more" if len(moved) > len(kept) else ""
    note = "p is adjusted for the share of false discoveries over all pairs (Benjamini and Hochberg)."
    return [*out, Text(" · ".join(s for s in (rest, note) if s), "dim")]


def _pair(change: PairChange) -> str:
    return clean(f"{change.source} → {change.target}" if change.source else change.target)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim bold", show_edge=False)


def changes_json(found: Changes) -> dict[str, Any]:
    """The same as plain data, in the metric's own numbers; ``None`` where there is no number."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return value

    def line(item: Any) -> dict[str, Any]:
        said = asdict(item)
        change = said.pop("change")
        return {k: plain(v) for k, v in said.items()} | {
            "change": plain(change[0]), "low": plain(change[1]), "high": plain(change[2])
        }  # fmt: skip

    return {
        "differ": found.differ,
        "metric": found.metric,
        "matched": found.matched,
        "scored": found.scored,
        "same": found.same,
        "drifted": found.drifted,
        "one_seed": found.unseeded,
        "added": dict(found.added),
        "gone": dict(found.gone),
        "statuses": [
            {"old": a, "new": b, "strategy": who, "reason": why, "trials": n}
            for (a, b, who, why), n in found.statuses.items()
        ],
        "settings": [
            {"axis": axis, "label": label, "parameter": name, "old": a, "new": b}
            for axis, label, name, a, b in found.settings
        ],
        "data": list(found.data),
        "conditions": [{"name": name, "old": a, "new": b} for name, a, b in found.conditions],
        "strategies": [line(row) for row in found.rows],
        "pairs": [line(pair) for pair in found.pairs],
    }
