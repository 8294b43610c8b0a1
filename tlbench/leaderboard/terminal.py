"""The board in a terminal: a table for each group, then gains by source and target, then the notes.

Everything is said in signs and words; colour only adds to them. What has no room is left out whole, and named.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from tlbench.leaderboard.text import clean, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.columns import Cell, Column
    from tlbench.leaderboard.model import Group, Matrix, Row

TONES = {"good": "green", "bad": "red", "": ""}
IN_TITLE = frozenset({"task", "backbone"})
WIDEST_NAME = 28
LEGEND = "▲ helps   ▼ hurts   no mark: undecided   · no such pair   ✗ missing"


def board_renderables(board: Leaderboard, width: int = 100, *, matrices: int = 2) -> list[RenderableType]:
    """The board for a terminal of so many columns, ready for ``Console.print``.

    At most ``matrices`` source × target matrices a group: that of the best row, then those that hurt most.
    """
    out: list[RenderableType] = []
    dropped: dict[str, None] = {}
    for group in board.groups:
        fitting = fitting_columns(board, group, width)
        dropped.update(
            (c.title, None) for c in board.columns if c not in fitting and _says(c, group) and c.key != "selection"
        )
        out += [_heading(board, group), _group_table(group, fitting), Text()]
        if matrices:
            out += gain_matrices(board, group, width, matrices)
    if dropped:
        names = ", ".join(dropped)
        out.append(Text(f"No room at {width} columns for: {names}. A wider terminal and the files have them.", "dim"))
    if board.notes:
        out.append(_notes(board))
    return out


def fitting_columns(board: Leaderboard, group: Group, width: int) -> list[Column]:
    """The columns that say something about this group and fit, the most important first to be chosen."""
    candidates = [c for c in board.columns if _says(c, group) and not (c.key == "selection" and _one_rule(group))]
    chosen: set[str] = set()
    left = width
    for column in sorted(candidates, key=lambda c: c.rank):
        need = _width(column, group) + 2
        if column.rank == 0 or need <= left:
            chosen.add(column.key)
            left -= need
    return [c for c in candidates if c.key in chosen]


def _one_rule(group: Group) -> bool:
    """Whether one selection rule chose all results; the heading says which."""
    return len({row.selection for row in group.rows}) == 1


def _says(column: Column, group: Group) -> bool:
    return column.key not in IN_TITLE and any(r.cells[column.key].value is not None for r in group.rows)


def _width(column: Column, group: Group) -> int:
    texts = _aligned(column, [r.cells[column.key] for r in group.rows])
    widest = max((cell_len(t) for t in texts), default=0)
    title = max(cell_len(word) for word in (column.heading or column.title).split())
    return max(min(widest, WIDEST_NAME) if not column.unit else widest, title)


def _aligned(column: Column, cells: Sequence[Cell]) -> list[str]:
    """Values under values and intervals under intervals."""
    if not column.interval:
        return [c.text for c in cells]
    parts = [c.text.partition(" [") for c in cells]
    values = max((cell_len(value) for value, bracket, _ in parts if bracket), default=0)
    lows = max((cell_len(rest.partition(", ")[0]) for _, bracket, rest in parts if bracket), default=0)
    highs = max((cell_len(rest.partition(", ")[2]) for _, bracket, rest in parts if bracket), default=0)
    out = []
    for value, bracket, rest in parts:
        low, _, high = rest.partition(", ")
        spread = f" [{low.rjust(lows)}, {high.rjust(highs)}" if bracket else ""
        out.append(value.rjust(values) + spread)
    widest = max((cell_len(t) for t in out), default=0)
    return [t.ljust(widest) for t in out]


def _heading(board: Leaderboard, group: Group) -> Text:
    unit = f"{board.metric}, in points (× 100)" if board.points else board.metric
    compared = f"{group.pairs_compared} of {group.pairs_planned} pairs compared"
    rule = f" · result: {clean(group.rows[0].selection)}" if _one_rule(group) and group.rows[0].selection else ""
    return Text.assemble((clean(group.title), "bold"), "\n", (f"{clean(unit)} · {compared}{rule}", "dim"))


def _group_table(group: Group, columns: Sequence[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim bold", show_edge=False)
    texts = {}
    for column in columns:
        texts[column.key] = _aligned(column, [r.cells[column.key] for r in group.rows])
        width = _width(column, group)
        title = column.title if cell_len(column.title) <= width else "\n".join((column.heading or column.title).split())
        table.add_column(
            Text(title),
            justify="right" if column.unit and not column.interval else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=width,
            vertical="bottom",
        )
    for i, row in enumerate(group.rows):
        table.add_row(*(_cell(row, c, texts[c.key][i]) for c in columns), style="dim" if row.reference else "")
    return table


def _cell(row: Row, column: Column, shown: str) -> Text:
    cell = row.cells[column.key]
    style = TONES[cell.tone]
    if column.key == "strategy" and not row.reference:
        style = "bold"
    if cell.mark and column.key == "selection":
        style = "yellow"
    return Text(shown, style=style)


def _notes(board: Leaderboard) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    styles = {"failed": "red", "missing": "yellow", "oracle": "yellow", "pairs": "yellow"}
    for note in board.notes:
        table.add_row(Text(note.kind, styles.get(note.kind, "dim")), Text(note.text))
    return table


# ---- source × target -----------------------------------------------------------------------------


def gain_matrices(board: Leaderboard, group: Group, width: int, most: int) -> list[RenderableType]:
    """The matrices of the best row and of those that hurt most, on one scale of colour."""
    rows = [r for r in group.rows if not r.reference and len(r.pairs.mean) and any(r.pairs.source)]
    if not rows or len(group.targets) * len(group.sources) < 2:
        return []
    worst_first = sorted(rows[1:], key=lambda r: float(r.pairs.mean.min()))
    shown = [board.matrix(group, r.label) for r in (rows[:1] + worst_first)[:most]]
    largest = max((float(abs(m.mean[m.state == "measured"]).max()) for m in shown), default=0.0)
    out: list[RenderableType] = []
    for matrix in shown:
        out.append(Text.assemble("gain of ", (clean(matrix.strategy), "bold"), ", sources down, targets across"))
        out += [*matrix_tables(matrix, largest, width, points=board.points), Text()]
    return [*out[:-1], Text(LEGEND, "dim"), Text()]


def matrix_tables(matrix: Matrix, largest: float, width: int, *, points: bool = True) -> list[Table]:
    """Sources down, targets across, as many tables as the width asks for; backgrounds scaled to ``largest``."""
    names = [clean(s) or "(no source)" for s in matrix.sources]
    first = min(max(map(cell_len, names)), 20) + 2
    count = len(matrix.targets)
    natural = min(max([8, *(cell_len(clean(t)) + 2 for t in matrix.targets)]), 20)
    # All in one table where that only shortens names; else as many of the same width as it takes.
    column = min(natural, max(10 if count * 10 > width - first else 8, (width - first) // count))
    blocks = math.ceil(count / max(1, (width - first) // column))
    each = math.ceil(count / blocks)
    tables = []
    for start in range(0, count, each):
        block = range(start, min(start + each, count))
        table = Table(box=None, pad_edge=False, padding=0, header_style="dim")
        table.add_column(Text(""), width=first, no_wrap=True, overflow="ellipsis")
        for j in block:
            header = Text(clean(matrix.targets[j]))
            header.truncate(column - 1, overflow="ellipsis")
            table.add_column(header, width=column, justify="center", no_wrap=True)
        for i, name in enumerate(names):
            table.add_row(Text(name), *(_gain(matrix, i, j, column, largest, points) for j in block))
        tables.append(table)
    return tables


def _gain(matrix: Matrix, i: int, j: int, width: int, largest: float, points: bool) -> Text:
    if matrix.state[i, j] != "measured":
        return Text({"missing": "✗", "none": "·"}[str(matrix.state[i, j])].center(width), "dim")
    mean = float(matrix.mean[i, j])
    mark = {"helps": "▲", "hurts": "▼"}.get(str(matrix.verdict[i, j]), " ")
    shown = number(100 * mean if points else mean, 1 if points else 3, signed=True)
    return Text(f"{shown:>{width - 4}} {mark}".ljust(width), style=_background(mean, largest))


def _background(mean: float, largest: float) -> str:
    """Green for gains and red for losses, from pale to deep; the text is black or white, whichever reads better."""
    depth = math.sqrt(min(abs(mean) / largest, 1.0)) if largest > 0 else 0.0
    pale, deep = ((236, 244, 238), (22, 110, 60)) if mean >= 0 else ((250, 238, 235), (165, 35, 35))
    red, green, blue = (round(p + (d - p) * depth) for p, d in zip(pale, deep, strict=True))
    light = 0.2126 * (red / 255) ** 2.2 + 0.7152 * (green / 255) ** 2.2 + 0.0722 * (blue / 255) ** 2.2
    # The names of colours are the terminal's own and may be grey; the numbers are not. 0.18: equal contrast with both.
    ink = "rgb(0,0,0)" if light > 0.18 else "rgb(255,255,255)"
    return f"{ink} on rgb({red},{green},{blue})"
