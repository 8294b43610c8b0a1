"""Coverage: how often intervals hold the truth, and how often a strategy is told from itself by the board's code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tlbench.leaderboard import build
from tlbench.leaderboard.inference.crossed import Layout

if TYPE_CHECKING:
    from types import SimpleNamespace

SEEDS = 3


@dataclass(frozen=True)
class World:
    """Standard deviations, in points, of what a gain is made of; the true mean gain is 0."""

    source: float
    target: float
    pair: float
    training: float
    reference: float
    """Of the reference's training, which all sources of a target and seed share."""
    model: float
    """Of the source model's training, which all targets of a source and seed share."""

    def gains(self, sources: int, targets: int, times: int, rng: np.random.Generator) -> np.ndarray:
        """Gains [times, sources, targets, seeds] in shares."""

        def part(sd: float, *shape: int) -> np.ndarray:
            return rng.normal(0.0, sd / 100, (times, *shape))

        return (
            part(self.source, sources, 1, 1)
            + part(self.target, 1, targets, 1)
            + part(self.pair, sources, targets, 1)
            + part(self.training, sources, targets, SEEDS)
            - part(self.reference, 1, targets, SEEDS)
            + part(self.model, sources, 1, SEEDS)
        )


# Between-target spread of a few points and training noise of one to two are those of the digits and PACS suites.
REAL = World(source=2.0, target=3.0, pair=1.4, training=1.4, reference=1.4, model=0.8)
EASY_SOURCES = World(source=0.7, target=3.0, pair=1.0, training=1.4, reference=1.4, model=0.7)
NOISE_ALONE = World(source=0.0, target=0.0, pair=0.0, training=1.4, reference=1.4, model=0.7)


def held(world: World, sources: int, targets: int, *, diagonal: bool = True, times: int = 4000) -> float:
    """How often the crossed interval of the mean has the truth, 0, in it."""
    rng = np.random.default_rng(sources * 100 + targets)
    mask = np.ones((sources, targets), dtype=bool)
    if not diagonal:
        np.fill_diagonal(mask, False)
    s, t = (a.astype(np.int64) for a in np.nonzero(mask))
    cells_CM = world.gains(sources, targets, times, rng)[:, s, t].reshape(times, -1).T
    n = len(s)
    layout = Layout.of(
        np.full(n, SEEDS), np.ones(n), s, t if not diagonal else t + sources, np.tile(np.arange(SEEDS), n)
    )
    return float(np.mean([e.low <= 0 <= e.high for e in layout.intervals(cells_CM)]))


@pytest.mark.parametrize("world", [REAL, EASY_SOURCES, NOISE_ALONE], ids=["real", "sources alike", "noise alone"])
@pytest.mark.parametrize(("sources", "targets"), [(3, 3), (6, 6), (10, 10)])
def test_intervals_hold_the_truth_where_pairs_share_sources_and_targets(
    world: World, sources: int, targets: int
) -> None:
    assert held(world, sources, targets) >= 0.94  # 4000 times: two standard errors are 0.7 %


@pytest.mark.parametrize(("sources", "targets"), [(2, 8), (3, 20)])
def test_two_or_three_of_many_come_near(sources: int, targets: int) -> None:
    """Satterthwaite's degrees of freedom are themselves estimated, from one or two here."""
    assert held(REAL, sources, targets) >= 0.925


@pytest.mark.parametrize("domains", [3, 4, 6])
def test_intervals_hold_the_truth_where_every_domain_is_source_and_target_of_the_others(domains: int) -> None:
    assert held(REAL, domains, domains, diagonal=False) >= 0.94


@pytest.mark.parametrize(("sources", "targets"), [(1, 6), (6, 1), (1, 20)])
def test_what_one_source_or_one_target_shares_over_all_pairs_widens_the_interval(sources: int, targets: int) -> None:
    world = World(0.0, 3.0, 1.4, 1.4, 1.4, 0.8) if sources == 1 else World(2.0, 0.0, 1.4, 1.4, 1.4, 0.8)
    assert held(world, sources, targets) >= 0.94


