"""The table: records as columns, one line a trial, so that everything after it is array work.

A leaderboard is made from a ``Table`` alone; ``columnar`` makes one from records, and an index on disk may as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial
from tlbench.leaderboard.conditions import conditions
from tlbench.leaderboard.overlap import Overlap, overlaps
from tlbench.leaderboard.retention import retentions

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

AXES = ("source", "target", "task", "strategy", "backbone", "recipe")
NUMBERS = (
    "score",
    "step",
    "training_rate",
    "inference_rate",
    "memory",
    "time",
    "cost",
    "cost_alone",
    "retention",
    "validation",
)
MISSING = "missing"
"""The status of a planned trial without a record."""


@dataclass(frozen=True)
class Axis:
    """The different values of one axis: what stands in one place of ``labels``, ``names`` and ``params`` is one value.

    Two values that share a label are told apart by the start of their digest.
    """

    labels: tuple[str, ...]
    names: tuple[str, ...]
    params: tuple[Mapping[str, Any], ...]


class Keys(Sequence[str]):
    """Keys of trials, 16 bytes each, as texts of 32 digits when they are asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    @classmethod
    def of(cls, keys: Sequence[str]) -> Keys:
        return keys if isinstance(keys, Keys) else cls(bytes.fromhex("".join(keys)))

    def __len__(self) -> int:
        return len(self.content) // 16

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return tuple(self)[at]
        place = range(len(self))[at]  # also from the end; raises IndexError
        return self.content[16 * place : 16 * place + 16].hex()

    def __iter__(self) -> Iterator[str]:
        digits = self.content.hex()
        return (digits[i : i + 32] for i in range(0, len(digits), 32))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True, eq=False)
class Table:
    """Trials as columns; N trials, P evaluation points of the longest curve.

    ``codes``    for each axis the place [N] of the trial's value in it; -1 for no source
    ``name``     place [N] of the strategy's label in ``strategy_labels``, and ``wanted`` that of its reference's, or -1
    ``status``   one of ``Status``, or ``missing``
    ``numbers``  ``score`` (higher is better: negated for a metric of which less is better), ``step`` (its resolution),
                 ``training_rate`` and ``inference_rate`` (examples/s), ``memory`` (bytes), and in seconds ``time``,
                 ``cost`` and ``cost_alone`` (with the source's training, shared and not); in the metric's own sign
                 ``retention``, the score on the source minus that of the source model, and ``validation``, the score
                 at the chosen point on the examples that chose it; NaN where unknown
    ``device``   place [N] of the device in ``devices``
    """

    metric: str
    higher_is_better: bool
    axes: Mapping[str, Axis]
    codes: Mapping[str, Ints]
    strategy_labels: tuple[str, ...]
    name: Ints
    wanted: Ints
    source_model: NDArray[np.bool_]
    seed: Ints
    status: NDArray[np.str_]
    reason: tuple[str, ...]
    numbers: Mapping[str, Floats]
    devices: tuple[str, ...]
    device: Ints
    curve_steps: Floats
    curve_scores: Floats
    conditions: tuple[tuple[str, str], ...] = ()
    """With what, where and when it was measured: names and texts for people, as in ``conditions.py``."""
    keys: Sequence[str] = ()
    """Each trial's key [N], where the table was made from records."""
    overlaps: tuple[Overlap, ...] = ()
    """Data sets that a backbone was pre-trained on as well, as far as names tell."""

    def __len__(self) -> int:
        return len(self.seed)


