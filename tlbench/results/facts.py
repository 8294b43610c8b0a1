"""Facts: what a board needs of records, as columns, so that a record can be dropped as soon as it is read.

Texts and parts that many records share stand once in a list; a column has their places in it, -1 for none.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tlbench.api.records import Status

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

AXES = ("source", "target", "task", "strategy", "backbone", "recipe")
STATUSES = tuple(Status)
OK = STATUSES.index(Status.OK)
"""The place of a status in a column of facts is that in ``STATUSES``."""
PLACE = {status: place for place, status in enumerate(STATUSES)}
NUMBERS = ("score", "step", "training_rate", "inference_rate", "memory", "time", "validation", "on_source")


class Values:
    """Distinct values of one kind, by identity first: records that were read together share equal parts."""

    def __init__(self) -> None:
        self.known: list[Any] = []
        self._by_identity: dict[int, tuple[int, Any]] = {}
        self._by_text: dict[Hashable, int] = {}

    def part(self, value: Any, text: Any = None) -> int:
        """The place of a part of a record; ``text`` makes of it what is equal where it is."""
        found = self._by_identity.get(id(value))
        if found is None:  # held, so that no other takes its id
            place = self.of(repr(value)) if text is None else self.of(text(value))
            if text is None:
                self.known[place] = value
            found = self._by_identity[id(value)] = (place, value)
        return found[0]

    def of(self, value: Hashable) -> int:
        """The place of a value that is equal where its hash is."""
        place = self._by_text.get(value)
        if place is None:
            place = self._by_text[value] = len(self.known)
            self.known.append(value)
        return place


def _ints() -> array[int]:
    return array("i")


@dataclass(eq=False)
class Facts:
    """N records; ``metric`` is the one of ``numbers`` and ``curve_scores``.

    ``axes``    for each axis the place [N] of the trial's choice in ``choices[axis]``
    ``rest``    place [N] in ``rests`` of what a trial has besides: kind, parents, reference, skip, fingerprint
    ``about``   place [N] in ``abouts``: what ``data`` says of pre-training, and of target and source
    ``numbers`` score, step... [N] as in a board's table, in the metric's own sign; ``on_source``: that on the source
    ``alone``   1 where the result is of the target alone and there is one on the source too
    ``curved``  place [N] in ``metrics`` of the metric that the learning curve is of; ``curve`` [N] that of its steps in
                ``steps``, where it is of ``metric`` and of the scored pool, and ``points`` [N] its number of scores;
                ``curve_scores`` has them one after the other
    """

    metric: str
    keys: list[str] = field(default_factory=list)
    status: array[int] = field(default_factory=lambda: array("b"))
    axes: dict[str, array[int]] = field(default_factory=lambda: {axis: _ints() for axis in AXES})
    choices: dict[str, list[Any]] = field(default_factory=lambda: {axis: [] for axis in AXES})
    seed: array[int] = field(default_factory=lambda: array("q"))
    rest: array[int] = field(default_factory=_ints)
    rests: list[Any] = field(default_factory=list)
    suite: array[int] = field(default_factory=_ints)
    suites: list[str] = field(default_factory=list)
    reason: array[int] = field(default_factory=_ints)
    reasons: list[str] = field(default_factory=list)
    environment: array[int] = field(default_factory=_ints)
    environments: list[Any] = field(default_factory=list)
    about: array[int] = field(default_factory=_ints)
    abouts: list[Any] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    numbers: dict[str, array[float]] = field(default_factory=lambda: {name: array("d") for name in NUMBERS})
    alone: array[int] = field(default_factory=lambda: array("b"))
    curved: array[int] = field(default_factory=_ints)
    metrics: list[str] = field(default_factory=list)
    curve: array[int] = field(default_factory=_ints)
    steps: list[tuple[float, ...]] = field(default_factory=list)
    points: array[int] = field(default_factory=_ints)
    curve_scores: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.keys)


PLACES = (
    ("rest", "rests"),
    ("suite", "suites"),
    ("reason", "reasons"),
    ("environment", "environments"),
    ("about", "abouts"),
    ("curved", "metrics"),
    ("curve", "steps"),
)
"""Columns of places, and the lists that these are in."""


SINGLE = (
    *("keys", "status", "seed", "rest", "suite", "reason", "environment", "about", "started", "finished"),
    *("curved", "alone", "curve", "points"),
)
"""What a row has of a record, in this order; then its places on ``AXES``, and its ``NUMBERS``."""
Row: TypeAlias = tuple[Any, ...]
NOTHING: tuple[float, ...] = (math.nan,) * len(NUMBERS)


def joined(parts: Sequence[Facts]) -> Facts:
    """The facts of all parts, one after the other; their metrics must be the same."""
    first, *others = parts
    for part in others:  # lists and arrays of millions: nothing here is done one by one
        for axis in AXES:
            _append(first.axes[axis], part.axes[axis], len(first.choices[axis]))
            first.choices[axis] += part.choices[axis]
        for column, listed in PLACES:
            _append(getattr(first, column), getattr(part, column), len(getattr(first, listed)))
            getattr(first, listed).extend(getattr(part, listed))
        for name, column_of in first.numbers.items():
            column_of.extend(part.numbers[name])
        for name in ("keys", "status", "seed", "started", "finished", "alone", "points", "curve_scores"):
            getattr(first, name).extend(getattr(part, name))
    return first


def _append(column: array[int], part: array[int], by: int) -> None:
    import numpy as np

    places = np.frombuffer(part, dtype=np.int32) if len(part) else np.zeros(0, dtype=np.int32)
    column.frombytes(np.where(places >= 0, places + np.int32(by), np.int32(-1)).tobytes())
