"""Selection: which trials of a group are compared, so that no mean is taken over a hole.

Rows are compared on the cells (source, target, seed) that all rows with any result have. A strategy without a source
has one result for a target and seed, which stands for the cells of all sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlbench.leaderboard.pairing import Bools, Pairing, joint
from tlbench.leaderboard.view import ranked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlbench.leaderboard.statistics import Floats, Ints
    from tlbench.leaderboard.table import Table


@dataclass(frozen=True, eq=False)
class Selection:
    """One group: its ``members`` (places in the table), each one's ``row``, and which are ``usable`` and ``compared``.

    ``weight`` is how many cells of the group a member stands for.
    """

    members: Ints
    row: Ints
    first: Ints
    reference: Bools
    usable: Bools
    compared: Bools
    weight: Floats
    pairs_compared: int
    pairs_planned: int
    lacking: Mapping[int, int]
    disjoint: bool


def grouped(table: Table) -> list[Ints]:
    """The trials of each (task, backbone), groups in the order of their first trial."""
    trials = np.flatnonzero(~table.source_model)
    if not len(trials):
        return []
    code = joint([table.codes["task"][trials], table.codes["backbone"][trials]])
    _, first, group = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(group, kind="stable")
    parts = np.split(trials[order], np.cumsum(np.bincount(group))[:-1])
    return [parts[i] for i in np.argsort(first)]


def select(table: Table, pairing: Pairing, members: Ints, common: bool) -> Selection:
    """Split a group into rows and find the cells that all rows with any result have."""
    codes = table.codes
    code = joint([codes["strategy"][members], codes["recipe"][members]])
    _, first, row = np.unique(code, return_index=True, return_inverse=True)
    row = row.astype(np.int64)
    count = len(first)
    reference = np.ones(count, dtype=bool)
    reference[row[pairing.wanted[members] >= 0]] = False
    usable = pairing.ok[members] & (np.isfinite(pairing.gain[members]) | reference[row])

    source, target, seed = codes["source"][members], codes["target"][members], table.seed[members]
    pairs = joint([source, target])
    free = source < 0
    _, one_each, cell = np.unique(joint([pairs, seed]), return_index=True, return_inverse=True)
    spot = ranked(joint([target, seed]))  # a cell whatever its source
    spot_of_cell = spot[one_each]
    shown = np.unique(row[usable])
    with_source = np.unique(row[usable & ~free])
    sourced = len(with_source) > 0

    # has [rows, cells]: a row without sources has all the cells of each spot that it has.
    measured = usable & (~free if sourced else free)
    has = np.zeros((count, len(one_each)), dtype=bool)
    has[row[measured], cell[measured]] = True
    universe: Bools = np.asarray(has.any(axis=0))
    if sourced:
        for r in np.setdiff1d(shown, with_source):
            has[r] = np.isin(spot_of_cell, spot[usable & (row == r)])
    cells = universe & has[shown].all(axis=0)
    narrowed = common and bool(cells.any())
    if not narrowed:
        cells = universe
    per_spot = np.bincount(spot_of_cell[cells], minlength=int(spot.max()) + 1).astype(np.float64)
    stands_for_spot = free & sourced
    compared = usable & (np.where(stands_for_spot, per_spot[spot] > 0, cells[cell]) | (not narrowed))
    weight = np.where(stands_for_spot, np.maximum(per_spot[spot], 1.0), 1.0)
    lost = (universe & ~has[shown]).sum(axis=1) if common else np.zeros(len(shown), dtype=np.int64)
    lacking = {int(r): int(n) for r, n in zip(shown, lost, strict=True) if n}
    planned = ~free if (~free).any() else free
    return Selection(
        members,
        row,
        members[first],
        reference,
        usable,
        compared,
        weight,
        len(np.unique(pairs[compared & measured])),
        len(np.unique(pairs[planned])),
        lacking,
        common and not narrowed and bool(usable.any()),
    )
