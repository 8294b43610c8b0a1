"""The board: from records to groups of rows that may be compared, ordered by transfer gain.

A group is one task on one backbone. Its rows are compared on the cells (pair and seed) that all of them have, so
that no mean is taken over a hole; what is missing is counted and said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tlbench.leaderboard.columns import COLUMNS, Column
from tlbench.leaderboard.model import Group, Matrix
from tlbench.leaderboard.notes import Note, notes
from tlbench.leaderboard.pairing import Pairing, pair
from tlbench.leaderboard.rows import assemble, in_points
from tlbench.leaderboard.selection import grouped, select
from tlbench.leaderboard.table import Table, columnar
from tlbench.leaderboard.text import clean
from tlbench.leaderboard.tuning import tune

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from tlbench.api.records import Record
    from tlbench.api.trials import Trial


WHERE_THERE_IS_ONE = frozenset({"gain_here", "gap_closed", "controlled", "mean_rank", "retention", "pareto"})
"""Columns that are left out of a board on which no row has a value."""


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Groups of rows, what to know about them (``notes``), and the same as tidy frames.

    ``columns`` are those of the registry that say something here; ``points``: scores in [0, 1], shown times 100.
    """

    metric: str
    points: bool
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    notes: tuple[Note, ...]
    table: Table = field(repr=False)
    pairing: Pairing = field(repr=False)

    @property
    def conditions(self) -> tuple[tuple[str, str], ...]:
        """With what, where and when it was measured: names and texts for people."""
        return self.table.conditions

    def matrix(self, group: Group | int, strategy: str) -> Matrix:
        """The gains of the row of this label over all pairs of its group. Raises ``KeyError`` where there is none."""
        chosen = self.groups[group] if isinstance(group, int) else group
        row = next((r for r in chosen.rows if r.label == strategy), None)
        if row is None:
            raise KeyError(strategy)
        sources = tuple(s for s in chosen.sources if any(p[0] == s for p in row.planned_pairs)) or ("",)
        shape = (len(sources), len(chosen.targets))
        mean, low, high = (np.full(shape, np.nan) for _ in range(3))
        verdict = np.full(shape, "", dtype="<U9")
        state = np.full(shape, "none", dtype="<U8")
        places = {(s, t): (i, j) for i, s in enumerate(sources) for j, t in enumerate(chosen.targets)}
        for planned in row.planned_pairs & places.keys():
            state[places[planned]] = "missing"
        for k, its_pair in enumerate(zip(row.pairs.source, row.pairs.target, strict=True)):
            at = places[its_pair]
            mean[at], low[at], high[at] = row.pairs.mean[k], row.pairs.low[k], row.pairs.high[k]
            verdict[at], state[at] = row.pairs.verdict[k], "measured"
        return Matrix(row.label, sources, chosen.targets, mean, low, high, verdict, state)

    def to_frame(self) -> pd.DataFrame:
        """One line for each row: each column's value, its interval as ``_low`` and ``_high``, and ``speed_up_text``."""
        from tlbench.leaderboard.frames import rows_frame

        return rows_frame(self)

    def pairs_frame(self) -> pd.DataFrame:
        """One line for each strategy and pair: mean gain, interval, number of seeds, verdict, whether compared."""
        from tlbench.leaderboard.frames import pairs_frame

        return pairs_frame(self)

    def trials_frame(self) -> pd.DataFrame:
        """One line for each trial, ok or not: score, gain, gains of the curve, rates, costs."""
        from tlbench.leaderboard.frames import trials_frame

        return trials_frame(self)


def build(
    records: Iterable[Record],
    *,
    planned: Sequence[Trial] | None = None,
    metric: str | None = None,
    common: bool = True,
    higher_is_better: bool = True,
    columns: Sequence[Column] = (),
    tuned: bool = False,
) -> Leaderboard:
    """The leaderboard of these records.

    ``planned`` are the trials of the run, so that those without a record count as missing. ``metric`` defaults to the
    suite's first. ``common=False`` lets every row be averaged over all that it has, comparable or not (and says so).
    ``columns`` are those of plugins, beside the board's own. ``tuned=True`` makes one row of a strategy's parameter
    sets where validation examples can choose among them, as in ``tuning.tune``.
    """
    table = columnar(records, planned or (), metric, higher_is_better)
    return from_table(table, common=common, columns=columns, tuned=tuned)


def from_table(
    table: Table,
    pairing: Pairing | None = None,
    *,
    common: bool = True,
    columns: Sequence[Column] = (),
    tuned: bool = False,
) -> Leaderboard:
    """The leaderboard of a table; ``pairing`` is that of the table, if it is known; other arguments as of ``build``."""
    table, about_tuning = tune(table) if tuned else (table, ())
    pairing = pair(table) if pairing is None or tuned else pairing
    selected = [select(table, pairing, members, common) for members in grouped(table)]
    every = (*COLUMNS, *columns)
    groups = assemble(table, pairing, selected, every)
    points = in_points(table, pairing)
    several = len({int(code) for s in selected for code in np.unique(table.codes["recipe"][s.members])}) > 1
    rows = [row for group in groups for row in group.rows]
    dull = {key for key in WHERE_THERE_IS_ONE if not any(row.cells[key].value is not None for row in rows)}
    shown = tuple(c for c in every if c.key not in dull and (several or c.key != "recipe"))
    said = notes(table, pairing, groups, common=common, plugins=columns)
    said = (*said, *(Note("tuned", clean(text)) for text in about_tuning))
    return Leaderboard(table.metric, points, shown, groups, said, table, pairing)
