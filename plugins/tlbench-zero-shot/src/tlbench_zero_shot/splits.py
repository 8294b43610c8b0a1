"""A stratified test part of a data set that has none: the same rows in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench import Seeds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]


class Parts(NamedTuple):
    train: Rows
    test: Rows


def stratified(y: Rows, name: str, share: float) -> Parts:
    """Rows of the train and the test part, ascending: of each class round(share * n) for testing, at least one of both.

    Drawn as the host draws the splits of its own data sets, so that ``digits`` and ``digits-attributes`` have the same
    test images.
    """
    order = Seeds(0).generator("split", name).permutation(len(y))
    chosen = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = order[y[order] == label]
        chosen[members[: min(max(round(share * len(members)), 1), len(members) - 1)]] = True
    return Parts(np.flatnonzero(~chosen), np.flatnonzero(chosen))
