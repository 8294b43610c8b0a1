"""The board: every number of a small one by hand, then what may go wrong with the records."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from tlbench.api.records import Status
from tlbench.leaderboard import Leaderboard, Row, build

if TYPE_CHECKING:
    from types import SimpleNamespace

# The gains of factory.small_board, pairs (a, c), (a, d), (b, c), (b, d) down, seeds across.
GOOD = np.array([[0.10, 0.11, 0.09], [0.08, 0.09, 0.10], [0.12, 0.10, 0.11], [0.09, 0.09, 0.09]])
MIXED = np.array([[0.05, 0.06, 0.07], [0.0, 0.0, 0.0], [-0.20, -0.21, -0.19], [0.10, -0.10, 0.03]])
SCRATCH = np.array([[0.50, 0.52, 0.48], [0.60, 0.61, 0.62]])  # targets c and d


def row(board: Leaderboard, label: str, group: int = 0) -> Row:
    return next(r for r in board.groups[group].rows if r.label == label)


def value(board: Leaderboard, label: str, column: str) -> Any:
    return row(board, label).cells[column].value


def kinds(board: Leaderboard) -> set[str]:
    return {note.kind for note in board.notes}


def said(board: Leaderboard, kind: str) -> str:
    return " ".join(note.text for note in board.notes if note.kind == kind)


# ---- every number of a small board ---------------------------------------------------------------


def test_scores_and_gains_are_means_over_pairs_and_seeds(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    finals = np.vstack([SCRATCH, SCRATCH])  # each pair's target: c, d, c, d
    assert value(board, "good", "score") == pytest.approx((finals + GOOD).mean())
    assert value(board, "mixed", "score") == pytest.approx((finals + MIXED).mean())
    assert value(board, "scratch", "score") == pytest.approx(SCRATCH.mean())
    assert value(board, "good", "gain") == pytest.approx(GOOD.mean()) == pytest.approx(0.0975)
    assert value(board, "mixed", "gain") == pytest.approx(MIXED.mean()) == pytest.approx(-0.0325)


def test_rows_stand_in_the_order_of_their_gain_and_the_reference_where_its_score_puts_it(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    assert [r.label for r in board.groups[0].rows] == ["good", "scratch", "mixed"]
    assert row(board, "scratch").reference
    assert row(board, "scratch").cells["gain"].text == "reference"


def test_the_interval_of_a_gain_is_that_of_two_crossed_factors(make: SimpleNamespace) -> None:
    # A 2 x 2 grid of means, sources down and targets across: mean squares of a two-way analysis of variance.
    grid = MIXED.mean(axis=1).reshape(2, 2)
    mean, rows, columns = grid.mean(), grid.mean(axis=1), grid.mean(axis=0)
    of_sources, of_targets = 2 * ((rows - mean) ** 2).sum(), 2 * ((columns - mean) ** 2).sum()
    of_pairs = ((grid - rows[:, None] - columns + mean) ** 2).sum()
    parts = np.array([of_sources, of_targets, of_pairs]) / 4
    variance = max(parts[0] + parts[1] - parts[2], parts[0], parts[1])
    freedom = max(variance**2 / (parts**2).sum(), 1.0)  # each part has one degree of freedom
    half = stats.t.ppf(0.975, min(freedom, 1.0)) * variance**0.5
    cell = row(build(make.small_board()), "mixed").cells["gain"]
    assert (cell.low, cell.high) == pytest.approx((mean - half, mean + half))


def test_the_interval_on_these_pairs_is_of_the_trainings_that_they_share(make: SimpleNamespace) -> None:
    noise = (MIXED - MIXED.mean(axis=1, keepdims=True)).reshape(2, 2, 3) / 12  # sources, targets, seeds
    by_target, by_source = (1.5 * (noise.sum(axis=a) ** 2).sum() for a in (0, 1))  # 3 / (3 - 1) seeds
    alone = 1.5 * (noise**2).sum()
    variance = max(by_target + by_source - alone, by_target, by_source)
    freedom = variance**2 / (by_target**2 / 4 + by_source**2 / 4 + alone**2 / 8)  # 2 x (3 - 1), and 4 x (3 - 1)
    half = stats.t.ppf(0.975, min(max(freedom, 4), 8)) * variance**0.5
    cell = row(build(make.small_board()), "mixed").cells["gain_here"]
    assert (cell.low, cell.high) == pytest.approx((MIXED.mean() - half, MIXED.mean() + half))
    assert cell.text == f"±{100 * half:.1f}"


def test_each_pair_has_the_interval_and_verdict_of_its_own_t_test(make: SimpleNamespace) -> None:
    frame = build(make.small_board()).pairs_frame().set_index(["strategy", "source", "target"])
    for name, gains in (("good", GOOD), ("mixed", MIXED)):
        for (source, target), d in zip([("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")], gains, strict=True):
            line = frame.loc[(name, source, target)]
            error = max(d.std(ddof=1) / 3**0.5, 0.001 / 18**0.5)  # 1000 test examples
            half = stats.t.ppf(0.975, 2) * error
            assert line["gain"] == pytest.approx(d.mean())
            assert (line["gain_low"], line["gain_high"]) == pytest.approx((d.mean() - half, d.mean() + half))
            assert line["seeds"] == 3
            assert line["compared"]
    assert frame.loc["good"]["verdict"].tolist() == ["helps"] * 4
    assert frame.loc["mixed"]["verdict"].tolist() == ["helps", "undecided", "hurts", "undecided"]


def test_negative_transfer_is_counted_measured_and_named(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    assert [value(board, "mixed", c) for c in ("helps", "hurts", "undecided")] == [1, 1, 2]
    rate = row(board, "mixed").cells["negative_rate"]
    wilson = stats.binomtest(1, 4).proportion_ci(0.95, method="wilson")
    assert (rate.value, rate.low, rate.high) == pytest.approx((0.25, wilson.low, wilson.high))
    assert value(board, "mixed", "below_zero") == 0.25  # (b, c); a mean of 0 is not below 0
    assert value(board, "mixed", "depth") == pytest.approx(-0.20 / 4)
    assert value(board, "mixed", "worst_pair") == "b → c"
    assert row(board, "mixed").cells["worst_pair"].text == "b → c −20.0"
    assert [value(board, "good", c) for c in ("helps", "hurts", "undecided", "depth")] == [4, 0, 0, 0]
    assert value(board, "scratch", "hurts") is None


def test_relative_gain_is_the_share_of_the_error_that_is_gone(make: SimpleNamespace) -> None:
    assert value(build(make.small_board()), "good", "relative") == pytest.approx(0.0975 / (1 - 0.555))


def test_curve_gains_rates_and_times_are_those_of_the_records(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    assert value(board, "good", "jump_start") == pytest.approx(0.3 - 0.1)
    # scratch reaches its final score at step 100 of 100, good goes past it at step 50
    assert value(board, "good", "speed_up") == pytest.approx(2.0)
    assert value(board, "good", "asymptote") == pytest.approx(GOOD.mean())
    assert value(board, "good", "training_rate") == 100
    assert value(board, "good", "inference_rate") == 200
    assert value(board, "good", "memory") == 2**30
    assert value(board, "good", "time") == 10
    assert value(board, "scratch", "time") == 20
    assert row(board, "good").cells["coverage"].text == "12/12"
    assert row(board, "scratch").cells["coverage"].text == "6/6"


def test_the_matrix_has_sources_down_and_targets_across(make: SimpleNamespace) -> None:
    matrix = build(make.small_board()).matrix(0, "mixed")
    assert (matrix.sources, matrix.targets) == (("a", "b"), ("c", "d"))
    np.testing.assert_allclose(matrix.mean, [[0.06, 0.0], [-0.2, 0.01]], atol=1e-12)
    assert matrix.verdict.tolist() == [["helps", "undecided"], ["hurts", "undecided"]]


def test_the_order_of_the_records_changes_nothing(make: SimpleNamespace) -> None:
    records = make.small_board()
    shuffled = records.copy()
    random.Random(4).shuffle(shuffled)
    one = build(records).pairs_frame().sort_values(["strategy", "source", "target"]).reset_index(drop=True)
    other = build(shuffled).pairs_frame().sort_values(["strategy", "source", "target"]).reset_index(drop=True)
    for column in ("strategy", "source", "target", "verdict"):
        assert one[column].tolist() == other[column].tolist()
    for column in ("gain", "gain_low", "gain_high"):
        np.testing.assert_allclose(one[column], other[column])


# ---- holes ---------------------------------------------------------------------------------------


def test_rows_are_compared_on_the_cells_that_all_have_and_the_lack_is_said(make: SimpleNamespace) -> None:
    gone = make.trial("mixed", "b", "c", 1).key
    records = [r for r in make.small_board() if r.key != gone]
    board = build(records, planned=[make.trial("mixed", "b", "c", 1)])
    kept = np.ones((4, 3), dtype=bool)
    kept[2, 1] = False
    pair_means = [GOOD[i][kept[i]].mean() for i in range(4)]
    assert value(board, "good", "gain") == pytest.approx(np.mean(pair_means))
    assert value(board, "mixed", "gain") == pytest.approx(np.mean([MIXED[i][kept[i]].mean() for i in range(4)]))
    assert board.groups[0].lacking == {"mixed": 1}
    assert row(board, "mixed").cells["coverage"].text == "11/12"
    assert "mixed lacks 1" in said(board, "pairs")
    assert "1 missing: mixed" in said(board, "missing")


def test_a_pair_that_one_row_lacks_is_shown_in_the_matrix_and_in_no_mean(make: SimpleNamespace) -> None:
    lost = {make.trial("mixed", "b", "c", seed).key for seed in range(3)}
    board = build([r for r in make.small_board() if r.key not in lost])
    assert board.groups[0].pairs_compared == 3
    assert value(board, "good", "gain") == pytest.approx(GOOD[[0, 1, 3]].mean())
    assert value(board, "good", "helps") == 3
    frame = board.pairs_frame().set_index(["strategy", "source", "target"])
    assert not frame.loc[("good", "b", "c"), "compared"]
    assert frame.loc[("good", "b", "c"), "gain"] == pytest.approx(0.11)
    assert ("mixed", "b", "c") not in frame.index


def test_without_common_pairs_each_row_has_its_own_and_the_board_says_so(make: SimpleNamespace) -> None:
    lost = {make.trial("mixed", "b", "c", seed).key for seed in range(3)}
    board = build([r for r in make.small_board() if r.key not in lost], common=False)
    assert value(board, "good", "gain") == pytest.approx(GOOD.mean())
    assert value(board, "mixed", "gain") == pytest.approx(MIXED[[0, 1, 3]].mean())
    assert "may differ" in said(board, "pairs")


def test_rows_with_no_cell_in_common_are_said_not_to_be_comparable(make: SimpleNamespace) -> None:
    records = [make.reference(t, s, 0.5) for t in "cd" for s in range(2)]
    records += [make.record(make.trial("left", "a", "c", s), 0.6) for s in range(2)]
    records += [make.record(make.trial("right", "a", "d", s), 0.7) for s in range(2)]
    board = build(records)
    assert "NOT comparable" in said(board, "pairs")
    assert value(board, "left", "gain") == pytest.approx(0.1)


def test_failures_are_counted_with_their_reasons_and_a_row_without_a_result_is_shown(make: SimpleNamespace) -> None:
    records = make.small_board()
    for seed in range(3):
        records.append(
            make.record(make.trial("broken", "a", "c", seed), status=Status.FAILED, reason="loss is NaN\ntrace")
        )
    board = build(records)
    assert said(board, "failed") == "3 failed: broken: loss is NaN"
    assert row(board, "broken").cells["coverage"].text == "0/3"
    assert value(board, "broken", "gain") is None
    assert board.groups[0].rows[-1].label == "broken"
    assert value(board, "good", "gain") == pytest.approx(GOOD.mean()), (
        "a row without any result takes no cell from others"
    )


def test_strategies_that_a_task_does_not_suit_have_no_row_and_one_note_for_each_task(make: SimpleNamespace) -> None:
    lacks = "strategy '{}' needs target_unlabelled, which task 'fine-tuning' does not offer (it offers source, target)"
    records = make.small_board()
    for name, reason in (("dann", lacks), ("coral", lacks), ("odd", "has no {} of its own")):
        for seed in range(3):
            of = make.trial(name, "a", "c", seed)
            records.append(make.record(of, status=Status.SKIPPED, reason=reason.format(name)))
    part = make.trial("good", "c", "c", 0)  # one skipped trial of a row that has others
    records.append(make.record(part, status=Status.SKIPPED, reason="the same domain"))
    board = build(records)
    assert [r.label for r in board.groups[0].rows] == ["good", "scratch", "mixed"]
    assert [note.text for note in board.notes if note.kind == "skipped"] == [
        "Not applicable to fine-tuning 10: dann, coral (needs target_unlabelled); odd (has no odd of its own)",
        "1 skipped: good: the same domain",
    ]
    assert row(board, "good").cells["coverage"].text == "12/13"
    assert value(board, "good", "gain") == pytest.approx(GOOD.mean())
    with pytest.raises(KeyError):
        board.matrix(0, "dann")


def test_missing_trials_of_several_strategies_are_counted_in_one_note(make: SimpleNamespace) -> None:
    planned = [make.trial("good", "c", "c", s) for s in range(2)] + [make.trial("mixed", "c", "c", 0)]
    assert said(build(make.small_board(), planned=planned), "missing") == "3 missing: good 2, mixed 1 (no record yet)"


def test_a_failed_reference_takes_its_cells_out_and_is_said(make: SimpleNamespace) -> None:
    key = make.trial("scratch", None, "c", 0, reference=None).key
    records = [r for r in make.small_board() if r.key != key]
    board = build(records)
    kept = GOOD.copy()
    kept[[0, 2], 0] = np.nan
    assert value(board, "good", "gain") == pytest.approx(np.nanmean(kept, axis=1).mean())
    assert "4 trials have no result of their reference" in said(board, "unpaired")


def test_a_planned_trial_that_is_to_be_skipped_counts_as_skipped(make: SimpleNamespace) -> None:
    planned = make.trial("good", "c", "c", 0, skip="a domain is not transferred to itself")
    assert "1 skipped: good: a domain" in said(build(make.small_board(), planned=[planned]), "skipped")


def test_of_two_records_of_one_trial_the_last_that_is_ok_counts(make: SimpleNamespace) -> None:
    records = make.small_board()
    again = make.trial("good", "a", "c", 0)
    late = [make.record(again, 0.9), make.record(again, status=Status.KILLED, reason="killed")]
    frame = build([*records, *late]).trials_frame()
    line = frame[(frame.strategy == "good") & (frame.source == "a") & (frame.target == "c") & (frame.seed == 0)]
    assert line["score"].tolist() == [0.9]
    assert line["status"].tolist() == ["ok"]


def test_one_seed_gives_no_interval_and_no_verdict_and_says_so(make: SimpleNamespace) -> None:
    board = build([r for r in make.small_board() if r.trial["seed"] == 0])
    cell = row(board, "good").cells["gain"]
    assert cell.value == pytest.approx(GOOD[:, 0].mean())
    assert cell.low is None
    assert value(board, "good", "helps") is None
    assert value(board, "good", "negative_rate") is None
    assert "One seed gives no interval" in said(board, "seeds")


def test_one_pair_has_the_interval_of_its_t_test(make: SimpleNamespace) -> None:
    records = [r for r in make.small_board() if r.trial["target"]["label"] == "c"]
    cell = row(build([r for r in records if (r.trial["source"] or {}).get("label") != "b"]), "good").cells["gain"]
    expected = stats.ttest_1samp(GOOD[0], 0).confidence_interval(0.95)
    assert (cell.low, cell.high) == pytest.approx((expected.low, expected.high))


def test_a_board_of_nothing_is_empty_and_says_so() -> None:
    board = build([])
    assert board.groups == ()
    assert kinds(board) == {"empty"}
    assert board.to_frame().empty
    assert board.pairs_frame().empty
    assert board.trials_frame().empty


def test_a_score_that_is_not_finite_is_not_averaged(make: SimpleNamespace) -> None:
    records = [*make.small_board(), make.record(make.trial("odd", "a", "c", 0), float("nan"))]
    board = build(records)
    assert value(board, "odd", "score") is None
    assert "1 trials ended well but have no finite accuracy" in said(board, "unscored")


# ---- what is not one plain group -----------------------------------------------------------------


def test_a_strategy_without_a_source_weighs_as_its_targets_do_in_the_pairs(make: SimpleNamespace) -> None:
    records = [make.reference(t, s, 0.5) for t in "cd" for s in range(2)]
    gains = {("a", "c"): 0.1, ("b", "c"): 0.2, ("a", "d"): 0.3}  # target c twice, d once
    records += [make.record(make.trial("m", a, t, s), 0.5 + g) for (a, t), g in gains.items() for s in range(2)]
    records += [make.record(make.trial("free", None, t, s), 0.6 if t == "c" else 0.9) for t in "cd" for s in range(2)]
    board = build(records)
    assert value(board, "m", "score") == pytest.approx(0.7)
    assert value(board, "free", "score") == pytest.approx((0.6 + 0.6 + 0.9) / 3)
    assert value(board, "free", "gain") == pytest.approx((0.1 + 0.1 + 0.4) / 3)
    assert value(board, "scratch", "score") == pytest.approx(0.5)
    assert value(board, "free", "helps") == 2, "verdicts count what was measured: two targets"


def test_references_are_matched_by_task_backbone_and_recipe(make: SimpleNamespace) -> None:
    records = []
    for task, backbone, base in (("t1", "x", 0.5), ("t1", "y", 0.6), ("t2", "x", 0.7)):
        for seed in range(2):
            records.append(make.reference("c", seed, base, task=task, backbone=backbone))
            records.append(make.record(make.trial("m", "a", "c", seed, task=task, backbone=backbone), 0.75))
    board = build(records)
    assert [(g.task, g.backbone) for g in board.groups] == [("t1", "x"), ("t1", "y"), ("t2", "x")]
    gains = [next(r for r in g.rows if r.label == "m").cells["gain"].value for g in board.groups]
    assert gains == pytest.approx([0.25, 0.15, 0.05])


def test_several_recipes_are_rows_of_their_own_against_references_of_their_own(make: SimpleNamespace) -> None:
    records = []
    for recipe, base in (("default", 0.5), ("slow", 0.7)):
        for seed in range(2):
            records.append(make.reference("c", seed, base, recipe=recipe))
            records.append(make.record(make.trial("m", "a", "c", seed, recipe=recipe), 0.8))
    board = build(records)
    assert value(board, "m · default", "gain") == pytest.approx(0.3)
    assert value(board, "m · slow", "gain") == pytest.approx(0.1)
    assert "recipe" in {c.key for c in board.columns}


def test_in_adaptation_the_reference_has_the_same_source_and_the_gap_lies_below_the_ceiling(
    make: SimpleNamespace,
) -> None:
    records = []
    floor = {("a", "c"): 0.4, ("b", "c"): 0.5, ("a", "d"): 0.6, ("b", "d"): 0.3}
    for seed in range(3):
        records += [make.record(make.trial("target-oracle", None, t, seed, reference="source-only"), 0.9) for t in "cd"]
        for (source, target), score in floor.items():
            noise = 0.01 * seed
            records.append(make.record(make.trial("source-only", source, target, seed, reference=None), score + noise))
            method = make.trial("dann", source, target, seed, reference="source-only")
            records.append(make.record(method, score + noise + 0.1))
    board = build(records)
    assert value(board, "dann", "gain") == pytest.approx(0.1)
    mean_floor = np.mean(list(floor.values())) + 0.01
    assert value(board, "dann", "gap_closed") == pytest.approx(0.1 / (0.9 - mean_floor))
    cell = row(board, "dann").cells["gap_closed"]
    assert cell.low < cell.value < cell.high
    assert row(board, "target-oracle").cells["gain"].text == "ceiling"
    ends = {label: row(board, label).cells["gap_closed"] for label in ("target-oracle", "source-only")}
    assert {label: (c.value, c.low, c.text) for label, c in ends.items()} == {
        "target-oracle": (1.0, None, "100 %"),
        "source-only": (0.0, None, "0 %"),
    }
    assert value(board, "target-oracle", "score") == pytest.approx(0.9)
    assert board.groups[0].against == "source-only"
    assert [r.label for r in board.groups[0].rows] == ["target-oracle", "dann", "source-only"]
    assert "unpaired" not in kinds(board)


def test_no_gap_is_closed_where_the_ceiling_is_not_clearly_above_the_floor(make: SimpleNamespace) -> None:
    records = []
    for seed in range(3):
        for target in "cd":
            records.append(make.record(make.trial("target-oracle", None, target, seed, reference="source-only"), 0.5))
            records.append(make.record(make.trial("source-only", "a", target, seed, reference=None), 0.5))
            records.append(make.record(make.trial("dann", "a", target, seed, reference="source-only"), 0.6))
    board = build(records)
    assert value(board, "dann", "gap_closed") is None
    assert "gap_closed" not in {c.key for c in board.columns}


def test_choosing_by_test_labels_is_marked(make: SimpleNamespace) -> None:
    records = [make.reference("c", s, 0.5, selection="oracle") for s in range(2)]
    records += [make.record(make.trial("m", "a", "c", s, selection="oracle"), 0.6) for s in range(2)]
    board = build(records)
    assert row(board, "m").cells["selection"].mark == "oracle"
    assert "m" in said(board, "oracle")


def test_rates_of_several_devices_are_listed_apart_and_not_ranked(make: SimpleNamespace) -> None:
    records = [make.reference("c", s, 0.5, device="A") for s in range(2)]
    for seed, (device, rate) in enumerate((("A", 100.0), ("B", 9000.0))):
        records.append(make.record(make.trial("m", "a", "c", seed), 0.6, device={"fingerprint": device}, rate=rate))
    board = build(records)
    cell = row(board, "m").cells["training_rate"]
    assert cell.value is None
    assert cell.text == "100 | 9.00k"
    assert "A: 100; B: 9.00k" in cell.mark
    assert value(board, "scratch", "training_rate") == 100
    assert "not ranked" in said(board, "devices")


def test_cost_to_result_shares_the_sources_training_among_those_that_started_from_it(make: SimpleNamespace) -> None:
    model = make.trial("source-training", "a", "a", 0, reference=None, kind="source-model")
    records = [make.record(model, 0.9, seconds=60.0), make.reference("c", 0, 0.5, seconds=20.0)]
    for name, seconds in (("m", 10.0), ("k", 5.0)):
        records.append(make.record(make.trial(name, "a", "c", 0, parents=(model.key,)), 0.6, seconds=seconds))
    planned = [
        make.trial("later", "a", "c", 0, parents=(model.key,)),
        make.trial("no", "a", "c", parents=(model.key,), skip="x"),
    ]
    board = build(records, planned=planned)
    assert value(board, "m", "cost") == pytest.approx(10 + 60 / 3)  # m, k and later; not the one skipped
    assert value(board, "m", "cost_alone") == pytest.approx(70)
    assert value(board, "k", "cost") == pytest.approx(25)
    assert value(board, "scratch", "cost") == 20
    assert all(r.strategy != "source-training" for g in board.groups for r in g.rows)


def test_the_cost_is_unknown_where_the_sources_training_is_not_recorded(make: SimpleNamespace) -> None:
    records = [make.reference("c", 0, 0.5), make.record(make.trial("m", "a", "c", 0, parents=("0" * 32,)), 0.6)]
    assert value(build(records), "m", "cost") is None


def test_two_strategies_of_one_label_are_told_apart(make: SimpleNamespace) -> None:
    first, second = make.trial("m", "a", "c"), make.trial("m", "a", "c")
    object.__setattr__(second, "strategy", type(second.strategy)("m", "m", {"alpha": 2.0}))
    board = build([make.reference("c", 0, 0.5), make.record(first, 0.6), make.record(second, 0.7)])
    labels = {r.strategy for r in board.groups[0].rows if not r.reference}
    assert labels == {f"m #{first.strategy.digest[:6]}", f"m #{second.strategy.digest[:6]}"}


def test_where_less_is_better_a_smaller_score_is_a_gain(make: SimpleNamespace) -> None:
    records = [make.reference("c", s, 0.9, metric="log-loss") for s in range(2)]
    records += [make.record(make.trial("m", "a", "c", s), 0.6, metric="log-loss") for s in range(2)]
    board = build(records, higher_is_better=False)
    assert board.metric == "log-loss"
    assert value(board, "m", "gain") == pytest.approx(0.3)
    assert value(board, "m", "score") == pytest.approx(0.6)
    assert row(board, "m").cells["gain"].text.startswith("+0.300")
    assert board.trials_frame()["score"].tolist() == [0.9, 0.9, 0.6, 0.6]


def test_another_metric_of_the_records_may_be_chosen(make: SimpleNamespace) -> None:
    records = [make.reference("c", 0, 0.5), make.record(make.trial("m", "a", "c"), 0.6)]
    for record, macro in zip(records, (0.2, 0.5), strict=True):
        record.metrics["target"]["macro-f1"] = macro
    board = build(records, metric="macro-f1")
    assert value(board, "m", "gain") == pytest.approx(0.3)
    assert value(board, "m", "jump_start") is None, "the curve is of another metric"


def test_the_rows_frame_has_the_numbers_of_the_cells(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    frame = board.to_frame().set_index("strategy")
    assert frame.loc["good", "gain"] == pytest.approx(0.0975)
    assert frame.loc["good", "gain_low"] == row(board, "good").cells["gain"].low
    assert frame.loc["good", "speed_up_text"] == "2"
    assert frame["reference"].tolist() == [False, True, False]
    assert np.isnan(frame.loc["scratch", "gain"])


def test_speed_ups_without_a_number_are_spelled_in_the_frame(make: SimpleNamespace) -> None:
    steps = [0, 50, 100]
    records = [make.reference("c", 0, 0.5, curve=(steps, [0.1, 0.3, 0.5]))]
    records.append(make.record(make.trial("fast", "a", "c"), 0.6, curve=(steps, [0.6, 0.6, 0.6])))
    records.append(make.record(make.trial("slow", "a", "c"), 0.2, curve=(steps, [0.1, 0.2, 0.2])))
    board = build(records)
    frame = board.to_frame().set_index("strategy")
    assert frame.loc[["fast", "slow"], "speed_up_text"].tolist() == ["inf", "never"]
    assert frame.loc[["fast", "slow"], "speed_up"].isna().all()
    assert row(board, "fast").cells["speed_up"].text == "∞"
    assert row(board, "slow").cells["speed_up"].text == "never"


def test_a_hundred_thousand_records_take_seconds(make: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    domains = [f"d{i}" for i in range(12)]
    one = make.record(make.trial("m", "a", "c"), 0.5, curve=([0, 50, 100], [0.1, 0.4, 0.5]))
    records, fields = [], {k: v for k, v in vars(one).items() if k not in {"key", "trial", "metrics"}}
    choices = {name: make.choice(name).to_json() for name in (*domains, "scratch", *(f"m{i}" for i in range(150)))}
    base = one.trial
    for seed in range(5):
        for target in domains:
            trials = [{**base, "source": None, "strategy": choices["scratch"], "reference": None}]
            for source in domains:
                if source != target:
                    trials += [{**base, "source": choices[source], "strategy": choices[f"m{i}"]} for i in range(150)]
            for trial in trials:
                trial = {**trial, "target": choices[target], "seed": seed}
                metrics = {"target": {"accuracy": float(rng.uniform(0.5, 0.7))}}
                records.append(type(one)(key=str(len(records)), trial=trial, metrics=metrics, **fields))
    assert len(records) > 99_000
    start = time.perf_counter()
    board = build(records)
    assert time.perf_counter() - start < 10, "about 2 s on an idle core"
    assert len(board.groups[0].rows) == 151


def test_a_reference_with_the_same_source_goes_before_one_without_a_source(make: SimpleNamespace) -> None:
    records = [make.reference("c", 0, 0.5), make.record(make.trial("m", "a", "c"), 0.8)]
    assert value(build(records), "m", "gain") == pytest.approx(0.3)
    records.append(make.record(make.trial("scratch", "a", "c", reference=None), 0.7))
    records.append(make.record(make.trial("scratch", "b", "c", reference=None), 0.1))
    frame = build(records).trials_frame()
    assert frame[frame.strategy == "m"]["gain"].tolist() == pytest.approx([0.1])


def test_a_board_before_any_trial_has_run_shows_what_is_missing(make: SimpleNamespace) -> None:
    planned = [make.trial("m", "a", "c", seed) for seed in range(3)]
    planned += [make.trial("scratch", None, "c", seed, reference=None) for seed in range(3)]
    board = build([], planned=planned)
    assert row(board, "m").cells["coverage"].text == "0/3"
    assert row(board, "m").cells["gain"].value is None
    assert board.groups[0].pairs_compared == 0
    assert board.matrix(0, "m").state.tolist() == [["missing"]]
    assert kinds(board) == {"missing"}


def test_a_group_where_all_failed_stands_beside_one_that_did_not(make: SimpleNamespace) -> None:
    failed = make.record(make.trial("good", "a", "c", task="other"), status=Status.TIMEOUT, reason="over 60 s")
    board = build([*make.small_board(), failed])
    assert value(board, "good", "gain") == pytest.approx(GOOD.mean())
    assert row(board, "good", group=1).cells["coverage"].text == "0/1"
    assert said(board, "failed") == "1 timeout: good: over 60 s"


def test_a_label_permuted_source_that_changes_nothing_is_undecided(make: SimpleNamespace) -> None:
    rng = np.random.default_rng(7)
    targets = [f"t{i}" for i in range(40)]
    records = []
    for target in targets:
        for seed in range(3):
            records.append(make.reference(target, seed, rng.binomial(1000, 0.7) / 1000))
            records.append(make.record(make.trial("m", "permuted", target, seed), rng.binomial(1000, 0.7) / 1000))
    board = build(records)
    assert value(board, "m", "hurts") + value(board, "m", "helps") <= 5
    cell = row(board, "m").cells["gain"]
    assert cell.low < 0 < cell.high


def test_the_leaderboard_never_imports_torch() -> None:
    modules = "tlbench.leaderboard.views.terminal, tlbench.leaderboard.frames, tlbench.builtin.reporters"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
