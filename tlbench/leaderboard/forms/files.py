"""Files: the board as Markdown, CSV, JSON and Parquet. Names in it are untrusted and made harmless for each form."""

from __future__ import annotations

import contextlib
import json
import math
import os
from typing import TYPE_CHECKING, Any

from tlbench.errors import StoreError
from tlbench.leaderboard import text
from tlbench.leaderboard.views.layout import ELSEWHERE, MARKS, SECTIONS, VERDICTS, Shown, chosen_rows, shown_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.columns import Cell
    from tlbench.leaderboard.model import Group, Matrix, Row

JSON_VERSION = 1
MOST_MATRICES = 12


def write(path: Path, put: Callable[[Path], object]) -> Path:
    """Write a file whole or not at all. Raises ``StoreError`` where it cannot be written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put(part)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            part.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def write_text(path: Path, content: str) -> Path:
    """Write a text file whole or not at all, as UTF-8. Raises ``StoreError`` where it cannot be written."""
    return write(path, lambda part: part.write_text(content, encoding="utf-8"))


MARKED = "In bold: gains whose whole interval is above zero. ▲ helps, ▼ hurts: the 95 % interval over the seeds of a \
pair lies on one side of zero; · undecided; – no such pair; ✗ no result."
MARKDOWN: Mapping[str, tuple[str, ...]] = {
    "": (
        *("selection", "score", "gain", "gain_here", "gap_closed", VERDICTS, "negative_rate"),
        *("training_rate", "inference_rate", "coverage"),
    ),
    "Negative transfer and learning curve": (
        *("depth", "worst_pair", "below_zero", "relative", "retention"),
        *SECTIONS["learning curve"],
    ),
    "Ranks": (*SECTIONS["ranks"], "controlled"),
    "Cost": ("training_rate", *SECTIONS["cost"]),
}

# ---- Markdown ------------------------------------------------------------------------------------


def to_markdown(board: Leaderboard) -> str:
    """Three tables a group (transfer, learning curve, cost), its matrices, notes, conditions, what the columns mean."""
    said = dict(board.conditions)
    suite = f" of {text.markdown(said['suite'])}" if "suite" in said else ""
    lines = [f"# Leaderboard{suite}", ""]
    score = f"Score: {text.markdown(board.metric)}" + (", in points (× 100)." if board.points else ".")
    lines += [f"{score} {MARKED}"]
    for group in (g for g in board.groups if g.rows):
        against = f"gain over {text.markdown(group.against)}, " if group.against else ""
        compared = f"{group.pairs_compared} of {group.pairs_planned} pairs"
        lines += ["", f"## {text.markdown(group.title)}", ""]
        lines += [f"Ordered by transfer {against or 'gain, '}on {compared}."]
        for title, keys in (*MARKDOWN.items(), ("More", _others(board))):
            table = _rows(board, group, keys)
            if table:
                lines += ["", *([f"### {title}", ""] if title else []), *table]
        rows = chosen_rows(group, MOST_MATRICES)
        if rows:
            lines += ["", "### Gain by source (down) and target (across)"]
        for row in rows:
            lines += ["", *_matrix(board.matrix(group, row.label), board.points)]
        others = len(chosen_rows(group, len(group.rows))) - len(rows)
        if others:
            lines += ["", f"The gains of {others} other strategies by pair are in the other files."]
    if board.notes:
        lines += ["", "## Notes", "", *(f"- {text.markdown(note.text)}" for note in board.notes)]
    if board.conditions:
        lines += ["", "## Conditions of measurement", ""]
        lines += _table(
            ["condition", "value"], [False, False], [[n, text.markdown(value)] for n, value in board.conditions]
        )
    lines += ["", "## Columns", ""]
    lines += _table(
        ["column", "unit", "meaning"],
        [False, False, False],
        [[c.title, c.unit, text.markdown(c.doc)] for c in board.columns if c.key not in {"recipe", "backbone", "task"}],
    )
    return "\n".join(lines) + "\n"


def _others(board: Leaderboard) -> list[str]:
    """Columns that have no table of their own: those of plugins."""
    placed = {"strategy", "selection", *ELSEWHERE, *(key for keys in MARKDOWN.values() for key in keys)}
    return [c.key for c in board.columns if c.key not in placed]


def _table(head: Sequence[str], right: Sequence[bool], body: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---:" if r else "---" for r in right]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *body)]


def _rows(board: Leaderboard, group: Group, keys: Sequence[str]) -> list[str]:
    """The rows that have any of these columns; nothing where none has."""
    columns = shown_columns(board, group, keys)
    if not columns:
        return []
    body = [
        [text.markdown(row.label), *(_markdown_cell(column, column.cells[i]) for column in columns)]
        for i, row in enumerate(group.rows)
        if "score" in keys or any(column.cells[i].value is not None for column in columns)
    ]
    titles = {c.key: c.title for c in board.columns} | {VERDICTS: "pairs"}
    heads = ["strategy", *(titles[c.key] for c in columns)]
    return _table(heads, [False, *(c.right for c in columns)], body)


def _markdown_cell(column: Shown, cell: Cell) -> str:
    shown = text.markdown(cell.text) if column.key in {"worst_pair", "selection"} else cell.text
    return f"**{shown}**" if cell.tone == "good" and column.key == "gain" else shown


def _matrix(matrix: Matrix, points: bool) -> list[str]:
    names = [text.markdown(t) for t in matrix.targets]
    body = []
    for i, source in enumerate(matrix.sources):
        cells = []
        for j in range(len(names)):
            state, mean = str(matrix.state[i, j]), float(matrix.mean[i, j])
            shown = text.number(100 * mean if points else mean, 1 if points else 3, signed=True)
            mark = MARKS[str(matrix.verdict[i, j])] if math.isfinite(float(matrix.low[i, j])) else ""
            cells.append(f"{shown} {mark}".strip() if state == "measured" else {"missing": "✗", "none": "–"}[state])
        body.append([text.markdown(source) or "(no source)", *cells])
    return _table([text.markdown(matrix.strategy), *names], [False, *(True for _ in names)], body)


# ---- CSV, JSON, Parquet --------------------------------------------------------------------------


def to_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV; text that a spreadsheet would take for a formula begins with an apostrophe."""
    safe = frame.copy()
    for column in safe.columns:
        if safe[column].dtype.kind not in "bifu":
            safe[column] = [text.spreadsheet(v) if isinstance(v, str) else v for v in safe[column]]
    return safe.to_csv(index=False, lineterminator="\n")


