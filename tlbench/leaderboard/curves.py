"""Learning curves: mean scores against steps, with a band, for one pair or over the pairs that all shown rows have.

Dimension key:  N trials  P evaluation points  Q pairs
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlbench.errors import TlbenchError, unknown
from tlbench.leaderboard.statistics import paired_interval
from tlbench.leaderboard.views.layout import groups_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.model import Group, Row
    from tlbench.leaderboard.statistics import Floats

SHARES = np.linspace(0.0, 1.0, 21)
"""Where curves over different steps are read: shares of each curve's own steps."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The mean curve of one row: ``mean``, ``low`` and ``high`` [P] at ``steps`` [P]; the band is NaN where none is.

    A row that trained nothing has one point. Scores are in the metric's own sign.
    """

    label: str
    reference: bool
    steps: Floats
    mean: Floats
    low: Floats
    high: Floats
    pairs: int
    seeds: int


@dataclass(frozen=True, eq=False)
class Curves:
    """The curves of one group, on one pair or over ``pairs`` many; ``left_out`` says which rows have none, and why.

    ``band``: what ``low`` and ``high`` are. ``by_share``: steps are shares of each curve's own, as they differ.
    """

    title: str
    pair: tuple[str, str] | None
    pairs: int
    each: tuple[Curve, ...]
    band: str
    by_share: bool
    left_out: tuple[str, ...]


def all_curves(
    board: Leaderboard,
    group: str | None = None,
    strategies: Sequence[str] | None = None,
    pair: tuple[str, str] | None = None,
    *,
    each_pair: bool = False,
) -> list[Curves]:
    """``curves`` of every group whose title has ``group`` in it and that has some of the strategies and the pair.

    Raises ``TlbenchError`` where a strategy, or the pair, is in none of them.
    """
    groups = [g for g in groups_named(board, group) if g.rows]
    known = {row.label for g in groups for row in g.rows}
    for name in strategies or ():
        if name not in known:
            raise TlbenchError(unknown("strategy", name, known))
    if pair is not None:
        for kind, name, names in zip(("source", "target"), pair, _domains(groups), strict=True):
            if name not in names:
                raise TlbenchError(unknown(kind, name, names - {""}))
    found = []
    for g in groups:
        chosen = [row.label for row in g.rows if strategies is None or row.label in strategies]
        every = {p for row in g.rows if row.label in chosen for p in row.planned_pairs}
        pairs: list[tuple[str, str] | None] = [pair]
        if each_pair and pair is None:
            pairs = [p for p in _in_order(g, every) if p[0]] or list(_in_order(g, every))
        if chosen and (pair is None or pair in every or ("", pair[1]) in every):
            found += [curves(board, g, chosen, p) for p in pairs]
    if not found:
        raise TlbenchError(f"no task has the pair {pair}" if pair else "there are no learning curves to show")
    return found


def _domains(groups: Sequence[Group]) -> tuple[set[str], set[str]]:
    return {s for g in groups for s in (*g.sources, "")}, {t for g in groups for t in g.targets}


def _in_order(group: Group, pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
    sources = {name: i for i, name in enumerate(("", *group.sources))}
    targets = {name: i for i, name in enumerate(group.targets)}
    return sorted(pairs, key=lambda p: (sources.get(p[0], -1), targets.get(p[1], -1)))


def curves(
    board: Leaderboard,
    group: Group,
    strategies: Sequence[str] | None = None,
    pair: tuple[str, str] | None = None,
) -> Curves:
    """The curves of a group's rows, in the order of the board; ``pair`` is a source ("" for none) and a target.

    A row without a source has one curve for a target and seed, which stands for all sources. Over several pairs, only
    those count in which every shown row has a curve. Raises ``TlbenchError`` for a name that the group does not have.
    """
    rows = _chosen(group, strategies)
    found = {row.label: _trials(board, group, row, pair) for row in rows}
    shown = [row for row in rows if found[row.label]]
    left_out = tuple(row.label for row in rows if not found[row.label])
    sourced = [row for row in shown if any(source for source, _ in found[row.label])]
    keys: set[tuple[str, str]] = set()
    if shown:
        keys = set.intersection(*(set(found[row.label]) for row in sourced or shown))
        targets = [{target for _, target in found[row.label]} for row in shown]
        keys = {(s, t) for s, t in keys if all(t in its for its in targets)}
    if not keys:
        return Curves(group.title, pair, 0, (), "", False, tuple(row.label for row in rows))
    picked = {
        row.label: [found[row.label].get(key) or found[row.label]["", key[1]] for key in sorted(keys)] for row in shown
    }
    table = board.table
    grids = {
        tuple(_steps(board, i).tolist()) for its in picked.values() for p in its for i in p if _points(board, i) > 1
    }
    by_share = len(grids) > 1
    sign = 1.0 if table.higher_is_better else -1.0
    each = tuple(_curve(board, row, picked[row.label], by_share, sign) for row in shown)
    one_seed = all(curve.seeds < 2 for curve in each)
    band = "none: one seed" if one_seed else "95 % interval over seeds" + ("" if len(keys) == 1 else ", of these pairs")
    return Curves(group.title, pair, len(keys), each, band, by_share, left_out)


def _chosen(group: Group, strategies: Sequence[str] | None) -> list[Row]:
    if strategies is None:
        return list(group.rows)
    known = [row.label for row in group.rows]
    for name in strategies:
        if name not in known:
            raise TlbenchError(unknown("strategy", name, known))
    return [row for row in group.rows if row.label in set(strategies)]


def _trials(
    board: Leaderboard, group: Group, row: Row, pair: tuple[str, str] | None
) -> dict[tuple[str, str], list[int]]:
    """The trials of a row that have a curve, by source and target."""
    table, codes = board.table, board.table.codes
    wanted = {"task": row.task, "backbone": row.backbone, "strategy": row.strategy}
    if row.recipe:
        wanted["recipe"] = row.recipe
    here = board.pairing.ok.copy()
    for axis, label in wanted.items():
        here &= codes[axis] == table.axes[axis].labels.index(label)
    sources, targets = table.axes["source"].labels, table.axes["target"].labels
    found: dict[tuple[str, str], list[int]] = {}
    for i in np.flatnonzero(here).tolist():
        source, target = codes["source"][i], targets[codes["target"][i]]
        key = (sources[source] if source >= 0 else "", target)
        if _points(board, i) and (pair is None or key in (pair, ("", pair[1]))):
            found.setdefault(key, []).append(i)
    return found


def _points(board: Leaderboard, i: int) -> int:
    return int(np.isfinite(board.table.curve_scores[i]).sum())


def _steps(board: Leaderboard, i: int) -> Floats:
    steps: Floats = board.table.curve_steps[i][: _points(board, i)]
    return steps


def _curve(board: Leaderboard, row: Row, cells: Sequence[Sequence[int]], by_share: bool, sign: float) -> Curve:
    """For each seed the mean over the pairs, and the mean of these; its interval takes the pairs as they are.

    Over pairs that have not the same seeds, those count that all have; where none is, all do and there is no interval.
    """
    seed = board.table.seed
    shared = sorted(set.intersection(*({int(seed[i]) for i in c} for c in cells)))
    longest = max(_points(board, i) for c in cells for i in c)
    if longest == 1:
        steps = np.zeros(1)
    else:
        steps = SHARES if by_share else _steps(board, next(i for c in cells for i in c if _points(board, i) == longest))
    if shared:
        at = [{int(seed[i]): i for i in c} for c in cells]
        values_RP = np.array([[_read(board, its[r], steps, by_share) for its in at] for r in shared]).mean(axis=1)
    else:
        means_QP = [np.mean([_read(board, i, steps, by_share) for i in c], axis=0) for c in cells]
        values_RP = np.mean(means_QP, axis=0)[None]
    mean, low, high = (np.array(ends) for ends in zip(*(paired_interval(point) for point in values_RP.T), strict=True))
    if sign < 0:
        mean, low, high = -mean, -high, -low
    return Curve(row.label, row.reference, steps, mean, low, high, len(cells), len(values_RP))


def _read(board: Leaderboard, i: int, steps: Floats, by_share: bool) -> Floats:
    """A curve at these steps, or shares of its own; straight between its points."""
    own, scores = _steps(board, i), board.table.curve_scores[i][: _points(board, i)]
    if len(own) > 1 and by_share:
        own = own / own[-1]
    values: Floats = np.interp(steps, own, scores)
    return values


def curves_frame(board: Leaderboard) -> pd.DataFrame:
    """One line for each evaluation point of each trial that ended well: axes, seed, step and score."""
    import pandas as pd

    table = board.table
    trial, point = np.nonzero(np.isfinite(table.curve_scores) & board.pairing.ok[:, None])
    columns: dict[str, object] = {}
    for axis, codes in table.codes.items():
        labels = np.array([*table.axes[axis].labels, ""], dtype=object)
        columns[axis] = labels[codes[trial]]
    columns["seed"] = table.seed[trial]
    columns["step"] = table.curve_steps[trial, point]
    columns["score"] = (1.0 if table.higher_is_better else -1.0) * table.curve_scores[trial, point]
    return pd.DataFrame(columns)
