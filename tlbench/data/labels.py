"""Labels: from any values to classes 0..C-1, with the values as names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tlbench.api.data import Array


class Labels(NamedTuple):
    """``ids``: int64 [N] for each split; ``names`` [C]."""

    ids: dict[str, Array]
    names: tuple[str, ...]


def number(values: Mapping[str, Sequence[Any]], what: str) -> Labels:
    """Number the label values of all splits 0..C-1: numbers by size, texts by alphabet.

    Raises ``DataError`` where a label is missing, is no whole number and no text, or where both kinds occur.
    """
    kinds: set[str] = set()
    plain: dict[str, list[Any]] = {}
    for split, column in values.items():
        plain[split] = []
        for row, value in enumerate(column):
            label = _plain(value)
            if label is None:
                raise DataError(
                    f"{what}: the label in row {row} of {split!r} is {value!r}, not a whole number or a text"
                )
            kinds.add("text" if isinstance(label, str) else "number")
            plain[split].append(label)
    if len(kinds) > 1:
        raise DataError(f"{what}: some labels are numbers and some are texts")
    order = sorted({label for column in plain.values() for label in column})
    index = {label: i for i, label in enumerate(order)}
    ids = {s: np.array([index[label] for label in column], dtype=np.int64) for s, column in plain.items()}
    return Labels(ids, tuple(str(label) for label in order))


def _plain(value: Any) -> int | str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return int(value)
    return None
