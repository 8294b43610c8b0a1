"""The table: records as columns, one line a trial, so that everything after it is array work.

A leaderboard is made from a ``Table`` alone; ``columnar`` makes one from records, and an index on disk may as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial
from tlbench.leaderboard.compact import Keys, Texts
from tlbench.leaderboard.conditions import conditions, device_of
from tlbench.leaderboard.overlap import Overlap, overlaps
from tlbench.leaderboard.retention import retentions
from tlbench.leaderboard.view import View, in_order, joint
from tlbench.results.facts import AXES, OK, STATUSES, Facts
from tlbench.results.taking import facts_of
from tlbench.results.taking import seconds as seconds

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

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
    reason: Sequence[str]
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
    place = {t.key: i for i, t in enumerate(planned)}
    kept = sorted(best.values(), key=lambda r: place.get(r.key, len(place)))  # as planned, not as they came in
    return of_facts(facts_of(kept, metric or _default_metric(kept)), planned, higher_is_better)


def of_facts(
    facts: Facts, planned: Sequence[Trial] = (), higher_is_better: bool = True, rows: Ints | None = None
) -> Table:
    """The table of the records behind these facts, each of another key: of ``rows`` of them, in that order."""
    if rows is None:
        rows = np.arange(len(facts))
    m = len(rows)
    its_keys = facts.keys if _all(rows, facts) else [facts.keys[i] for i in rows.tolist()]
    present = set(its_keys) if planned else set()
    waiting = {t.key: t for t in planned if t.key not in present}
    chosen = facts.metric
    sign = 1.0 if higher_is_better else -1.0
    trials = [t.to_json() for t in waiting.values()]

    interned = {axis: _Intern() for axis in AXES}
    codes: dict[str, Ints] = {}
    local = {axis: _taken(facts.axes[axis], rows) for axis in AXES}
    for axis, its in interned.items():
        place = _lookup(local[axis], facts.choices[axis], its.code)
        codes[axis] = np.concatenate((place, np.array([its.code(t[axis]) for t in trials], dtype=np.int64)))
    labels: dict[str, int] = {}

    def label(name: str) -> int:
        return labels.setdefault(name, len(labels))

    rest = _taken(facts.rest, rows)
    name = _lookup(local["strategy"], facts.choices["strategy"], lambda choice: label(choice["label"]))
    name = np.concatenate((name, np.array([label(t["strategy"]["label"]) for t in trials], dtype=np.int64)))
    wanted = _lookup(rest, facts.rests, lambda its: -1 if its[2] is None else label(its[2]))
    others = [-1 if (r := t["reference"]) is None else label(r) for t in trials]
    wanted = np.concatenate((wanted, np.array(others, dtype=np.int64)))
    devices: dict[str, int] = {}
    environment = _taken(facts.environment, rows)
    device = _lookup(environment, facts.environments, lambda e: devices.setdefault(device_of(e), len(devices)))

    n = m + len(waiting)
    numbers = {key: np.full(n, np.nan) for key in NUMBERS}
    for key, column in facts.numbers.items():
        if key in numbers:
            numbers[key][:m] = np.frombuffer(column, dtype=np.float64)[rows] if len(column) else column
    numbers["score"] *= sign
    view = View(facts, rows, its_keys, rest, np.frombuffer(facts.status, dtype=np.int8)[rows] == OK if m else rows > 0)
    numbers["cost"][:m], numbers["cost_alone"][:m] = _costs(view, numbers["time"][:m], waiting.values())
    numbers["retention"][:m] = retentions(view)
    curve_steps, curve_scores = _curves(facts, rows, n)
    statuses = np.array([str(status) for status in STATUSES], dtype=np.str_)
    named = statuses[np.frombuffer(facts.status, dtype=np.int8)[rows]] if m else statuses[:0]
    ends = np.array([str(Status.SKIPPED) if t.skip else MISSING for t in waiting.values()], dtype=np.str_)
    return Table(
        metric=chosen,
        higher_is_better=higher_is_better,
        axes={axis: interned[axis].axis() for axis in AXES},
        codes=codes,
        strategy_labels=tuple(labels),
        name=name,
        wanted=wanted,
        source_model=np.concatenate(
            (
                _lookup(rest, facts.rests, lambda its: int(its[0] != "trial")) == 1,
                [t["kind"] != "trial" for t in trials],
            )
        ).astype(bool),
        seed=np.concatenate((_taken(facts.seed, rows), np.array([t["seed"] for t in trials], dtype=np.int64))),
        status=_narrow(np.concatenate((named, ends))),
        reason=_reasons(facts, rows, rest, [t.skip or "" for t in waiting.values()]),
        numbers=numbers,
        devices=tuple(devices),
        device=np.concatenate((device, np.full(len(waiting), -1, dtype=np.int64))),
        curve_steps=curve_steps,
        curve_scores=sign * curve_scores,
        conditions=conditions(view, chosen, tuple(devices)),
        keys=Keys(bytes.fromhex("".join(its_keys) + "".join(waiting))),
        overlaps=overlaps(_representatives(view, local)),
    )


def _all(rows: Ints, facts: Facts) -> bool:
    return len(rows) == len(facts) and bool((rows == np.arange(len(rows))).all())


def _narrow(status: NDArray[np.str_]) -> NDArray[np.str_]:
    """As narrow as its longest text, as NumPy makes it from a list."""
    longest = int(np.strings.str_len(np.unique(status)).max(initial=1))
    return status.astype(f"<U{longest}")


def _taken(column: array[int], rows: Ints) -> Ints:
    return np.array(column, dtype=np.int64)[rows]


def _lookup(places: Ints, values: Sequence[Any], code: Callable[[Any], int]) -> Ints:
    """``code(values[place])`` of each place, asked once for each, in the order in which they come; -1 stays."""
    out = np.full(len(values) + 1, -1, dtype=np.int64)
    for place in in_order(places):
        if place >= 0:
            out[place] = code(values[place])
    return out[places]


def _reasons(facts: Facts, rows: Ints, rest: Ints, others: Sequence[str]) -> Texts:
    """What each record says, or else why its trial was skipped; then ``others``."""
    said = _taken(facts.reason, rows)
    both = said * (len(facts.rests) + 1) + rest
    distinct, place = np.unique(both, return_inverse=True)
    texts = [facts.reasons[b // (len(facts.rests) + 1)] or str(facts.rests[b % (len(facts.rests) + 1)][3] or "")
             for b in distinct.tolist()]  # fmt: skip
    more = Texts.of(others)
    return Texts((*texts, *more.distinct), np.concatenate((place, len(texts) + more.places)))


def _curves(facts: Facts, rows: Ints, n: int) -> tuple[Floats, Floats]:
    """Steps and scores of the learning curves [n, P], padded with NaN; ``rows`` first."""
    at, points = _taken(facts.curve, rows), _taken(facts.points, rows)
    width = int(points.max(initial=0))
    curve_steps, curve_scores = np.full((n, width), np.nan), np.full((n, width), np.nan)
    flat = np.array(facts.curve_scores, dtype=np.float64)
    if _all(rows, facts):  # one curve stands behind the other
        curve_scores[: len(rows)][np.arange(width) < points[:, None]] = flat
    else:
        starts = (np.cumsum(np.array(facts.points, dtype=np.int64)) - np.array(facts.points, dtype=np.int64))[rows]
        for many in np.unique(points[at >= 0]).tolist():
            mine = np.flatnonzero((at >= 0) & (points == many))
            for block in (mine[i : i + 65536] for i in range(0, len(mine), 65536)):
                curve_scores[block, :many] = flat[starts[block, None] + np.arange(many)]
    for place in in_order(at):
        if place >= 0:
            steps = facts.steps[place]
            curve_steps[np.flatnonzero(at == place), : len(steps)] = steps
    return curve_steps, curve_scores


def _representatives(view: View, local: Mapping[str, Ints]) -> Iterator[Record]:
    """One record for all that are alike in what may overlap, as far as ``overlaps`` looks at it."""
    facts, ok = view.facts, view.ok
    about = _taken(facts.about, view.rows)
    columns = [local["backbone"], local["target"], local["source"], about]
    alike = joint([column[ok] for column in columns])
    _, first = np.unique(alike, return_index=True)
    for i in np.flatnonzero(ok)[np.sort(first)].tolist():
        pretrained, *sides = facts.abouts[about[i]]
        trial = {axis: facts.choices[axis][local[axis][i]] if local[axis][i] >= 0 else None
                 for axis in ("backbone", "target", "source")}  # fmt: skip
        said = {role: {"source": origin} for role, (origin, _) in zip(("target", "source"), sides, strict=True)}
        yield Record(key="", status=Status.OK, trial=trial, data={"pretrained_on": pretrained, **said})


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


def _costs(view: View, time: Floats, waiting: Iterable[Trial]) -> tuple[Floats, Floats]:
    """Seconds to each result with the work that it started from: shared among all that started from it, and whole."""
    rests, statuses = view.facts.rests, np.array(view.facts.status, dtype=np.int64)[view.rows]
    if not any(its[1] for its in rests):
        own = np.where(view.ok, time, np.nan)
        return own, own
    place = {key: i for i, key in enumerate(view.keys)}
    sharers: dict[str, int] = {}
    # A trial that failed or is still to come shares the source's training as well; a skipped one never will.
    counts = np.bincount(view.rest[statuses != STATUSES.index(Status.SKIPPED)], minlength=len(rests)).tolist()
    for its, count in zip(rests, counts, strict=True):
        for parent in its[1]:
            sharers[parent] = sharers.get(parent, 0) + count
    for trial in waiting:
        for parent in trial.parents if not trial.skip else ():
            sharers[parent] = sharers.get(parent, 0) + 1
    whole: dict[str, float] = {}

    def upstream(key: str) -> float:
        if key not in whole:
            whole[key] = math.nan  # a loop of parents has no cost
            at = place.get(key)
            if at is not None and view.ok[at]:
                whole[key] = float(time[at]) + sum(upstream(p) for p in rests[view.rest[at]][1])
        return whole[key]

    own = np.where(view.ok, time, np.nan)
    shared = np.array([sum(upstream(p) / (sharers.get(p) or 1) for p in its[1]) for its in rests], dtype=np.float64)
    alone = np.array([sum(upstream(p) for p in its[1]) for its in rests], dtype=np.float64)
    return own + shared[view.rest], own + alone[view.rest]
