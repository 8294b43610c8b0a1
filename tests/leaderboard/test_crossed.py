"""Crossed intervals against textbook formulas, scipy and statsmodels' analysis of variance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tlbench.leaderboard.inference.crossed import Design, Layout


def grid(sources: int, targets: int) -> tuple[np.ndarray, np.ndarray]:
    s, t = np.indices((sources, targets))
    return s.ravel(), t.ravel()


def effects(rng: np.random.Generator, sources: int, targets: int) -> np.ndarray:
    """Values [sources, targets] with main effects of both, and a rest."""
    return rng.normal(0, 2, (sources, 1)) + rng.normal(0, 3, (1, targets)) + rng.normal(0, 1, (sources, targets))


def test_the_error_of_a_whole_grid_is_that_of_the_two_way_analysis_of_variance() -> None:
    values = effects(np.random.default_rng(1), 5, 7)
    mean, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    ms_s = 7 * ((rows - mean) ** 2).sum() / 4
    ms_t = 5 * ((columns - mean) ** 2).sum() / 6
    ms_e = ((values - rows[:, None] - columns + mean) ** 2).sum() / 24
    variance = (ms_s + ms_t - ms_e) / 35
    freedom = variance**2 / ((ms_s / 35) ** 2 / 4 + (ms_t / 35) ** 2 / 6 + (ms_e / 35) ** 2 / 24)
    s, t = grid(5, 7)
    error, found = Design.of((s, t), np.ones(35)).error(values.reshape(-1, 1))
    assert error[0] == pytest.approx(variance**0.5)
    assert found[0] == pytest.approx(freedom)


def test_the_mean_squares_are_those_of_statsmodels() -> None:
    pytest.importorskip("statsmodels")
    pandas = pytest.importorskip("pandas")
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    values = effects(np.random.default_rng(2), 4, 6)
    s, t = grid(4, 6)
    table = anova_lm(ols("y ~ C(s) + C(t)", pandas.DataFrame({"y": values.ravel(), "s": s, "t": t})).fit())
    squares = table["mean_sq"]
    error, _ = Design.of((s, t), np.ones(24)).error(values.reshape(-1, 1))
    assert error[0] ** 2 == pytest.approx((squares["C(s)"] + squares["C(t)"] - squares["Residual"]) / 24)


def test_one_factor_is_the_t_test_of_its_levels() -> None:
    values = np.random.default_rng(3).normal(size=8)
    (found,) = Design.of((np.zeros(8, dtype=int), np.arange(8)), np.ones(8)).intervals(values[:, None])
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found == pytest.approx((values.mean(), expected.low, expected.high))


def test_variance_is_never_less_than_that_of_either_factor_alone() -> None:
    # a pure interaction: rows and columns have equal means, so that the residual exceeds both
    values = np.array([[1.0, -1.0, 0.1], [-1.0, 1.2, 0.0], [0.2, 0.0, -0.4]])
    s, t = grid(3, 3)
    error, freedom = Design.of((s, t), np.ones(9)).error(values.reshape(-1, 1))
    parts = [values.mean(axis=a).var(ddof=1) / 3 for a in (0, 1)]
    assert error[0] ** 2 == pytest.approx(max(parts))
    assert freedom[0] >= 2


def test_pairs_that_share_nothing_are_independent() -> None:
    values = np.random.default_rng(4).normal(size=6)
    design = Design.of((np.arange(6), np.arange(6) + 10), np.ones(6))
    (found,) = design.intervals(values[:, None])
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found == pytest.approx((values.mean(), expected.low, expected.high))


def test_domains_that_give_as_they_gain_widen_the_interval() -> None:
    rng = np.random.default_rng(5)
    common = rng.normal(0, 2, 6)
    values = common[:, None] + common[None] + rng.normal(0, 0.5, (6, 6))
    s, t = (a[~np.eye(6, dtype=bool).ravel()] for a in grid(6, 6))
    cells = values[s, t][:, None]
    same, apart = (Design.of((s, t), np.ones(30), same=flag).error(cells)[0][0] for flag in (True, False))
    u = (cells[:, 0] - cells.mean()) / 30
    covariance = 2 * 6 / 5 * sum(u[s == d].sum() * u[t == d].sum() for d in range(6))
    assert covariance > 0
    assert same**2 == pytest.approx(apart**2 + covariance)


def test_a_measure_with_a_hole_leaves_the_others_as_they_are() -> None:
    values = np.random.default_rng(6).normal(size=(12, 2))
    s, t = grid(3, 4)
    alone = Design.of((s, t), np.ones(12)).intervals(values[:, :1])
    values[3, 1] = np.nan
    both = Design.of((s, t), np.ones(12)).intervals(values)
    assert both[0] == pytest.approx(alone[0])
    assert np.isnan(both[1]).all()


def test_of_one_pair_the_interval_is_that_of_its_seeds() -> None:
    values = np.array([0.03, 0.05, 0.01, 0.04])
    layout = Layout.of(np.array([4]), np.ones(1), np.array([0]), np.array([1]), np.arange(4))
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    for found in (layout.intervals(values[:, None])[0], layout.intervals_here(values[:, None])[0]):
        assert found == pytest.approx((values.mean(), expected.low, expected.high))


def test_pairs_of_one_source_are_crossed_with_the_seeds_that_its_models_had() -> None:
    values = effects(np.random.default_rng(7), 5, 3)  # five targets down, three seeds across
    layout = Layout.of(np.full(5, 3), np.ones(5), np.zeros(5, dtype=int), np.arange(5) + 1, np.tile(np.arange(3), 5))
    pair, seed = grid(5, 3)
    (found,) = layout.intervals(values.reshape(-1, 1))
    (expected,) = Design.of((pair, seed), np.ones(15)).intervals(values.reshape(-1, 1))
    assert found == pytest.approx(expected)
    # a strategy without any source: targets alone
    layout = Layout.of(np.full(5, 3), np.ones(5), np.full(5, -1), np.arange(5), np.tile(np.arange(3), 5))
    (found,) = layout.intervals(values.reshape(-1, 1))
    interval = stats.ttest_1samp(values.mean(axis=1), 0.0).confidence_interval(0.95)
    assert found[1:] == pytest.approx((interval.low, interval.high))
