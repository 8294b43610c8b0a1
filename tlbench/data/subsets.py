"""Subsets: label budgets that nest and are paired by seed, and validation examples taken from them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from tlbench.errors import SkipTrial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.api.data import Array


class Budget(NamedTuple):
    """Row numbers for training and for validation; no row in both, none of the budget's in neither."""

    train: Array
    validation: Array


def budget_rows(
    y: Array,
    labels: Literal["all"] | int | float,
    generator: np.random.Generator,
    names: Sequence[str] | None = None,
) -> Array:
    """The rows whose labels a method may see, y int [N] -> rows int [M], in a random order.

    ``labels``  ``"all"``; a whole number k: k of each class; a share f in (0, 1): ceil(f · n) of a class of n
    ``names``   the label names [C]: then every class must have k examples, also those absent from ``y``

    One permutation of all rows decides: of each class its first, in that order. With generators of one
    seed a smaller budget lies inside a larger one, and nothing of the order tells the classes apart.
    Raises ``SkipTrial`` where a class has fewer than k, ``ValueError`` for a budget of another kind.
    """
    order = generator.permutation(len(y))
    if labels == "all":
        return order
    if isinstance(labels, (bool, str)) or not (labels >= 1 if isinstance(labels, int) else 0 < labels < 1):
        raise ValueError(f"labels must be 'all', a whole number from 1 or a share between 0 and 1, got {labels!r}")
    share = None if isinstance(labels, int) else Fraction(str(labels))  # 0.07 of 100 is 7, as written, not 7.000...01
    chosen = np.zeros(len(y), dtype=bool)
    for label in np.unique(y) if names is None else range(len(names)):
        members = order[y[order] == label]
        count = int(labels) if share is None else math.ceil(share * len(members))
        if count > len(members):
            name = repr(names[label]) if names is not None else int(label)
            raise SkipTrial(f"{count} labels per class were asked for and class {name} has {len(members)} in all")
        chosen[members[:count]] = True
    return order[chosen[order]]


def validation_rows(rows: Array, y: Array, share: float, generator: np.random.Generator) -> Budget:
    """Take validation examples out of a label budget, rows int [M] of y int [N].

    Stratified: of a class with n > 1 rows round(share · n), at least one, and at least one stays for
    training; a class with one row keeps it for training. The order of ``rows`` is kept in both parts.
    Raises ``ValueError`` for a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"the share of the validation examples must be between 0 and 1, got {share}")
    order = generator.permutation(len(rows))
    chosen = np.zeros(len(rows), dtype=bool)
    for label in np.unique(y[rows]):
        members = order[y[rows[order]] == label]
        chosen[members[: min(max(round(share * len(members)), 1), len(members) - 1)]] = True
    return Budget(rows[~chosen], rows[chosen])
