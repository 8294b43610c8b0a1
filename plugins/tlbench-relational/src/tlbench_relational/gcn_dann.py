"""GCN with DANN: graph convolutions whose hidden layer does not tell which graph a node is of."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from tlbench.functional import reverse_gradient
from tlbench_relational.convolution import Nodes, OnGraph
from tlbench_relational.gcn import check_size, convolutions

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


@dataclass(frozen=True)
class GCNDANN:
    """Graph convolutions trained against a domain classifier (Ganin et al. 2016, eq. 9, on the network of ``gcn``).

    The critic sees the last hidden layer of the batch's source and target nodes, through a gradient reversal whose
    factor 2 / (1 + exp(-10 p)) - 1 follows the progress p of the training and scales what reaches the convolutions
    only. The idea is that of Dai et al. 2019 (AdaGCN), who minimise a Wasserstein distance instead, and of
    Wu et al. 2020 (UDA-GCN), who add a second convolution and an entropy term. Target labels are not used.
    """

    name: ClassVar[str] = "gcn-dann"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled", "graphs"})
    start: ClassVar[str] = "random"

    hidden: int = 128
    """Units of each hidden layer, and of the critic's two."""
    layers: int = 2
    """Convolutions, the last one included."""
    dropout: float = 0.5
    """Share of the inputs of each layer dropped in training."""
    weight: float = 1.0
    """Weight of the domain loss beside the source's cross-entropy."""

    def __post_init__(self) -> None:
        check_size(self.hidden, self.layers, self.dropout)
        if self.layers < 2:
            raise ValueError(f"layers must be at least 2, got {self.layers}: the critic sees a hidden layer")
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")

    def fit(self, ctx: Context) -> Fitted:
        source, target = Nodes.of(ctx.graph("source")), Nodes.of(ctx.graph("target"))
        net, width = convolutions(ctx, self.hidden, self.layers, self.dropout), self.hidden
        critic = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

        def loss(labelled: Batch, unlabelled: Batch, step: Step) -> Terms:
            ours, theirs = labelled.x["node"], unlabelled.x["node"]
            source_ND, target_ND = net.encode(source), net.encode(target)
            factor = 2 / (1 + exp(-10 * step.progress)) - 1
            both_BD = torch.cat([source_ND[ours], target_ND[theirs]])
            truth = torch.cat([both_BD.new_ones(len(ours)), both_BD.new_zeros(len(theirs))])
            verdict = critic(reverse_gradient(both_BD, factor)).squeeze(1)
            return {
                "task": F.cross_entropy(net.classify(source_ND, source)[ours], labelled.y),
                "domain": self.weight * F.binary_cross_entropy_with_logits(verdict, truth),
            }

        ctx.train(loss, update=[net, critic], on=("source", "target_unlabelled"))
        return OnGraph(net, target)
