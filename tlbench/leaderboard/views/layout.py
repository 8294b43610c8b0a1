"""Layout: which columns stand together in which table, so that every number is seen, whatever the width.

The first table has what the board is about: gain, negative transfer, throughput, coverage. What it has no room for
follows in tables of its own, each with the strategy in front; nothing is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlbench.errors import TlbenchError
from tlbench.leaderboard import text
from tlbench.leaderboard.columns import Cell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.model import Group, Row

VERDICTS, NEGATIVE = "verdicts", "negative"
"""Columns of people's tables alone: three counts in one cell, and the rate of negative transfer without interval."""

MAIN = (
    "strategy",
    "selection",
    "score",
    "gain",
    "gain_here",
    VERDICTS,
    NEGATIVE,
    "training_rate",
    "inference_rate",
    "coverage",
)
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "ranks": ("mean_rank", "iqm"),
    "negative transfer": ("negative_rate", "depth", "worst_pair", "below_zero"),
    "learning curve": ("jump_start", "speed_up", "asymptote", "area_ratio"),
    "gain": ("gain_here", "gap_closed", "controlled", "relative", "retention"),
    "cost": ("inference_rate", "memory", "time", "cost", "cost_alone", "pareto"),
}
ELSEWHERE = frozenset({"helps", "hurts", "undecided", "recipe", "backbone", "task"})
"""Columns that people read in another place: in one cell of three counts, or in the title."""
MARKS: Mapping[str, str] = {"helps": "▲", "hurts": "▼", "undecided": "·"}
LEGEND = "▲ helps   ▼ hurts   · undecided   – no such pair   ✗ no result"
GAP = 2
WIDEST_NAME = 30
LONGEST_DOMAIN = 14
NAMES = frozenset({"strategy", "worst_pair"})


@dataclass(frozen=True, eq=False)
class Shown:
    """One column of a table as people see it. A name that is wider than ``width`` is to be folded."""

    key: str
    heading: str
    right: bool
    cells: tuple[Cell, ...]
    texts: tuple[str, ...]

    @property
    def width(self) -> int:
        widest = max(map(_cells, self.texts), default=0)
        title = max(map(_cells, self.heading.split("\n")))
        return max(min(widest, WIDEST_NAME) if self.key in NAMES else widest, title)


@dataclass(frozen=True, eq=False)
class Part:
    """One table: its rows, and its columns, of which the first is the strategy. ``title`` is empty for the first."""

    title: str
    rows: tuple[Row, ...]
    columns: tuple[Shown, ...]


def groups_named(board: Leaderboard, part: str | None) -> tuple[Group, ...]:
    """The groups whose title has this in it, in capitals or not; raises ``TlbenchError`` where there is none."""
    groups = tuple(g for g in board.groups if part is None or part.casefold() in g.title.casefold())
    if not groups and part is not None:
        titles = "; ".join(text.clean(g.title) for g in board.groups)
        raise TlbenchError(f"no task and backbone has {part!r} in its title. There are: {titles}")
    return groups


def parts(board: Leaderboard, group: Group, width: int) -> list[Part]:
    """The tables of a group: as few of this width as its columns need."""
    if not group.rows:
        return []
    narrowest = 14 if width < 96 else 22
    names = max(map(_cells, (r.label for r in group.rows)), default=0)
    left, below = (width - max(len("strategy"), min(names, n)) for n in (narrowest, narrowest + 10))
    rules = {r.selection for r in group.rows}
    main = [k for k in MAIN[1:] if k != "selection" or len(rules) > 1]
    short = _short_pairs(group)
    sections = {**SECTIONS, "more": _others(board)}
    columns = _columns(board, group.rows, {*main, *(k for keys in sections.values() for k in keys)}, short)
    main = [k for k in main if k in columns]
    for key in ("inference_rate", "gain_here"):
        if key in main and _need(columns, main) > left:
            main.remove(key)
    rest = {title: [k for k in keys if k in columns and k not in main] for title, keys in sections.items()}
    for wide in ("gap_closed", "negative_rate"):  # the first table takes these two where it can
        home = next(title for title, keys in SECTIONS.items() if wide in keys)
        wider = [wide if k == NEGATIVE and wide == "negative_rate" else k for k in main]
        if wide not in wider:
            before = [k for k in ("gain", "gain_here") if k in wider]
            wider.insert(wider.index(before[-1]) + 1 if before else 0, wide)
        if wide in rest[home] and _need(columns, wider) <= left:
            main = wider
            rest[home].remove(wide)
    tables: list[tuple[list[str], list[str]]] = [([], block) for block in _blocks(columns, main, left) or [[]]]
    for title, keys in rest.items():
        for block in _blocks(columns, keys, below):
            for i, (titles, taken) in enumerate(tables):
                if _need(columns, taken + block) <= (below if i else left):
                    taken += block
                    titles.append(title)
                    break
            else:
                tables.append(([title], block))
    out = []
    for i, (titles, keys) in enumerate(tables):
        rows = [r for r in group.rows if not i or any(_says(r, k) for k in keys)]
        shown = _columns(board, rows, set(keys), short)
        labels = tuple(text.clean(r.label) for r in rows)
        cells = tuple(Cell(label, text=label) for label in labels)
        title = " · ".join(dict.fromkeys(titles)) if i else ""
        out.append(Part(title, tuple(rows), (Shown("strategy", "strategy", False, cells, labels),
                                             *(shown[k] for k in keys))))  # fmt: skip
    return out


