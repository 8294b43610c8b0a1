"""Changes between two runs: trials, statuses, scores beyond the noise of their seeds, settings, code and conditions.

Trials are matched by key, and where a parameter has changed by the labels of their axes. Differences are NEW minus
OLD, positive where NEW is better. A pair's change counts as real where its paired test over seeds finds it after the
correction for the share of false discoveries (Benjamini & Hochberg 1995) over all pairs of the two runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlbench.api.records import Record, Status
from tlbench.leaderboard.inference.paired import false_discoveries, paired
from tlbench.leaderboard.special import t_quantile
from tlbench.leaderboard.statistics import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tlbench.api.trials import Trial

LEVEL = 0.05


@dataclass(frozen=True)
class Run:
    """One side: records by key, and the planned trials."""

    records: Mapping[str, Record]
    planned: Sequence[Trial]

    def trials(self) -> dict[str, tuple[Mapping[str, Any], str, str]]:
        """Each trial's axes, status (``missing`` without a record) and reason, by key."""
        found = {k: (r.trial, str(r.status), r.reason) for k, r in self.records.items()}
        for trial in self.planned:
            if trial.key not in found:
                found[trial.key] = (trial.to_json(), str(Status.SKIPPED) if trial.skip else "missing", trial.skip or "")
        return {k: v for k, v in found.items() if v[0]["kind"] == "trial"}


class Place(NamedTuple):
    """The labels of a trial's axes."""

    task: str
    backbone: str
    strategy: str
    recipe: str
    source: str
    target: str

    @property
    def row(self) -> Place:
        return self._replace(source="", target="")


class Cell(NamedTuple):
    """One trial's scores in both runs (higher is better) and the resolution of the later one."""

    seed: int
    old: float
    new: float
    step: float


@dataclass(frozen=True)
class PairChange:
    """One strategy on one pair: mean scores and the change over the seeds that both have.

    ``p`` is adjusted over all pairs; ``verdict`` is ``better``, ``worse`` or ``""``: no more than noise, or one seed.
    """

    task: str
    backbone: str
    strategy: str
    source: str
    target: str
    old: float
    new: float
    change: Estimate
    seeds: int
    p: float
    verdict: str


@dataclass(frozen=True)
class RowChange:
    """One strategy in its group over all pairs that both runs have; ``code``: that of the plugins involved changed.

    ``change`` has its interval for these pairs under other seeds. ``verdict`` is ``better`` or ``worse`` where that
    excludes 0 even at 5 % over all strategies together (Bonferroni), else ``""``.
    ``rate`` is training examples/s of NEW ÷ OLD, NaN where not measured on the same device in both.
    """

    task: str
    backbone: str
    strategy: str
    pairs: int
    cells: int
    same: int
    change: Estimate
    verdict: str
    better: int
    worse: int
    code: bool
    rate: float


@dataclass(frozen=True)
class Changes:
    """Everything that differs between two runs.

    ``same``     matched trials whose scores are equal to the last digit, of ``scored`` with a score in both
    ``drifted``  trials of one key, code, data, device and software whose scores differ nevertheless
    ``statuses`` status in OLD, status in NEW, strategy, reason in NEW -> trials
    ``settings`` axis, label, parameter, value in OLD, value in NEW
    ``data``     data sets whose content differs: their scores are not compared
    """

    metric: str
    points: bool
    higher_is_better: bool
    matched: int
    scored: int
    same: int
    drifted: int
    added: Mapping[str, int]
    gone: Mapping[str, int]
    statuses: Mapping[tuple[str, str, str, str], int]
    settings: tuple[tuple[str, str, str, str, str], ...]
    data: tuple[str, ...]
    conditions: tuple[tuple[str, str, str], ...]
    rows: tuple[RowChange, ...]
    pairs: tuple[PairChange, ...]
    unseeded: int = field(default=0)
    """Pairs that differ but have one seed, so that nobody can tell whether by more than noise."""

    @property
    def differ(self) -> bool:
        """Whether there is anything but noise: trials, statuses, settings, data, or a score beyond its seeds' noise."""
        moved = any(p.verdict for p in self.pairs) or any(r.verdict for r in self.rows) or self.unseeded
        return bool(moved or self.added or self.gone or self.statuses or self.settings or self.data)


