"""Learning curves: means and bands by NumPy, and the same numbers read back from the terminal."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from tlbench.errors import TlbenchError
from tlbench.leaderboard import Leaderboard, build
from tlbench.leaderboard.curves import all_curves, curves, curves_frame
from tlbench.leaderboard.views.curves_view import curves_json, curves_view, drawn

if TYPE_CHECKING:
    from types import SimpleNamespace

STEPS = [0, 25, 50, 75, 100]


def shown(board: Leaderboard, found: object, width: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in curves_view(board, found, width):  # type: ignore[arg-type]
        console.print(part)
    return out.getvalue()


@pytest.fixture(scope="module")
def board(make: SimpleNamespace) -> Leaderboard:
    return build(make.small_board())


def test_of_one_pair_the_curve_is_the_mean_over_seeds_with_students_band(board: Leaderboard) -> None:
    found = curves(board, board.groups[0], pair=("a", "c"))
    good = next(c for c in found.each if c.label == "good")
    finals = np.array([0.50, 0.52, 0.48]) + np.array([0.10, 0.11, 0.09])
    points = np.array([[0.3, 0.4, f, f, f] for f in finals])
    assert good.steps.tolist() == STEPS
    assert good.mean == pytest.approx(points.mean(axis=0))
    half = stats.t.ppf(0.975, 2) * points.std(axis=0, ddof=1) / np.sqrt(3)
    assert good.low == pytest.approx(points.mean(axis=0) - half)
    assert good.high == pytest.approx(points.mean(axis=0) + half)
    assert (good.pairs, good.seeds) == (1, 3)
    assert next(c for c in found.each if c.label == "scratch").reference


def test_over_pairs_the_band_is_of_the_seeds_means_over_them(board: Leaderboard) -> None:
    found = curves(board, board.groups[0])
    assert found.pairs == 4
    good = next(c for c in found.each if c.label == "good")
    scratch = {"c": [0.50, 0.52, 0.48], "d": [0.60, 0.61, 0.62]}
    gains = {"ac": [0.10, 0.11, 0.09], "ad": [0.08, 0.09, 0.10], "bc": [0.12, 0.10, 0.11], "bd": [0.09] * 3}
    per_seed = np.mean([np.array(scratch[pair[1]]) + g for pair, g in gains.items()], axis=0)
    assert good.mean[-1] == pytest.approx(per_seed.mean())
    half = stats.t.ppf(0.975, 2) * per_seed.std(ddof=1) / np.sqrt(3)
    assert (good.low[-1], good.high[-1]) == pytest.approx((per_seed.mean() - half, per_seed.mean() + half))
    assert "over seeds" in found.band


def test_only_pairs_that_all_shown_rows_have_are_in_the_mean(make: SimpleNamespace) -> None:
    lost = {make.trial("mixed", "b", "d", seed).key for seed in range(3)}
    board = build([r for r in make.small_board() if r.key not in lost])
    assert curves(board, board.groups[0]).pairs == 3
    assert curves(board, board.groups[0], ["good"]).pairs == 4
    one = curves(board, board.groups[0], pair=("b", "d"))
    assert one.left_out == ("mixed",)
    assert "No curve here: mixed" in shown(board, [one], 80)


def test_curves_of_other_lengths_are_read_at_shares_of_their_steps(make: SimpleNamespace) -> None:
    records = [make.reference("c", s, 0.5, curve=([0, 10], [0.1, 0.5])) for s in range(2)]
    records += [make.record(make.trial("x", "a", "c", s), 0.9, curve=([0, 50, 100], [0.1, 0.7, 0.9])) for s in range(2)]
    board = build(records)
    found = curves(board, board.groups[0])
    assert found.by_share
    x = next(c for c in found.each if c.label == "x")
    assert x.mean[[0, 5, 10, 20]] == pytest.approx([0.1, 0.4, 0.7, 0.9])
    assert "at 100 %" in shown(board, [found], 80)


def test_what_trained_no_steps_is_a_level(make: SimpleNamespace) -> None:
    records = [make.reference("c", s, 0.5, curve=(STEPS, [0.1, 0.2, 0.3, 0.4, 0.5])) for s in range(2)]
    records += [make.record(make.trial("probe", "a", "c", s), 0.45) for s in range(2)]
    board = build(records)
    found = curves(board, board.groups[0])
    assert not found.by_share
    probe = next(c for c in found.each if c.label == "probe")
    assert probe.mean.tolist() == [0.45]
    text = shown(board, [found], 80)
    line = next(line for line in text.splitlines() if line.startswith("probe"))
    assert line.split()[-1] == "45.0"  # beside the others' results
    assert "so a level" in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_numbers_at_fixed_steps_and_their_bands_can_be_read(board: Leaderboard, width: int) -> None:
    found = all_curves(board)
    text = shown(board, found, width)
    assert max(map(len, text.splitlines())) <= width
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("good"))
    good = next(c for c in found[0].each if c.label == "good")
    assert lines[at].split()[-1] == f"{100 * good.mean[-1]:.1f}"
    assert f"[{100 * good.low[-1]:.1f}, {100 * good.high[-1]:.1f}]" in lines[at + 1]
    assert "at 100" in text


def test_higher_scores_are_drawn_higher(board: Leaderboard) -> None:
    found = curves(board, board.groups[0], pair=("a", "c"))
    good, scratch = (next(c for c in found.each if c.label == name) for name in ("good", "scratch"))
    top, bottom = drawn(good, 20, 100.0, (0.1, 0.6)).split("\n")
    assert len(top) == len(bottom) == 20
    heights = ["▁▂▃▄▅▆▇█".find(a) + 8 if a != " " else "▁▂▃▄▅▆▇█".find(b) for a, b in zip(top, bottom, strict=True)]
    assert heights == sorted(heights)
    assert heights[-1] > heights[0] + 4
    assert drawn(scratch, 20, 100.0, (0.1, 0.6)) != drawn(good, 20, 100.0, (0.1, 0.6))


def test_lower_is_better_keeps_the_metrics_own_numbers(make: SimpleNamespace) -> None:
    records = [make.reference("c", s, 3.0 + s, metric="mse", curve=([0, 1], [5.0, 3.0 + s])) for s in range(2)]
    records += [
        make.record(make.trial("x", "a", "c", s), 2.0, metric="mse", curve=([0, 1], [5.0, 2.0])) for s in (0, 1)
    ]
    board = build(records, metric="mse", higher_is_better=False)
    (found,) = all_curves(board)
    scratch = next(c for c in found.each if c.label == "scratch")
    assert scratch.mean.tolist() == [5.0, 3.5]
    assert scratch.low[-1] < 3.5 < scratch.high[-1]
    assert curves_frame(board).query("strategy == 'x' and step == 1").score.tolist() == [2.0, 2.0]


def test_unknown_names_are_answered_with_the_nearest(board: Leaderboard) -> None:
    with pytest.raises(TlbenchError, match=r"unknown strategy 'god'\. Did you mean 'good'"):
        all_curves(board, strategies=["god"])
    with pytest.raises(TlbenchError, match="unknown target 'x'"):
        all_curves(board, pair=("a", "x"))
    with pytest.raises(TlbenchError, match="unknown source 'z'"):
        all_curves(board, pair=("z", "c"))


def test_each_pair_by_itself_in_the_order_of_the_matrix(board: Leaderboard) -> None:
    found = all_curves(board, each_pair=True)
    assert [one.pair for one in found] == [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]


def test_json_and_frame_have_every_point(board: Leaderboard, make: SimpleNamespace) -> None:
    plain = json.loads(json.dumps(curves_json(board, all_curves(board)), allow_nan=False))
    assert [c["strategy"] for c in plain["groups"][0]["curves"]] == [r.label for r in board.groups[0].rows]
    frame = curves_frame(board)
    assert len(frame) == len(make.small_board()) * len(STEPS)
    one = frame.query("strategy == 'good' and source == 'a' and target == 'c' and seed == 1")
    assert one.step.tolist() == STEPS
    assert one.score.iloc[-1] == pytest.approx(0.63)
