"""The gain matrix as a graph of tasks: an edge from each source to each target, weighted by what transfer gained.

Dimension key:  V domains
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.leaderboard.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.columns import Pairs
    from tlbench.leaderboard.statistics import Floats

COLOURS = {"helps": "#1a7f37", "hurts": "#cf222e", "undecided": "#8c959f"}


def graphs(board: Leaderboard) -> Iterator[dict[str, Any]]:
    """A graph for each strategy of each group that was measured on pairs: plain data, gains in the metric's units.

    Nodes carry a position by the graph's Laplacian (Eaton, desJardins & Lane 2008, sec. 3): domains between which
    transfer gains in both directions lie close together.
    """
    for group in board.groups:
        for row in group.rows:
            pairs = row.pairs
            edges = [i for i, source in enumerate(pairs.source) if source and source != pairs.target[i]]
            if row.reference or not edges:
                continue
            names = sorted({*(pairs.source[i] for i in edges), *(pairs.target[i] for i in edges)})
            positions = embedding(weights(names, pairs, edges))
            yield {
                "task": group.task,
                "backbone": group.backbone,
                "strategy": row.label,
                "against": group.against,
                "nodes": [
                    {"name": n, "position": [float(v) for v in p]} for n, p in zip(names, positions, strict=True)
                ],
                "edges": [
                    {
                        "source": pairs.source[i],
                        "target": pairs.target[i],
                        "gain": float(pairs.mean[i]),
                        "low": _number(pairs.low[i]),
                        "high": _number(pairs.high[i]),
                        "verdict": pairs.verdict[i],
                    }
                    for i in edges
                ],
            }


def weights(names: list[str], pairs: Pairs, edges: list[int]) -> Floats:
    """Symmetric [V, V]: the mean gain of both directions, where it is above 0; a direction not measured counts as 0."""
    place = {name: i for i, name in enumerate(names)}
    gain_VV = np.zeros((len(names), len(names)))
    for i in edges:
        gain_VV[place[pairs.source[i]], place[pairs.target[i]]] = pairs.mean[i]
    found: Floats = np.maximum((gain_VV + gain_VV.T) / 2, 0.0)
    return found


def embedding(weight_VV: Floats, dimensions: int = 2) -> Floats:
    """Positions [V, 2]: eigenvectors of the normalised Laplacian I - D^-1/2 W D^-1/2, by eigenvalue, those above 0.

    A node without an edge lies at the origin. Each axis has its largest coordinate positive, for one graph one picture.
    """
    degree_V = weight_VV.sum(1)
    root_V = np.where(degree_V > 0, 1 / np.sqrt(np.where(degree_V > 0, degree_V, 1.0)), 0.0)
    laplacian_VV = np.diag((degree_V > 0).astype(float)) - root_V[:, None] * weight_VV * root_V
    values, vectors = np.linalg.eigh(laplacian_VV)
    connected = [k for k in range(len(values)) if values[k] > 1e-9][:dimensions]
    found = np.zeros((len(degree_V), dimensions))
    for column, k in enumerate(connected):
        axis = np.where(degree_V > 0, vectors[:, k], 0.0)
        found[:, column] = axis * (np.sign(axis[np.abs(axis).argmax()]) or 1.0)
    return found


def to_dot(graph: dict[str, Any]) -> str:
    """The graph in Graphviz's language: green edges help, red ones hurt, and the label is the gain x 100."""
    title = f"{graph['strategy']} · {graph['task']} · {graph['backbone']}"
    lines = [f"digraph {_quoted(title)} {{", f"  label={_quoted(title)};", "  node [shape=box, style=rounded];"]
    for node in graph["nodes"]:
        x, y = node["position"]
        lines.append(f"  {_quoted(node['name'])} [pos={_quoted(f'{6 * x:.3f},{6 * y:.3f}')}];")
    for edge in graph["edges"]:
        colour, gain = COLOURS[edge["verdict"]], 100 * edge["gain"]
        ends = f"{_quoted(edge['source'])} -> {_quoted(edge['target'])}"
        lines.append(
            f"  {ends} [label={_quoted(f'{gain:+.1f}')}, color={_quoted(colour)}, fontcolor={_quoted(colour)}];"
        )
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
