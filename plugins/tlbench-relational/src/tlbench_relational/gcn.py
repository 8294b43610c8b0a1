"""GCN: graph convolutions trained on the labelled nodes of one graph and run on another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch.nn import functional as F

from tlbench import Group
from tlbench_relational.convolution import GraphConvolutions, Nodes, OnGraph

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench import Batch, Context, Fitted, Step, Terms


@dataclass(frozen=True)
class GCN:
    """A graph convolutional network (Kipf & Welling 2017, eq. 2 and 9) of the source, carried to the target.

    H' = ReLU(D^-1/2 (A + I) D^-1/2 H W), with A of the source's graph while it learns from the source's labelled
    nodes and of the target's graph when it is used there: weights are about attributes and neighbourhoods, not about
    nodes. Where the task offers labelled target nodes, the last share of the steps continues on those alone.
    The trial's backbone is not used. Departures: the paper trains and tests on one graph, on all labelled nodes at
    each step with 16 hidden units, and decays the first layer only; here a step has a batch of labelled nodes (the
    whole graph still passes) and the suite's recipe sets rate and decay for all strategies alike.
    """

    name: ClassVar[str] = "gcn"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "graphs"})
    uses: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[str] = "random"

    hidden: int = 128
    """Units of each hidden layer."""
    layers: int = 2
    """Convolutions, the last one included: how many edges away a node sees."""
    dropout: float = 0.5
    """Share of the inputs of each layer dropped in training."""
    fine_tune: float = 0.3
    """Share of the steps on the target's labelled nodes, where there are any; 0 leaves them unused."""
    fine_tune_lr: float = 0.3
    """Multiplies the recipe's learning rate in those steps."""

    def __post_init__(self) -> None:
        check_size(self.hidden, self.layers, self.dropout)
        if not 0 <= self.fine_tune < 1:
            raise ValueError(f"fine_tune must be in [0, 1), got {self.fine_tune}")
        if self.fine_tune_lr <= 0:
            raise ValueError(f"fine_tune_lr must be positive, got {self.fine_tune_lr}")

    def fit(self, ctx: Context) -> Fitted:
        source, target = Nodes.of(ctx.graph("source")), Nodes.of(ctx.graph("target"))
        net = convolutions(ctx, self.hidden, self.layers, self.dropout)

        def on(nodes: Nodes) -> Callable[[Batch, Step], Terms]:
            return lambda batch, step: F.cross_entropy(net(nodes)[batch.x["node"]], batch.y)

        last = round(self.fine_tune * ctx.steps_left) if "target" in ctx.pools else 0
        ctx.train(on(source), update=net, on=("source",), steps=ctx.steps_left - last)
        if last:
            ctx.train(on(target), update=Group(net, lr=self.fine_tune_lr))
        return OnGraph(net, target)


def convolutions(ctx: Context, hidden: int, layers: int, dropout: float) -> GraphConvolutions:
    """A fresh network for the task's attributes and classes, on the trial's device."""
    attributes = ctx.graph("source").x.shape[1]
    return GraphConvolutions(attributes, hidden, ctx.num_classes, layers, dropout).to(ctx.device)


def check_size(hidden: int, layers: int, dropout: float) -> None:
    """``ValueError`` for a network that cannot be."""
    if hidden < 1:
        raise ValueError(f"hidden must be at least 1, got {hidden}")
    if layers < 1:
        raise ValueError(f"layers must be at least 1, got {layers}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
