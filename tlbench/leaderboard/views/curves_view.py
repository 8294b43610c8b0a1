"""Learning curves in a terminal: a row for each strategy, drawn small on one scale, with its numbers at fixed steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from tlbench.leaderboard import text
from tlbench.leaderboard.text import clean
from tlbench.leaderboard.views.layout import folded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.curves import Curve, Curves
    from tlbench.leaderboard.statistics import Floats

WIDEST, NARROWEST = 40, 16
NAME = 24
MARKS = ((0.0, 0.1, 0.25, 0.5, 1.0), (0.0, 0.1, 0.25, 1.0), (0.0, 0.25, 1.0), (0.0, 1.0))
"""Shares of the longest curve at which numbers stand: as many as there is room for."""
BLOCKS = " ▁▂▃▄▅▆▇█"


def curves_view(board: Leaderboard, found: Sequence[Curves], width: int = 100) -> list[RenderableType]:
    """The curves for a terminal of so many columns, ready for ``Console.print``."""
    out: list[RenderableType] = []
    for one in found:
        out += [*_panel(board, one, width), Text()]
    return out


def _panel(board: Leaderboard, found: Curves, width: int) -> list[RenderableType]:
    where = _pair(found) if found.pair is not None else f"mean over {found.pairs} pair{'s' if found.pairs != 1 else ''}"
    head = Text.assemble((clean(found.title), "bold"), f"  {where}")
    if not found.each:
        return [head, Text("no learning curve that all these rows have", "dim")]
    number = _number(board)
    means = np.concatenate([c.mean for c in found.each])
    low, high = float(means.min()), float(means.max())
    unit = f"{clean(board.metric)}{' × 100' if board.points else ''}"
    about = f"{unit} against steps · drawn from {number(low)} to {number(high)} · brackets: {found.band}"
    notes = []
    if any(len(c.steps) == 1 for c in found.each):
        notes.append("Bars with gaps: trained without steps, so a level.")
    if found.left_out:
        notes.append(f"No curve here: {', '.join(map(clean, found.left_out))}.")
    return [
        head,
        Text(about, "dim"),
        _table(found, width, number, (low, high)),
        *([Text(" ".join(notes), "dim")] if notes else []),
    ]


def _pair(found: Curves) -> str:
    source, target = found.pair or ("", "")
    return clean(f"{source} → {target}" if source else target)


def _number(board: Leaderboard) -> Callable[[float], str]:
    scale, digits = (100, 1) if board.points else (1, 3)
    return lambda value: text.number(scale * value, digits)


def _table(found: Curves, width: int, number: Callable[[float], str], scale: tuple[float, float]) -> Table:
    longest = max((c.steps for c in found.each), key=lambda steps: float(steps[-1]))
    last = float(longest[-1])
    labels = [folded(clean(c.label), NAME) for c in found.each]
    name = max(8, *(max(map(len, label.split("\n"))) for label in labels))
    column = max(len(_numbers(c, float(s), number)[1]) for c in found.each for s in c.steps)
    column = max(column, 6) + 2
    room = width - name - 2
    fitting = (m for m in MARKS if room - len(m) * column >= NARROWEST + 2)
    marks = next(fitting, MARKS[-1]) if last > 0 else (0.0,)
    at = list(dict.fromkeys(_nearest(longest, share * last) for share in marks))
    wide = max(NARROWEST, min(WIDEST, room - len(at) * column - 2))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim bold", show_edge=False)
    table.add_column("strategy", no_wrap=True)
    ends = ("0", "100 % of steps" if found.by_share else f"{last:.0f} steps")
    table.add_column(ends[0] + ends[1].rjust(wide - 1), no_wrap=True)
    for step in at:
        heading = f"at {100 * step:.0f} %" if found.by_share else f"at {step:.0f}"
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for curve, label in zip(found.each, labels, strict=True):
        style = "dim" if curve.reference else ""
        level = len(curve.steps) == 1  # its one number stands at the end, beside the others' results
        said = [_numbers(curve, step, number) if not level or step == at[-1] else ("", "") for step in at]
        cells = [Text("\n").join((Text(top), Text(ends, "dim"))) for top, ends in said]
        name_style, line_style = ("", "") if curve.reference else ("bold", "cyan")
        table.add_row(Text(label, name_style), Text(drawn(curve, wide, last, scale), line_style), *cells, style=style)
    return table


def _nearest(steps: Floats, wanted: float) -> float:
    return float(steps[int(np.abs(steps - wanted).argmin())])


def _numbers(curve: Curve, step: float, number: Callable[[float], str]) -> tuple[str, str]:
    """The mean at an evaluation point and, below it, the ends of its band; a dash where the curve has no such point.

    A curve of one point is a level: its number stands for all steps.
    """
    at = np.flatnonzero(np.isclose(curve.steps, step)) if len(curve.steps) > 1 else np.zeros(1, dtype=np.int64)
    if not len(at):
        return text.NONE, ""
    mean, low, high = (float(values[at[0]]) for values in (curve.mean, curve.low, curve.high))
    return number(mean), f"[{number(low)}, {number(high)}]" if math.isfinite(low) else ""


def drawn(curve: Curve, width: int, last: float, scale: tuple[float, float], height: int = 2) -> str:
    """The curve as bars on ``height`` lines, even in its steps; of one point, a bar here and there: a level."""
    low, high = scale
    at = np.linspace(0.0, last, width)
    level = len(curve.steps) == 1
    there = np.arange(width) % 3 == 0 if level else at <= curve.steps[-1]
    share = (np.interp(at, curve.steps, curve.mean) - low) / ((high - low) or 1.0)
    eighths = np.where(there, np.rint(share * (8 * height - 3)).astype(int) + 1, 0)
    lines = [np.clip(eighths - 8 * row, 0, 8) for row in reversed(range(height))]
    return "\n".join("".join(BLOCKS[n] for n in line.tolist()) for line in lines)


def curves_json(board: Leaderboard, found: Sequence[Curves]) -> dict[str, Any]:
    """The same as plain data, in the metric's own numbers; ``None`` where there is no number."""

    def plain(values: Floats) -> list[float | None]:
        return [float(v) if math.isfinite(v) else None for v in values]

    return {
        "metric": board.metric,
        "groups": [
            {
                "title": one.title,
                "source": (one.pair[0] or None) if one.pair else None,
                "target": one.pair[1] if one.pair else None,
                "pairs": one.pairs,
                "band": one.band,
                "steps": "share of each curve's own" if one.by_share else "steps",
                "curves": [
                    {
                        "strategy": c.label,
                        "reference": c.reference,
                        "seeds": c.seeds,
                        "steps": plain(c.steps),
                        "mean": plain(c.mean),
                        "low": plain(c.low),
                        "high": plain(c.high),
                    }
                    for c in one.each
                ],
                "without_curve": list(one.left_out),
            }
            for one in found
        ],
    }