def columnar(
    records: Iterable[Record],
    planned: Sequence[Trial] = (),
    metric: str | None = None,
    higher_is_better: bool = True,
) -> Table:
    """Records, and planned trials that have none, as one table.

    Of several records of one key the last that is ok counts, else the last. ``metric`` defaults to that of the
    first curve, else to the first metric of the first record that has one.
    """
    best: dict[str, Record] = {}
    for record in records:
        old = best.get(record.key)
        if old is None or record.status is Status.OK or old.status is not Status.OK:
            best[record.key] = record
    waiting = {t.key: t for t in planned if t.key not in best}
    place = {t.key: i for i, t in enumerate(planned)}
    kept = sorted(best.values(), key=lambda r: place.get(r.key, len(place)))  # as planned, not as they came in
    chosen = metric or _default_metric(kept)
    sign = 1.0 if higher_is_better else -1.0
    trials: list[Mapping[str, Any]] = [r.trial for r in kept] + [t.to_json() for t in waiting.values()]

    interned = {axis: _Intern() for axis in AXES}
    codes = {axis: np.array([interned[axis].code(t[axis]) for t in trials], dtype=np.int64) for axis in AXES}
    labels: dict[str, int] = {}
    name = np.array([labels.setdefault(t["strategy"]["label"], len(labels)) for t in trials], dtype=np.int64)
    wanted = np.array(
        [-1 if (r := t["reference"]) is None else labels.setdefault(r, len(labels)) for t in trials], dtype=np.int64
    )
    devices: dict[str, int] = {}
    known: dict[int, int] = {}  # by identity: records share equal environments
    for record in kept:
        if id(record.environment) not in known:
            known[id(record.environment)] = devices.setdefault(_device(record), len(devices))
    device = [known[id(r.environment)] for r in kept] + [-1] * len(waiting)

    n = len(trials)
    numbers = {key: np.full(n, np.nan) for key in NUMBERS}
    curves: list[tuple[int, Sequence[float], Sequence[float]]] = []
    for i, record in enumerate(kept):
        if record.status is not Status.OK:
            continue
        pool = record.scored
        if pool is not None:
            numbers["score"][i] = sign * _number(record.metrics[pool].get(chosen))
        numbers["step"][i] = _step(record, pool)
        rates = record.throughput or {}
        numbers["training_rate"][i] = _number((rates.get("training") or {}).get("median"))
        numbers["inference_rate"][i] = _number((rates.get("inference") or {}).get("median"))
        memory = record.memory
        numbers["memory"][i] = _number(memory.get("peak_allocated") or memory.get("peak_rss"))
        numbers["time"][i] = seconds(record.clocks)
        curve = record.curve
        numbers["validation"][i] = _validation(record, chosen)
        if curve and curve.get("metric") == chosen and curve.get("pool", pool) == pool:
            curves.append((i, curve["steps"], curve["scores"]))
    numbers["cost"][: len(kept)], numbers["cost_alone"][: len(kept)] = _costs(kept, waiting.values())
    numbers["retention"][: len(kept)] = retentions(kept, chosen)

    width = max((len(scores) for _, _, scores in curves), default=0)
    curve_steps, curve_scores = np.full((n, width), np.nan), np.full((n, width), np.nan)
    for i, steps, scores in curves:
        curve_steps[i, : len(steps)] = steps
        curve_scores[i, : len(scores)] = scores
    return Table(
        metric=chosen,
        higher_is_better=higher_is_better,
        axes={axis: interned[axis].axis() for axis in AXES},
        codes=codes,
        strategy_labels=tuple(labels),
        name=name,
        wanted=wanted,
        source_model=np.array([t["kind"] != "trial" for t in trials], dtype=bool),
        seed=np.array([t["seed"] for t in trials], dtype=np.int64),
        status=np.array(
            [str(r.status) for r in kept] + [str(Status.SKIPPED) if t.skip else MISSING for t in waiting.values()],
            dtype=np.str_,
        ),
        reason=tuple([r.reason or str(r.trial["skip"] or "") for r in kept] + [t.skip or "" for t in waiting.values()]),
        numbers=numbers,
        devices=tuple(devices),
        device=np.array(device, dtype=np.int64),
        curve_steps=curve_steps,
        curve_scores=sign * curve_scores,
        conditions=conditions([r for r in kept if r.status is Status.OK], chosen, tuple(devices)),
        keys=(*(r.key for r in kept), *waiting),
        overlaps=overlaps(r for r in kept if r.status is Status.OK),
    )


def seconds(clocks: Mapping[str, float]) -> float:
    """A trial's whole time: its ``total`` clock, or else the sum of the others; NaN where there are none."""
    if "total" in clocks:
        return _number(clocks["total"])
    return _number(sum(clocks.values())) if clocks else math.nan


