"""Aggregates against rliable, scipy and hand-made numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tlbench.leaderboard.inference import aggregates as ag


def test_the_interquartile_means_of_rliables_own_tests() -> None:
    assert ag.interquartile_mean(np.array([1.0, 2, 2, 2, 1, 1, 2, 1])) == 1.5
    assert ag.interquartile_mean(np.array([1.0, 1, 2, 2, 3, 3])) == 2.0


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 30, 101])
def test_the_interquartile_mean_is_the_mean_without_a_quarter_at_each_end(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    assert ag.interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_the_interquartile_mean_is_that_of_rliable() -> None:
    metrics = pytest.importorskip("rliable.metrics")
    scores = np.random.default_rng(0).normal(size=(5, 26))  # runs x tasks
    assert ag.interquartile_mean(scores.ravel()) == pytest.approx(metrics.aggregate_iqm(scores))


def test_its_interval_is_that_of_a_bootstrap_of_runs_within_each_task() -> None:
    """rliable's stratified bootstrap, written out: for each task as many of its runs as it has, with replacement."""
    rng = np.random.default_rng(1)
    scores_QR = rng.normal(rng.uniform(0.4, 0.9, (20, 1)), 0.05, (20, 5))
    found = ag.iqm(scores_QR, np.full(20, 5), np.random.default_rng(2))
    other, means = np.random.default_rng(3), []
    for _ in range(20_000):
        drawn = np.take_along_axis(scores_QR, other.integers(5, size=(20, 5)), axis=1)
        means.append(np.sort(drawn.ravel())[25:75].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    width = high - low
    assert found.value == pytest.approx(stats.trim_mean(scores_QR.ravel(), 0.25))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06 * width)


def test_seeds_that_a_pair_lacks_do_not_count_and_one_seed_gives_no_interval() -> None:
    nan = np.nan
    scores_QR = np.array([[0.1, 0.2, nan], [0.5, nan, 0.7], [nan, nan, 0.9]])
    found = ag.iqm(scores_QR, np.array([2, 2, 1]), np.random.default_rng(0))
    assert found.value == pytest.approx(np.mean([0.2, 0.5, 0.7]))  # one of five goes at each end
    assert found.low <= found.value <= found.high
    single = ag.iqm(np.array([[0.1], [0.5]]), np.array([1, 1]), np.random.default_rng(0))
    assert single.value == pytest.approx(0.3)
    assert np.isnan([single.low, single.high]).all()


def test_a_score_profile_counts_runs_above_each_threshold_pair_by_pair() -> None:
    nan = np.nan
    scores_KQR = np.array([[[0.1, 0.3], [0.5, nan]], [[0.9, 0.9], [0.0, nan]]])
    found = ag.score_profile(scores_KQR, np.array([0.0, 0.2, 0.5]))
    np.testing.assert_allclose(found.shares, [[1.0, 0.75, 0.0], [0.5, 0.5, 0.5]])


def test_a_ratio_profile_is_dolan_and_mores() -> None:
    # three solvers on four problems; ratios to the best worked out by hand
    costs_KQ = np.array([[1.0, 2.0, 4.0, 0.0], [2.0, 2.0, 1.0, 5.0], [4.0, 1.0, 8.0, 0.0]])
    found = ag.ratio_profile(costs_KQ, np.array([1.0, 2.0, 4.0, 8.0]))
    np.testing.assert_allclose(found.shares, [[0.5, 0.75, 1.0, 1.0], [0.25, 0.75, 0.75, 0.75], [0.5, 0.5, 0.75, 1.0]])


def test_the_front_has_whom_nobody_beats_at_no_more_cost() -> None:
    score = np.array([0.9, 0.8, 0.7, 0.8, np.nan, 0.95])
    cost = np.array([10.0, 5.0, 6.0, 5.0, 1.0, np.nan])
    # the third is dominated by the second; equals stand together; what is unknown is left out
    assert ag.pareto(score, cost) == {0, 1, 3}
    rng = np.random.default_rng(4)
    score, cost = rng.random(60), rng.random(60)
    expected = {
        k
        for k in range(60)
        if not any(score[j] >= score[k] and cost[j] <= cost[k] and (score[j], cost[j]) != (score[k], cost[k])
                   for j in range(60))
    }  # fmt: skip
    assert ag.pareto(score, cost) == expected
