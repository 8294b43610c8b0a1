"""Counting: which of many records count, as columns: the last of each key, of the plan's code, of one content.

The same rules as ``store.last_of_each``, ``valid.current`` and ``valid.of_one_content`` have for records; tests hold
them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.results.facts import AXES, OK, Values
from tlbench.results.valid import changed_since

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tlbench.api.trials import Trial
    from tlbench.results.facts import Facts

    Rows = NDArray[np.int64]


def last_of_each(facts: Facts, rows: range) -> dict[str, int]:
    """The row of the last record of each key; an ``ok`` one is never replaced by one of the same code that is not."""
    keys = facts.keys[rows.start : rows.stop]
    found = dict(zip(keys, rows, strict=True))
    if len(found) == len(keys):
        return found
    found = {}
    for row, key in zip(rows, keys, strict=True):
        before = found.get(key)
        if (
            before is not None
            and facts.rests[facts.rest[before]][4] == facts.rests[facts.rest[row]][4]
            and facts.status[before] == OK
            and facts.status[row] != OK
        ):
            continue
        found[key] = row
    return found


def current(facts: Facts, rows: dict[str, int], planned: Sequence[Trial]) -> dict[str, int]:
    """The rows of these trials that were made by the code that is there now, from now on under the plan's labels."""
    if not planned:
        return rows
    values = {axis: Values() for axis in AXES}
    rests = Values()
    more = {axis: len(facts.choices[axis]) for axis in AXES}
    more_rests = len(facts.rests)
    found: dict[str, int] = {}
    for trial in planned:
        row = rows.get(trial.key)
        if row is None or facts.rests[facts.rest[row]][4] != trial.fingerprint:
            continue
        found[trial.key] = row
        for axis in AXES:
            choice = getattr(trial, axis)
            facts.axes[axis][row] = -1 if choice is None else more[axis] + values[axis].part(choice)
        facts.seed[row] = trial.seed
        rest = (trial.kind, trial.parents, trial.reference, trial.skip, trial.fingerprint)
        facts.rest[row] = more_rests + rests.of(rest)
    for axis in AXES:
        facts.choices[axis] += [choice.to_json() for choice in values[axis].known]
    facts.rests += rests.known
    return found


def of_one_content(facts: Facts, rows: Rows) -> tuple[Rows, list[str]]:
    """The rows whose data sets have the content that they had last, and what to say of the others."""
    about = np.array(facts.about, dtype=np.int64)[rows]
    used: list[tuple[Rows, list[tuple[str, str] | None]]] = []  # for each role the place [N] of a name and a content
    contents: dict[str, set[str]] = {}
    for side, role in ((1, "target"), (2, "source")):
        choice = np.array(facts.axes[role], dtype=np.int64)[rows]
        both = about * (len(facts.choices[role]) + 1) + choice + 1
        distinct, place = np.unique(both, return_inverse=True)
        named: list[tuple[str, str] | None] = []
        for value in distinct.tolist():
            its, at = divmod(value, len(facts.choices[role]) + 1)
            content, chosen = facts.abouts[its][side][1], facts.choices[role][at - 1] if at else None
            if not chosen or content is None:
                named.append(None)
                continue
            name = f"{chosen['name']} {chosen['params']}"
            named.append((name, content))
            contents.setdefault(name, set()).add(content)
        used.append((place, named))
    if all(len(found) == 1 for found in contents.values()):
        return rows, []
    latest: dict[str, tuple[str, str]] = {}
    finished: list[Any] = [facts.finished[row] for row in rows.tolist()]
    for place, named in used:
        for at, when in zip(place.tolist(), finished, strict=True):
            if (of := named[at]) is not None:
                latest[of[0]] = max(latest.get(of[0], ("", "")), (when, of[1]))
    stale = np.zeros(len(rows), dtype=bool)
    for place, named in used:
        old = [of is not None and latest[of[0]][1] != of[1] for of in named]
        stale |= np.array(old, dtype=bool)[place]
    if not stale.any():
        return rows, []
    return rows[~stale], [changed_since(int(stale.sum()))]
