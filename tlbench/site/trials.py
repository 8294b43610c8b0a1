"""Trials: for each pair of a group a chunk with its trials, their curves and all that their records say.

What many records share (data, environment, parameters) stands once in the chunk's ``pool``; a trial refers to it.
Dimension key:  N trials  P points
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.leaderboard.statistics import student_intervals
from tlbench.site.encode import bounded, name, prose, rounded
from tlbench.site.groups import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tlbench.api.records import Record
    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.statistics import Ints

AXES = ("source", "target", "task", "strategy", "backbone", "recipe")
FIELDS = (
    *("suite", "metrics", "curve", "losses", "clocks", "throughput", "memory", "cost", "data", "seeds"),
    *("environment", "artifact", "predictions", "started", "finished", "resumed_from"),
)
"""What a record says beside its trial."""
SOURCES_TOGETHER = 50
"""Source trainings in one chunk."""


@dataclass
class Pool:
    """Values of a chunk, each once."""

    values: list[Any] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)

    def place(self, value: Any) -> int:
        """The place of a value; -1 for nothing."""
        if value is None or value == "" or value == {}:
            return -1
        text = repr(value)
        found = self._places.get(text)
        if found is None:
            found = self._places[text] = len(self.values)
            self.values.append(bounded(value))
        return found

    def of(self, record: Record) -> list[int]:
        """The places of the axes and of all other fields of a record, in the order of ``AXES`` and ``FIELDS``."""
        trial = record.trial
        return [
            *(self.place(trial[axis]) for axis in AXES),
            *(self.place(getattr(record, f, None)) for f in FIELDS),
        ]


def source_chunks(records: Mapping[str, Record], where: Mapping[str, list[int]]) -> Iterator[tuple[str, Any]]:
    """Source trainings, which other trials start from: chunks ``s0``, ``s1``, ..."""
    sources = [r for r in records.values() if r.trial["kind"] == "source-model"]
    for i in range(0, len(sources), SOURCES_TOGETHER):
        pool = Pool()
        trials = {
            r.key: {
                "seed": r.trial["seed"],
                "status": str(r.status),
                "reason": prose(r.reason),
                "where": where.get(r.key),
                "fields": pool.of(r),
                "parents": [],
            }
            for r in sources[i : i + SOURCES_TOGETHER]
        }
        yield f"s{i // SOURCES_TOGETHER}", {"trials": trials, "pool": pool.values}


def source_places(records: Mapping[str, Record]) -> dict[str, str]:
    """In which chunk each source training is."""
    keys = [r.key for r in records.values() if r.trial["kind"] == "source-model"]
    return {key: f"s{i // SOURCES_TOGETHER}" for i, key in enumerate(keys)}


@dataclass(frozen=True, eq=False)
class TrialPlaces:
    """Where each trial of the table belongs: group, row (-1: the group has none for it) and pair."""

    group: Ints
    row: Ints
    pair: Ints

    @classmethod
    def of(cls, board: Leaderboard) -> TrialPlaces:
        table = board.table
        names = {axis: table.axes[axis].labels for axis in AXES}
        codes = {axis: table.codes[axis].tolist() for axis in AXES}
        groups = {(g.task, g.backbone): i for i, g in enumerate(board.groups)}
        rows = [{(r.strategy, r.recipe): k for k, r in enumerate(g.rows)} for g in board.groups]
        pairs = [places(g) for g in board.groups]
        several = any(r.recipe for g in board.groups for r in g.rows)
        found = np.full((3, len(table)), -1, dtype=np.int64)
        for i in range(len(table)):
            label = {axis: names[axis][codes[axis][i]] if codes[axis][i] >= 0 else "" for axis in AXES}
            g = groups.get((label["task"], label["backbone"]), -1)
            if g < 0 or table.source_model[i]:
                continue
            row = rows[g].get((label["strategy"], label["recipe"] if several else ""), -1)
            found[:, i] = g, row, pairs[g].get((label["source"], label["target"]), -1)
        return cls(*found)


def pair_chunks(
    board: Leaderboard,
    at: TrialPlaces,
    records: Mapping[str, Record],
    where: Mapping[str, list[int]],
) -> Iterator[tuple[str, Any]]:
    """A chunk ``gGpQ`` for each pair of each group that has trials."""
    table, pairing = board.table, board.pairing
    scale = 100.0 if board.points else 1.0
    sign = 1.0 if table.higher_is_better else -1.0
    homes = source_places(records)
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, (g, q) in enumerate(zip(at.group.tolist(), at.pair.tolist(), strict=True)):
        if g >= 0 and q >= 0:
            members[g, q].append(i)
    strategies, strategy = table.axes["strategy"].labels, table.codes["strategy"]
    for (g, q), trials in sorted(members.items()):
        pool, lines = Pool(), []
        for i in sorted(trials, key=lambda i: (int(at.row[i]) if at.row[i] >= 0 else 10**6, int(table.seed[i]))):
            key = table.keys[i]
            record = records.get(key)
            r = int(pairing.reference[i])
            lines.append(
                {
                    "row": int(at.row[i]),
                    "label": name(strategies[strategy[i]]) if at.row[i] < 0 else "",
                    "key": key,
                    "seed": int(table.seed[i]),
                    "status": str(table.status[i]),
                    "reason": prose(table.reason[i]),
                    "score": rounded(sign * scale * float(table.numbers["score"][i])),
                    "gain": rounded(scale * float(pairing.gain[i])),
                    "time": rounded(float(table.numbers["time"][i])),
                    "against": [int(at.pair[r]), table.keys[r]] if r >= 0 else None,
                    "where": where.get(key),
                    "parents": [[p, homes.get(p, "")] for p in record.trial["parents"]] if record else [],
                    "fields": pool.of(record) if record else [],
                }
            )
        yield (
            f"g{g}p{q}",
            {
                "trials": lines,
                "pool": pool.values,
                "curves": _curves(board, at, trials, sign * scale),
            },
        )


def _curves(board: Leaderboard, at: TrialPlaces, trials: Sequence[int], scale: float) -> list[list[Any]]:
    """For each row its mean curve over the seeds with a 95 % interval: row, steps, mean, low, high.

    Of a row whose seeds were read at different steps, those count that agree with the first.
    """
    table = board.table
    by_row: dict[int, list[int]] = defaultdict(list)
    for i in trials:
        if at.row[i] >= 0 and board.pairing.ok[i]:
            by_row[int(at.row[i])].append(i)
    out = []
    for k, mine in sorted(by_row.items()):
        if not table.curve_steps.shape[1]:
            continue
        steps_NP, scores_NP = table.curve_steps[mine], table.curve_scores[mine]
        there = np.isfinite(scores_NP[0])
        agree = (np.isfinite(scores_NP) == there).all(axis=1)
        agree &= (np.where(there, steps_NP, 0) == np.where(there, steps_NP[0], 0)).all(axis=1)
        scores = scores_NP[agree][:, there]
        if not scores.size:
            continue
        n = np.full(scores.shape[1], len(scores), dtype=np.int64)
        mean = scores.mean(axis=0)
        ends: list[list[float | None] | None] = [None, None]
        if len(scores) > 1:
            low, high = student_intervals(mean, scores.std(axis=0, ddof=1), n, np.zeros(len(mean)))
            ends = [[rounded(scale * v, 5) for v in end] for end in ((low, high) if scale > 0 else (high, low))]
        out.append([k, steps_NP[0][there].tolist(), [rounded(scale * v, 5) for v in mean], *ends])
    return out