@pytest.mark.parametrize(("sources", "targets"), [(3, 3), (6, 6)])
def test_drawing_pairs_as_if_they_were_independent_would_not(sources: int, targets: int) -> None:
    """Why the board does not: a bootstrap of pairs, then of seeds, holds the truth in about every second case."""
    rng = np.random.default_rng(1)
    gains = REAL.gains(sources, targets, 300, rng).reshape(300, -1, SEEDS)
    pairs, draws = gains.shape[1], 400
    inside = 0
    for world in gains:
        drawn = world[rng.integers(pairs, size=(draws, pairs))]
        again = np.take_along_axis(drawn, rng.integers(SEEDS, size=drawn.shape), axis=2)
        low, high = np.quantile(again.mean(axis=(1, 2)), [0.025, 0.975])
        inside += low <= 0 <= high
    assert inside / 300 < 0.75


def simulated(make: SimpleNamespace, world: World, groups: int, sources: int, targets: int) -> list:
    """Records of as many tasks, each a whole board of its own, of a strategy and its shared reference."""
    rng = np.random.default_rng(7)
    shared = World(world.source, world.target, world.pair, world.training, 0.0, world.model)
    gains = shared.gains(sources, targets, groups, rng)
    noise = rng.normal(0, world.reference / 100, (groups, targets, SEEDS))
    records = []
    for g in range(groups):
        for t in range(targets):
            for seed in range(SEEDS):
                zero = 0.6 + noise[g, t, seed]
                records.append(make.reference(f"t{t}", seed, zero, task=f"task{g}", rate=None))
                for s in range(sources):
                    trial = make.trial("m", f"s{s}", f"t{t}", seed, task=f"task{g}")
                    records.append(make.record(trial, 0.6 + gains[g, s, t, seed], rate=None))
    return records


def test_the_gains_on_a_board_hold_the_truth(make: SimpleNamespace) -> None:
    board = build(simulated(make, REAL, groups=250, sources=4, targets=4))
    cells = [next(r for r in g.rows if r.label == "m").cells["gain"] for g in board.groups]
    inside = np.mean([c.low <= 0 <= c.high for c in cells])
    assert inside >= 0.92  # 250 boards: two standard errors are 2.8 %
    assert inside < 1.0


def test_the_interval_on_these_pairs_holds_what_other_seeds_would_give(make: SimpleNamespace) -> None:
    """Sources, targets and pairs stay; the truth is their mean, and only trainings vary."""
    rng = np.random.default_rng(3)
    fixed = World(2.0, 3.0, 1.4, 0.0, 0.0, 0.0).gains(3, 3, 1, rng)
    noise = World(0.0, 0.0, 0.0, 1.4, 1.4, 0.8).gains(3, 3, 4000, rng)
    cells_CM = (fixed + noise).reshape(4000, -1).T
    s, t = (a.ravel() for a in np.indices((3, 3)))
    layout = Layout.of(np.full(9, SEEDS), np.ones(9), s, t + 3, np.tile(np.arange(SEEDS), 9))
    inside = np.mean([e.low <= fixed.mean() <= e.high for e in layout.intervals_here(cells_CM)])
    assert 0.94 <= inside <= 0.965


def test_a_strategy_under_other_seeds_is_told_from_itself_in_at_most_five_percent(make: SimpleNamespace) -> None:
    """200 pairs, ten times: both sides are the same trainings under other seeds, scored on 500 test examples."""
    rng = np.random.default_rng(11)
    records, called, judged = [], 0, 0
    for g in range(10):
        for s in range(10):
            for t in range(20):
                centre = rng.uniform(0.5, 0.95)
                for seed in range(SEEDS):
                    one, other = rng.binomial(500, np.clip(rng.normal(centre, 0.01, 2), 0, 1)) / 500
                    axes = {"task": f"task{g}"}
                    trial = make.trial("once", f"s{s}", f"t{t}", seed, reference=None, **axes)
                    records.append(make.record(trial, one, rate=None, examples=500))
                    trial = make.trial("again", f"s{s}", f"t{t}", seed, reference="once", **axes)
                    records.append(make.record(trial, other, rate=None, examples=500))
    board = build(records)
    overall = []
    for group in board.groups:
        row = next(r for r in group.rows if r.label == "again")
        assert len(row.pairs.verdict) == 200
        called += sum(v != "undecided" for v in row.pairs.verdict)
        judged += 200
        overall.append(row.cells["gain"].tone)
    assert called / judged <= 0.05
    assert called / judged >= 0.01, "a test that never calls anything has no power either"
    assert sum(tone != "" for tone in overall) <= 2
