"""The gain matrix as a graph: its edges are the gains, and near is what gains from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tlbench.leaderboard.board import build
from tlbench.leaderboard.forms.task_graph import embedding, graphs, to_dot, weights

if TYPE_CHECKING:
    from types import SimpleNamespace


def test_two_clusters_of_tasks_fall_on_two_sides_of_the_first_axis() -> None:
    w = np.zeros((6, 6))
    w[:3, :3] = w[3:, 3:] = 1.0
    w[0, 3] = w[3, 0] = 0.05
    np.fill_diagonal(w, 0)
    position = embedding(w)
    sides = np.sign(position[:, 0])
    assert len(set(sides[:3])) == len(set(sides[3:])) == 1
    assert sides[0] != sides[3]


def test_the_axes_are_eigenvectors_of_the_normalised_laplacian_by_rising_eigenvalue() -> None:
    rng = np.random.default_rng(0)
    w = rng.random((5, 5))
    w = w + w.T
    np.fill_diagonal(w, 0)
    root = np.diag(w.sum(1) ** -0.5)
    laplacian = np.eye(5) - root @ w @ root
    values = np.sort(np.linalg.eigvalsh(laplacian))
    position = embedding(w)
    for column in range(2):
        axis = position[:, column]
        assert np.allclose(laplacian @ axis, values[column + 1] * axis)


def test_a_task_that_gains_from_nothing_lies_at_the_origin() -> None:
    w = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert np.array_equal(embedding(w)[2], [0, 0])


def test_the_graph_of_a_board_has_its_gains_and_dot_has_every_edge(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    found = list(graphs(board))
    assert found
    for graph in found:
        assert graph["strategy"] not in ("scratch", "source-only")
        names = {node["name"] for node in graph["nodes"]}
        assert all({edge["source"], edge["target"]} <= names for edge in graph["edges"])
        assert to_dot(graph).count("->") == len(graph["edges"])
    good = next(g for g in found if g["strategy"] == "good")
    gains = {(e["source"], e["target"]): (round(e["gain"], 6), e["verdict"]) for e in good["edges"]}
    assert {pair: gain for pair, (gain, _) in gains.items()} == {
        ("a", "c"): 0.10,
        ("a", "d"): 0.09,
        ("b", "c"): 0.11,
        ("b", "d"): 0.09,
    }
    assert {verdict for _, verdict in gains.values()} == {"helps"}


def test_names_with_quotes_do_not_break_dot() -> None:
    node = {"name": 'a"b', "position": [0, 0]}
    edge = {"source": 'a"b', "target": "c", "gain": 0.1, "low": None, "high": None, "verdict": "helps"}
    text = to_dot({"task": "t", "backbone": "b", "strategy": "s", "nodes": [node], "edges": [edge]})
    assert '"a\\"b" -> "c"' in text


def test_a_weight_is_the_mean_gain_of_both_directions_and_never_negative(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    row = next(r for g in board.groups for r in g.rows if not r.reference and any(r.pairs.source))
    edges = list(range(len(row.pairs.source)))
    names = sorted({*row.pairs.source, *row.pairs.target})
    w = weights(names, row.pairs, edges)
    assert np.array_equal(w, w.T)
    assert (w >= 0).all()
