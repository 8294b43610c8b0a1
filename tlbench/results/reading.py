"""Reading many lines: each distinct part of a record is parsed once and shared by all the records that have it.

A line is cut at names of fields, in the order in which they are written. Where every piece between two cuts is one JSON
value, the cuts were right, as JSON is read in one way only; where one is not (a name stood deeper, or the order is
another), the line is read as a whole, by ``lines.from_line``, which also says what is wrong with it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, fields
from itertools import pairwise
from typing import Any

from pydantic_core import from_json

from tlbench.api.records import RECORD_VERSION, Record, Status
from tlbench.api.trials import Choice, Trial
from tlbench.collector import many_objects
from tlbench.results.lines import HEAD, NECK, START, from_line


class Cut(Exception):
    """The line is not written as we write it."""


FAULTS = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a line raises where it is no record."""


def fault(row: bytes, error: Exception) -> str:
    """Why a row of a file, with its end of line, was no record."""
    return str(error) if row.endswith(b"\n") else "torn: its writer was stopped; the trial runs again"


class Reader:
    """Reads lines of one or more files. Records share equal parts: whoever changes a part must copy it first.

    ``slim`` records are without ``BULKY``, which no board needs; it is parsed all the same, so that faults are found.
    """

    def __init__(self, *, slim: bool = False) -> None:
        self._without = {name: DEFAULTS[name] for name in BULKY} if slim else {}
        self._known: dict[bytes, Any] = {}
        self._names: set[tuple[str, ...]] = set()
        self._axes: dict[bytes, dict[str, Any]] = {}

    def record(self, line: bytes) -> Record:
        """The record of a line. Raises ``ValueError``, ``TypeError``, ``KeyError`` and the like where it is none."""
        try:
            return self._record(line)
        except (*FAULTS, Cut):
            return from_line(line.decode())

    def _record(self, line: bytes) -> Record:
        body = line[START:-1]
        check = hashlib.blake2b(body, digest_size=12).hexdigest().encode()
        if line[:START] != HEAD + check + NECK or line[-1:] != b"}":
            raise Cut
        find = body.find
        trial = find(b',"trial":')
        suite = find(b',"suite":', trial)
        data = find(b',"data":', suite)
        seeds = find(b',"seeds":', data)
        environment = find(b',"environment":', seeds)
        artifact = find(b',"artifact":', environment)
        if min(trial, suite, data, seeds, environment, artifact) < 0:
            raise Cut
        head = _parsed(body[:trial] + b"}")
        middle = _parsed(b"{" + body[suite + 1 : data] + b"}")
        tail = _parsed(b"{" + body[artifact + 1 :])
        fields = {
            **head,
            "trial": self.trial(body[trial + 9 : suite]),
            **middle,
            "data": self.shared(body[data + 8 : seeds]),
            "seeds": _parsed(body[seeds + 9 : environment]),
            "environment": self.shared(body[environment + 15 : artifact]),
            **tail,
        }
        names = tuple(fields)
        if len(head) + len(middle) + len(tail) + 4 != len(names) or fields["version"] > RECORD_VERSION:
            raise Cut
        if names not in self._names:
            Record.from_json(fields)  # raises where a field is missing or unknown
            self._names.add(names)
        fields["status"] = STATUSES[fields["status"]]
        record = object.__new__(Record)
        record.__dict__.update(DEFAULTS)
        record.__dict__.update(fields)
        if self._without:
            record.__dict__.update(self._without)
        return record

    def trial(self, text: bytes) -> dict[str, Any]:
        """A trial in the order of ``Trial.to_json``; its choices and all that follows the seed are shared.

        Raises ``Cut`` and ``ValueError``.
        """
        if not text.startswith(b'{"kind":'):
            raise Cut
        cut = text.find(BETWEEN["seed"])
        until = text[:cut]
        if (known := self._axes.get(until)) is not None:  # often only the seed is another
            trial, names, at = known.copy(), NAMES[-2:], cut + len(BETWEEN["seed"])
        else:
            trial, names, at = {}, NAMES, 8
        for name, following in pairwise(names):
            end = text.find(BETWEEN[following], at)
            if end < 0:
                raise Cut
            trial[name] = self.shared(text[at:end])
            if following == "seed" and end == cut and len(self._axes) < MOST_AXES:
                self._axes[until] = trial.copy()
            at = end + len(BETWEEN[following])
        trial.update(self.shared(b'{"parents":' + text[at:]))
        if len(trial) != 12:
            raise Cut
        return trial

    def shared(self, text: bytes) -> Any:
        """The value of this JSON, the same object each time. Raises ``ValueError``."""
        try:
            return self._known[text]
        except KeyError:
            return self._known.setdefault(text, _parsed(text))


