"""Files: the board as Markdown, CSV, JSON and Parquet. Names in it are untrusted and made harmless for each form."""

from __future__ import annotations

import contextlib
import json
import math
import os
from typing import TYPE_CHECKING, Any

from tlbench.errors import StoreError
from tlbench.leaderboard import text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pandas as pd

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.columns import Cell, Column
    from tlbench.leaderboard.model import Group, Matrix, Row

JSON_VERSION = 1
COSTS = frozenset({"training_rate", "inference_rate", "memory", "time", "cost", "cost_alone"})
IN_TITLE = frozenset({"task", "backbone"})


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


# ---- Markdown ------------------------------------------------------------------------------------


def to_markdown(board: Leaderboard) -> str:
    """Two tables a group (transfer, cost), the matrices of its rows, the notes, and what the columns mean."""
    lines = [
        "# Leaderboard",
        "",
        f"Score: {text.markdown(board.metric)}" + (", in points (× 100)." if board.points else "."),
    ]
    for group in board.groups:
        compared = f"{group.pairs_compared} of {group.pairs_planned} pairs compared"
        lines += ["", f"## {text.markdown(group.title)}", "", f"{compared}; ordered by transfer gain.", ""]
        lines += _rows([c for c in board.columns if c.key not in COSTS], group)
        lines += ["", *_rows([c for c in board.columns if c.key in COSTS | {"strategy", "recipe"}], group)]
        for row in group.rows:
            if not row.reference and any(row.pairs.source):
                lines += ["", *_matrix(board.matrix(group, row.label), board.points)]
    if board.notes:
        lines += ["", "## Notes", "", *(f"- {text.markdown(note.text)}" for note in board.notes)]
    lines += ["", "## Columns", ""]
    lines += [f"- **{c.title}**: {text.markdown(c.doc)}{f' ({c.unit})' if c.unit else ''}" for c in board.columns]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], right: Sequence[bool], body: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---:" if r else "---" for r in right]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *body)]


def _rows(columns: Sequence[Column], group: Group) -> list[str]:
    columns = [
        c
        for c in columns
        if c.key not in IN_TITLE and any(r.cells[c.key].value is not None or r.cells[c.key].mark for r in group.rows)
    ]
    body = [[_markdown_cell(row, c) for c in columns] for row in group.rows]
    return _table([c.title for c in columns], [bool(c.unit) for c in columns], body)


def _markdown_cell(row: Row, column: Column) -> str:
    cell = row.cells[column.key]
    shown = cell.text if column.unit else text.markdown(cell.text)  # numbers have nothing in them to escape
    return f"**{shown}**" if cell.tone == "good" and column.key == "gain" else shown


def _matrix(matrix: Matrix, points: bool) -> list[str]:
    names = [text.markdown(t) for t in matrix.targets]
    body = []
    for i, source in enumerate(matrix.sources):
        cells = []
        for j in range(len(names)):
            state, mean = str(matrix.state[i, j]), float(matrix.mean[i, j])
            shown = text.number(100 * mean if points else mean, 1 if points else 3, signed=True)
            mark = {"helps": " ▲", "hurts": " ▼"}.get(str(matrix.verdict[i, j]), "")
            cells.append(shown + mark if state == "measured" else {"missing": "✗", "none": "·"}[state])
        body.append([text.markdown(source) or "(no source)", *cells])
    title = f"Gain of {text.markdown(matrix.strategy)} (▲ helps, ▼ hurts, · no such pair, ✗ missing):"
    return [title, "", *_table(["source \\ target", *names], [False, *(True for _ in names)], body)]


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
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _json_group(board: Leaderboard, group: Group) -> dict[str, Any]:
    return {
        "task": group.task,
        "backbone": group.backbone,
        "pairs_compared": group.pairs_compared,
        "pairs_planned": group.pairs_planned,
        "lacking": dict(group.lacking),
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
