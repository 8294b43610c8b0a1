"""Facts: what a board needs of records, as columns, so that a record can be dropped as soon as it is read.

Texts and parts that many records share stand once in a list; a column has their places in it, -1 for none.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tlbench.api.records import Record, Status

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

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
MOST_ROWS = 4096


class Taker:
    """Takes the facts of one record after the other, a block of rows at a time.

    ``suite``, ``reason``, ``curved`` (a metric) and the methods give the place of a value in its list.
    """

    def __init__(self, metric: str) -> None:
        self.facts = facts = Facts(metric)
        self._axes = [(axis, Values()) for axis in AXES]
        values = {column: Values() for column, _ in PLACES}
        for axis, its in self._axes:
            facts.choices[axis] = its.known
        for column, listed in PLACES:
            setattr(facts, listed, values[column].known)
        self._rest, self.suite, self.reason = values["rest"].of, values["suite"].of, values["reason"].of
        self._environment, self._about = values["environment"].part, values["about"].part
        self.curved, self._steps = values["curved"].of, values["curve"].of
        self._rows: list[Row] = []
        single = [getattr(facts, name).extend for name in SINGLE]
        axes = [facts.axes[axis].extend for axis in AXES]
        self._columns = [*single, *axes, *(column.extend for column in facts.numbers.values())]

    def take(self, record: Record) -> None:
        trial, curve = record.trial, record.curve
        metric, metrics, pool = self.facts.metric, record.metrics, record.scored
        place, scores, numbers = -1, (), NOTHING
        if record.status is Status.OK:
            rates = record.throughput or {}
            memory = record.memory
            numbers = (
                number(metrics[pool].get(metric)) if pool is not None else math.nan,
                step_of(record.data, pool, (curve or {}).get("examples")),
                number((rates.get("training") or {}).get("median")),
                number((rates.get("inference") or {}).get("median")),
                number(memory.get("peak_allocated") or memory.get("peak_rss")),
                seconds(record.clocks),
                validation(record, metric),
                number(metrics["source"].get(metric)) if "source" in metrics else math.nan,
            )
            if curve and curve["metric"] == metric and curve.get("pool", pool) == pool:
                place, scores = self.steps(curve["steps"]), curve["scores"]
        self.put(
            (
                record.key,
                PLACE[record.status],
                trial["seed"],
                self.rest(trial),
                self.suite(record.suite),
                self.reason(record.reason),
                self.environment(record.environment),
                self.about(record.data),
                record.started,
                record.finished,
                self.curved(str(curve["metric"])) if curve else -1,
                "source" in metrics and pool == "target",
                place,
                self.scores(scores),
                *self.axes(trial),
                *numbers,
            )
        )

    def axes(self, trial: Mapping[str, Any]) -> tuple[int, ...]:
        """Places of a trial's choices."""
        return tuple([-1 if trial[axis] is None else known.part(trial[axis]) for axis, known in self._axes])

    def rest(self, trial: Mapping[str, Any]) -> int:
        """Place of what a trial has besides."""
        its = (trial["kind"], tuple(trial["parents"]), trial["reference"], trial["skip"], trial.get("fingerprint"))
        return self._rest(its)

    def environment(self, said: Mapping[str, Any]) -> int:
        """Place of an environment."""
        return self._environment(said)

    def about(self, said: Mapping[str, Any]) -> int:
        """Place of what is said of pre-training, target and source."""
        return self._about(said, _about)

    def steps(self, its: Sequence[float]) -> int:
        """Place of the steps of a learning curve."""
        return self._steps(tuple(its))

    def scores(self, its: Sequence[float | None]) -> int:
        """How many there are of these, which are taken."""
        if its:
            plain = [math.nan if value is None else value for value in its] if None in its else its
            self.facts.curve_scores.extend(plain)  # type: ignore[arg-type]
        return len(its)

    def put(self, row: Row) -> None:
        """Take a record's values."""
        self._rows.append(row)
        if len(self._rows) == MOST_ROWS:
            self.close()

    def close(self) -> Facts:
        """The facts of all that was taken."""
        for extend, values in zip(self._columns, zip(*self._rows, strict=True), strict=False):
            extend(values)
        self._rows.clear()
        return self.facts


NOTHING: tuple[float, ...] = (math.nan,) * len(NUMBERS)


def facts_of(records: Iterable[Record], metric: str) -> Facts:
    """The facts of these records, in their order."""
    taker = Taker(metric)
    for record in records:
        taker.take(record)
    return taker.close()


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


# ---- of one record -------------------------------------------------------------------------------


def number(value: Any) -> float:
    """A finite number, or NaN."""
    if type(value) is float:  # almost always
        return value if math.isfinite(value) else math.nan
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return math.nan


def seconds(clocks: Mapping[str, float]) -> float:
    """A trial's whole time: its ``total`` clock, or else the sum of the others; NaN where there are none."""
    if "total" in clocks:
        return number(clocks["total"])
    return number(sum(clocks.values())) if clocks else math.nan


def step_of(data: Mapping[str, Any], pool: str | None, on_curve: Any) -> float:
    """One test example's share of the score: from the size of the test pool, else of the curve's; NaN where unknown."""
    sizes = data.get("test") or {}
    size = sizes.get(pool) if isinstance(sizes, Mapping) else sizes
    if isinstance(size, Mapping):
        size = size.get("examples")
    if not isinstance(size, int) or size < 1:
        size = on_curve
    return 1.0 / size if isinstance(size, int) and size > 0 else math.nan


def validation(record: Record, metric: str) -> float:
    """The score at the chosen point on validation examples; NaN without, and where test labels chose (oracle)."""
    curve = record.curve or {}
    scores, steps = curve.get("validation"), curve.get("steps", ())
    rule = record.trial["recipe"]["params"].get("selection")
    if not scores or rule == "oracle" or curve.get("metric") != metric or curve.get("selected") not in steps:
        return math.nan
    place = steps.index(curve["selected"])
    return number(scores[place]) if place < len(scores) else math.nan


def device_of(environment: Mapping[str, Any]) -> str:
    """The device fingerprint as a text for people: rates are compared only where it is the same."""
    device = environment.get("device", "")
    if isinstance(device, Mapping):
        if "fingerprint" in device:
            return str(device["fingerprint"])
        return json.dumps(dict(device), sort_keys=True, default=str)
    return str(device) or "unknown device"


def _about(data: Mapping[str, Any]) -> tuple[Any, ...]:
    """Pre-training, and for target and source: what it is, and its content where that is said."""
    pretrained = data.get("pretrained_on")
    return (
        pretrained if isinstance(pretrained, str) else "",
        *(_side(data.get(role)) for role in ("target", "source")),
    )


def _side(said: Any) -> tuple[str, str | None]:
    origin = str(said.get("source") or "") if isinstance(said, dict) else ""
    return origin, str(said["content"]) if said and "content" in said else None
