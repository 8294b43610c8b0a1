"""Leading: which row of a group is the best, which comes next, and whether the difference between them is real.

Dimension key:  Q pairs  R seeds  C cells (pair and seed)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.leaderboard.cells import domains
from tlbench.leaderboard.inference.paired import paired
from tlbench.leaderboard.statistics import Estimate

if TYPE_CHECKING:
    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.model import Group, Row


class Lead(NamedTuple):
    """The row of the largest gain, the one that comes next, and the difference of their scores on the same cells."""

    best: Row
    next: Row
    difference: Estimate

    @property
    def real(self) -> bool:
        """Whether the 95 % interval of the paired difference is above 0."""
        return self.difference.low > 0


def fair(row: Row) -> bool:
    """Whether a row competes: it is no reference, has a gain, and was not chosen by test labels."""
    return not row.reference and row.cells["gain"].value is not None and row.cells["selection"].mark != "oracle"


def lead(board: Leaderboard, group: Group) -> Lead | None:
    """The two best rows that compete; ``None`` where there are fewer, or where rows have no cells in common."""
    places = [k for k, row in enumerate(group.rows) if fair(row)][:2]
    if len(places) < 2 or group.disjoint or not len(group.cells.seeds):
        return None
    return Lead(group.rows[places[0]], group.rows[places[1]], paired_difference(board, group, *places))


def paired_difference(board: Leaderboard, group: Group, a: int, b: int) -> Estimate:
    """The mean over pairs of row ``a``'s score minus row ``b``'s, with the interval that the board's gain has.

    On the cells that all rows of the group have; one seed gives no interval.
    """
    cells = group.cells
    difference_QR = cells.scores[a] - cells.scores[b]
    pair_C, seed_C = np.nonzero(np.isfinite(difference_QR))
    if len(np.unique(pair_C)) < len(cells.seeds) or not len(pair_C):
        return Estimate()
    domain = domains(board.table)
    source_C, target_C = domain["source"][cells.source[pair_C]], domain["target"][cells.target[pair_C]]
    return paired(difference_QR[pair_C, seed_C], source_C, target_C, seed_C, cells.step[pair_C]).overall
