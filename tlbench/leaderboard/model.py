"""What a board is made of: rows in groups, and the matrix of one row.

Dimension key:  Q pairs  S sources  T targets
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tlbench.leaderboard.cells import NO_CELLS, Cells

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from tlbench.leaderboard.columns import Cell, Pairs
    from tlbench.leaderboard.statistics import Floats


@dataclass(frozen=True, eq=False)
class Row:
    """One strategy (with one recipe) in its group; ``pairs`` [Q] were measured, ``compared`` says which count."""

    strategy: str
    backbone: str
    task: str
    recipe: str
    selection: str
    reference: bool
    cells: Mapping[str, Cell]
    pairs: Pairs
    compared: NDArray[np.bool_]
    planned_pairs: frozenset[tuple[str, str]]

    @property
    def label(self) -> str:
        """The strategy, and the recipe where the board has several."""
        return f"{self.strategy} · {self.recipe}" if self.recipe else self.strategy


@dataclass(frozen=True, eq=False)
class Group:
    """One task on one backbone: ``rows`` in the order of their gain; pairs compared of pairs planned."""

    task: str
    backbone: str
    rows: tuple[Row, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    pairs_compared: int
    pairs_planned: int
    lacking: Mapping[str, int]
    """For each strategy that kept cells out of the comparison, how many it lacked."""
    disjoint: bool
    """No cell is common to all rows, so each is averaged over its own."""
    against: str = ""
    """The reference that gains are measured against."""
    inapplicable: Mapping[str, str] = field(default_factory=dict)
    """Strategies that the task does not suit, and why: all their trials were skipped, and they have no row."""
    cells: Cells = NO_CELLS
    """The scores of ``rows`` on the pairs and seeds that all of them have; NaN throughout for one without a result."""

    @property
    def title(self) -> str:
        return f"{self.task} · {self.backbone}"


@dataclass(frozen=True, eq=False)
class Matrix:
    """Mean gains of one strategy, sources [S] × targets [T]; NaN where nothing was measured.

    ``state`` is ``measured``, ``missing`` (planned, without a gain) or ``none`` (no such pair, the diagonal).
    """

    strategy: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    mean: Floats
    low: Floats
    high: Floats
    verdict: NDArray[np.str_]
    state: NDArray[np.str_]
