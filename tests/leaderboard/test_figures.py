"""Figures: what is drawn is what the board says, read back from the artists."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from tlbench.errors import TlbenchError
from tlbench.leaderboard import Leaderboard, build
from tlbench.leaderboard.curves import curves
from tlbench.leaderboard.inference.analysis import analyse
from tlbench.leaderboard.views import figures

if TYPE_CHECKING:
    from types import SimpleNamespace


@pytest.fixture(scope="module")
def board(make: SimpleNamespace) -> Leaderboard:
    return build(make.small_board())


def line(figure: Any, gid: str) -> Any:
    (found,) = [artist for artist in figure.axes[0].lines if artist.get_gid() == gid]
    return found


def test_gains_are_drawn_at_their_values_with_their_intervals_and_pairs(board: Leaderboard) -> None:
    group = board.groups[0]
    figure = figures.gains(board, group)
    axes = figure.axes[0]
    rows = [r for r in group.rows if not r.reference]
    assert [t.get_text() for t in axes.get_yticklabels()] == [r.label for r in rows]
    for y, row in enumerate(rows):
        mark = line(figure, f"gain of {row.label}")
        assert mark.get_xdata() == pytest.approx([100 * row.cells["gain"].value])  # type: ignore[operator]
        assert mark.get_ydata() == pytest.approx([y])
        ends = [100 * row.cells["gain"].low, 100 * row.cells["gain"].high]  # type: ignore[operator]
        assert any(
            a.get_ydata()[0] == y and a.get_xdata() == pytest.approx(ends)
            for a in axes.lines
            if len(a.get_xdata()) == 2
        )
        assert sorted(line(figure, f"pairs of {row.label}").get_xdata()) == pytest.approx(sorted(100 * row.pairs.mean))
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the best above


def test_the_matrix_is_the_boards_and_its_colours_are_even_about_zero(board: Leaderboard) -> None:
    figure = figures.matrix(board, board.groups[0], "mixed")
    (image,) = figure.axes[0].images
    found = board.matrix(0, "mixed")
    assert np.allclose(np.ma.filled(image.get_array(), np.nan), 100 * found.mean, equal_nan=True)
    assert image.norm.vmin == -image.norm.vmax
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert "−20.0 ▼" in texts
    assert "+6.0 ▲" in texts


def test_curves_and_bands_are_those_of_the_board(board: Leaderboard) -> None:
    group = board.groups[0]
    figure = figures.curves(board, group, ("a", "c"))
    found = curves(board, group, pair=("a", "c"))
    drawn = {a.get_label(): a for a in figure.axes[0].lines}
    assert set(drawn) == {c.label for c in found.each}
    for curve in found.each:
        assert drawn[curve.label].get_ydata() == pytest.approx(100 * curve.mean)
        assert drawn[curve.label].get_xdata() == pytest.approx(curve.steps)
    assert len(figure.axes[0].collections) == len(found.each)  # a band each
    legend = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert legend == [c.label for c in sorted(found.each, key=lambda c: -c.mean[-1])]


def test_ranks_are_those_of_the_analysis_best_first(board: Leaderboard) -> None:
    figure = figures.ranks(board, board.groups[0])
    found = analyse(board, 0)
    for name, rank in zip(found.strategies, found.ranks, strict=True):
        assert line(figure, f"rank of {name}").get_xdata() == pytest.approx([rank.value])
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == [found.strategies[k] for k in sorted(range(len(labels)), key=lambda k: found.ranks[k].value)]
    bars = [a for a in figure.axes[0].lines if a.get_gid() == "alike"]
    assert len(bars) == len([c for c in found.cliques if len(c) > 1])


def test_cost_and_score_stand_where_they_are_and_the_front_joins_the_undominated(board: Leaderboard) -> None:
    figure = figures.cost(board, board.groups[0])
    found = analyse(board, 0)
    for k, name in enumerate(found.strategies):
        mark = line(figure, f"cost of {name}")
        assert mark.get_xdata() == pytest.approx([found.cost[k]])
        assert mark.get_ydata() == pytest.approx([100 * found.scores[k].mean()])
        assert mark.get_marker() == ("D" if k in found.pareto else "o")
    assert sorted(line(figure, "front").get_xdata()) == pytest.approx(sorted(found.cost[k] for k in found.pareto))


def test_every_figure_becomes_a_picture_whatever_the_names(make: SimpleNamespace) -> None:
    """Dollar signs are no formulas, and control characters are shown as text."""
    name = "x$_{a}$\x1b[31m_^"
    records = [make.reference(t, s, 0.5, curve=([0, 1], [0.1, 0.5])) for t in ("c$", "d_") for s in range(2)]
    records += [
        make.record(make.trial(name, f"a${i}", t, s), 0.6, curve=([0, 1], [0.1, 0.6]))
        for i in range(2) for t in ("c$", "d_") for s in range(2)
    ]  # fmt: skip
    board = build(records)
    group = board.groups[0]
    for picture in (
        figures.gains(board, group),
        figures.matrix(board, group, name),
        figures.curves(board, group),
        figures.ranks(board, group),
        figures.cost(board, group),
    ):
        assert picture._repr_png_().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_said(board: Leaderboard, make: SimpleNamespace) -> None:
    with pytest.raises(TlbenchError, match=r"unknown strategy 'god'\. Did you mean 'good'"):
        figures.matrix(board, board.groups[0], "god")
    alone = build([make.reference("c", 0, 0.5)])
    with pytest.raises(TlbenchError, match="no strategy has a gain"):
        figures.gains(alone, alone.groups[0])
    with pytest.raises(TlbenchError, match="no ranks"):
        figures.ranks(alone, alone.groups[0])
    free = build([dataclasses.replace(r, clocks={}) for r in make.small_board()])
    with pytest.raises(TlbenchError, match="no costs are known"):
        figures.cost(free, free.groups[0])


def test_colours_differ_for_every_common_form_of_colour_blindness() -> None:
    """Of the colours that mean something; simulated after Machado, Oliveira and Fernandes 2009 (severity 1)."""
    deutan = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    protan = np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    )
    meaning = [figures.BLUE, figures.RED, figures.GREY]
    rgb = [np.array([int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** 2.2 for c in meaning]
    for seen in (np.eye(3), deutan, protan):
        colours = [np.clip(seen @ c, 0, 1) ** (1 / 2.2) for c in rgb]
        for i in range(3):
            for j in range(i):
                assert np.linalg.norm(colours[i] - colours[j]) > 0.2
