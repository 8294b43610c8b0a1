"""A view of facts: those of the records that a board is made of, in its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tlbench.results.facts import Facts


@dataclass(frozen=True, eq=False)
class View:
    """``rows`` [N] of the facts; ``keys``, ``rest`` (as there) and ``ok`` [N] are theirs."""

    facts: Facts
    rows: NDArray[np.int64]
    keys: Sequence[str]
    rest: NDArray[np.int64]
    ok: NDArray[np.bool_]


DENSE = 2**24
"""Numbers up to which a table of all is cheaper than sorting."""


def in_order(places: NDArray[np.int64]) -> list[int]:
    """The different places, in the order in which they come."""
    low, high = (int(places.min()), int(places.max())) if len(places) else (0, -1)
    if high - low >= DENSE:
        distinct, first = np.unique(places, return_index=True)
    else:
        at = np.full(high - low + 1, -1, dtype=np.int64)
        at[places[::-1] - low] = np.arange(len(places) - 1, -1, -1)  # backwards, so that the first of equal ones stays
        distinct = np.flatnonzero(at >= 0)
        first, distinct = at[distinct], distinct + low
    found: list[int] = distinct[np.argsort(first)].tolist()
    return found


def ranked(code: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each number [N] its rank among the different ones, as of ``np.unique(code, return_inverse=True)[1]``."""
    low, high = (int(code.min()), int(code.max())) if len(code) else (0, 0)
    if high - low >= DENSE:
        return np.unique(code, return_inverse=True)[1].astype(np.int64)
    there = np.zeros(high - low + 1, dtype=bool)
    there[code - low] = True
    place: NDArray[np.int64] = (np.cumsum(there) - 1)[code - low]
    return place


def joint(columns: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """One number for each combination of the columns [N]: equal exactly where all columns are."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        low, high = (int(column.min()), int(column.max())) if len(column) else (0, 0)
        if int(code.max(initial=0)) > 2**62 // (high - low + 1):
            code = ranked(code)
        code = code * (high - low + 1) + (column - low)
    return code
