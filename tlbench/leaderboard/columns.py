"""The columns of the board: adding one is one entry in ``COLUMNS``, or in the hook ``tlbench_columns`` of a plugin."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tlbench.api.columns import Cell, Column, Pairs, Sample
from tlbench.discovery.checks import where
from tlbench.leaderboard import column_values as values
from tlbench.leaderboard.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COLUMNS", "FAILED", "Cell", "Column", "Pairs", "Sample", "filled"]

FAILED = "column failed: "
"""How the mark of a cell begins whose column, of a plugin, raised."""

COLUMNS: tuple[Column, ...] = (
    Column("strategy", "strategy", "", "the transfer method", None, values.label("strategy"), 0),
    Column("recipe", "recipe", "", "the training recipe, where the board has several", None, values.label("recipe"), 0),
    Column("backbone", "backbone", "", "the network body", None, values.label("backbone"), 0),
    Column("task", "task", "", "the task with its label budget", None, values.label("task"), 0),
    Column(
        "selection",
        "chosen by",
        "",
        "the rule that chose the point of the curve; oracle: by test labels",
        None,
        values.label("selection"),
        8,
    ),
    Column("score", "score", "points", "mean score over pairs and seeds", True, values.score, 0),
    Column(
        "gain",
        "transfer gain",
        "points",
        "score minus the reference's, with the 95 % interval of what other sources and targets like these would show",
        True,
        values.gain,
        0,
        interval=True,
    ),
    Column(
        "gain_here",
        "± here",
        "points",
        "half the 95 % interval of the same gain on these very pairs: what other seeds would change",
        True,
        values.gain_here,
        3,
        interval=True,
        heading="± here",
    ),
    Column("helps", "helps", "pairs", "pairs whose interval is above 0", True, values.verdict("helps", "good"), 1),
    Column("hurts", "hurts", "pairs", "pairs whose interval is below 0", False, values.verdict("hurts", "bad"), 1),
    Column(
        "undecided",
        "undecided",
        "pairs",
        "pairs whose interval has 0 in it",
        None,
        values.verdict("undecided", ""),
        1,
        heading="unde-\ncided",
    ),
    Column(
        "negative_rate",
        "negative transfer",
        "share",
        "share of pairs that hurt, with its Wilson interval",
        False,
        values.negative_rate,
        3,
        interval=True,
    ),
    Column(
        "below_zero", "mean below 0", "share", "share of pairs whose mean gain is below 0", False, values.below_zero, 13
    ),
    Column("depth", "depth", "points", "mean over pairs of min(gain, 0)", False, values.depth, 5),
    Column("worst_pair", "worst pair", "", "the pair of the least mean gain", None, values.worst, 8),
    Column(
        "relative", "relative gain", "share", "share of the reference's error that is gone", True, values.relative, 14
    ),
    Column(
        "gap_closed",
        "gap closed",
        "share",
        "(score - source-only) / (target-oracle - source-only)",
        True,
        values.gap,
        12,
        interval=True,
    ),
    Column(
        "controlled",
        "of the possible",
        "share",
        "(score - blind guess) / (maximal supervision - blind guess)",
        True,
        values.controlled,
        12,
        interval=True,
    ),
    Column(
        "mean_rank",
        "mean rank",
        "rank",
        "rank among these rows, mean over pairs with its 95 % interval; 1 is best",
        False,
        values.mean_rank,
        10,
        interval=True,
    ),
    Column("iqm", "IQM", "points", "interquartile mean of the scores over pairs and seeds", True, values.iqm, 13),
    Column(
        "retention",
        "source retention",
        "points",
        "score on the source after transfer minus that of the model trained on it alone",
        True,
        values.retention,
        11,
    ),
    Column(
        "jump_start",
        "jump-start",
        "points",
        "gain before the first step",
        True,
        values.curve("jump_start"),
        5,
        heading="jump-\nstart",
    ),
    Column(
        "speed_up",
        "speed-up",
        "×",
        "the reference's steps to its final score ÷ the strategy's; median",
        True,
        values.speed_up,
        4,
        heading="speed-\nup",
    ),
    Column(
        "asymptote",
        "asymptote",
        "points",
        "gain over the last fifth of the curve",
        True,
        values.curve("asymptote"),
        6,
        heading="asymp-\ntote",
    ),
    Column(
        "area_ratio", "area ratio", "share", "gain of area under the curve ÷ reference's area", True, values.area, 15
    ),
    Column(
        "training_rate",
        "train ex/s",
        "examples/s",
        "training examples/s, median",
        True,
        values.rate("training_rate"),
        2,
    ),
    Column(
        "inference_rate",
        "infer ex/s",
        "examples/s",
        "inference examples/s, median",
        True,
        values.rate("inference_rate"),
        6,
    ),
    Column("memory", "peak memory", "bytes", "largest peak memory of a trial", False, values.peak_memory, 9),
    Column("time", "time per trial", "s", "mean wall time of a trial", False, values.cost("time"), 7),
    Column(
        "cost",
        "cost to result",
        "s",
        "mean time with the source's training, shared by all that used it",
        False,
        values.cost("cost"),
        8,
    ),
    Column(
        "cost_alone",
        "cost if alone",
        "s",
        "mean time with the whole of the source's training",
        False,
        values.cost("cost_alone"),
        12,
    ),
    Column(
        "pareto",
        "best for its cost",
        "share",
        "no other row has at least the score for at most the cost if alone",
        True,
        values.pareto,
        13,
    ),
    Column("coverage", "cover", "share", "trials with a result of those planned", True, values.coverage, 1),
)


def filled(columns: Sequence[Column], sample: Sample) -> dict[str, Cell]:
    """The cells of a row by the keys of its columns.

    A column that is not of ``COLUMNS`` is a plugin's: what it raises costs its own cell, whose mark says what it was.
    Those come last, so that nothing they do can change another column.
    """
    own = set(COLUMNS)
    cells = {c.key: c.value(sample) for c in columns if c in own}
    return cells | {c.key: _guarded(c, sample) for c in columns if c not in own}


def _guarded(column: Column, sample: Sample) -> Cell:
    try:
        cell = column.value(sample)
        if not isinstance(cell, Cell):
            raise TypeError(f"it must return a tlbench.Cell, got {type(cell).__name__}")
        numbers = [v if v is None or isinstance(v, str) else float(v) for v in (cell.value, cell.low, cell.high)]
    except Exception as error:
        return Cell(mark=f"{FAILED}{where(error)}")
    value, low, high = (None if isinstance(v, float) and math.isnan(v) else v for v in numbers)
    if isinstance(low, str) or isinstance(high, str):
        return Cell(mark=f"{FAILED}an end of an interval is a text")
    return replace(cell, value=value, low=low, high=high, text=clean(cell.text), mark=clean(cell.mark))