def to_json(board: Leaderboard) -> str:
    """The whole board; every number is finite, and where one is not there stands ``null``, ``"inf"`` or ``"never"``."""
    data = {
        "version": JSON_VERSION,
        "metric": board.metric,
        "points": board.points,
        "columns": [
            {"key": c.key, "title": c.title, "unit": c.unit, "doc": c.doc, "higher_is_better": c.higher_is_better}
            for c in board.columns
        ],
        "groups": [_json_group(board, group) for group in board.groups],
        "notes": [note._asdict() for note in board.notes],
        "conditions": dict(board.conditions),
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _json_group(board: Leaderboard, group: Group) -> dict[str, Any]:
    return {
        "task": group.task,
        "backbone": group.backbone,
        "pairs_compared": group.pairs_compared,
        "pairs_planned": group.pairs_planned,
        "lacking": dict(group.lacking),
        "against": group.against or None,
        "inapplicable": dict(group.inapplicable),
        "rows": [
            {
                "reference": row.reference,
                "cells": {c.key: _json_cell(row.cells[c.key]) for c in board.columns},
                "pairs": _json_pairs(row),
            }
            for row in group.rows
        ],
    }


def _json_cell(cell: Cell) -> dict[str, Any]:
    out: dict[str, Any] = {"value": finite(cell.value), "text": cell.text}
    if cell.low is not None:
        out.update(low=finite(cell.low), high=finite(cell.high))
    return {**out, "mark": cell.mark} if cell.mark else out


def _json_pairs(row: Row) -> list[dict[str, Any]]:
    p = row.pairs
    return [
        {
            "source": p.source[k] or None,
            "target": p.target[k],
            "gain": finite(float(p.mean[k])),
            "low": finite(float(p.low[k])),
            "high": finite(float(p.high[k])),
            "seeds": int(p.seeds[k]),
            "verdict": None if row.reference else p.verdict[k],
            "compared": bool(row.compared[k]),
        }
        for k in range(len(p.target))
    ]


def finite(value: object) -> object:
    """A value that JSON has: NaN becomes ``None``, and the speed-ups without a number their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "never"
    return value


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """A frame as Parquet, text columns as strings even where they are empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"b": pa.bool_(), "i": pa.int64(), "u": pa.int64(), "f": pa.float64()}
    schema = pa.schema([(str(c), kinds.get(frame[c].dtype.kind, pa.string())) for c in frame.columns])
    pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)
