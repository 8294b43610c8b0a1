"""Cells: the scores of a group's rows on the pairs and seeds that all of them have.

Dimension key:  K rows  Q pairs  R seeds
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tlbench.leaderboard.pairing import joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.leaderboard.selection import Selection
    from tlbench.leaderboard.statistics import Floats, Ints
    from tlbench.leaderboard.table import Table


@dataclass(frozen=True, eq=False)
class Cells:
    """``scores`` [K, Q, R], higher is better; NaN where a pair lacks that seed, and then for all rows alike.

    ``source`` and ``target`` [Q] are places in the table's axes (-1: no source); ``seeds`` [Q] how many each pair has;
    ``step`` [Q] the resolution of its scores, 0 where unknown.
    """

    scores: Floats
    source: Ints
    target: Ints
    seeds: Ints
    step: Floats


_NONE = np.zeros(0, dtype=np.int64)
NO_CELLS = Cells(np.zeros((0, 0, 0)), _NONE, _NONE, _NONE, np.zeros(0))


def shared_cells(table: Table, selection: Selection, rows: Sequence[int]) -> Cells:
    """The cells that all of these rows of a group with any usable score have; Q is 0 where there is none.

    A row without a source has one score for a target and seed, which stands for the cells of all sources.
    """
    members, row = selection.members, selection.row
    source, target, seed = table.codes["source"][members], table.codes["target"][members], table.seed[members]
    usable = selection.usable
    of_rows = usable & np.isin(row, np.asarray(rows, dtype=np.int64))
    sourced = bool((of_rows & (source >= 0)).any())
    universe = of_rows & (source >= 0) if sourced else of_rows
    cell = joint([source, target, seed])
    spot = joint([target, seed])
    ids, first = np.unique(cell[universe], return_index=True)
    at = np.flatnonzero(universe)[first]  # one trial of each cell, for its names
    score = table.numbers["score"][members]
    found = np.full((len(rows), len(ids)), np.nan)
    for k, r in enumerate(rows):
        mine = usable & (row == r)
        own = mine & (source >= 0) if sourced else mine
        if own.any():
            found[k, np.searchsorted(ids, cell[own])] = score[own]
        elif mine.any():
            keys, where = np.unique(spot[mine], return_index=True)
            place = np.minimum(np.searchsorted(keys, spot[at]), len(keys) - 1)
            found[k] = np.where(keys[place] == spot[at], score[mine][where][place], np.nan)
    some = np.isfinite(found).any(axis=1)
    whole = np.isfinite(found[some]).all(axis=0) & some.any()
    at, found = at[whole], found[:, whole]
    if not len(at):
        return replace(NO_CELLS, scores=np.zeros((len(rows), 0, 0)))
    pairs, one, q = np.unique(joint([source[at], target[at]]), return_index=True, return_inverse=True)
    _, r_of = np.unique(seed[at], return_inverse=True)
    scores = np.full((len(rows), len(pairs), int(r_of.max()) + 1), np.nan)
    scores[:, q, r_of] = found
    step = np.zeros(len(pairs))
    np.maximum.at(step, q, np.nan_to_num(table.numbers["step"][members[at]]))
    return Cells(scores, source[at][one], target[at][one], np.bincount(q).astype(np.int64), step)


def domains(table: Table) -> dict[str, Ints]:
    """A number for each label of the axes source and target: equal where the same domain is both; -1 past the end."""
    numbers: dict[str, int] = {}
    return {
        axis: np.array([*(numbers.setdefault(name, len(numbers)) for name in table.axes[axis].labels), -1])
        for axis in ("source", "target")
    }