def _others(board: Leaderboard) -> tuple[str, ...]:
    """Columns that have no section: those of plugins."""
    placed = {*MAIN, *ELSEWHERE, *(k for keys in SECTIONS.values() for k in keys)}
    return tuple(c.key for c in board.columns if c.key not in placed)


def _blocks(columns: Mapping[str, Shown], keys: Sequence[str], left: int) -> list[list[str]]:
    """A section's columns in one block, or in as many as the width asks for."""
    out: list[list[str]] = []
    for key in keys:
        if out and _need(columns, [*out[-1], key]) <= left:
            out[-1].append(key)
        else:
            out.append([key])
    return out


def _need(columns: Mapping[str, Shown], keys: Sequence[str]) -> int:
    return sum(columns[k].width + GAP for k in keys)


def _says(row: Row, key: str) -> bool:
    cell = _composite(key, row) or row.cells[key]
    return cell.value is not None or bool(cell.mark)


def chosen_rows(group: Group, most: int) -> list[Row]:
    """The rows whose matrices are shown: all in their order where there is room, else the best and the worst."""
    rows = [r for r in group.rows if not r.reference and len(r.pairs.mean) and any(r.pairs.source)]
    if len(group.targets) * len(group.sources) < 2 or not most:
        return []
    if len(rows) > most:
        kept = rows[:1] + sorted(rows[1:], key=lambda r: float(r.pairs.mean.min()))[: most - 1]
        rows = [r for r in rows if r in kept]
    return rows


# ---- cells ---------------------------------------------------------------------------------------


def shown_columns(board: Leaderboard, group: Group, keys: Sequence[str]) -> list[Shown]:
    """Those of the wanted columns, in their order, that say something about the group."""
    rules = {r.selection for r in group.rows}
    found = _columns(board, group.rows, set(keys))
    return [found[k] for k in keys if k in found and (k != "selection" or len(rules) > 1)]


def _columns(
    board: Leaderboard, rows: Sequence[Row], keys: set[str], short: Mapping[str, str] | None = None
) -> dict[str, Shown]:
    """Those of the wanted columns that say something about these rows; ``short`` has shorter names of pairs."""
    out = {}
    known = {c.key: c for c in board.columns}
    for key in keys:
        cells = tuple(_composite(key, row) or row.cells[key] for row in rows)
        if (key not in known and key not in _COMPOSITES) or not any(_says(row, key) for row in rows):
            continue
        if key in _COMPOSITES:
            heading = {VERDICTS: "pairs", NEGATIVE: "negative\ntransfer"}[key]
            out[key] = Shown(key, heading, key == NEGATIVE, cells, _aligned(key, cells))
            continue
        column, texts = known[key], _aligned(key if known[key].interval else "", cells)
        if key == "worst_pair" and short:
            names = [str(c.value or "") for c in cells]
            texts = tuple(short.get(n, n) + c.text.removeprefix(n) for n, c in zip(names, cells, strict=True))
        widest = max(map(_cells, texts), default=0)
        heading = column.title if _cells(column.title) <= widest else column.heading or _two_lines(column.title)
        out[key] = Shown(key, heading, bool(column.unit) and not column.interval, cells, texts)
    return out


def _two_lines(title: str) -> str:
    """A title on two lines of about the same length."""
    words = title.split()
    splits = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    return "\n".join(min(splits, key=lambda s: max(map(len, s)))) if splits else title


def _verdicts(row: Row) -> Cell:
    counts = {which: row.cells[which].value for which in MARKS}
    if any(n is None for n in counts.values()):
        return Cell()
    shown = " ".join(f"{n:.0f}{MARKS[which]}" for which, n in counts.items())
    return Cell(shown, text=shown)


def _negative(row: Row) -> Cell:
    cell = row.cells["negative_rate"]
    if not isinstance(cell.value, float):
        return Cell()
    return Cell(cell.value, text=text.share(cell.value), tone="bad" if cell.value else "")


