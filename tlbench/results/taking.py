"""Taking: the facts of one record after the other, as rows of their columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tlbench.api.records import Record, Status
from tlbench.results.facts import AXES, NOTHING, PLACE, PLACES, SINGLE, Facts, Row, Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def facts_of(records: Iterable[Record], metric: str) -> Facts:
    """The facts of these records, in their order."""
    taker = Taker(metric)
    for record in records:
        taker.take(record)
    return taker.close()


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