class _Intern:
    """Places for the values of one axis: equal name and parameters share a place, whatever their labels."""

    def __init__(self) -> None:
        self.choices: list[Choice] = []
        self._by_identity: dict[int, tuple[int, Mapping[str, Any]]] = {}
        self._by_text: dict[tuple[str, str, str], int] = {}
        self._by_digest: dict[str, int] = {}

    def code(self, choice: Mapping[str, Any] | None) -> int:
        if choice is None:
            return -1
        known = self._by_identity.get(id(choice))  # records share equal choices; held, so that no other takes its id
        if known is not None:
            return known[0]
        # repr: far cheaper than the digest, and equal texts are equal values
        text = (choice["name"], choice["label"], repr(choice["params"]))
        code = self._by_text.get(text)
        if code is None:
            made = Choice.from_json(choice)
            code = self._by_digest.setdefault(made.digest, len(self.choices))
            if code == len(self.choices):
                self.choices.append(made)
            self._by_text[text] = code
        self._by_identity[id(choice)] = (code, choice)
        return code

    def axis(self) -> Axis:
        uses: dict[str, int] = {}
        for choice in self.choices:
            uses[choice.label] = uses.get(choice.label, 0) + 1
        return Axis(
            labels=tuple(c.label if uses[c.label] == 1 else f"{c.label} #{c.digest[:6]}" for c in self.choices),
            names=tuple(c.name for c in self.choices),
            params=tuple(c.params for c in self.choices),
        )


def _number(value: Any) -> float:
    """A finite number, or NaN."""
    if type(value) is float:  # almost always
        return value if math.isfinite(value) else math.nan
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return math.nan


def _default_metric(records: Iterable[Record]) -> str:
    for record in records:
        if record.status is not Status.OK or record.trial["kind"] != "trial" or not record.metrics:
            continue
        scored = record.metrics[record.scored or ""]
        if record.curve and record.curve.get("metric") in scored:
            return str(record.curve["metric"])
        if scored:
            return next(iter(scored))
    return "accuracy"


def _step(record: Record, pool: str | None) -> float:
    """One test example's share of the score: from the size of the test pool, else of the curve's; NaN where unknown."""
    sizes = record.data.get("test") or {}
    size = sizes.get(pool) if isinstance(sizes, Mapping) else sizes
    if isinstance(size, Mapping):
        size = size.get("examples")
    if not isinstance(size, int) or size < 1:
        size = (record.curve or {}).get("examples")
    return 1.0 / size if isinstance(size, int) and size > 0 else math.nan


def _validation(record: Record, metric: str) -> float:
    """The score at the chosen point on validation examples; NaN without, and where test labels chose (oracle)."""
    curve = record.curve or {}
    scores, steps = curve.get("validation"), curve.get("steps", ())
    rule = record.trial["recipe"]["params"].get("selection")
    if not scores or rule == "oracle" or curve.get("metric") != metric or curve.get("selected") not in steps:
        return math.nan
    place = steps.index(curve["selected"])
    return _number(scores[place]) if place < len(scores) else math.nan


def _device(record: Record) -> str:
    """The device fingerprint as a text for people: rates are compared only where it is the same."""
    device = record.environment.get("device", "")
    if isinstance(device, Mapping):
        if "fingerprint" in device:
            return str(device["fingerprint"])
        return json.dumps(dict(device), sort_keys=True, default=str)
    return str(device) or "unknown device"


def _costs(records: Sequence[Record], waiting: Iterable[Trial]) -> tuple[list[float], list[float]]:
    """Seconds to each result with the work that it started from: shared among all that started from it, and whole."""
    by_key = {r.key: r for r in records}
    sharers: dict[str, int] = {}
    # A trial that failed or is still to come shares the source's training as well; a skipped one never will.
    for parents in [r.trial["parents"] for r in records if r.status is not Status.SKIPPED] + [
        t.parents for t in waiting if not t.skip
    ]:
        for parent in parents:
            sharers[parent] = sharers.get(parent, 0) + 1
    whole: dict[str, float] = {}

    def upstream(key: str) -> float:
        if key not in whole:
            whole[key] = math.nan  # a loop of parents has no cost
            record = by_key.get(key)
            if record is not None and record.status is Status.OK:
                whole[key] = seconds(record.clocks) + sum(upstream(p) for p in record.trial["parents"])
        return whole[key]

    shared, alone = [], []
    for record in records:
        own = seconds(record.clocks) if record.status is Status.OK else math.nan
        parents = record.trial["parents"]
        shared.append(own + sum(upstream(p) / sharers.get(p, 1) for p in parents))
        alone.append(own + sum(upstream(p) for p in parents))
    return shared, alone
