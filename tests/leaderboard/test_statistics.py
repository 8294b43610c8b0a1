"""Statistics against hand-made numbers and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tlbench.leaderboard import statistics as st


def test_the_paired_interval_is_that_of_the_one_sample_t_test() -> None:
    differences = [0.031, 0.052, 0.012, 0.047]
    expected = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    value, low, high = st.paired_interval(differences)
    assert value == pytest.approx(0.0355)
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_one_seed_gives_a_mean_and_no_interval() -> None:
    value, low, high = st.paired_interval([0.1])
    assert value == 0.1
    assert np.isnan([low, high]).all()
    assert np.isnan(st.paired_interval([])).all()


def test_equal_differences_have_the_interval_that_rounding_leaves_them() -> None:
    # 3 seeds, 100 test examples: standard error 1 / (100 sqrt(18)), and t for two degrees of freedom is 4.3027
    value, low, high = st.paired_interval([0.05, 0.05, 0.05], step=0.01)
    assert high - value == pytest.approx(4.302653 * 0.01 / 18**0.5, rel=1e-5)
    assert value - low == pytest.approx(high - value)


def test_three_equal_gains_of_one_test_example_are_not_called_certain() -> None:
    one, two = st.paired_interval([0.01] * 3, step=0.01), st.paired_interval([0.02] * 3, step=0.01)
    assert st.verdicts(one.low, one.high) == "undecided"
    assert st.verdicts(two.low, two.high) == "helps"


def test_differences_that_are_all_zero_are_undecided_even_where_the_resolution_is_unknown() -> None:
    for step in (0.0, 0.01):
        value, low, high = st.paired_interval([0.0, 0.0, 0.0], step=step)
        assert value == 0
        assert st.verdicts(low, high) == "undecided"


def test_verdicts_need_the_whole_interval_on_one_side() -> None:
    low, high = np.array([0.1, -0.2, -0.1, 0.0, np.nan]), np.array([0.2, -0.1, 0.1, 0.1, np.nan])
    assert st.verdicts(low, high).tolist() == ["helps", "hurts", "undecided", "undecided", "undecided"]


@pytest.mark.parametrize(("n", "accuracy"), [(200, 0.55), (360, 0.9), (1000, 0.75), (360, 0.985), (10_000, 0.62)])
def test_a_reference_against_itself_under_other_seeds_hurts_in_at_most_five_percent(n: int, accuracy: float) -> None:
    rng = np.random.default_rng(n)
    pairs, seeds = 20_000, 3
    scores = rng.binomial(n, accuracy, size=(2, pairs, seeds)) / n
    d = scores[0] - scores[1]
    low, high = st.student_intervals(
        d.mean(axis=1), d.std(axis=1, ddof=1), np.full(pairs, seeds), np.full(pairs, 1.0 / n)
    )
    called = st.verdicts(low, high)
    assert (called == "hurts").mean() <= 0.05
    assert (called == "hurts").mean() >= 0.005, "a test that never calls anything has no power either"
    assert (called != "undecided").mean() <= 0.06


def test_student_intervals_of_many_pairs_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(3)
    d = rng.normal(0.01, 0.05, size=(30, 4))
    low, high = st.student_intervals(d.mean(axis=1), d.std(axis=1, ddof=1), np.full(30, 4), np.full(30, 0.001))
    for i in range(30):
        assert (low[i], high[i]) == pytest.approx(st.paired_interval(d[i], step=0.001)[1:])


def test_the_wilson_interval_is_the_textbook_formula() -> None:
    hits, of, z = 3, 12, stats.norm.ppf(0.975)
    p = hits / of
    centre = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * np.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    assert st.wilson(hits, of) == pytest.approx((p, centre - half, centre + half))
    assert np.isnan(st.wilson(0, 0)).all()


def test_depth_averages_losses_over_all_pairs() -> None:
    assert st.depth(np.array([0.2, -0.1, 0.05, -0.3])) == pytest.approx(-0.1)
    assert st.depth(np.array([0.2, 0.1])) == 0
    assert np.isnan(st.depth(np.array([])))


def test_a_pair_that_stands_for_several_weighs_as_much() -> None:
    values, sizes = np.array([1.0, 3.0, 10.0]), np.array([2, 1])
    assert st.weighted_mean(values, sizes, np.array([1.0, 1.0])) == pytest.approx(6.0)
    assert st.weighted_mean(values, sizes, np.array([3.0, 1.0])) == pytest.approx(4.0)


def test_the_percentile_interval_is_never_narrower_than_the_floor() -> None:
    same = np.full(2000, 0.3)
    assert st.percentile_interval(same, 0.3) == pytest.approx((0.3, 0.3, 0.3))
    assert st.percentile_interval(same, 0.3, floor=0.01) == pytest.approx((0.3, 0.3 - 0.0195996, 0.3 + 0.0195996))


def test_the_median_of_speed_ups_keeps_infinity_and_never_as_values() -> None:
    assert st.lower_median(np.array([2.0, np.inf, st.NEVER])) == 2.0
    assert st.lower_median(np.array([np.inf, st.NEVER])) == st.NEVER
    assert st.lower_median(np.array([np.inf, np.inf, 1.0])) == np.inf
    assert np.isnan(st.lower_median(np.array([])))


STEPS = np.array([[0.0, 25, 50, 75, 100]])
REFERENCE = np.array([[0.1, 0.3, 0.5, 0.6, 0.6]])  # at its own final score, 0.6, after 75 steps


def curve_gains(steps: Any, scores: Any, ref_steps: Any, ref_scores: Any) -> st.CurveGains:
    """Of curves and their references, row by row."""
    rows = np.arange(len(steps))
    return st.curve_gains(np.vstack([steps, ref_steps]), np.vstack([scores, ref_scores]), rows, rows + len(rows))


def whole_curve_gains(steps: Any, scores: Any, ref_steps: Any, ref_scores: Any) -> list[float]:
    """One curve and its reference, from the definitions, without padding."""

    def reach(steps: Any, scores: Any, goal: float) -> float:
        return next((float(a) for a, b in zip(steps, scores, strict=True) if b >= goal), np.nan)

    def tail(steps: Any, scores: Any) -> float:
        late = 5 * steps >= 4 * steps.max()
        return float(np.where(late, scores, 0.0).sum() / late.sum())

    def height(steps: Any, scores: Any) -> float:
        return float((np.diff(steps) * (scores[1:] + scores[:-1]) / 2).sum() / (steps.max() - steps[0]))

    theirs, ours = reach(ref_steps, ref_scores, ref_scores[-1]), reach(steps, scores, ref_scores[-1])
    speed = st.NEVER if np.isnan(ours) else (1.0 if theirs == 0 else np.inf) if ours == 0 else theirs / ours
    area = height(ref_steps, ref_scores)
    ratio = (height(steps, scores) - area) / area if area > 0 else np.nan
    return [scores[0] - ref_scores[0], speed, tail(steps, scores) - tail(ref_steps, ref_scores), ratio]


@pytest.mark.parametrize("width", [2, 5, 11, 40])
def test_the_gains_of_many_curves_are_those_of_each_by_itself(width: int) -> None:
    rng = np.random.default_rng(width)
    n = st.BLOCK + 300  # more than are worked on at a time
    steps, scores = np.full((n, width), np.nan), np.full((n, width), np.nan)
    points = rng.integers(0, width + 1, n)
    for i, many in enumerate(points):
        steps[i, :many] = np.cumsum(rng.integers(1, 5, many)) - 1
        scores[i, :many] = rng.integers(0, 6, many) / 5
    rows, references = rng.integers(0, n, 2 * st.BLOCK + 5), rng.integers(0, 50, 2 * st.BLOCK + 5)
    found = np.array(st.curve_gains(steps, scores, rows, references))
    for k in range(0, len(rows), 7):
        i, r = rows[k], references[k]
        if min(points[i], points[r]) < 2:
            assert np.isnan(found[:, k]).all()
            continue
        wanted = whole_curve_gains(
            steps[i, : points[i]], scores[i, : points[i]], steps[r, : points[r]], scores[r, : points[r]]
        )
        np.testing.assert_allclose(found[:, k], wanted, rtol=1e-12, atol=1e-12)


def test_the_gains_of_a_learning_curve_are_those_worked_out_by_hand() -> None:
    gains = curve_gains(STEPS, np.array([[0.2, 0.6, 0.7, 0.8, 0.9]]), STEPS, REFERENCE)
    assert gains.jump_start[0] == pytest.approx(0.1)
    assert gains.speed_up[0] == pytest.approx(3.0)  # 75 steps ÷ 25
    assert gains.asymptote[0] == pytest.approx(0.3)  # the last fifth of 100 steps has the last point only
    # areas: 25 (0.2/2 + 0.6 + 0.7 + 0.8 + 0.9/2) = 66.25 and 25 (0.1/2 + 0.3 + 0.5 + 0.6 + 0.6/2) = 43.75
    assert gains.area_ratio[0] == pytest.approx((66.25 - 43.75) / 43.75)


def test_the_last_fifth_is_that_of_the_steps() -> None:
    steps = np.arange(0.0, 101, 10)[None]
    scores, flat = np.linspace(0, 1, 11)[None], np.zeros((1, 11))
    assert curve_gains(steps, scores, steps, flat).asymptote[0] == pytest.approx((0.8 + 0.9 + 1.0) / 3)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.6, 0.6, 0.6, 0.6, 0.6], np.inf),  # there before the first step
        ([0.1, 0.2, 0.3, 0.4, 0.5], st.NEVER),
        ([0.1, 0.2, 0.3, 0.4, 0.6], 0.75),
    ],
)
def test_a_speed_up_may_be_infinite_never_or_below_one(scores: list[float], expected: float) -> None:
    assert curve_gains(STEPS, np.array([scores]), STEPS, REFERENCE).speed_up[0] == expected


def test_two_curves_that_both_start_at_the_goal_are_equally_fast() -> None:
    flat = np.full((1, 5), 0.4)
    assert curve_gains(STEPS, flat, STEPS, flat).speed_up[0] == 1.0


def test_a_curve_of_one_point_has_no_gains_and_padding_changes_none() -> None:
    pad = np.full((1, 2), np.nan)
    single = np.array([[0.5, np.nan, np.nan, np.nan, np.nan]])
    one_step = np.array([[0.0, np.nan, np.nan, np.nan, np.nan]])
    assert np.isnan(curve_gains(one_step, single, STEPS, REFERENCE)).all()
    scores = np.array([[0.2, 0.6, 0.7, 0.8, 0.9]])
    plain = curve_gains(STEPS, scores, STEPS, REFERENCE)
    padded = curve_gains(
        np.hstack([STEPS, pad]), np.hstack([scores, pad]), np.hstack([STEPS, pad]), np.hstack([REFERENCE, pad])
    )
    np.testing.assert_allclose(np.array(padded), np.array(plain))
