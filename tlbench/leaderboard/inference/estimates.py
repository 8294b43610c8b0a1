"""Estimates: the gain and the gap closed of every row with their intervals; rows of one layout are done together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.leaderboard.inference.crossed import Layout
from tlbench.leaderboard.statistics import Estimate, Floats, Ints, error_floor, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, eq=False)
class Block:
    """One row's part of the board: its pairs, those compared [Q], their cells [C], and what is averaged over them.

    ``source`` (-1: none) and ``target`` [Q] are numbers of domains: equal ones are the same domain.
    """

    units: Ints
    inside: Ints
    cells: Ints
    sizes: Ints
    weights: Floats
    source: Ints
    target: Ints
    seed: Ints
    gain: Floats
    floor_gain: Floats
    gap: Floats
    over_blind: Floats
    possible: Floats


def gap(score: Floats, below: Ints, above: Ints, trials: Ints) -> tuple[Floats, Floats]:
    """Each trial's score over that of its lower control, and the whole way to its upper control; NaN where unknown."""
    low, high = below[trials], above[trials]
    there = (low >= 0) & (high >= 0)
    over = np.where(there, score[trials] - score[low], np.nan)
    return over, np.where(there, score[high] - score[low], np.nan)


class Found(NamedTuple):
    """Of one row: its gain over sources and targets, the same on these very pairs, and two shares of a way.

    ``gap``         from source-only to target-oracle
    ``controlled``  from a blind guess to maximal supervision (after Atanov, Xu, Beker, Filatov & Zamir 2022, "Simple
                    Control Baselines for Evaluating Transfer Learning", whose third control, scratch, is the gain's)
    """

    gain: Estimate = Estimate()
    here: Estimate = Estimate()
    gap: Estimate = Estimate()
    controlled: Estimate = Estimate()


def estimates(blocks: Sequence[Block], step: Floats, bound: float) -> list[Found]:
    """The estimates of every row; rows of one layout are worked out together.

    ``step`` is the resolution of the scores of all pairs of the board, and ``bound`` the largest gain there can be:
    an interval ends there. One seed gives no interval.
    """
    found = [Found()] * len(blocks)
    layouts: dict[tuple[bytes, ...], list[int]] = {}
    for r, block in enumerate(blocks):
        if len(block.cells):
            shape = (block.sizes, block.weights, block.source, block.target, block.seed)
            layouts.setdefault(tuple(a.tobytes() for a in shape), []).append(r)
    for rows in layouts.values():
        first = blocks[rows[0]]
        gain_CM, floor_CM, gap_CM, blind_CM, possible_CM = (
            np.stack([getattr(blocks[r], name) for r in rows], axis=1)
            for name in ("gain", "floor_gain", "gap", "over_blind", "possible")
        )
        if first.sizes.max() == 1:
            means = [weighted_mean(g, first.sizes, first.weights) for g in gain_CM.T]
            gains = heres = [Estimate(m) for m in means]
            gaps = controlled = [Estimate()] * len(rows)
        else:
            layout = Layout.of(first.sizes, first.weights, first.source, first.target, first.seed)
            floor = np.array([float(error_floor(step[blocks[r].inside].mean(), len(first.cells))) for r in rows])
            gains = [_bounded(e, bound) for e in layout.intervals(gain_CM, floor)]
            heres = [_bounded(e, bound) for e in layout.intervals_here(gain_CM, floor)]
            gaps = share_of_the_way(layout, floor_CM, gap_CM, floor)
            controlled = share_of_the_way(layout, blind_CM, possible_CM, floor)
        for r, *its in zip(rows, gains, heres, gaps, controlled, strict=True):
            found[r] = Found(*its)
    return found


def _bounded(estimate: Estimate, bound: float) -> Estimate:
    return Estimate(estimate.value, max(estimate.low, -bound), min(estimate.high, bound))


def share_of_the_way(layout: Layout, over_CM: Floats, whole_CM: Floats, floor_M: Floats) -> list[Estimate]:
    """The ratio of the means, where the whole way is clearly positive on these pairs; else nothing.

    Its interval is that of the mean of (over - ratio * whole) / mean whole, the ratio's first-order expansion.
    """
    if not np.isfinite(whole_CM).all(axis=0).any():
        return [Estimate()] * whole_CM.shape[1]
    wholes = layout.intervals_here(whole_CM, floor_M)
    clear = np.array([w.low > 0 for w in wholes])
    scale = np.where(clear, [w.value for w in wholes], 1.0)
    ratio = layout.mean(over_CM) / scale
    spread = layout.intervals((over_CM - ratio * whole_CM) / scale, floor_M / scale)
    return [
        Estimate(float(v), float(v + e.low - e.value), float(v + e.high - e.value)) if c else Estimate()
        for v, e, c in zip(ratio, spread, clear, strict=True)
    ]


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """``concatenate([arange(s, s + n) ...])``"""
    if not len(starts):
        return np.zeros(0, dtype=np.int64)
    steps = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(starts, lengths) + steps
