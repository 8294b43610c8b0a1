"""Ranks and tests against Demšar's worked example, scikit-posthocs, autorank, scipy and hand-made numbers."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest
from scipy import stats

from tlbench.leaderboard.inference import significance as sg

# Demšar 2006, table 6: AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 data sets. On "voting" the paper ranks 4, 1, 2, 3
# from values with more digits; the last digits here keep that order.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.97501, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
).T


def random_scores(seed: int, strategies: int = 5, pairs: int = 20) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(np.linspace(0, 0.8, strategies)[:, None], 1.0, (strategies, pairs))


def test_the_mean_ranks_are_demsars() -> None:
    assert sg.ranks(DEMSAR).mean(axis=1) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)


def test_demsars_friedman_statistics_follow_from_the_ranks_and_scipys_corrects_for_ties() -> None:
    strategies, pairs = DEMSAR.shape
    means = sg.ranks(DEMSAR).mean(axis=1)
    plain = 12 * pairs / (strategies * (strategies + 1)) * ((means**2).sum() - strategies * (strategies + 1) ** 2 / 4)
    assert plain == pytest.approx(9.28, abs=0.005)  # the paper's chi-square, and its F below
    assert (pairs - 1) * plain / (pairs * (strategies - 1) - plain) == pytest.approx(3.69, abs=0.005)
    test = sg.friedman(DEMSAR)
    assert test is not None
    # the correction divides by 1 - sum(t^3 - t) / (N (K^3 - K)), over ties of t: of two, three times, and of four, once
    ties = 3 * (2**3 - 2) + (4**3 - 4)
    assert test.statistic == pytest.approx(plain / (1 - ties / (14 * 60)))
    assert test.p == pytest.approx(stats.chi2.sf(test.statistic, 3))


def test_the_critical_differences_are_demsars() -> None:
    assert sg.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert sg.critical_difference(4, 14, alpha=0.10) == pytest.approx(1.12, abs=0.005)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(0.05, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
     (0.10, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920])],
)  # fmt: skip
def test_the_critical_values_are_those_of_demsars_table_5(alpha: float, expected: list[float]) -> None:
    for strategies, q in enumerate(expected, 2):
        assert sg.critical_difference(strategies, strategies * (strategies + 1), alpha) * 6**0.5 == pytest.approx(
            q, abs=0.0015
        )


def test_the_groups_of_demsars_figure_1_are_found() -> None:
    means = sg.ranks(DEMSAR).mean(axis=1)
    at_five = sg.cliques(means, sg.alike_by_ranks(means, sg.critical_difference(4, 14)))
    assert at_five == ((3, 1, 2, 0),)  # "even the difference between the best and the worst is smaller"
    at_ten = sg.cliques(means, sg.alike_by_ranks(means, sg.critical_difference(4, 14, 0.10)))
    assert at_ten == ((3, 1, 2), (2, 0))


def test_demsars_wilcoxon_sums_are_those_of_split_zeros() -> None:
    """R+ is 93 and R- 12 in section 3.1.3; the p value is scipy's of such sums."""
    difference = DEMSAR[1] - DEMSAR[0]
    ranked = stats.rankdata(np.round(np.abs(difference), 6))
    zero = ranked[difference == 0].sum() / 2
    assert (ranked[difference > 0].sum() + zero, ranked[difference < 0].sum() + zero) == (93, 12)
    p = sg.wilcoxon_holm(DEMSAR[:2])[0, 1]
    z = (12 - 14 * 15 / 4) / (14 * 15 * 29 / 24) ** 0.5
    assert p == pytest.approx(2 * stats.norm.cdf(z), abs=0.001)
    assert p < 0.05


def test_nemenyis_p_values_are_those_of_scikit_posthocs() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    for seed in range(3):
        scores = random_scores(seed)
        expected = posthocs.posthoc_nemenyi_friedman(scores.T).to_numpy()
        np.testing.assert_allclose(sg.nemenyi(sg.ranks(scores).mean(axis=1), 20), expected, atol=1e-6)


