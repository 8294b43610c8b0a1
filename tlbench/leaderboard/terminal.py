"""The board in a terminal: a few tables for each group, then gains by source and target, then the notes.

Everything is said in signs and words; colour only adds to them. Nothing is left out: what has no room stands below.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from tlbench.leaderboard.layout import (
    GAP,
    LEGEND,
    MARKS,
    NAMES,
    VERDICTS,
    WIDEST_NAME,
    Part,
    Shown,
    chosen_rows,
    folded,
    parts,
    shorten,
)
from tlbench.leaderboard.text import NONE, clean, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.columns import Cell
    from tlbench.leaderboard.model import Group, Matrix, Row

TONES = {"good": "green", "bad": "red", "": ""}
COUNTS = {"▲": "green", "▼": "red", "·": ""}
MOST_MATRICES = 6
TALL = 24
"""So many lines of matrices a group, and never fewer than two matrices below each other."""
NARROWEST, WIDEST = 8, 14
"""The width of a target's column in a matrix."""


def board_renderables(board: Leaderboard, width: int = 100, *, matrices: int = MOST_MATRICES) -> list[RenderableType]:
    """The board for a terminal of so many columns, ready for ``Console.print``.

    At most ``matrices`` source × target matrices a group, and fewer where they are tall: all in their order where
    there is room, else that of the best row and those that hurt most.
    """
    out: list[RenderableType] = []
    marked = False
    for group in (g for g in board.groups if g.rows):
        out += [_heading(board, group)]
        for part in parts(board, group, width):
            out += [*([Text(part.title, "dim italic")] if part.title else []), _part_table(part, width), Text()]
            marked = marked or any(c.key == VERDICTS for c in part.columns)
        shown = gain_matrices(board, group, width, matrices)
        marked = marked or bool(shown)
        out += shown
    if marked:
        out += [Text(LEGEND, "dim"), Text()]
    if board.notes:
        out += [_notes(board), Text()]
    if board.conditions:
        out.append(Text.assemble(*(clean(line) + "\n" for line in _conditions(board)), style="dim"))
    return out


def _heading(board: Leaderboard, group: Group) -> Text:
    unit = f"{board.metric} × 100" if board.points else board.metric
    compared = f"{group.pairs_compared} of {group.pairs_planned} pairs compared"
    rules = {row.selection for row in group.rows}
    rule = f" · result: {clean(group.rows[0].selection)}" if len(rules) == 1 and group.rows[0].selection else ""
    against = f" · gain over {clean(group.against)}" if group.against else ""
    return Text.assemble((clean(group.title), "bold"), "\n", (f"{clean(unit)}{against} · {compared}{rule}", "dim"))


def _part_table(part: Part, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim bold", show_edge=False)
    others = sum(c.width + GAP for c in part.columns[1:])
    tall = max(column.heading.count("\n") for column in part.columns)
    for i, column in enumerate(part.columns):
        table.add_column(
            Text("\n" * (tall - column.heading.count("\n")) + column.heading),
            justify="right" if column.right else "left",
            overflow="fold",
            width=column.width if i else max(8, min(column.width, width - others)),
        )
    for i, row in enumerate(part.rows):
        style = "dim" if row.reference else ""
        cells = [_cell(row, column, i) for column in part.columns]
        for at, column in enumerate(part.columns):
            if column.key in NAMES:
                cells[at] = Text(folded(column.texts[i], table.columns[at].width or WIDEST_NAME), cells[at].style)
        table.add_row(*cells, style=style)
    return table


def _cell(row: Row, column: Shown, at: int) -> Text:
    cell, shown = column.cells[at], column.texts[at]
    if column.key == VERDICTS:
        return _counts(cell, shown)
    style = TONES[cell.tone]
    if column.key == "strategy" and not row.reference:
        style = "bold"
    if cell.mark and column.key == "selection":
        style = "yellow"
    return Text(shown, style=style)


def _counts(cell: Cell, shown: str) -> Text:
    """Each count in the colour of its mark, a count of none dim."""
    out = Text(shown)
    if cell.value is not None:
        start = 0
        for end, mark in ((i, c) for i, c in enumerate(shown) if c in COUNTS):
            none = shown[start:end].strip() == "0"
            out.stylize("dim" if none else COUNTS[mark], start, end + 1)
            start = end + 1
    return out


def _notes(board: Leaderboard) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    styles = {"failed": "red", "missing": "yellow", "oracle": "yellow", "pairs": "yellow"}
    for note in board.notes:
        table.add_row(Text(note.kind, styles.get(note.kind, "dim")), Text(note.text))
    return table


def _conditions(board: Leaderboard) -> list[str]:
    """Where and with what it was measured, on a line or two."""
    said = dict(board.conditions)
    lines = [[said.get("device"), said.get("seeds"), said.get("when")], [said.get("software")]]
    return [" · ".join(s for s in line if s) for line in lines if any(line)]


# ---- source × target -----------------------------------------------------------------------------


def gain_matrices(board: Leaderboard, group: Group, width: int, most: int = MOST_MATRICES) -> list[RenderableType]:
    """The matrices of a group side by side, on one scale of colour."""
    all_rows = chosen_rows(group, len(group.rows))
    if not all_rows or not most:
        return []
    matrix = board.matrix(group, all_rows[0].label)
    natural = max([NARROWEST, *(cell_len(clean(t)) + 2 for t in matrix.targets)])
    column = min(natural, WIDEST)
    first = _first(matrix)
    while column > NARROWEST + 1 and (width - first + GAP) // (len(matrix.targets) * column + GAP) < len(all_rows):
        column -= 1
    beside = max(1, (width - first + GAP) // (len(matrix.targets) * column + GAP))
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
