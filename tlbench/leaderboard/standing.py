"""Standing: how each row of a group stands among the others, on the cells that all of them have.

Dimension key:  K rows  Q pairs
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tlbench.api.columns import Standing
from tlbench.leaderboard.inference.aggregates import interquartile_mean, pareto
from tlbench.leaderboard.inference.crossed import Design
from tlbench.leaderboard.inference.significance import ranks
from tlbench.leaderboard.statistics import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tlbench.api.columns import Sample
    from tlbench.leaderboard.cells import Cells
    from tlbench.leaderboard.statistics import Floats, Ints


def standings(samples: Sequence[Sample], cells: Cells, domain: Mapping[str, Ints]) -> list[Standing]:
    """The standing of each row; ``cells`` has the rows in the same order.

    The front is among rows that compete: one chosen by test labels and the ceiling neither stand on it nor keep others
    off it. Ranks need two rows and two pairs.
    """
    with_cells = [k for k in range(len(samples)) if np.isfinite(cells.scores[k]).any()]
    out = [Standing()] * len(samples)
    if not with_cells:
        return out
    scores_KQR = cells.scores[with_cells]
    scores_KQ = np.nanmean(scores_KQR, axis=2)
    many = min(scores_KQ.shape) > 1
    ranked = rank_intervals(scores_KQ, cells, domain) if many else [Estimate()] * len(with_cells)
    cost = np.array([samples[k].mean("cost_alone") for k in with_cells])
    fair = np.array([not samples[k].ceiling and samples[k].labels["selection"] != "oracle" for k in with_cells])
    competing = fair & np.isfinite(cost)
    front = pareto(scores_KQ.mean(axis=1), np.where(competing, cost, np.nan)) if competing.sum() > 1 else frozenset()
    for place, k in enumerate(with_cells):
        middle = float(interquartile_mean(scores_KQR[place][np.isfinite(scores_KQR[place])]))
        out[k] = Standing(ranked[place], middle, place in front if front and competing[place] else None)
    return out


def rank_intervals(scores_KQ: Floats, cells: Cells, domain: Mapping[str, Ints]) -> list[Estimate]:
    """Mean ranks over pairs [K] with intervals over sources and targets, as those of gains, within [1, K]."""
    ranked = ranks(scores_KQ)
    factors = (domain["source"][cells.source], domain["target"][cells.target])
    found = Design.of(factors, np.ones(ranked.shape[1]), same=True).intervals(ranked.T)
    return [Estimate(e.value, max(e.low, 1.0), min(e.high, float(len(ranked)))) for e in found]