def changes(
    old: Run,
    new: Run,
    metric: str,
    *,
    higher_is_better: bool = True,
    points: bool = True,
    conditions: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> Changes:
    """What changed from ``old`` to ``new``; ``conditions`` as on each board, and named where they differ."""
    before, after = old.trials(), new.trials()
    matched = _matched(before, after)
    sign = 1.0 if higher_is_better else -1.0
    cells: dict[Place, list[Cell]] = {}
    by_row: dict[Place, list[tuple[Record, Record]]] = {}
    statuses: dict[tuple[str, str, str, str], int] = {}
    data: dict[str, None] = {}
    scored = same = drifted = 0
    for a, b in matched:
        (trial, status, _), (_, now, reason) = before[a], after[b]
        if status != now:
            key = (status, now, _label(trial, "strategy"), reason)
            statuses[key] = statuses.get(key, 0) + 1
        if status != "ok" or now != "ok":
            continue
        first, second = old.records[a], new.records[b]
        other = _other_data(first, second)
        data.update(dict.fromkeys(other))
        x, y = _score(first, metric), _score(second, metric)
        if other or not (math.isfinite(x) and math.isfinite(y)):
            continue
        scored += 1
        same += x == y
        drifted += x != y and a == b and _made_alike(first, second)
        place = Place(*(_label(second.trial, axis) for axis in Place._fields))
        cells.setdefault(place, []).append(Cell(int(trial["seed"]), sign * x, sign * y, _step(second)))
        by_row.setdefault(place.row, []).append((first, second))
    pairs, rows = _scores(cells, by_row, sign)
    kept_old, kept_new = {a for a, _ in matched}, {b for _, b in matched}
    return Changes(
        metric=metric,
        points=points,
        higher_is_better=higher_is_better,
        matched=len(matched),
        scored=scored,
        same=same,
        drifted=drifted,
        added=_counts(t for k, (t, _, _) in after.items() if k not in kept_new),
        gone=_counts(t for k, (t, _, _) in before.items() if k not in kept_old),
        statuses=dict(sorted(statuses.items(), key=lambda item: -item[1])),
        settings=_settings([(before[a][0], after[b][0]) for a, b in matched if a != b]),
        data=tuple(data),
        conditions=_conditions(*conditions),
        rows=rows,
        pairs=pairs,
        unseeded=sum(1 for p in pairs if p.seeds == 1 and p.change.value != 0),
    )


def _label(trial: Mapping[str, Any], axis: str) -> str:
    return str(trial[axis]["label"]) if trial[axis] else ""


def _matched(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Keys that are one trial: equal ones, then those of equal labels and seed that are alone with them."""
    found = [(key, key) for key in before if key in after]

    def by_labels(trials: Mapping[str, Any], others: Mapping[str, Any]) -> dict[tuple[Any, ...], str]:
        places: dict[tuple[Any, ...], list[str]] = {}
        for key, (trial, _, _) in trials.items():
            if key not in others:
                places.setdefault((*(_label(trial, axis) for axis in Place._fields), trial["seed"]), []).append(key)
        return {place: keys[0] for place, keys in places.items() if len(keys) == 1}

    rest, theirs = by_labels(before, after), by_labels(after, before)
    return found + [(key, theirs[place]) for place, key in rest.items() if place in theirs]


def _score(record: Record, metric: str) -> float:
    value = record.metrics.get(record.scored or "", {}).get(metric)
    return float(value) if isinstance(value, int | float) else math.nan


def _step(record: Record) -> float:
    """One test example's share of the score, 0 where unknown."""
    size = (record.data.get("test") or {}).get(record.scored) if isinstance(record.data.get("test"), dict) else None
    size = size if isinstance(size, int) else (record.curve or {}).get("examples")
    return 1.0 / size if isinstance(size, int) and size > 0 else 0.0


def _other_data(old: Record, new: Record) -> list[str]:
    """Data sets that both used with different content."""
    found = []
    for role in ("source", "target"):
        a, b = ((r.data.get(role) or {}).get("content") for r in (old, new))
        if a and b and a != b:
            found.append(_label(new.trial, role))
    return found


def _made_alike(old: Record, new: Record) -> bool:
    """Whether code, device and software are the same, so that scores should be as well."""
    return old.trial.get("fingerprint") == new.trial.get("fingerprint") and all(
        old.environment.get(name) == new.environment.get(name) for name in ("device", "versions")
    )


def _scores(
    cells: Mapping[Place, list[Cell]], by_row: Mapping[Place, list[tuple[Record, Record]]], sign: float
) -> tuple[tuple[PairChange, ...], tuple[RowChange, ...]]:
    """Every pair's change, and every row's over its pairs."""
    domains: dict[str, int] = {"": -1}
    for place in cells:
        for name in (place.source, place.target):
            domains.setdefault(name, len(domains))
    several = len({place.recipe for place in cells}) > 1
    found = []
    for row in by_row:
        places = [place for place in cells if place.row == row]
        flat = [(place, cell) for place in places for cell in sorted(cells[place])]
        source, target, seed = (
            np.array(numbers, dtype=np.int64)
            for numbers in zip(*((domains[p.source], domains[p.target], c.seed) for p, c in flat), strict=True)
        )
        difference = np.array([c.new - c.old for _, c in flat])
        found.append((row, places, paired(difference, source, target, seed, np.array([c.step for _, c in flat]))))
    p_values = false_discoveries([float(p) for *_, tested in found for p in tested.p])
    pairs: list[PairChange] = []
    rows: list[RowChange] = []
    for row, places, tested in found:
        name = f"{row.strategy} · {row.recipe}" if several else row.strategy
        own = []
        for q, place in enumerate(places):
            change = Estimate(float(tested.mean[q]), float(tested.low[q]), float(tested.high[q]))
            p = float(p_values[len(pairs) + q])
            own.append(
                PairChange(
                    task=row.task,
                    backbone=row.backbone,
                    strategy=name,
                    source=place.source,
                    target=place.target,
                    old=sign * float(np.mean([c.old for c in cells[place]])),
                    new=sign * float(np.mean([c.new for c in cells[place]])),
                    change=change,
                    seeds=int(tested.seeds[q]),
                    p=p,
                    verdict="" if not p < LEVEL else "better" if change.value > 0 else "worse",
                )
            )
        pairs += own
        made = by_row[row]
        rows.append(
            RowChange(
                task=row.task,
                backbone=row.backbone,
                strategy=name,
                pairs=len(own),
                cells=len(made),
                same=sum(c.old == c.new for place in places for c in cells[place]),
                change=tested.here,
                verdict=_sure(tested.here, int(tested.seeds.max()), len(found)),
                better=sum(p.verdict == "better" for p in own),
                worse=sum(p.verdict == "worse" for p in own),
                code=any(a.trial.get("fingerprint") != b.trial.get("fingerprint") for a, b in made),
                rate=_rate(made),
            )
        )
    return tuple(pairs), tuple(rows)


def _sure(change: Estimate, seeds: int, of: int) -> str:
    """Better or worse where the interval excludes 0 when it is widened to hold for ``of`` strategies together."""
    if not math.isfinite(change.low) or change.low == change.high == 0:
        return ""
    wider = float(t_quantile(seeds - 1, 1 - LEVEL / (2 * of)) / t_quantile(seeds - 1, 1 - LEVEL / 2))
    if change.value - wider * (change.value - change.low) > 0:
        return "better"
    return "worse" if change.value + wider * (change.high - change.value) < 0 else ""


def _rate(made: Sequence[tuple[Record, Record]]) -> float:
    """Median over trials of the ratio of training rates, of those that both measured on one kind of device."""
    ratios = []
    for pair in made:
        a, b = ((((r.throughput or {}).get("training")) or {}).get("median") for r in pair)
        if a and b and pair[0].environment.get("device") == pair[1].environment.get("device"):
            ratios.append(b / a)
    return float(np.median(ratios)) if ratios else math.nan


def _counts(trials: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many trials of each strategy and task."""
    found: dict[str, int] = {}
    for trial in trials:
        name = f"{_label(trial, 'strategy')} · {_label(trial, 'task')} · {_label(trial, 'backbone')}"
        found[name] = found.get(name, 0) + 1
    return found


def _settings(
    matched: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> tuple[tuple[str, str, str, str, str], ...]:
    """Parameters of matched trials that differ, each once."""
    found: dict[tuple[str, str, str, str, str], None] = {}
    for old, new in matched:
        for axis in Place._fields:
            a, b = old[axis] or {}, new[axis] or {}
            if a.get("name") != b.get("name"):
                found[axis, _label(new, axis), "name", str(a.get("name")), str(b.get("name"))] = None
            x, y = a.get("params") or {}, b.get("params") or {}
            for name in sorted({*x, *y}):
                if x.get(name, "(none)") != y.get(name, "(none)"):
                    values = (str(x.get(name, "(none)")), str(y.get(name, "(none)")))
                    found[axis, _label(new, axis), name, *values] = None
    return tuple(found)


def _conditions(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    """Those that differ; software package by package."""
    found = []
    for name in dict.fromkeys((*old, *new)):
        a, b = old.get(name, ""), new.get(name, "")
        if a == b or name == "when":
            continue
        if name != "software":
            found.append((name, a, b))
            continue
        x, y = ({n: v for n, _, v in (part.partition(" ") for part in said.split(", "))} for said in (a, b))
        found += [(n, x.get(n, ""), y.get(n, "")) for n in dict.fromkeys((*x, *y)) if x.get(n) != y.get(n)]
    return tuple(found)
