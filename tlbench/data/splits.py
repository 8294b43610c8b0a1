"""Splits: a test part where a data set has none, and caps on its size; decided by its name and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.api.data import Seeds, Split

if TYPE_CHECKING:
    from tlbench.api.data import Array


class Parts(NamedTuple):
    """Row numbers, ascending; together all rows."""

    train: Array
    test: Array


class WithTest(NamedTuple):
    """Two splits that share no memory, and how they were made."""

    train: Split
    test: Split
    note: str


def split_rows(y: Array, name: str, share: float = 0.25) -> Parts:
    """Cut a test part off a data set that has none, the same in every run.

    y int [N]. Stratified: of a class with n examples round(share · n), but at least one where n > 1, and
    at least one is left for training. The choice depends on ``name`` and the labels alone, not on a
    suite's seed: a test set that changed with the seed would be seen in training under another one.
    Raises ``ValueError`` for a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"the share of the test split must be between 0 and 1, got {share}")
    order = Seeds(0).generator("split", name).permutation(len(y))
    chosen = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = order[y[order] == label]
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        chosen[members[:count]] = True
    return Parts(np.flatnonzero(~chosen), np.flatnonzero(chosen))


def split_note(share: float) -> str:
    """What ``split_rows`` did, in words, for ``Domain.notes``."""
    return f"no test split is given: {100 * share:g} % of each class were set aside, chosen by the data set's name"


def with_test_split(x: Array, y: Array, name: str, test: float = 0.25) -> WithTest:
    """``split_rows`` applied: x [N, ...] and y [N] copied into a train and a test split."""
    parts = split_rows(y, name, test)
    return WithTest(Split(x[parts.train], y[parts.train]), Split(x[parts.test], y[parts.test]), split_note(test))


def capped_rows(y: Array, most: int | None, name: str) -> Array:
    """At most ``most`` rows, ascending, each class in its share; fewer are always among more.

    Raises ``ValueError`` where ``most`` is under one.
    """
    if most is not None and most < 1:
        raise ValueError(f"a cap must be at least 1, got {most}")
    if most is None or most >= len(y):
        return np.arange(len(y))
    order = Seeds(0).generator("cap", name).permutation(len(y))
    place = np.empty(len(y))
    for label in np.unique(y):
        members = order[y[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)  # evenly spread over [0, 1] in every class
    return np.sort(order[np.argsort(place[order], kind="stable")[:most]])
