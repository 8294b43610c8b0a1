"""Gains by source and target in a terminal: matrices of several strategies side by side, on one scale of colour."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from tlbench.leaderboard.text import NONE, clean, number
from tlbench.leaderboard.views.layout import GAP, MARKS, chosen_rows, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.model import Group, Matrix

MOST_MATRICES = 6
TALL = 24
"""So many lines of matrices a group, and never fewer than two matrices below each other."""
NARROWEST, WIDEST = 8, 14
"""The width of a target's column in a matrix."""


def gain_matrices(board: Leaderboard, group: Group, width: int, most: int = MOST_MATRICES) -> list[RenderableType]:
    """The matrices of a group side by side, on one scale of colour."""
    all_rows = chosen_rows(group, len(group.rows))
    if not all_rows or not most:
        return []
    matrix = board.matrix(group, all_rows[0].label)
    natural = max([NARROWEST, *(cell_len(clean(t)) + 2 for t in matrix.targets)])
    first = _first(matrix)
    # As many beside each other as there can be, and then as wide as that allows.
    beside, column = max(
        (min(max(1, (width - first + GAP) // (len(matrix.targets) * wide + GAP)), len(all_rows)), wide)
        for wide in range(NARROWEST, min(natural, WIDEST) + 1)
        if first + len(matrix.targets) * wide <= width or wide == NARROWEST
    )
    lines = max(2, TALL // (len(matrix.sources) + 3))
    rows = chosen_rows(group, min(most, lines * beside))
    shown = [board.matrix(group, r.label) for r in rows]
    largest = max((float(abs(m.mean[m.state == "measured"]).max()) for m in shown), default=0.0)
    left_out = f", {len(rows)} of {len(all_rows)} strategies" if len(rows) < len(all_rows) else ""
    out: list[RenderableType] = [Text(f"gain by source (down) and target (across){left_out}", "dim italic")]
    if first + len(matrix.targets) * column > width:  # too wide for one line: each in blocks
        for m in shown:
            out.append(Text(clean(m.strategy), "bold"))
            out += matrix_tables(m, largest, width, points=board.points)
            out.append(Text())
        return out
    for start in range(0, len(shown), beside):
        out += [_side_by_side(shown[start : start + beside], first, column, largest, board.points), Text()]
    return out


def _first(matrix: Matrix) -> int:
    return max(map(cell_len, shorten([s or "(no source)" for s in matrix.sources], 20))) + GAP


def _side_by_side(matrices: Sequence[Matrix], first: int, column: int, largest: float, points: bool) -> Table:
    """The sources once, and then each strategy's targets below its name."""
    grid = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    names = Table.grid(padding=0)
    names.add_column(width=first - GAP, no_wrap=True)
    for name in ["", "", *shorten([s or "(no source)" for s in matrices[0].sources], first - GAP)]:
        names.add_row(Text(name))
    tables = [names]
    for matrix in matrices:
        wide = column * len(matrix.targets)
        own = Table.grid(padding=0)
        own.add_column(width=wide, no_wrap=True)
        own.add_row(Text(shorten([matrix.strategy], wide)[0], "bold"))
        own.add_row(Text("".join(_centred(t, column) for t in shorten(matrix.targets, column - 1)), "dim"))
        for i in range(len(matrix.sources)):
            line = (_gain(matrix, i, j, column, largest, points) for j in range(len(matrix.targets)))
            own.add_row(Text.assemble(*line))
        tables.append(own)
    for table in tables:
        grid.add_column(width=sum(c.width or 0 for c in table.columns), no_wrap=True)
    grid.add_row(*tables)
    return grid


def _centred(name: str, width: int) -> str:
    spare = width - cell_len(name)
    return " " * (spare // 2) + name + " " * (spare - spare // 2)


def matrix_tables(matrix: Matrix, largest: float, width: int, *, points: bool = True) -> list[Table]:
    """Sources down, targets across, as many tables as the width asks for; backgrounds scaled to ``largest``."""
    first = _first(matrix)
    names = shorten([s or "(no source)" for s in matrix.sources], first - GAP)
    count = len(matrix.targets)
    natural = min(max([NARROWEST, *(cell_len(clean(t)) + 2 for t in matrix.targets)]), 20)
    # All in one table where that only shortens names; else as many of the same width as it takes.
    column = min(natural, max(10 if count * 10 > width - first else NARROWEST, (width - first) // count))
    blocks = math.ceil(count / max(1, (width - first) // column))
    each = math.ceil(count / blocks)
    targets = shorten(matrix.targets, column - 1)
    tables = []
    for start in range(0, count, each):
        block = range(start, min(start + each, count))
        table = Table(box=None, pad_edge=False, padding=0, header_style="dim")
        table.add_column(Text(""), width=first, no_wrap=True)
        for j in block:
            table.add_column(Text(targets[j]), width=column, justify="center", no_wrap=True)
        for i, name in enumerate(names):
            table.add_row(Text(name), *(_gain(matrix, i, j, column, largest, points) for j in block))
        tables.append(table)
    return tables


def _gain(matrix: Matrix, i: int, j: int, width: int, largest: float, points: bool) -> Text:
    if matrix.state[i, j] != "measured":
        return Text({"missing": "✗", "none": NONE}[str(matrix.state[i, j])].center(width), "dim")
    mean = float(matrix.mean[i, j])
    judged = math.isfinite(float(matrix.low[i, j]))
    mark = MARKS[str(matrix.verdict[i, j])] if judged else " "
    shown = number(100 * mean if points else mean, 1 if points else 3, signed=True)
    return Text(f"{shown:>{width - 3}} {mark}".ljust(width), style=_background(mean, largest))


def _background(mean: float, largest: float) -> str:
    """Green for gains and red for losses, from pale to deep; the text is black or white, whichever reads better."""
    depth = math.sqrt(min(abs(mean) / largest, 1.0)) if largest > 0 else 0.0
    pale, deep = ((236, 244, 238), (22, 110, 60)) if mean >= 0 else ((250, 238, 235), (165, 35, 35))
    red, green, blue = (round(p + (d - p) * depth) for p, d in zip(pale, deep, strict=True))
    light = 0.2126 * (red / 255) ** 2.2 + 0.7152 * (green / 255) ** 2.2 + 0.0722 * (blue / 255) ** 2.2
    # The names of colours are the terminal's own and may be grey; the numbers are not. 0.18: equal contrast with both.
    ink = "rgb(0,0,0)" if light > 0.18 else "rgb(255,255,255)"
    return f"{ink} on rgb({red},{green},{blue})"
