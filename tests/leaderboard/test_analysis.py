"""The analysis of a group: over the cells that all rows have, and never over a hole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from tlbench.leaderboard import build
from tlbench.leaderboard.inference.analysis import COMPARISONS, PARTS, analyse

if TYPE_CHECKING:
    from types import SimpleNamespace

SCRATCH = {"c": [0.50, 0.52, 0.48], "d": [0.60, 0.61, 0.62]}
PAIRS = (("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"))
GOOD = np.array([0.10, 0.09, 0.11, 0.09])
MIXED = np.array([0.06, 0.0, -0.20, 0.01])
ZERO = np.array([0.50, 0.61, 0.50, 0.61])


def test_every_part_is_over_the_pairs_and_in_the_order_of_the_board(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    found = analyse(board, 0)
    assert found.strategies == ("good", "scratch", "mixed")
    assert found.pairs == PAIRS
    np.testing.assert_allclose(found.scores, [ZERO + GOOD, ZERO, ZERO + MIXED])
    assert [r.value for r in found.ranks] == [1.0, (3 + 2.5 + 2 + 3) / 4, (2 + 2.5 + 3 + 2) / 4]
    expected = stats.friedmanchisquare(*found.scores)
    assert found.friedman == pytest.approx((expected.statistic, expected.pvalue))
    assert found.critical_difference == pytest.approx(3.314493 / 2**0.5 * (3 * 4 / 24) ** 0.5, abs=1e-4)
    assert found.wins is not None
    assert found.wins[0, 1].tolist() == [4, 0, 0]  # the verdicts of good: helps in all four
    assert found.wins[2, 1].tolist() == [1, 2, 1]  # of mixed: helps, undecided, hurts, undecided
    assert found.wins[1, 2].tolist() == [1, 2, 1]
    assert found.reasons == {}
    assert set(PARTS) <= set(vars(found))


def test_scratch_costs_most_and_good_dominates_all(make: SimpleNamespace) -> None:
    found = analyse(build(make.small_board()), 0)
    assert found.cost.tolist() == [10.0, 20.0, 10.0]
    assert found.pareto == {0}


def test_a_profile_falls_from_one_to_none_and_ratios_are_of_errors(make: SimpleNamespace) -> None:
    found = analyse(build(make.small_board()), 0)
    assert found.profile is not None
    assert found.ratios is not None
    shares = found.profile.shares
    assert (np.diff(shares, axis=1) <= 0).all()
    assert shares[:, -1].tolist() == [0, 0, 0]
    at = int(np.searchsorted(found.profile.thresholds, 0.55))
    runs = np.array([SCRATCH[t] for _, t in PAIRS])
    assert shares[1, at] == (runs > found.profile.thresholds[at]).mean()
    assert found.ratios.shares[:, 0].tolist() == [1.0, 0.0, 0.0]  # good has the least error on every pair


def test_a_cell_that_one_row_lacks_counts_for_none(make: SimpleNamespace) -> None:
    lost = {make.trial("mixed", "b", "d", seed).key for seed in range(3)} | {make.trial("good", "a", "c", 1).key}
    found = analyse(build([r for r in make.small_board() if r.key not in lost]), 0)
    assert found.pairs == PAIRS[:3]
    k = found.strategies.index("mixed")
    assert found.scores[k, 0] == pytest.approx(np.mean([0.50 + 0.05, 0.48 + 0.07]))  # seeds 0 and 2
    assert not np.isnan(found.scores).any()


def test_rows_over_all_that_they_have_are_still_analysed_on_what_they_share(make: SimpleNamespace) -> None:
    lost = {make.trial("mixed", "b", "d", seed).key for seed in range(3)}
    records = [r for r in make.small_board() if r.key not in lost]
    one, other = analyse(build(records), 0), analyse(build(records, common=False), 0)
    assert other.pairs == one.pairs == PAIRS[:3]
    np.testing.assert_allclose(other.scores, one.scores)


def test_without_a_common_pair_nothing_is_compared_and_the_reason_said(make: SimpleNamespace) -> None:
    records = [make.reference(t, s, 0.5) for t in "cd" for s in range(2)]
    records += [make.record(make.trial("m", "a", "c", s), 0.6) for s in range(2)]
    records += [make.record(make.trial("n", "a", "d", s), 0.6) for s in range(2)]
    found = analyse(build(records), 0)
    assert found.pairs == ()
    assert found.ranks == ()
    assert found.posthoc is None
    assert set(found.reasons) == set(PARTS)
    assert "all rows" in found.reasons["ranks"]


def test_one_pair_has_no_ranks_but_its_middle_and_its_front(make: SimpleNamespace) -> None:
    records = [r for r in make.small_board() if r.trial["target"]["label"] == "c"]
    records = [r for r in records if r.trial["source"] is None or r.trial["source"]["label"] == "a"]
    found = analyse(build(records), 0)
    assert len(found.pairs) == 1
    assert set(found.reasons) == set(COMPARISONS)
    assert found.strategies == ("good", "mixed", "scratch")
    assert [e.value for e in found.iqm] == pytest.approx([0.6, 0.56, 0.5])
    assert found.pareto


def test_of_two_rows_there_is_no_friedman_but_a_wilcoxon(make: SimpleNamespace) -> None:
    found = analyse(build([r for r in make.small_board() if r.trial["strategy"]["label"] != "mixed"]), 0)
    assert found.friedman is None
    assert "Wilcoxon" in found.reasons["friedman"]
    assert found.posthoc is not None
    assert found.posthoc.wilcoxon[0, 1] == pytest.approx(stats.wilcoxon(GOOD, zero_method="zsplit").pvalue)


def test_where_less_is_better_the_least_has_the_first_rank(make: SimpleNamespace) -> None:
    board = build(make.small_board(), higher_is_better=False)
    found = analyse(board, 0)
    k = found.strategies.index("good")
    np.testing.assert_allclose(found.scores[k], ZERO + GOOD)  # in the metric's own sign
    assert found.ranks[k].value == 3.0
    assert found.iqm[k].low <= found.iqm[k].value <= found.iqm[k].high
    assert found.iqm[k].value == pytest.approx(board.groups[0].rows[k].cells["iqm"].value)
    assert found.ratios is None
    assert found.profile is not None
    assert (np.diff(found.profile.shares, axis=1) >= 0).all()  # the share whose error is below


def test_ranks_and_front_of_the_columns_are_those_of_the_analysis(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    found = analyse(board, board.groups[0])
    for k, row in enumerate(board.groups[0].rows):
        cell = row.cells["mean_rank"]
        assert (cell.value, cell.low, cell.high) == pytest.approx(found.ranks[k])
        assert (row.cells["pareto"].value == 1.0) == (k in found.pareto)
        assert row.cells["iqm"].value == pytest.approx(found.iqm[k].value)


def test_who_was_chosen_by_test_labels_keeps_nobody_off_the_front(make: SimpleNamespace) -> None:
    records = make.small_board()
    for source, target in PAIRS:
        for seed in range(3):
            trial = make.trial("peek", source, target, seed, selection="oracle", recipe="peek")
            records.append(make.record(trial, 0.99, seconds=1.0))
    records += [
        make.reference(t, s, v, selection="oracle", recipe="peek") for t in "cd" for s, v in enumerate(SCRATCH[t])
    ]
    board = build(records)
    found = analyse(board, 0)
    peek = next(k for k, name in enumerate(found.strategies) if name.startswith("peek"))
    assert peek not in found.pareto
    assert found.pareto
    assert board.groups[0].rows[peek].cells["pareto"].value is None


def test_an_analysis_does_not_depend_on_the_order_of_the_records(make: SimpleNamespace) -> None:
    records = make.small_board()
    one, other = analyse(build(records), 0), analyse(build(records[::-1]), 0)
    order = [other.strategies.index(s) for s in one.strategies]
    columns = [other.pairs.index(p) for p in one.pairs]
    np.testing.assert_allclose(one.scores, other.scores[np.ix_(order, columns)])
    assert [one.ranks[k].value for k in range(3)] == pytest.approx([other.ranks[k].value for k in order])


def test_missing_trials_are_no_scores(make: SimpleNamespace) -> None:
    records = make.small_board()
    records.append(replace(make.record(make.trial("gone", "a", "c"), 0.9), status="failed", metrics={}, curve=None))
    found = analyse(build(records), 0)
    assert "gone" not in found.strategies
    assert found.pairs == PAIRS
