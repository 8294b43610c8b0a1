"""The board in a terminal: a few tables for each group, then gains by source and target, then the notes.

Everything is said in signs and words; colour only adds to them. Nothing is left out: what has no room stands below.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from tlbench.leaderboard.columns import Cell
from tlbench.leaderboard.inference.leading import fair, lead
from tlbench.leaderboard.text import NONE, clean
from tlbench.leaderboard.views.layout import (
    GAP,
    LEGEND,
    NAMES,
    VERDICTS,
    WIDEST_NAME,
    Part,
    Shown,
    aligned_intervals,
    folded,
    groups_named,
    parts,
)
from tlbench.leaderboard.views.matrix_view import MOST_MATRICES, gain_matrices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.model import Group, Row
    from tlbench.leaderboard.notes import Note

TONES = {"good": "green", "bad": "red", "": ""}
COUNTS = {"▲": "green", "▼": "red", "·": ""}
MOST_GROUPS = 6
"""With more groups than this, the overview stands for their tables."""


def board_renderables(
    board: Leaderboard, width: int = 100, *, matrices: int = MOST_MATRICES, group: str | None = None
) -> list[RenderableType]:
    """The board for a terminal of so many columns, ready for ``Console.print``.

    Of several groups an overview first; of very many it alone, unless ``group`` asks for those whose title has it.
    At most ``matrices`` source × target matrices a group, and fewer where they are tall: all in their order where
    there is room, else that of the best row and those that hurt most.
    """
    out: list[RenderableType] = []
    marked = False
    groups = tuple(g for g in groups_named(board, group) if g.rows)
    brief = len(groups) > MOST_GROUPS and group is None
    if len(groups) > 2:
        out += [*overview(board, groups, width), Text()]
    for one in () if brief else groups:
        out += [_heading(board, one)]
        for part in parts(board, one, width):
            out += [*([Text(part.title, "dim italic")] if part.title else []), _part_table(part, width), Text()]
            marked = marked or any(c.key == VERDICTS for c in part.columns)
        shown = gain_matrices(board, one, width, matrices)
        marked = marked or bool(shown)
        out += shown
    if marked:
        out += [Text(LEGEND, "dim"), Text()]
    notes, left = _chosen_notes(board, groups, brief)
    if notes:
        out += [_notes(notes), Text()]
    if brief:
        more = f" {left} notes on what does not apply to a task are shown with it." if left else ""
        out += [Text(f"--group TEXT shows the tables of the tasks and backbones that have it in their title, "
                     f"--group '' of all.{more}", "dim"), Text()]  # fmt: skip
    if board.conditions:
        out.append(Text.assemble(*(clean(line) + "\n" for line in _conditions(board)), style="dim"))
    return out


def overview(board: Leaderboard, groups: Sequence[Group], width: int) -> list[RenderableType]:
    """A line for each group: its best strategy, whether it is clear of the next, and how many gain and lose."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim bold", show_edge=False)
    best_rows = [next(filter(fair, one.rows), None) for one in groups]
    gains = aligned_intervals([row.cells["gain"] if row else Cell() for row in best_rows])
    lines = [_line(board, *one) for one in zip(groups, best_rows, gains, strict=True)]
    fixed = [max(map(cell_len, (heading, *(line[i].plain for line in lines)))) for i, heading in _FIXED]
    room = max(32, width - sum(fixed) - GAP * (len(fixed) + 1))
    best = min(max([4, *(line[1].cell_len for line in lines)]), max(14, room * 2 // 5))
    table.add_column(
        "task · backbone", overflow="fold", width=min(max(line[0].cell_len for line in lines), room - best)
    )
    table.add_column("best", overflow="fold", width=best)
    for _, heading in _FIXED:
        table.add_column(heading, no_wrap=True, justify="right" if heading == "pairs" else "left")
    for name, label, *rest in lines:
        label.plain = folded(label.plain, best)
        table.add_row(name, label, *rest)
    note = "strategies: how many gain ▲, lose ▼, are undecided · over all pairs; *: clear of the next best"
    return [Text("overview", "bold"), table, Text(note, "dim")]


_FIXED = ((2, "transfer gain"), (3, "strategies"), (4, "pairs"))


def _line(board: Leaderboard, group: Group, best: Row | None, gain: str) -> tuple[Text, Text, Text, Text, Text]:
    rows = [row for row in group.rows if fair(row)]
    tones = Counter(row.cells["gain"].tone for row in rows)
    ahead = lead(board, group)
    clear = "*" if ahead is not None and ahead.real else ""
    counts = " ".join(f"{tones[tone]:2}{mark}" for tone, mark in (("good", "▲"), ("bad", "▼"), ("", "·")))
    if all(row.cells["gain"].low is None for row in rows):
        counts = f"{len(rows):2}, no interval" if rows else NONE
    return (
        Text(clean(group.title)),
        Text(clean(best.label) + clear if best else NONE, "bold"),
        Text(gain, TONES[best.cells["gain"].tone] if best else ""),
        Text(counts),
        Text(f"{group.pairs_compared}/{group.pairs_planned}"),
    )


def _chosen_notes(board: Leaderboard, groups: Sequence[Group], brief: bool) -> tuple[list[Note], int]:
    """The notes on these groups and on the whole board; and how many were left out as of no use without tables."""
    others = [g for g in board.groups if g not in groups]
    here = {clean(g.task) for g in groups}
    kept = []
    left = 0
    for note in board.notes:
        about = note.text.removeprefix("Not applicable to ")
        if about != note.text and brief:
            left += 1
        elif (
            about != note.text
            and any(about.startswith(f"{clean(g.task)}:") for g in others if clean(g.task) not in here)
        ) or any(note.text.startswith(f"{clean(g.title)}:") for g in others):
            continue
        else:
            kept.append(note)
    return kept, left


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


def _notes(notes: Sequence[Note]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    styles = {"failed": "red", "missing": "yellow", "oracle": "yellow", "pairs": "yellow"}
    for note in notes:
        table.add_row(Text(note.kind, styles.get(note.kind, "dim")), Text(note.text))
    return table


def _conditions(board: Leaderboard) -> list[str]:
    """Where and with what it was measured, on a line or two."""
    said = dict(board.conditions)
    lines = [[said.get("source")], [said.get("device"), said.get("seeds"), said.get("when")], [said.get("software")]]
    return [" · ".join(s for s in line if s) for line in lines if any(line)]
