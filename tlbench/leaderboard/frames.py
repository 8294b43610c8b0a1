"""Frames: a leaderboard as tidy pandas tables of rows, pairs and trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from tlbench.leaderboard.board import Leaderboard

PAIR_COLUMNS = (
    "task",
    "backbone",
    "strategy",
    "recipe",
    "source",
    "target",
    "gain",
    "gain_low",
    "gain_high",
    "seeds",
    "verdict",
    "compared",
)


def rows_frame(board: Leaderboard) -> pd.DataFrame:
    """One line a row, in the order of the board; natural units (shares, seconds, bytes), NaN where there is no number.

    ``speed_up`` is finite; ``speed_up_text`` says ``inf`` and ``never`` too. ``marks`` joins what is special.
    """
    lines: list[dict[str, Any]] = []
    for group in board.groups:
        for row in group.rows:
            line: dict[str, Any] = {}
            for column in board.columns:
                cell = row.cells[column.key]
                line[column.key] = cell.value
                if column.interval:
                    line[f"{column.key}_low"], line[f"{column.key}_high"] = cell.low, cell.high
                if column.key == "speed_up":
                    line[column.key], line["speed_up_text"] = spelled(cell.value)
            line["reference"] = row.reference
            line["pairs"] = int(row.compared.sum())
            line["marks"] = "; ".join(c.mark for c in row.cells.values() if c.mark)
            lines.append(line)
    frame = pd.DataFrame(lines)
    for column in board.columns:
        if column.unit and column.key in frame:
            for key in (column.key, f"{column.key}_low", f"{column.key}_high"):
                if key in frame:
                    frame[key] = pd.to_numeric(frame[key]).astype("float64")
    return frame


def spelled(value: object) -> tuple[float | None, str]:
    """A speed-up as a finite number, if it is one, and as a text: ``inf``, ``never`` or the number."""
    if not isinstance(value, float):
        return None, ""
    if np.isinf(value):
        return None, "inf" if value > 0 else "never"
    return value, f"{value:g}"


def pairs_frame(board: Leaderboard) -> pd.DataFrame:
    """One line for each strategy that is no reference and each pair that was measured."""
    lines: list[tuple[Any, ...]] = []
    for group in board.groups:
        for row in group.rows:
            if row.reference:
                continue
            head, p = (row.task, row.backbone, row.strategy, row.recipe), row.pairs
            numbers = zip(p.source, p.target, p.mean, p.low, p.high, p.seeds, p.verdict, row.compared, strict=True)
            lines += [
                (*head, source, target, float(mean), float(low), float(high), int(seeds), verdict, bool(compared))
                for source, target, mean, low, high, seeds, verdict, compared in numbers
            ]
    return pd.DataFrame(lines, columns=list(PAIR_COLUMNS))


def trials_frame(board: Leaderboard) -> pd.DataFrame:
    """One line a trial, whatever became of it; source trainings are left out."""
    table, pairing = board.table, board.pairing
    trials = np.flatnonzero(~table.source_model)
    columns: dict[str, Any] = {}
    for axis, codes in table.codes.items():
        labels = np.array([*table.axes[axis].labels, ""], dtype=object)  # the last, at -1: no source
        columns[axis] = labels[codes[trials]]
    columns["seed"] = table.seed[trials]
    columns["status"] = table.status[trials].astype(object)
    columns["reason"] = np.array([table.reason[i] for i in trials.tolist()], dtype=object)
    columns.update((name, values[trials]) for name, values in table.numbers.items() if name != "step")
    columns["score"] = columns["score"] * (1 if table.higher_is_better else -1)
    columns["gain"] = pairing.gain[trials]
    columns.update((name, values[trials]) for name, values in pairing.curve._asdict().items())
    columns["device"] = np.array([*table.devices, ""], dtype=object)[table.device[trials]]
    return pd.DataFrame(columns)
