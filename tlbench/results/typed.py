"""Typed: the facts of a line that is written as we write it, without making a record of it.

A decoder that knows the types of the few fields that a board needs passes over the others. Parts that many records
share are told by their bytes and parsed once. Whatever is not quite as expected is left to ``reading.Reader``.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from tlbench.api.records import RECORD_VERSION, Status, scored
from tlbench.results.facts import NOTHING, PLACE
from tlbench.results.lines import HEAD, NECK, START
from tlbench.results.reading import BETWEEN, FAULTS, MOST_AXES, Cut
from tlbench.results.taking import number, step_of

if TYPE_CHECKING:
    from tlbench.results.facts import Row
    from tlbench.results.reading import Reader
    from tlbench.results.taking import Taker

_EMPTY, _NONE = Raw(b"{}"), Raw(b"null")
_SEED = BETWEEN["seed"]
_OK = str(Status.OK)
_PLACES = {str(status): place for status, place in PLACE.items()}
_NOWHERE: list[float | None] = []
_LAST = ["parents", "reference", "skip", "fingerprint"]
"""What a trial has behind its seed."""


class _Curve(Struct, gc=False, frozen=True):
    metric: str
    steps: Raw
    scores: list[float | None]
    pool: str | UnsetType = UNSET
    examples: int | None = None
    validation: list[float | None] | None = None
    selected: int | None = None


class _Clocks(Struct, gc=False, frozen=True):
    total: float | None = None


class _Rate(Struct, gc=False, frozen=True):
    median: float | None = None


class _Rates(Struct, gc=False, frozen=True):
    training: _Rate | None = None
    inference: _Rate | None = None


class _Memory(Struct, gc=False, frozen=True):
    peak_allocated: float | None = None
    peak_rss: float | None = None


_NO_RATES, _NO_MEMORY, _NO_CLOCKS = _Rates(), _Memory(), _Clocks()


class _Record(Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    """The fields of ``Record``; what no board needs is not looked into."""

    key: str
    status: str
    trial: Raw
    suite: str = ""
    reason: str = ""
    metrics: dict[str, dict[str, float | None]] = {}
    curve: _Curve | None = None
    losses: Raw = _NONE
    clocks: _Clocks = _NO_CLOCKS
    throughput: _Rates | None = None
    memory: _Memory = _NO_MEMORY
    cost: Raw = _EMPTY
    data: Raw = _EMPTY
    seeds: Raw = _EMPTY
    environment: Raw = _EMPTY
    artifact: Raw = _NONE
    predictions: Raw = _NONE
    started: str = ""
    finished: str = ""
    resumed_from: Raw = _NONE
    provenance: Raw = _NONE
    version: int = RECORD_VERSION


class _Beginning:
    """What trials share that are the same up to their seed; ``ends``: the place of what follows it, by its bytes.

    ``next``: what stood in the line after one of these the last time; seeds often go through a matrix in one order.
    """

    __slots__ = ("axes", "ends", "next", "rule", "text")

    def __init__(self, text: bytes, axes: tuple[int, ...], rule: Any, ends: dict[bytes, int]) -> None:
        self.text, self.axes, self.rule, self.ends = text, axes, rule, ends
        self.next: _Beginning | None = None


class _Data(NamedTuple):
    """What a record says of its data; ``steps``: ``taking.step_of`` by pool and examples of the curve."""

    place: int
    said: Any
    steps: dict[tuple[str, int | None], float]


class Lines:
    """Takes the facts of lines to those of ``taker``; ``reader`` keeps the parts that they share."""

    def __init__(self, taker: Taker, reader: Reader) -> None:
        self._taker, self._reader, self._metric = taker, reader, taker.facts.metric
        self._decode = msgspec.json.Decoder(_Record).decode
        self._beginnings: dict[bytes, _Beginning] = {}
        self._before = _Beginning(b"", (), None, {})
        self._ends: dict[str, dict[bytes, int]] = {}
        self._data: dict[bytes, _Data] = {}
        self._steps: dict[bytes, tuple[int, list[Any]]] = {}
        self._environment, self._environment_place = b"", -1
        self._last: tuple[bytes, _Data] = (b"", _Data(-1, None, {}))

    def take(self, line: bytes) -> bool:
        """Take the facts of a line; where it is not quite as we write it ``False``, and no facts are taken."""
        body = memoryview(line)[START:-2]
        check = hashlib.blake2b(body, digest_size=12).hexdigest().encode()
        if line[:START] != HEAD + check + NECK or line[-2:] != b"}\n" or not line.isascii():
            return False
        try:
            row = self._row(self._decode(body))
        except (msgspec.MsgspecError, *FAULTS, Cut):
            return False
        if row is None:
            return False
        self._taker.put(row)
        return True

    def _row(self, said: _Record) -> Row | None:
        taker, metrics, metric, curve = self._taker, said.metrics, self._metric, said.curve
        pool = scored(metrics)
        ok = said.status == _OK
        if said.version > RECORD_VERSION or (ok and pool is None):
            return None
        status, about = _PLACES[said.status], self._about(bytes(said.data))
        axes, rule, seed, rest = self._trial(bytes(said.trial))
        environment = bytes(said.environment)
        if environment != self._environment:
            place_of = taker.environment(self._reader.shared(environment))
            self._environment, self._environment_place = environment, place_of
        place, scores, numbers = -1, _NOWHERE, NOTHING
        if ok and pool is not None:
            total, validation = said.clocks.total, math.nan
            if total is None:  # that of the others is asked for
                return None
            if curve is not None and curve.metric == metric:
                at, steps = self._steps_of(bytes(curve.steps))
                if curve.pool is UNSET or curve.pool == pool:
                    place, scores = at, curve.scores
                if curve.validation and rule != "oracle" and curve.selected in steps:
                    chosen = steps.index(curve.selected)
                    validation = number(curve.validation[chosen]) if chosen < len(curve.validation) else math.nan
            size = curve.examples if curve is not None else None
            step = about.steps.get((pool, size))
            if step is None:
                step = about.steps[pool, size] = step_of(about.said, pool, size)
            rates, memory = said.throughput or _NO_RATES, said.memory
            numbers = (
                number(metrics[pool].get(metric)),
                step,
                number(rates.training.median) if rates.training is not None else math.nan,
                number(rates.inference.median) if rates.inference is not None else math.nan,
                number(memory.peak_allocated or memory.peak_rss),
                total,
                validation,
                number(metrics["source"].get(metric)) if "source" in metrics else math.nan,
            )
        return (
            said.key,
            status,
            seed,
            rest,
            taker.suite(said.suite),
            taker.reason(said.reason),
            self._environment_place,
            about.place,
            said.started,
            said.finished,
            -1 if curve is None else taker.curved(curve.metric),
            "source" in metrics and pool == "target",
            place,
            taker.scores(scores),
            *axes,
            *numbers,
        )

    def _trial(self, text: bytes) -> tuple[tuple[int, ...], Any, int, int]:
        """Places on the axes, rule of selection, seed, and place of all the rest."""
        before = self._before
        known = before.next
        if known is not None and text.startswith(known.text):  # far cheaper than to hash it
            after = len(known.text)
        else:
            after = text.find(_SEED) + len(_SEED)
            known = before.next = self._beginnings.get(text[:after])
        end = text.find(BETWEEN["parents"], after)
        if known is not None:
            self._before = known
            if (rest := known.ends.get(text[end:])) is not None:
                return known.axes, known.rule, int(text[after:end]), rest
        trial = self._reader.trial(text)
        axes, rule, rest = self._taker.axes(trial), trial["recipe"]["params"].get("selection"), self._taker.rest(trial)
        if known is None and len(self._beginnings) < MOST_AXES:
            # Where this cut is not the right one, no number stands between it and an end that is kept.
            ends = self._ends.setdefault(trial["kind"], {})
            known = self._beginnings[text[:after]] = _Beginning(text[:after], axes, rule, ends)
        if known is not None and end >= 0 and list(_whole(b"{" + text[end + 1 :])) == _LAST:
            known.ends[text[end:]] = rest
        return axes, rule, int(trial["seed"]), rest

    def _about(self, text: bytes) -> _Data:
        if text == self._last[0]:  # far cheaper than to hash it
            return self._last[1]
        known = self._data.get(text)
        if known is None:
            data = self._reader.shared(text)
            known = self._data[text] = _Data(self._taker.about(data), data, {})
        self._last = text, known
        return known

    def _steps_of(self, text: bytes) -> tuple[int, list[Any]]:
        known = self._steps.get(text)
        if known is None:
            steps = self._reader.shared(text)
            known = self._steps[text] = (self._taker.steps(steps), steps)
        return known


def _whole(text: bytes) -> dict[str, Any]:
    """An object of JSON; nothing where the text was not cut between two of its fields."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return {}
    return found if isinstance(found, dict) else {}