def test_the_wilcoxon_p_values_are_those_of_scikit_posthocs() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    scores = random_scores(4)
    expected = posthocs.posthoc_wilcoxon(scores, p_adjust="holm", zero_method="zsplit").to_numpy()
    np.testing.assert_allclose(sg.wilcoxon_holm(scores), expected, atol=1e-12)


def test_ranks_and_critical_difference_are_those_of_autorank() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        autorank = pytest.importorskip("autorank")
        pandas = importlib.import_module("pandas")
        scores = random_scores(5, strategies=4, pairs=30)
        found = autorank.autorank(
            pandas.DataFrame(scores.T, columns=list("abcd")), alpha=0.05, verbose=False, force_mode="nonparametric"
        )
    assert found.posthoc == "nemenyi"
    means = sg.ranks(scores).mean(axis=1)
    expected = found.rankdf.loc[list("abcd"), "meanrank"].to_numpy(dtype=float)
    assert means == pytest.approx(expected)
    assert sg.critical_difference(4, 30) == pytest.approx(found.cd, rel=1e-4)
    test = sg.friedman(scores)
    assert test is not None
    assert test.p == pytest.approx(found.pvalue)


def test_autoranks_critical_difference_of_demsars_example_is_ours() -> None:
    assert sg.critical_difference(4, 14) == pytest.approx(1.2536, abs=5e-5)  # as autorank 1.3.0 gives it


def test_holms_correction_is_the_textbooks() -> None:
    # 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.04 * 1, never falling
    assert sg.holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert sg.holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])


def test_without_any_difference_nothing_is_told_apart() -> None:
    same = np.full((3, 6), 0.5)
    assert sg.friedman(same) is None
    assert (sg.wilcoxon_holm(same) == 1).all()
    assert (sg.nemenyi(sg.ranks(same).mean(axis=1), 6) == 1).all()


def test_means_of_the_same_numbers_in_another_order_are_a_tie() -> None:
    a, b = np.mean([0.1, 0.2, 0.3]), np.mean([0.3, 0.2, 0.1])
    scores = np.array([[a, 0.7], [b * (1 + 1e-15), 0.7]])
    assert (sg.ranks(scores) == 1.5).all()
    assert (sg.ranks(scores * 1e-9) == 1.5).all()
    assert sg.wilcoxon_holm(scores)[0, 1] == 1


def test_friedman_needs_three_strategies_and_two_pairs() -> None:
    assert sg.friedman(random_scores(0, strategies=2)) is None
    assert sg.friedman(random_scores(0, pairs=1)) is None


def test_bars_are_the_longest_runs_and_none_lies_in_another() -> None:
    means = np.array([1.0, 4.0, 2.0, 3.0])
    assert sg.cliques(means, sg.alike_by_ranks(means, 1.5)) == ((0, 2), (2, 3), (3, 1))
    assert sg.cliques(means, sg.alike_by_ranks(means, 0.5)) == ()
    apart = np.ones((4, 4), dtype=bool)
    apart[0, 1] = apart[1, 0] = False  # best and worst alone differ, as a test of two may say
    assert sg.cliques(means, apart) == ((0, 2, 3), (2, 3, 1))


def test_wins_count_pairs_by_their_paired_t_tests() -> None:
    rng = np.random.default_rng(8)
    scores = rng.normal(0.7, 0.02, (3, 40, 4))
    scores[1] += 0.03
    found = sg.wins(scores, np.full(40, 4), np.zeros(40))
    for i in range(3):
        for j in range(3):
            if i == j:
                assert found[i, j].tolist() == [0, 40, 0]
                continue
            test = stats.ttest_rel(scores[i], scores[j], axis=1)
            better = int(((test.pvalue < 0.05) & (test.statistic > 0)).sum())
            worse = int(((test.pvalue < 0.05) & (test.statistic < 0)).sum())
            assert found[i, j].tolist() == [better, 40 - better - worse, worse]


def test_a_pair_of_one_seed_is_undecided_and_missing_seeds_are_left_out() -> None:
    scores = np.array([[[0.9, np.nan, np.nan], [0.8, 0.82, np.nan]], [[0.1, np.nan, np.nan], [0.1, 0.12, np.nan]]])
    assert sg.wins(scores, np.array([1, 2]), np.zeros(2))[0, 1].tolist() == [1, 1, 0]
