"""Pairing: each trial's reference, and its gains over it, on the same target data, budget and seed.

Dimension key:  N trials
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlbench.leaderboard.statistics import CurveGains, Floats, Ints, curve_gains
from tlbench.leaderboard.view import DENSE, ranked
from tlbench.leaderboard.view import joint as joint

if TYPE_CHECKING:
    from tlbench.leaderboard.table import Table

Bools: TypeAlias = NDArray[np.bool_]

FLOOR, CEILING = "source-only", "target-oracle"
"""The reference strategies of adaptation between which a gap is closed."""

BLIND = ("majority", "chance")
"""The references that guess blindly; with ``CEILING``, the maximal supervision, the controls of Atanov et al. 2022."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """What each trial of a table [N] is compared with, and what came out; NaN or -1 where there is nothing.

    ``wanted`` is the place of the reference's label, or -1 for a reference itself, and for a ceiling that has no source
    while its reference has one.
    ``reference``, ``floor``, ``ceiling``, ``blind`` and ``maximal`` are places in the table of trials that are ok. The
    last two are of the same task where it has them, else of another on the same target, scored on as many examples.
    """

    ok: Bools
    wanted: Ints
    reference: Ints
    gain: Floats
    curve: CurveGains
    floor: Ints
    ceiling: Ints
    blind: Ints
    maximal: Ints


def pair(table: Table) -> Pairing:
    """Find every trial's reference: the ok trial of that strategy on the same target, task, backbone, recipe and seed.

    One with the same source goes before one without a source (which all sources share).
    """
    score = table.numbers["score"]
    ok = (table.status == "ok") & np.isfinite(score) & ~table.source_model
    codes, axes = table.codes, table.axes
    seeds = ranked(table.seed)
    shared = [codes["target"], codes["task"], codes["backbone"], codes["recipe"], seeds]

    wanted = _match(table, ok, shared, have=table.name, want=table.wanted)
    controls = (FLOOR, CEILING, *BLIND)
    names = np.array([controls.index(n) if n in controls else -1 for n in axes["strategy"].names])
    have = names[codes["strategy"]] if len(table) else codes["strategy"]

    by_task = np.argsort(np.argsort(axes["task"].labels))[codes["task"]] if len(table) else codes["task"]

    def control(which: int, among: list[Ints] = shared) -> Ints:
        return _match(table, ok, among, have=have, want=np.full(len(table), which, dtype=np.int64), first=by_task)

    floor, ceiling = control(0), control(1)
    size = np.unique(np.nan_to_num(table.numbers["step"]), return_inverse=True)[1].astype(np.int64)
    anywhere = [size, *shared[:1], *shared[2:]]  # whatever the task
    maximal = _first_of([ceiling, control(1, anywhere)])
    blind = _first_of([control(k, among) for among in (shared, anywhere) for k in (2, 3)])

    if len(table):
        measured_alone = (have == 1) & (codes["source"] < 0) & (wanted < 0)
        effective = np.where(measured_alone, -1, table.wanted)
    else:
        effective = table.wanted
    paired = ok & (wanted >= 0)
    gain = np.where(paired, score - score[wanted], np.nan) if len(table) else score
    out = [np.full(len(table), np.nan) for _ in CurveGains._fields]
    rows, refs = np.flatnonzero(paired), wanted[paired]
    steps, scores = table.curve_steps, table.curve_scores
    if len(rows) and scores.shape[1]:
        for whole, part in zip(out, curve_gains(steps, scores, rows, refs), strict=True):
            whole[rows] = part
    return Pairing(ok, effective, np.where(paired, wanted, -1), gain, CurveGains(*out), floor, ceiling, blind, maximal)


def _first_of(places: list[Ints]) -> Ints:
    """For each trial the first place that there is, else -1."""
    found = places[0]
    for other in places[1:]:
        found = np.where(found >= 0, found, other)
    return found


def _match(table: Table, ok: Bools, shared: list[Ints], have: Ints, want: Ints, first: Ints | None = None) -> Ints:
    """For each trial the ok trial that *has* what it *wants* and agrees on ``shared``; -1 where there is none.

    Of several that of the least ``first`` is taken.
    """
    n = len(table)
    found = np.full(n, -1, dtype=np.int64)
    if not n:
        return found
    source = table.codes["source"]
    none = np.full(n, -1, dtype=np.int64)
    candidates = np.flatnonzero(ok & (have >= 0))
    if first is not None:
        candidates = candidates[np.argsort(first[candidates], kind="stable")]
    asking = np.flatnonzero(want >= 0)
    if not len(candidates) or not len(asking):
        return found
    for its_source in (none, source):  # the same source last: it goes before
        # Those who ask and those who answer stand in one column, so that equal codes are equal things.
        columns = [np.concatenate((c[asking], c[candidates])) for c in shared]
        columns.append(np.concatenate((want[asking], have[candidates])))
        columns.append(np.concatenate((its_source[asking], source[candidates])))
        code = joint(columns)
        asked, offered = code[: len(asking)], code[len(asking) :]
        low, high = int(code.min()), int(code.max())
        if high - low < DENSE:
            known = np.full(high - low + 1, -1, dtype=np.int64)
            known[offered[::-1] - low] = candidates[::-1]  # backwards, so that the first of equal ones stays
            answer = known[asked - low]
            found[asking] = np.where(answer >= 0, answer, found[asking])
            continue
        order = np.argsort(offered, kind="stable")
        place = np.minimum(np.searchsorted(offered[order], asked), len(order) - 1)
        hit = offered[order][place] == asked
        found[asking[hit]] = candidates[order[place[hit]]]
    return found
