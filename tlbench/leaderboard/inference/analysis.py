"""The analysis of one group: ranks, tests, wins, aggregates and the Pareto front, over the compared cells alone.

Dimension key:  K strategies  Q pairs  R seeds  P thresholds
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlbench.leaderboard.cells import domains
from tlbench.leaderboard.inference import aggregates, significance
from tlbench.leaderboard.inference.aggregates import Profile
from tlbench.leaderboard.standing import rank_intervals
from tlbench.leaderboard.statistics import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.cells import Cells
    from tlbench.leaderboard.inference.significance import Test
    from tlbench.leaderboard.model import Group
    from tlbench.leaderboard.statistics import Floats, Ints

THRESHOLDS = 101
RATIOS = np.linspace(1.0, 3.0, 41)
COMPARISONS = ("ranks", "friedman", "critical_difference", "cliques", "posthoc", "wins")
PARTS = (*COMPARISONS, "iqm", "profile", "ratios", "pareto")


class PostHoc(NamedTuple):
    """p values [K, K] of every two strategies: Nemenyi's, and Wilcoxon's with Holm's correction."""

    nemenyi: Floats
    wilcoxon: Floats


@dataclass(frozen=True, eq=False)
class Analysis:
    """What many strategies over many pairs show together; a part that cannot be had is ``None``, or empty, and
    ``reasons`` says why by the part's name.

    ``strategies``   labels of the group's rows in the order of the board, references included
    ``pairs``        source ("" for none) and target of the pairs that all rows have
    ``scores``       mean over seeds [K, Q], in the metric's own sign
    ``ranks``        mean rank over pairs with its 95 % interval over sources and targets; 1 is best
    ``friedman``     Friedman's test that all are alike
    ``critical_difference``  Nemenyi's, of two mean ranks, at 5 %
    ``cliques``      places of strategies that it does not tell apart, best first: the bars of the diagram; one of all
                     where Friedman's test finds no difference
    ``posthoc``      p values of every two strategies
    ``wins``         [K, K, 3]: pairs in which the row is better than the column, undecided, worse, by paired intervals
    ``iqm``          interquartile mean over pairs and seeds with its stratified bootstrap interval
    ``profile``      share of runs whose score is above each threshold (below it, where less is better)
    ``ratios``       share of pairs whose error is within each ratio of the least error; for scores in [0, 1] only
    ``pareto``       places that none other dominates in score against cost; a row that is chosen by test labels and
                     the ceiling neither stand there nor dominate
    ``cost``         seconds to the result with the whole of the source's training [K], NaN where unknown
    """

    strategies: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    scores: Floats
    ranks: tuple[Estimate, ...] = ()
    friedman: Test | None = None
    critical_difference: float | None = None
    cliques: tuple[tuple[int, ...], ...] = ()
    posthoc: PostHoc | None = None
    wins: Ints | None = None
    iqm: tuple[Estimate, ...] = ()
    profile: Profile | None = None
    ratios: Profile | None = None
    pareto: frozenset[int] = frozenset()
    cost: Floats = field(default_factory=lambda: np.zeros(0))
    reasons: Mapping[str, str] = field(default_factory=dict)


def analyse(board: Leaderboard, group: Group | int) -> Analysis:
    """The analysis of one group of a board, over the cells that all its rows with a result have."""
    chosen = board.groups[group] if isinstance(group, int) else group
    kept = [k for k, row in enumerate(chosen.rows) if np.isfinite(chosen.cells.scores[k]).any()]
    rows = [chosen.rows[k] for k in kept]
    sign = 1.0 if board.table.higher_is_better else -1.0
    cells, scores_KQR = chosen.cells, chosen.cells.scores[kept]
    sources, targets = board.table.axes["source"].labels, board.table.axes["target"].labels
    pairs = tuple(
        (sources[s] if s >= 0 else "", targets[t])
        for s, t in zip(cells.source.tolist(), cells.target.tolist(), strict=True)
    )
    labels = tuple(row.label for row in rows)
    if not pairs:
        why = "no pair and seed that all rows have" if chosen.rows else "no rows"
        return Analysis(labels, (), np.zeros((len(rows), 0)), reasons=dict.fromkeys(PARTS, why))
    scores_KQ = np.nanmean(scores_KQR, axis=2)
    reasons: dict[str, str] = {}

    cost = np.array([v if isinstance(v := r.cells["cost_alone"].value, float) else np.nan for r in rows])
    front = frozenset(k for k, row in enumerate(rows) if row.cells["pareto"].value == 1.0)
    if not front:
        reasons["pareto"] = "fewer than two rows that compete have a known cost"
    rng = np.random.default_rng(0)
    middles = tuple(aggregates.iqm(s, cells.seeds, rng) for s in scores_KQR)
    low, high = float(np.nanmin(scores_KQR)), float(np.nanmax(scores_KQR))
    profile = aggregates.score_profile(scores_KQR, np.linspace(low, high, THRESHOLDS))
    ratios = None
    if board.points:
        ratios = aggregates.ratio_profile(np.maximum(1 - scores_KQ, 0.0), RATIOS)
    else:
        reasons["ratios"] = "scores are no shares, so they have no errors"
    if sign < 0:
        middles = tuple(Estimate(-e.value, -e.high, -e.low) for e in middles)
        profile = Profile(-profile.thresholds[::-1], profile.shares[:, ::-1])
    whole = Analysis(
        labels, pairs, sign * scores_KQ, iqm=middles, profile=profile, ratios=ratios, pareto=front, cost=cost
    )
    if len(rows) < 2 or len(pairs) < 2:
        few = "fewer than two rows" if len(rows) < 2 else "fewer than two pairs"
        return replace(whole, reasons=reasons | dict.fromkeys(COMPARISONS, few))
    ranks = tuple(rank_intervals(scores_KQ, cells, domains(board.table)))
    return replace(whole, ranks=ranks, reasons=reasons, **_compared(cells, scores_KQR, scores_KQ, reasons))


def _compared(cells: Cells, scores_KQR: Floats, scores_KQ: Floats, reasons: dict[str, str]) -> dict[str, Any]:
    """The parts that compare two or more strategies over two or more pairs."""
    means = significance.ranks(scores_KQ).mean(axis=1)
    count, pairs = scores_KQ.shape
    test = significance.friedman(scores_KQ)
    if test is None:
        why = "every pair is one tie" if count > 2 else "two rows: Wilcoxon's test says it all"
        reasons["friedman"] = why
    difference = significance.critical_difference(count, pairs)
    if test is not None and test.p >= significance.ALPHA:
        bars: tuple[tuple[int, ...], ...] = (significance.order_of(means),)
    else:
        bars = significance.cliques(means, significance.alike_by_ranks(means, difference))
    return {
        "friedman": test,
        "critical_difference": difference,
        "cliques": bars,
        "posthoc": PostHoc(significance.nemenyi(means, pairs), significance.wilcoxon_holm(scores_KQ)),
        "wins": significance.wins(scores_KQR, cells.seeds, cells.step),
    }
