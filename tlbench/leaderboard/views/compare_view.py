"""A comparison for people: what holds over all pairs, each pair with its interval drawn, costs side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from tlbench.leaderboard import text
from tlbench.leaderboard.text import clean
from tlbench.leaderboard.views.layout import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import RenderableType

    from tlbench.leaderboard.compare import Comparison, Comparisons, Side
    from tlbench.leaderboard.statistics import Estimate, Floats

MARKS: Mapping[str, str] = {"better": "▲", "worse": "▼", "undecided": "·"}
STYLES: Mapping[str, str] = {"better": "green", "worse": "red", "undecided": ""}
NARROWEST_PLOT, WIDEST_PLOT = 15, 41
WIDEST_NAME = 18
COSTS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("training_rate", "training examples/s", text.rate),
    ("inference_rate", "inference examples/s", text.rate),
    ("memory", "peak memory", text.size),
    ("time", "time per trial", text.duration),
    ("cost", "cost to result", text.duration),
    ("cost_alone", "cost if alone", text.duration),
)


def comparison_view(found: Comparisons, width: int = 100) -> list[RenderableType]:
    """The comparison for a terminal of so many columns, ready for ``Console.print``."""
    out: list[RenderableType] = [
        Text.assemble((clean(found.a), "bold"), " against ", (clean(found.b), "bold")),
        Text(f"{_unit(found)} · difference: above 0 where {clean(found.a)} is better · intervals: 95 %", "dim"),
        Text(),
    ]
    if len(found.each) > 1:
        out += [_summary(found, width), Text()]
    for one in found.each:
        out += _one(found, one, width)
    if found.lacking:
        said = "; ".join(f"{clean(title)}: {clean(why)}" for title, why in found.lacking.items())
        out.append(Text(f"Not compared: {said}.", "dim"))
    return out


def _unit(found: Comparisons) -> str:
    direction = "" if found.higher_is_better else " (lower is better)"
    return f"{clean(found.metric)}{' × 100' if found.points else ''}{direction}"


def _number(found: Comparisons, signed: bool = False) -> Callable[[float], str]:
    scale, digits = (100, 1) if found.points else (1, 3)
    return lambda value: text.number(scale * value, digits, signed)


def _summary(found: Comparisons, width: int) -> Table:
    """A line for each task and backbone."""
    table = _table()
    table.add_column("", overflow="fold", max_width=max(16, width - 44))
    for heading, justify in (("difference", "left"), ("pairs", "left"), ("", "left")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    shown = intervals([one.overall for one in found.each], _number(found, signed=True))
    counts = _aligned([[str(_count(one, which)) + mark for which, mark in MARKS.items()] for one in found.each])
    for one, difference, count in zip(found.each, shown, counts, strict=True):
        style = STYLES[one.verdict]
        table.add_row(Text(clean(one.title)), Text(difference, style), Text(count), Text(one.verdict, style))
    return table


def _one(found: Comparisons, one: Comparison, width: int) -> list[RenderableType]:
    number = _number(found, signed=True)
    overall = _interval(one.overall, number)
    seeds = sorted(set(one.pairs.seeds.tolist()))
    lines: list[tuple[str, Text]] = [
        ("overall", Text(f"{overall}  {_said(one)}", STYLES[one.verdict])),
        *(
            [("these pairs", Text(f"{_interval(one.here, number)}  under other seeds"))]
            if len(one.pairs.mean) > 1 and math.isfinite(one.here.low)
            else []
        ),
        ("pairs", Text("   ".join(f"{m} {_count(one, w)} {w}" for w, m in MARKS.items()))),
        ("tests", Text(_tests(one))),
    ]
    unused = [f"{n} of {clean(s.label)}" for s, n in ((one.a, one.alone_a), (one.b, one.alone_b)) if n]
    if unused:
        lines.append(("not used", Text(f"{' and '.join(unused)}: the other has no such result", "yellow")))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, line in lines:
        grid.add_row(name, line)
    count = len(one.pairs.mean)
    per_pair = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    about = f"{count} pair{'s' if count > 1 else ''}, {per_pair} seed{'s' if seeds[-1] > 1 else ''} each"
    return [
        Text.assemble((clean(one.title), "bold"), (f"  {about}", "dim")),
        grid,
        Text(),
        _pairs(found, one, width),
        Text(),
        _costs(one),
        Text(),
    ]


def _said(one: Comparison) -> str:
    """The verdict in words."""
    if not math.isfinite(one.overall.low):
        return "one seed gives no interval and no verdict"
    if one.verdict == "undecided":
        return "undecided: the interval has 0 in it"
    return f"{clean(one.a.label)} is {one.verdict}"


def _tests(one: Comparison) -> str:
    means = one.pairs.mean
    if len(means) < 2:
        return "none: they need several pairs"
    above, differ = int((means > 0).sum()), int((means != 0).sum())
    if not differ:
        return "none: no pair differs"
    said = f"sign p = {_p(one.sign)} ({above} of {differ} pairs above 0) · Wilcoxon p = {_p(one.wilcoxon)}"
    least = 2.0 ** (1 - differ)
    return said + (f"; no p below {_p(least)} from {differ} pairs" if least > 0.05 else "")


def _p(value: float) -> str:
    return text.NONE if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _pairs(found: Comparisons, one: Comparison, width: int) -> Table:
    """Each pair, the best for A first, with as wide a drawing of its interval as there is room for."""
    pairs = one.pairs
    order = sorted(range(len(pairs.mean)), key=lambda q: (-float(pairs.mean[q]), q))
    number = _number(found)
    columns: list[tuple[str, str, list[Text]]] = []
    if any(pairs.source):
        columns.append(("source", "left", _names([pairs.source[q] or "(none)" for q in order])))
    columns.append(("target", "left", _names([pairs.target[q] for q in order])))
    headings = shorten([one.a.label, one.b.label], 14)
    for heading, side in zip(headings, (one.a, one.b), strict=True):
        columns.append((heading, "right", [Text(number(float(side.scores[q]))) for q in order]))
    estimates = [_estimate(one, q) for q in order]
    styles = [STYLES[pairs.verdict[q]] for q in order]
    marks = [MARKS[pairs.verdict[q]] if math.isfinite(float(pairs.low[q])) else " " for q in order]
    shown = intervals(estimates, _number(found, signed=True))
    columns.append(("difference", "left", [Text(f"{d} {m}", s) for d, m, s in zip(shown, marks, styles, strict=True)]))
    if len(set(pairs.seeds.tolist())) > 1:
        columns.append(("seeds", "right", [Text(str(int(pairs.seeds[q])), "dim") for q in order]))
    taken = sum(max(cell_len(h), *(t.cell_len for t in cells)) + 2 for h, _, cells in columns)
    room = min(width - taken, WIDEST_PLOT)
    if room >= NARROWEST_PLOT:
        drawn, scale = drawings(estimates, room)
        heading = scale if found.points else "0".center(room)
        columns.append((heading, "left", [_drawn(d, s) for d, s in zip(drawn, styles, strict=True)]))
    table = _table()
    for heading, justify, _ in columns:
        table.add_column(Text(heading), justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for cells in zip(*(cells for _, _, cells in columns), strict=True):
        table.add_row(*cells)
    return table


def _drawn(line: str, style: str) -> Text:
    out = Text(line, style)
    if "│" in line:
        out.stylize("not bold dim default", line.index("│"), line.index("│") + 1)
    return out


def _names(names: Sequence[str]) -> list[Text]:
    return [Text(name) for name in shorten(names, WIDEST_NAME)]


def _estimate(one: Comparison, q: int) -> Estimate:
    from tlbench.leaderboard.statistics import Estimate

    return Estimate(*(float(values[q]) for values in (one.pairs.mean, one.pairs.low, one.pairs.high)))


def drawings(estimates: Sequence[Estimate], width: int) -> tuple[list[str], str]:
    """Each estimate as ``╶──●──╴`` about a common 0, and the heading with the ends of the scale in points.

    An end that lies outside the scale is drawn as ``◀`` or ``▶``.
    """
    half = (width - 1) // 2
    ends = sorted(abs(v) for e in estimates for v in e if math.isfinite(v))
    # One wide interval must not flatten all others: the scale holds every mean, and three in four of the ends.
    reach = 1.05 * max([*(abs(e.value) for e in estimates), ends[int(0.75 * (len(ends) - 1))]]) or 1.0

    def place(value: float) -> int:
        return half + round(value / reach * half)

    lines = []
    for estimate in estimates:
        cells = [" "] * (2 * half + 1)
        cells[half] = "│"
        if math.isfinite(estimate.low):
            low, high = place(estimate.low), place(estimate.high)
            for at in range(max(low, 0), min(high, 2 * half) + 1):
                cells[at] = "┼" if at == half else "─"
            if low < 0:
                cells[0] = "◀"
            elif cells[low] == "─":
                cells[low] = "╶"
            if high > 2 * half:
                cells[-1] = "▶"
            elif cells[high] == "─":
                cells[high] = "╴"
        cells[place(estimate.value)] = "●"
        lines.append("".join(cells))
    left, right = text.number(-100 * reach, 1), text.number(100 * reach, 1, signed=True)
    gap = max(2 * half + 1 - len(left) - len(right), 1)
    middle = "0".rjust(max(half - len(left) + 1, 1)).ljust(gap)
    return lines, f"{left}{middle}{right}"


def _costs(one: Comparison) -> Table:
    table = _table()
    table.add_column("cost", no_wrap=True)
    for label in shorten([one.a.label, one.b.label], 24):
        table.add_column(Text(label), justify="right", no_wrap=True)
    table.add_column(Text("ratio"), justify="right", no_wrap=True)
    several = set(one.a.devices) != set(one.b.devices) or len(one.a.devices) > 1
    for key, title, show in COSTS:
        a, b = (side.costs.get(key, math.nan) for side in (one.a, one.b))
        if math.isnan(a) and math.isnan(b):
            continue
        fair = not several and math.isfinite(a) and math.isfinite(b) and b > 0
        table.add_row(title, show(a), show(b), text.ratio(a / b) if fair else text.NONE)
    if several:
        table.caption = Text(f"No ratios: on different devices ({_devices(one.a)} and {_devices(one.b)})", "dim")
        table.caption_justify = "left"
    return table


def _devices(side: Side) -> str:
    return clean(", ".join(side.devices)) or "an unknown one"


def _count(one: Comparison, which: str) -> int:
    return one.pairs.verdict.count(which)


def _interval(estimate: Estimate, number: Callable[[float], str]) -> str:
    if not math.isfinite(estimate.low):
        return number(estimate.value)
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def intervals(estimates: Sequence[Estimate], number: Callable[[float], str]) -> list[str]:
    """``+1.2 [−0.3, +2.7]``, values below values and ends below ends."""
    parts = [[number(v) if math.isfinite(v) else "" for v in e] for e in estimates]
    wide = [max((len(p[i]) for p in parts), default=0) for i in range(3)]
    lines = []
    for value, low, high in parts:
        ends = f" [{low.rjust(wide[1])}, {high.rjust(wide[2])}]" if low else ""
        lines.append(value.rjust(wide[0]) + ends)
    widest = max(map(len, lines), default=0)
    return [line.ljust(widest) for line in lines]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [" ".join(cell.rjust(w) for cell, w in zip(row, wide, strict=True)) for row in rows]


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim bold", show_edge=False)


def comparison_json(found: Comparisons) -> dict[str, Any]:
    """The same as plain data, in the metric's own numbers; ``None`` where there is no number."""

    def plain(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    def side(of: Side) -> dict[str, Any]:
        return {"strategy": of.label, "score": plain(of.score), "costs": dict(of.costs), "devices": list(of.devices)}

    def lines(one: Comparison) -> list[dict[str, Any]]:
        p = one.pairs
        numbers: Mapping[str, Floats] = {
            "score_a": one.a.scores,
            "score_b": one.b.scores,
            "difference": p.mean,
            "low": p.low,
            "high": p.high,
        }
        return [
            {"source": p.source[q] or None, "target": p.target[q]}
            | {name: plain(values[q]) for name, values in numbers.items()}
            | {"seeds": int(p.seeds[q]), "verdict": p.verdict[q]}
            for q in range(len(p.mean))
        ]

    return {
        "a": found.a,
        "b": found.b,
        "metric": found.metric,
        "groups": [
            {
                "task": one.task,
                "backbone": one.backbone,
                "recipe": one.recipe or None,
                "difference": plain(one.overall.value),
                "low": plain(one.overall.low),
                "high": plain(one.overall.high),
                "here": {"low": plain(one.here.low), "high": plain(one.here.high)},
                "verdict": one.verdict,
                "sign_p": plain(one.sign),
                "wilcoxon_p": plain(one.wilcoxon),
                "a": side(one.a),
                "b": side(one.b),
                "pairs": lines(one),
                "unused": {"a": one.alone_a, "b": one.alone_b},
            }
            for one in found.each
        ],
        "not_compared": dict(found.lacking),
    }
