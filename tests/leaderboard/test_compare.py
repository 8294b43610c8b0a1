"""One strategy against another: differences by hand, tests by scipy, and the same numbers as on the board."""

from __future__ import annotations

import io
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from tlbench.errors import TlbenchError
from tlbench.leaderboard import Leaderboard, build
from tlbench.leaderboard.compare import compare, compare_frame
from tlbench.leaderboard.inference.paired import false_discoveries, paired
from tlbench.leaderboard.statistics import Estimate
from tlbench.leaderboard.views.compare_view import comparison_json, comparison_view, drawings

if TYPE_CHECKING:
    from types import SimpleNamespace

GOOD = {("a", "c"): [0.10, 0.11, 0.09], ("a", "d"): [0.08, 0.09, 0.10], ("b", "c"): [0.12, 0.10, 0.11]}
MIXED = {("a", "c"): [0.05, 0.06, 0.07], ("a", "d"): [0.0, 0.0, 0.0], ("b", "c"): [-0.20, -0.21, -0.19]}


def shown(found: object, width: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in comparison_view(found, width):  # type: ignore[arg-type]
        console.print(part)
    return out.getvalue()


@pytest.fixture(scope="module")
def board(make: SimpleNamespace) -> Leaderboard:
    return build(make.small_board())


def test_each_pair_has_its_paired_difference_with_students_interval(board: Leaderboard) -> None:
    (found,) = compare(board, "good", "mixed").each
    at = {pair: q for q, pair in enumerate(zip(found.pairs.source, found.pairs.target, strict=True))}
    assert set(at) == {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")}
    for pair, gains in GOOD.items():
        d = np.array(gains) - np.array(MIXED[pair])
        q = at[pair]
        assert found.pairs.mean[q] == pytest.approx(d.mean())
        half = stats.t.ppf(0.975, 2) * max(d.std(ddof=1) / math.sqrt(3), 0.001 / math.sqrt(18))
        assert (found.pairs.low[q], found.pairs.high[q]) == pytest.approx((d.mean() - half, d.mean() + half))
        assert found.pairs.verdict[q] == ("better" if d.mean() - half > 0 else "undecided")
        assert found.a.scores[q] - found.b.scores[q] == pytest.approx(d.mean())


def test_the_other_way_round_all_signs_turn(board: Leaderboard) -> None:
    (one,), (other,) = compare(board, "good", "mixed").each, compare(board, "mixed", "good").each
    assert np.allclose(one.pairs.mean, -other.pairs.mean)
    assert one.overall.low == pytest.approx(-other.overall.high)
    assert one.here.high == pytest.approx(-other.here.low)
    turned = {"better": "worse", "worse": "better", "undecided": "undecided"}
    assert tuple(turned[v] for v in one.pairs.verdict) == other.pairs.verdict
    assert (one.sign, one.wilcoxon) == pytest.approx((other.sign, other.wilcoxon))


@pytest.mark.parametrize("strategy", ["good", "mixed"])
def test_against_the_reference_the_overall_difference_is_the_boards_gain(board: Leaderboard, strategy: str) -> None:
    (found,) = compare(board, strategy, "scratch").each
    row = next(r for r in board.groups[0].rows if r.label == strategy)
    gain, here = row.cells["gain"], row.cells["gain_here"]
    assert tuple(found.overall) == pytest.approx((gain.value, gain.low, gain.high))
    assert tuple(found.here) == pytest.approx((here.value, here.low, here.high))
    assert len(found.pairs.mean) == 4  # the reference has no source: it stands against each


def test_sign_and_wilcoxon_tests_are_scipys_over_the_pairs(board: Leaderboard) -> None:
    (found,) = compare(board, "good", "mixed").each
    means = found.pairs.mean
    assert found.sign == pytest.approx(stats.binomtest(int((means > 0).sum()), 4).pvalue)
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(means).pvalue)


def test_without_a_difference_there_is_no_test_and_no_verdict(make: SimpleNamespace) -> None:
    records = [make.reference(t, s, 0.5) for t in "cd" for s in range(3)]
    records += [
        make.record(make.trial(m, "a", t, s), 0.6 + 0.01 * s) for m in ("x", "y") for t in "cd" for s in range(3)
    ]
    (found,) = (comparisons := compare(build(records), "x", "y")).each
    assert math.isnan(found.sign)
    assert math.isnan(found.wilcoxon)
    assert found.verdict == "undecided"
    assert "none: no pair differs" in shown(comparisons, 80)


def test_one_seed_has_differences_but_no_interval(make: SimpleNamespace) -> None:
    records = [make.reference(t, 0, 0.5) for t in "cd"]
    records += [make.record(make.trial(m, "a", t, 0), s) for m, s in (("x", 0.7), ("y", 0.6)) for t in "cd"]
    (found,) = (comparisons := compare(build(records), "x", "y")).each
    assert found.overall.value == pytest.approx(0.1)
    assert math.isnan(found.overall.low)
    assert set(found.pairs.verdict) == {"undecided"}
    assert "one seed gives no interval" in shown(comparisons, 80)


def test_only_cells_that_both_have_count_and_the_rest_is_said(make: SimpleNamespace) -> None:
    records = [r for r in make.small_board() if r.key != make.trial("mixed", "b", "d", 1).key]
    (found,) = (comparisons := compare(build(records), "good", "mixed")).each
    q = list(zip(found.pairs.source, found.pairs.target, strict=True)).index(("b", "d"))
    assert found.pairs.seeds[q] == 2
    assert found.pairs.mean[q] == pytest.approx(((0.09 - 0.10) + (0.09 - 0.03)) / 2)
    assert (found.alone_a, found.alone_b) == (1, 0)
    assert "1 of good: the other has no such result" in shown(comparisons, 100)


def test_a_near_miss_names_the_label_that_was_meant(board: Leaderboard) -> None:
    with pytest.raises(TlbenchError, match=r"unknown strategy 'god'\. Did you mean 'good'"):
        compare(board, "god", "mixed")
    with pytest.raises(TlbenchError, match="both sides"):
        compare(board, "good", "good")
    with pytest.raises(TlbenchError, match="no task and backbone has 'zero'"):
        compare(board, "good", "mixed", "zero")


def test_strategies_that_share_no_cell_cannot_be_compared(make: SimpleNamespace) -> None:
    records = [make.reference(t, 0, 0.5) for t in "cd"]
    records += [make.record(make.trial("x", "a", "c", 0), 0.6), make.record(make.trial("y", "a", "d", 0), 0.6)]
    with pytest.raises(TlbenchError, match=r"cannot be compared.*no pair and seed in common"):
        compare(build(records), "x", "y")


def test_each_task_is_compared_by_itself_and_one_can_be_chosen(make: SimpleNamespace) -> None:
    records = []
    for task, up in (("easy", 0.1), ("hard", -0.1)):
        records += [make.reference("c", s, 0.5, task=task) for s in range(3)]
        for name, more in (("x", up), ("y", 0.0)):
            records += [make.record(make.trial(name, "a", "c", s, task=task), 0.5 + more + 0.01 * s) for s in range(3)]
    records += [make.reference("c", 0, 0.5, task="third"), make.record(make.trial("x", "a", "c", 0, task="third"), 0.7)]
    found = compare(build(records), "x", "y")
    assert [(c.task, c.verdict) for c in found.each] == [("easy", "better"), ("hard", "worse")]
    assert found.lacking == {"third · small": "y has no result"}
    assert [c.task for c in compare(build(records), "x", "y", "HARD").each] == ["hard"]
    text = shown(found, 80)
    assert text.index("easy · small") < text.index("hard · small") < text.index("Not compared: third · small")


def test_recipes_are_compared_each_by_itself_or_with_each_other(make: SimpleNamespace) -> None:
    records = []
    for recipe, up in (("default", 0.0), ("long", 0.2)):
        records += [make.reference("c", s, 0.5 + up, recipe=recipe) for s in range(2)]
        records += [
            make.record(make.trial(n, "a", "c", s, recipe=recipe), 0.6 + up + more)
            for n, more in (("x", 0.05), ("y", 0.0))
            for s in range(2)
        ]
    board = build(records)
    labels = [r.label for r in board.groups[0].rows if r.strategy == "x"]
    assert len(labels) == 2
    assert [round(c.overall.value, 6) for c in compare(board, "x", "y").each] == [0.05, 0.05]
    (between,) = compare(board, *sorted(labels)).each
    assert abs(between.overall.value) == pytest.approx(0.2)


def test_costs_stand_side_by_side_and_rates_of_other_devices_have_no_ratio(make: SimpleNamespace) -> None:
    records = [make.reference("c", s, 0.5) for s in range(2)]
    for name, device, rate, seconds in (("x", "gpu", 300.0, 5.0), ("y", "cpu", 100.0, 20.0)):
        records += [
            make.record(make.trial(name, "a", "c", s), 0.6, device=device, rate=rate, seconds=seconds) for s in range(2)
        ]
    (found,) = (comparisons := compare(build(records), "x", "y")).each
    assert (found.a.costs["training_rate"], found.b.costs["training_rate"]) == (300.0, 100.0)
    assert (found.a.costs["time"], found.b.costs["time"]) == (5.0, 20.0)
    text = shown(comparisons, 80)
    assert "No ratios: on different devices (gpu and cpu)" in text
    assert "3.00×" not in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_view_fits_and_says_every_pair(board: Leaderboard, width: int) -> None:
    text = shown(compare(board, "good", "mixed"), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for pair in ("a       c", "b       d"):
        assert pair in text
    assert text.count("▲") >= 2
    assert "●" in text


def test_hostile_labels_do_not_steer_the_terminal(make: SimpleNamespace) -> None:
    bad = "x\x1b[31m[red]\u202e"
    records = [make.reference("c", s, 0.5) for s in range(2)]
    records += [make.record(make.trial(m, "a", "c", s), 0.6 + 0.1 * (m == "y")) for m in (bad, "y") for s in range(2)]
    board = build(records)
    label = next(r.label for r in board.groups[0].rows if r.label.startswith("x"))
    text = shown(compare(board, label, "y"), 100)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]" in text  # shown, not obeyed


def test_json_and_frame_have_the_numbers_of_the_view(board: Leaderboard) -> None:
    found = compare(board, "good", "mixed")
    plain = json.loads(json.dumps(comparison_json(found), allow_nan=False))
    (one,) = plain["groups"]
    assert one["difference"] == pytest.approx(found.each[0].overall.value)
    assert len(one["pairs"]) == 4
    frame = compare_frame(found)
    assert len(frame) == 5
    assert frame.iloc[:4]["difference"].mean() == pytest.approx(frame.iloc[4]["difference"])
    assert frame.iloc[4][["source", "target"]].isna().all()


def test_intervals_are_drawn_where_they_are() -> None:
    lines, scale = drawings([Estimate(0.5, 0.2, 0.8), Estimate(-0.8, -0.8, -0.8), Estimate(0.0, -9.0, 9.0)], 41)
    assert {len(line) for line in lines} == {41}
    assert "│" in lines[0]
    assert lines[0].index("╶") < lines[0].index("●") < lines[0].index("╴")
    assert lines[0].index("●") > 20
    assert lines[1].index("●") < 5
    assert lines[2][0] == "◀"
    assert lines[2][-1] == "▶"
    assert scale.startswith("−")
    assert scale.rstrip().endswith("0")


def test_paired_p_is_that_of_students_test_and_false_discoveries_are_held() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(0.1, 0.1, (5, 4))
    pair, seed = np.repeat(np.arange(5), 4), np.tile(np.arange(4), 5)
    found = paired(d.ravel(), pair, pair + 10, seed, np.zeros(20))
    assert found.p == pytest.approx([stats.ttest_1samp(row, 0).pvalue for row in d])
    p = [0.001, 0.01, float("nan"), 0.04]
    ranked = [0.001 * 3, min(0.01 * 3 / 2, 0.04), 0.04]
    assert false_discoveries(p)[[0, 1, 3]] == pytest.approx(ranked)
    assert math.isnan(false_discoveries(p)[2])