NAMES: tuple[str, ...] = ("kind", "source", "target", "task", "strategy", "backbone", "recipe", "seed", "parents")
AXES = ("source", "target", "task", "strategy", "backbone", "recipe")
BETWEEN = {name: f',"{name}":'.encode() for name in (*AXES, "seed", "parents")}
MOST_AXES = 2**16
"""Trials that differ by more than their seed, kept so far: more take too much memory."""
BULKY = ("losses", "cost", "seeds", "artifact", "predictions", "provenance")
STATUSES = {str(status): status for status in Status}
DEFAULTS = {
    f.name: f.default if f.default_factory is MISSING else f.default_factory()
    for f in fields(Record)
    if f.default is not MISSING or f.default_factory is not MISSING
}


def _parsed(text: bytes) -> Any:
    return from_json(text, allow_inf_nan=False)


def trials_of(text: bytes) -> tuple[Trial, ...]:
    """The trials of a ``run.json``; equal choices are one object. Raises ``ValueError``, ``KeyError``..."""
    seen: dict[tuple[str, str, str, str], Choice] = {}

    def choice(data: Any) -> Choice | None:
        if not data:
            return None
        at = (data["name"], data["label"], repr(data["params"]), data.get("version", ""))
        found = seen.get(at)
        return found if found is not None else seen.setdefault(at, Choice.from_json(data))

    with many_objects():
        return tuple(
            Trial(
                **{axis: choice(t[axis]) for axis in AXES},  # type: ignore[arg-type]
                seed=int(t["seed"]),
                kind=t["kind"],
                parents=tuple(t["parents"]),
                reference=t["reference"],
                skip=t["skip"],
                fingerprint=t["fingerprint"],
            )
            for t in json.loads(text)["trials"]
        )


class PlainTrials:
    """``Trial.to_json`` of many trials, with equal choices shared."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[dict[str, Any], Choice]] = {}

    def of(self, trial: Trial) -> dict[str, Any]:
        """The same as ``trial.to_json()``."""
        source = trial.source
        return {
            "kind": trial.kind,
            "source": self._choice(source) if source is not None else None,
            "target": self._choice(trial.target),
            "task": self._choice(trial.task),
            "strategy": self._choice(trial.strategy),
            "backbone": self._choice(trial.backbone),
            "recipe": self._choice(trial.recipe),
            "seed": trial.seed,
            "parents": list(trial.parents),
            "reference": trial.reference,
            "skip": trial.skip,
            "fingerprint": trial.fingerprint,
        }

    def _choice(self, choice: Choice) -> dict[str, Any]:
        known = self._known.get(id(choice))
        if known is None:  # held, so that no other takes its id
            known = self._known[id(choice)] = (choice.to_json(), choice)
        return known[0]


def with_trial(record: Record, trial: dict[str, Any]) -> Record:
    """The record with another description of its trial, as ``dataclasses.replace`` makes it."""
    made = object.__new__(Record)
    made.__dict__.update(record.__dict__)
    made.__dict__["trial"] = trial
    return made
