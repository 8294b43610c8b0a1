"""ReFeX: what a node's surroundings look like, as numbers that mean the same in any graph.

Dimension key:  N nodes  F features  E directed edges. A feature is named by how it comes about:
``("degree", "mean", "sum")`` is the sum over a node's neighbours of the mean over theirs of the degree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


Name: TypeAlias = tuple[str, ...]
"""A local feature, and the aggregations over neighbours that were applied to it in turn."""

LOCAL = ("degree", "within", "leaving")


def adjacency(edges_2E: NDArray[Any], num_nodes: int) -> Any:
    """0 or 1, symmetric, without loops; sparse [N, N]."""
    rows, columns = edges_2E
    a_NN = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=(num_nodes, num_nodes))
    a_NN = ((a_NN + a_NN.T) > 0).astype(np.float64).tolil()
    a_NN.setdiag(0)
    a_NN = a_NN.tocsr()
    a_NN.eliminate_zeros()
    return a_NN


def local_features(a_NN: Any) -> dict[Name, NDArray[Any]]:
    """Of each node [N]: its degree, the edges within its ego net and those that leave it (Henderson et al. 2011).

    The ego net is the node, its neighbours and all edges between these.
    """
    degree = np.asarray(a_NN.sum(1)).ravel()
    triangles = np.asarray((a_NN @ a_NN).multiply(a_NN).sum(1)).ravel() / 2
    within = degree + triangles
    ends_inside = degree + a_NN @ degree  # each edge within has both ends inside, each that leaves has one
    return {("degree",): degree, ("within",): within, ("leaving",): ends_inside - 2 * within}


def aggregated(values_N: NDArray[Any], a_NN: Any, how: str) -> NDArray[Any]:
    """The ``sum`` or the ``mean`` of the neighbours' values; 0 for a node without neighbours."""
    total: NDArray[Any] = a_NN @ values_N
    if how == "sum":
        return total
    mean: NDArray[Any] = total / np.maximum(np.asarray(a_NN.sum(1)).ravel(), 1)
    return mean.round(9)  # nodes alike in all must tie, whatever order their neighbours were summed in


def log_bins(values_N: NDArray[Any], share: float = 0.5) -> NDArray[Any]:
    """Vertical logarithmic bins: 0 for the lowest ``share`` of the nodes, 1 for that share of the rest, and so on.

    Nodes of one value are never parted: a bin takes all that equal its highest (Henderson et al. 2011).
    A bin is about ranks, so it means the same in a graph of another size.
    """
    ordered = np.sort(values_N)
    bins = np.zeros(len(values_N), dtype=np.int64)
    taken, number = 0, 0
    while taken < len(ordered):
        highest = ordered[taken + int(np.ceil(share * (len(ordered) - taken))) - 1]
        end = int(np.searchsorted(ordered, highest, side="right"))
        bins[(values_N >= ordered[taken]) & (values_N <= highest)] = number
        taken, number = end, number + 1
    return bins


def distinct(bins_NF: NDArray[Any], threshold: int) -> list[int]:
    """Which features to keep: of those linked by a difference of at most ``threshold`` at every node, the first."""
    count = bins_NF.shape[1]
    alike = np.array([np.abs(bins_NF - bins_NF[:, [f]]).max(0) <= threshold for f in range(count)])
    groups = sp.csgraph.connected_components(sp.csr_array(alike), directed=False)[1]
    return [int(np.flatnonzero(groups == g)[0]) for g in dict.fromkeys(groups)]


def choose(a_NN: Any, rounds: int, share: float = 0.5) -> list[Name]:
    """The features that are worth keeping on this graph, simplest first (Henderson et al. 2011).

    Each round aggregates what the round before added, by mean and by sum, and drops what is like a feature that is
    kept already; the threshold of likeness rises by one with each round. Ends when a round adds nothing.
    """
    values = local_features(a_NN)
    kept = list(values)
    kept = [kept[i] for i in distinct(_table(values, kept, share), 0)]
    newest = kept
    for round_ in range(1, rounds + 1):
        for name in newest:
            values |= {(*name, how): aggregated(values[name], a_NN, how) for how in ("mean", "sum")}
        tried = kept + [(*name, how) for name in newest for how in ("mean", "sum")]
        left = [tried[i] for i in distinct(_table(values, tried, share), round_)]
        # likeness at this round's threshold joins earlier features too; those stay, and answer for the new ones
        newest = [name for name in left if name not in kept]
        if not newest:
            break
        kept = kept + newest
    return kept


def compute(a_NN: Any, names: Sequence[Name]) -> NDArray[Any]:
    """These features of every node of a graph, [N, F]: the same names on another graph are the same features."""
    values = local_features(a_NN)

    def value(name: Name) -> NDArray[Any]:
        if name not in values:
            values[name] = aggregated(value(name[:-1]), a_NN, name[-1])
        return values[name]

    return np.stack([value(name) for name in names], axis=1)


def _table(values: dict[Name, NDArray[Any]], names: Sequence[Name], share: float) -> NDArray[Any]:
    return np.stack([log_bins(values[name], share) for name in names], axis=1)
