"""Comparing two strategies: paired differences on the cells that both have, by pair and over all pairs.

Dimension key:  C cells (source, target, seed)  Q pairs

A strategy without a source has one result for a target and seed, which stands against each of the other's sources.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.errors import TlbenchError, unknown
from tlbench.leaderboard.cells import domains
from tlbench.leaderboard.columns import Pairs
from tlbench.leaderboard.inference.paired import paired
from tlbench.leaderboard.statistics import verdicts
from tlbench.leaderboard.views.layout import groups_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.statistics import Estimate, Floats, Ints
    from tlbench.leaderboard.table import Table

SUMS = ("time", "cost", "cost_alone")
RATES = ("training_rate", "inference_rate")
WORDS = {"helps": "better", "hurts": "worse", "undecided": "undecided"}


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two: its label, its mean score on each pair [Q] and over all, what it cost, the devices it ran on.

    ``costs``: seconds for ``time``, ``cost`` and ``cost_alone`` (means), bytes for ``memory`` (largest), examples/s for
    ``training_rate`` and ``inference_rate`` (medians; left out where several devices were used).
    """

    label: str
    scores: Floats
    score: float
    costs: Mapping[str, float]
    devices: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A against B on one task, backbone and (named where the board has several) recipe.

    Differences are A minus B, positive where A is better.

    ``pairs`` [Q]: mean difference over seeds, its interval, its verdict (``better``, ``worse``, ``undecided``)
    ``overall``  over pairs, with its interval for other sources and targets like these; ``verdict`` is of it
    ``here``     the same with its interval for these pairs under other seeds
    ``sign``, ``wilcoxon``  two-sided p over the pairs' means; NaN where all are equal or there is one pair
    ``alone_a``, ``alone_b``  results that the other has no counterpart of: not used
    """

    task: str
    backbone: str
    recipe: str
    a: Side
    b: Side
    pairs: Pairs
    overall: Estimate
    here: Estimate
    sign: float
    wilcoxon: float
    alone_a: int
    alone_b: int

    @property
    def title(self) -> str:
        return " · ".join(part for part in (self.task, self.backbone, self.recipe) if part)

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``undecided``: what the interval of the overall difference says of A."""
        return WORDS[str(verdicts(self.overall.low, self.overall.high))]


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Two strategies in every group where both have cells in common; ``lacking`` says why the others are left out."""

    a: str
    b: str
    metric: str
    points: bool
    higher_is_better: bool
    each: tuple[Comparison, ...]
    lacking: Mapping[str, str] = field(default_factory=dict)


class _Row(NamedTuple):
    """Which trials a label names: a strategy's place, and a recipe's where the label says it."""

    strategy: int
    recipe: int | None


def compare(board: Leaderboard, a: str, b: str, group: str | None = None) -> Comparisons:
    """Two rows of the board against each other, in every group or in those whose title has ``group`` in it.

    Raises ``TlbenchError`` for an unknown label, and where the two have nothing in common.
    """
    wanted = {(g.task, g.backbone) for g in groups_named(board, group)}
    table = board.table
    rows_a, rows_b = _resolve(board, a), _resolve(board, b)
    if rows_a == rows_b:
        raise TlbenchError(f"{a!r} is both sides of the comparison; name two strategies")
    by_recipe = _several_recipes(table) and (rows_a[0].recipe is None or rows_b[0].recipe is None)
    bound = 1.0 if board.points else math.inf
    each: list[Comparison] = []
    lacking: dict[str, str] = {}
    for title, members in _groups(table, by_recipe):
        mine, theirs = (_trials(board, members, rows) for rows in (rows_a, rows_b))
        if not len(mine) and not len(theirs):
            continue
        if _labels(table, members) not in wanted:
            continue
        cells = list(_matched(table, mine, theirs))
        if cells:
            each.append(_comparison(table, (a, b), np.array(cells, dtype=np.int64), (mine, theirs), by_recipe, bound))
        else:
            without = [label for label, its in ((a, mine), (b, theirs)) if not len(its)]
            lacking[title] = f"{without[0]} has no result" if without else "no pair and seed in common"
    if not each:
        why = "; ".join(f"{title}: {reason}" for title, reason in lacking.items()) or "neither has a result"
        raise TlbenchError(f"{a!r} and {b!r} cannot be compared: {why}")
    return Comparisons(a, b, table.metric, board.points, table.higher_is_better, tuple(each), lacking)


def _resolve(board: Leaderboard, label: str) -> list[_Row]:
    """The rows that a label names: ``strategy`` alone is every recipe's, ``strategy · recipe`` one's."""
    labels, recipes = board.table.axes["strategy"].labels, board.table.axes["recipe"].labels
    rows = [_Row(s, None) for s, known in enumerate(labels) if known == label]
    if _several_recipes(board.table):
        rows += [
            _Row(s, r) for s, name in enumerate(labels) for r, recipe in enumerate(recipes)
            if f"{name} · {recipe}" == label
        ]  # fmt: skip
    if not rows:
        known = {row.label for group in board.groups for row in group.rows} | {
            r for g in board.groups for r in g.inapplicable
        }
        raise TlbenchError(unknown("strategy", label, known or labels))
    return rows


def _several_recipes(table: Table) -> bool:
    return len(np.unique(table.codes["recipe"][~table.source_model])) > 1


def _groups(table: Table, by_recipe: bool) -> Iterator[tuple[str, Ints]]:
    """The trials of each task and backbone, and recipe where that is asked for, in the order of their first."""
    axes = ("task", "backbone", *(("recipe",) if by_recipe else ()))
    found: dict[tuple[int, ...], list[int]] = {}
    for i in np.flatnonzero(~table.source_model).tolist():
        found.setdefault(tuple(int(table.codes[axis][i]) for axis in axes), []).append(i)
    for codes, members in found.items():
        title = " · ".join(table.axes[axis].labels[code] for axis, code in zip(axes, codes, strict=True))
        yield title, np.array(members, dtype=np.int64)


def _labels(table: Table, members: Ints) -> tuple[str, ...]:
    return tuple(table.axes[axis].labels[table.codes[axis][members[0]]] for axis in ("task", "backbone"))


def _trials(board: Leaderboard, members: Ints, rows: list[_Row]) -> Ints:
    """The trials of these rows that have a score."""
    codes, chosen = board.table.codes, np.zeros(len(members), dtype=bool)
    for row in rows:
        its = codes["strategy"][members] == row.strategy
        chosen |= its if row.recipe is None else its & (codes["recipe"][members] == row.recipe)
    return members[chosen & board.pairing.ok[members]]


def _matched(table: Table, mine: Ints, theirs: Ints) -> Iterator[tuple[int, int, int, int]]:
    """Trial of A, trial of B, source and target of each cell that both have."""
    codes, seed = table.codes, table.seed
    at: dict[tuple[int, int], dict[int, int]] = {}
    for j in theirs.tolist():
        at.setdefault((int(codes["target"][j]), int(seed[j])), {})[int(codes["source"][j])] = j
    for i in mine.tolist():
        source, target = int(codes["source"][i]), int(codes["target"][i])
        others = at.get((target, int(seed[i])), {})
        if source in others:
            yield i, others[source], source, target
        elif source < 0:  # A has no source: against each of B's
            yield from ((i, j, its, target) for its, j in others.items())
        elif -1 in others:
            yield i, others[-1], source, target


def _comparison(
    table: Table, labels: tuple[str, str], cells_C4: Ints, all_of: tuple[Ints, Ints], by_recipe: bool, bound: float
) -> Comparison:
    order = np.lexsort((table.seed[cells_C4[:, 0]], cells_C4[:, 3], cells_C4[:, 2]))
    cells_C4 = cells_C4[order]
    a, b = cells_C4[:, 0], cells_C4[:, 1]
    score, step, domain = table.numbers["score"], table.numbers["step"], domains(table)
    source_C, target_C = cells_C4[:, 2], cells_C4[:, 3]
    found = paired(
        score[a] - score[b],
        domain["source"][source_C],
        domain["target"][target_C],
        table.seed[a],
        np.maximum(np.nan_to_num(step[a]), np.nan_to_num(step[b])),
        bound,
    )
    at = np.repeat(np.arange(len(found.seeds)), found.seeds)
    sources, targets = table.axes["source"].labels, table.axes["target"].labels
    pairs = Pairs(
        source=tuple(sources[s] if s >= 0 else "" for s in source_C[found.starts].tolist()),
        target=tuple(targets[t] for t in target_C[found.starts].tolist()),
        mean=found.mean,
        low=found.low,
        high=found.high,
        seeds=found.seeds,
        verdict=tuple(WORDS[v] for v in found.verdicts),
    )
    first = int(a[0])
    return Comparison(
        task=table.axes["task"].labels[table.codes["task"][first]],
        backbone=table.axes["backbone"].labels[table.codes["backbone"][first]],
        recipe=table.axes["recipe"].labels[table.codes["recipe"][first]] if by_recipe else "",
        a=_side(table, labels[0], a, at, found.seeds),
        b=_side(table, labels[1], b, at, found.seeds),
        pairs=pairs,
        overall=found.overall,
        here=found.here,
        sign=sign_test(found.mean),
        wilcoxon=wilcoxon_test(found.mean),
        alone_a=len(np.setdiff1d(all_of[0], a)),
        alone_b=len(np.setdiff1d(all_of[1], b)),
    )


def sign_test(differences: Floats) -> float:
    """Two-sided sign test (ties left out), from scipy; NaN where nothing differs."""
    from scipy import stats

    above, below = int((differences > 0).sum()), int((differences < 0).sum())
    return float(stats.binomtest(above, above + below).pvalue) if above + below else math.nan


def wilcoxon_test(differences: Floats) -> float:
    """Two-sided signed-rank test (Wilcoxon 1945; zeros left out), from scipy; NaN where fewer than two differ."""
    from scipy import stats

    there = differences[differences != 0]
    return float(stats.wilcoxon(there).pvalue) if len(there) > 1 else math.nan


def _side(table: Table, label: str, trials: Ints, at: Ints, sizes: Ints) -> Side:
    sign = 1.0 if table.higher_is_better else -1.0
    scores = sign * np.bincount(at, table.numbers["score"][trials]) / sizes
    costs = {name: float((np.bincount(at, table.numbers[name][trials]) / sizes).mean()) for name in SUMS}
    memory = table.numbers["memory"][trials]
    costs["memory"] = float(np.nanmax(memory)) if np.isfinite(memory).any() else math.nan
    once = np.unique(trials)
    used = np.unique(table.device[once])
    for name in RATES:
        known = (values := table.numbers[name][once])[np.isfinite(values)]
        if len(known) and len(used) == 1:
            costs[name] = float(np.median(known))
    devices = tuple(table.devices[d] for d in used.tolist() if d >= 0)
    return Side(label, scores, float(scores.mean()), {k: v for k, v in costs.items() if math.isfinite(v)}, devices)


def compare_frame(found: Comparisons) -> pd.DataFrame:
    """A line for each pair, and for each task and backbone one over all its pairs, with neither source nor target."""
    import pandas as pd

    lines: list[dict[str, object]] = []
    for one in found.each:
        axes = {"task": one.task, "backbone": one.backbone, "recipe": one.recipe}
        p = one.pairs
        lines += [
            axes
            | {"source": p.source[q], "target": p.target[q], "a": one.a.scores[q], "b": one.b.scores[q]}
            | {"difference": p.mean[q], "low": p.low[q], "high": p.high[q]}
            | {"seeds": int(p.seeds[q]), "verdict": p.verdict[q]}
            for q in range(len(p.mean))
        ]
        value, low, high = one.overall
        whole: dict[str, object] = {"source": None, "target": None, "a": one.a.score, "b": one.b.score}
        whole |= {"difference": value, "low": low, "high": high, "seeds": int(p.seeds.max()), "verdict": one.verdict}
        lines.append({**axes, **whole})
    return pd.DataFrame(lines)
