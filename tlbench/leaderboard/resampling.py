"""Resampling: the gain and the gap closed of every row, with intervals; rows of one layout share their resamples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlbench.leaderboard.statistics import (
    Estimate,
    Floats,
    Ints,
    error_floor,
    hierarchical_means,
    percentile_interval,
    weighted_mean,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.leaderboard.pairing import Pairing
    from tlbench.leaderboard.table import Table


@dataclass(frozen=True, eq=False)
class Block:
    """One row's part of the board: its pairs, those compared, their cells, and what is resampled."""

    units: Ints
    inside: Ints
    cells: Ints
    sizes: Ints
    weights: Floats
    gain: Floats
    floor_gain: Floats
    gap: Floats


def gap(table: Table, pairing: Pairing, trials: Ints) -> tuple[Floats, Floats]:
    """Each trial's gain over source-only, and the whole gap from source-only to target-oracle; NaN where unknown."""
    score, floor, ceiling = table.numbers["score"], pairing.floor[trials], pairing.ceiling[trials]
    there = (floor >= 0) & (ceiling >= 0)
    over = np.where(there, score[trials] - score[floor], np.nan)
    return over, np.where(there, score[ceiling] - score[floor], np.nan)


def bootstrap(
    blocks: Sequence[Block], step: Floats, mean: Floats, low: Floats, high: Floats
) -> tuple[list[Estimate], list[Estimate]]:
    """Gain and gap closed of every row. Rows of one layout share their resamples: one matrix product for all."""
    gains = [Estimate()] * len(blocks)
    gaps = [Estimate()] * len(blocks)
    layouts: dict[tuple[bytes, bytes], list[int]] = {}
    for r, block in enumerate(blocks):
        if not len(block.cells):
            continue
        gains[r] = Estimate(weighted_mean(block.gain, block.sizes, block.weights))
        if len(block.inside) == 1:
            gains[r] = Estimate(*(float(a[block.inside[0]]) for a in (mean, low, high)))
        elif block.sizes.max() > 1:  # one seed gives no interval
            layouts.setdefault((block.sizes.tobytes(), block.weights.tobytes()), []).append(r)
    for rows in layouts.values():
        layout = blocks[rows[0]]
        measures = [a for r in rows for a in (blocks[r].gain, blocks[r].floor_gain, blocks[r].gap)]
        means = hierarchical_means(np.stack(measures, axis=1), layout.sizes, layout.weights)
        for k, r in enumerate(rows):
            block = blocks[r]
            floor = float(error_floor(step[block.inside].mean(), len(block.cells)))
            if np.isfinite(block.gain).all():
                gains[r] = percentile_interval(means[:, 3 * k], gains[r].value, floor)
            if np.isfinite(block.gap).all():
                gaps[r] = _gap_closed(block, means[:, 3 * k + 1], means[:, 3 * k + 2], floor)
    return gains, gaps


def _gap_closed(block: Block, over_B: Floats, whole_B: Floats, floor: float) -> Estimate:
    """The ratio of the means, where the gap between floor and ceiling is clearly positive; else nothing."""
    over = weighted_mean(block.floor_gain, block.sizes, block.weights)
    whole = percentile_interval(whole_B, weighted_mean(block.gap, block.sizes, block.weights), floor)
    if not whole.low > 0:
        return Estimate()
    positive = whole_B > 0
    return percentile_interval(over_B[positive] / whole_B[positive], over / whole.value)


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """``concatenate([arange(s, s + n) ...])``"""
    if not len(starts):
        return np.zeros(0, dtype=np.int64)
    steps = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(starts, lengths) + steps