_COMPOSITES: Mapping[str, Callable[[Row], Cell]] = {VERDICTS: _verdicts, NEGATIVE: _negative}


def _composite(key: str, row: Row) -> Cell | None:
    return _COMPOSITES[key](row) if key in _COMPOSITES else None


def _aligned(key: str, cells: Sequence[Cell]) -> tuple[str, ...]:
    """Values under values, intervals under intervals, counts under counts."""
    if not key or key == NEGATIVE:
        return tuple(c.text for c in cells)
    if key == VERDICTS:
        counts = [c.text.split(" ") if c.value is not None else [] for c in cells]
        wide = [max((len(n[i]) for n in counts if n), default=0) for i in range(3)]
        lines = [" ".join(n.rjust(w) for n, w in zip(its, wide, strict=False)) or text.NONE for its in counts]
    else:
        return aligned_intervals(cells)
    widest = max(map(_cells, lines), default=0)
    return tuple(line.ljust(widest) for line in lines)


def aligned_intervals(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Values under values and the ends of intervals under each other, all of one width."""
    split = [c.text.partition(" [") for c in cells]
    numbers = [c.value is not None for c in cells]
    values = max((_cells(value) for (value, *_), there in zip(split, numbers, strict=True) if there), default=0)
    lows = max((_cells(rest.partition(", ")[0]) for _, bracket, rest in split if bracket), default=0)
    highs = max((_cells(rest.partition(", ")[2]) for _, bracket, rest in split if bracket), default=0)
    lines = []
    for (value, bracket, rest), there in zip(split, numbers, strict=True):
        low, _, high = rest.partition(", ")
        lines.append(
            value.rjust(values if there else 0) + (f" [{low.rjust(lows)}, {high.rjust(highs)}" if bracket else "")
        )
    widest = max(map(_cells, lines), default=0)
    return tuple(line.ljust(widest) for line in lines)


def _cells(shown: str) -> int:
    from rich.cells import cell_len

    return cell_len(shown)


def _short_pairs(group: Group) -> dict[str, str]:
    """Each pair's name as the column of worst pairs has it, with shorter names of its domains."""
    sources = dict(zip(group.sources, shorten(group.sources, LONGEST_DOMAIN), strict=True))
    targets = dict(zip(group.targets, shorten(group.targets, LONGEST_DOMAIN), strict=True))
    pairs = {pair for row in group.rows for pair in row.planned_pairs}
    return {
        text.clean(f"{s} → {t}" if s else t): f"{sources[s]} → {targets[t]}" if s else targets[t]
        for s, t in pairs
        if t in targets and (not s or s in sources)
    }


# ---- names ---------------------------------------------------------------------------------------


def shorten(names: Sequence[str], width: int) -> list[str]:
    """Names of at most ``width`` cells that still differ: what all begin and end with goes first, then the middle.

    >>> shorten(["digits(shift=noisy)", "digits(shift=rotated)"], 10)
    ['…noisy', '…rotated']
    """
    names = [text.clean(name) for name in names]
    if not names or all(_cells(name) <= width for name in names):
        return names
    if len(set(names)) > 1:
        head = _common(names)
        while head and any(n[head - 1 : head].isalnum() and n[head : head + 1].isalnum() for n in names):
            head -= 1  # not inside a word
        tail = _common([n[head:][::-1] for n in names])
        while tail and any(n[-tail].isalnum() and n[-tail - 1 : -tail].isalnum() for n in names):
            tail -= 1
        cut = ["…" * (head > 1) + n[head * (head > 1) : len(n) - tail] for n in names]
        if len(set(cut)) == len(set(names)):
            names = cut
    return [_middle(name, width) for name in names]


def folded(name: str, width: int) -> str:
    """A name on lines of at most ``width`` cells, broken after spaces, commas and brackets where it can be."""
    lines = [""]
    for word in re.findall(r"[^\s(,]*[(,]?\s*", name):
        if lines[-1] and _cells((lines[-1] + word).rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def _common(names: Sequence[str]) -> int:
    """How many characters all begin with."""
    return next((i for i, chars in enumerate(zip(*names, strict=False)) if len(set(chars)) > 1), min(map(len, names)))


def _middle(name: str, width: int) -> str:
    """A long name without its middle."""
    if _cells(name) <= width:
        return name
    head, tail = name, ""
    while _cells(head) + _cells(tail) + 1 > width and head:
        if _cells(tail) < (width - 1) // 2:
            tail = name[len(name) - len(tail) - 1 :]
            head = head[: len(name) - len(tail)]
        else:
            head = head[:-1]
    return f"{head}…{tail}"
