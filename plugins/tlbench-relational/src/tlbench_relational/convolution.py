"""Graph convolution: each node's representation is a weighted mean over itself and its neighbours.

Dimension key:  N nodes  A attributes  D hidden units  C classes  E directed edges
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from tlbench import Graph

SPARSE_BELOW = 0.1
"""Attributes of which less than this share is not zero are multiplied as a sparse matrix: the same numbers, sooner."""


def propagation(edges_2E: Tensor, num_nodes: int) -> Tensor:
    """D^-1/2 (A + I) D^-1/2, sparse [N, N], with D the row sums of A + I (Kipf & Welling 2017, eq. 2).

    A is 0 or 1 however often an edge is listed, and a node has one loop to itself whether it was listed or not.
    """
    loops = torch.arange(num_nodes, device=edges_2E.device).expand(2, -1)
    rows, columns = torch.unique(torch.cat([edges_2E, loops], dim=1), dim=1)
    scale_N = torch.bincount(rows, minlength=num_nodes).float().rsqrt()
    values = scale_N[rows] * scale_N[columns]
    return torch.sparse_coo_tensor(
        torch.stack([rows, columns]), values, (num_nodes, num_nodes), is_coalesced=True, check_invariants=False
    )


class Nodes(NamedTuple):
    """A graph as a convolution takes it: attributes [N, A], dense or sparse, and the propagation matrix [N, N]."""

    attributes: Tensor
    propagation: Tensor

    @classmethod
    def of(cls, graph: Graph) -> Nodes:
        x = graph.x.float()
        if int(torch.count_nonzero(x)) < SPARSE_BELOW * x.numel():
            x = x.to_sparse()
        return cls(x, propagation(graph.edges, len(graph.x)))


class GraphConvolutions(nn.Module):
    """H' = ReLU(P H W + b) layer by layer, the last without ReLU; P as ``propagation`` (Kipf & Welling 2017, eq. 2, 9).

    ``encode`` gives the last hidden layer [N, D], ``forward`` scores [N, C]. Dropout before each layer, as in the
    paper. Knows no node by name, so that one set of weights serves any graph with the same attributes.
    """

    def __init__(self, attributes: int, hidden: int, num_classes: int, layers: int, dropout: float) -> None:
        super().__init__()
        widths = [attributes, *[hidden] * (layers - 1), num_classes]
        self.weights = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(a, b)) for a, b in pairwise(widths))
        self.biases = nn.ParameterList(torch.zeros(b) for b in widths[1:])
        self.dropout = dropout

    def encode(self, nodes: Nodes) -> Tensor:
        hidden = nodes.attributes
        for layer in range(len(self.weights) - 1):
            hidden = self._layer(layer, hidden, nodes.propagation).relu()
        return hidden

    def classify(self, hidden_ND: Tensor, nodes: Nodes) -> Tensor:
        """The last layer: hidden [N, D] -> scores [N, C]."""
        return self._layer(len(self.weights) - 1, hidden_ND, nodes.propagation)

    def forward(self, nodes: Nodes) -> Tensor:
        return self.classify(self.encode(nodes), nodes)

    def _layer(self, layer: int, hidden: Tensor, propagation_NN: Tensor) -> Tensor:
        # float32: sparse products know no bfloat16
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = _dropped(hidden.float(), self.dropout, training=self.training)
            weight = self.weights[layer]
            mapped = torch.sparse.mm(hidden, weight) if hidden.is_sparse else hidden @ weight
            out: Tensor = torch.sparse.mm(propagation_NN, mapped) + self.biases[layer]
        return out


def _dropped(x: Tensor, share: float, *, training: bool) -> Tensor:
    """Dropout; of a sparse matrix it drops among the values that are there, for zeros stay zero either way."""
    if not training or not share:
        return x
    if not x.is_sparse:
        return F.dropout(x, share)
    x = x.coalesce()
    values = F.dropout(x.values(), share)
    return torch.sparse_coo_tensor(x.indices(), values, x.shape, is_coalesced=True, check_invariants=False)


class OnGraph(nn.Module):
    """A predictor for nodes of one graph: {"node": [B], ...} -> scores [B, C]; the whole graph passes each time."""

    def __init__(self, net: GraphConvolutions, nodes: Nodes) -> None:
        super().__init__()
        self.net, self.nodes = net, nodes

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        scores_NC: Tensor = self.net(self.nodes)
        return scores_NC[x["node"]]
