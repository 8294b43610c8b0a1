"""Structural features: a classifier of nodes by the shape of their surroundings, carried to another graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from tlbench_relational.refex import adjacency, choose, compute, log_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlbench import Context, Fitted, Graph


@dataclass(frozen=True)
class StructuralFeatures:
    """Recursive structural features and a classifier of them (ReFeX, Henderson et al. 2011; RolX, 2012, on transfer).

    Of each node: degree, edges within and out of its ego net, and means and sums of these over neighbours, again and
    again. Which features are kept is settled on the source's graph, and the very same ones are computed on the
    target's. No attribute and no name of a node is looked at, so the graphs need share nothing but their habits.
    Labelled target nodes, where the task offers any, join the
    training with as much weight as the source's together. Takes no gradient step, and the trial's
    backbone is not used. Departures: a random forest in the place of the paper's forest of logistic regressions;
    RolX's factorisation of the features into roles is left out, because labels are at hand.
    """

    name: ClassVar[str] = "structural-features"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "graphs"})
    uses: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[str] = "random"

    rounds: int = 3
    """Aggregations over neighbours, one upon the other: how far a node sees."""
    share: float = 0.5
    """Of the nodes not yet in a bin, the share that the next logarithmic bin takes."""
    values: Literal["bins", "log"] = "bins"
    """What the classifier sees: each graph's own logarithmic bins, which compare ranks, or log(1 + value)."""
    trees: int = 200
    """Trees of the random forest."""

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ValueError(f"rounds must not be negative, got {self.rounds}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must be in (0, 1), got {self.share}")
        if self.trees < 1:
            raise ValueError(f"trees must be at least 1, got {self.trees}")

    def fit(self, ctx: Context) -> Fitted:
        from sklearn.ensemble import RandomForestClassifier

        source, target = (_adjacency(ctx.graph(role)) for role in ("source", "target"))
        names = choose(source, self.rounds, self.share)
        ctx.report("structural features", len(names))
        source_NF, target_NF = (self._seen(compute(a_NN, names)) for a_NN in (source, target))
        x_BF, y_B, weight_B = [], [], []
        for pool, features_NF in (("source", source_NF), ("target", target_NF)):
            if pool in ctx.pools:
                batch = ctx.inputs(pool)
                x_BF.append(features_NF[batch.x["node"].cpu().numpy()])
                y_B.append(batch.y.cpu().numpy())
                weight_B.append(np.full(len(batch), 1 / len(batch)))  # a pool counts as much as the other
        forest = RandomForestClassifier(self.trees, random_state=ctx.seed % 2**32)
        forest.fit(np.concatenate(x_BF), np.concatenate(y_B), np.concatenate(weight_B))
        scores_NC = np.zeros((len(target_NF), ctx.num_classes), np.float32)
        scores_NC[:, forest.classes_] = forest.predict_proba(target_NF)
        scores = torch.from_numpy(scores_NC).to(ctx.device)
        return lambda x: scores[x["node"]]

    def _seen(self, values_NF: NDArray[Any]) -> NDArray[Any]:
        if self.values == "bins":
            return np.stack([log_bins(column, self.share) for column in values_NF.T], axis=1)
        logs: NDArray[Any] = np.log1p(values_NF)
        return logs


def _adjacency(graph: Graph) -> Any:
    return adjacency(graph.edges.cpu().numpy(), graph.num_nodes)
