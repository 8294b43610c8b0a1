"""Instance selection: only the source examples that lie nearest to the target's are learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tlbench.functional import supervised
from tlbench_instances.spaces import Array, Space, compared_in

if TYPE_CHECKING:
    from tlbench import Context, Fitted


def nearest_rows(source_SD: Array, target_TD: Array, k: int) -> Array:
    """The rows of the source that are among the k nearest of any target example, ascending, each once (Euclidean)."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(k, len(source_SD))).fit(source_SD)
    return np.unique(search.kneighbors(target_TD, return_distance=False))


@dataclass(frozen=True)
class InstanceSelection:
    """Training on the source examples among the k nearest of any target example, and on no others.

    The plain form of "choose the source examples that resemble the target's", which Pan & Yang 2010, sec. 3.1, call
    instance transfer; with the class labels unseen. Distances are Euclidean between features standardised over
    both domains. Then the classifier is trained as by source-only, for as many steps. Records ``selected``, how
    many source examples are left, and ``selected_share``.
    """

    name: ClassVar[str] = "instance-selection"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    k: int = 5
    """How many source examples each target example keeps."""
    space: Space = "features"
    """Where they are compared: the frozen backbone's features, or the inputs."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")

    def fit(self, ctx: Context) -> Fitted:
        rows = nearest_rows(*compared_in(ctx, self.space, "target_unlabelled"), self.k)
        ctx.report("selected", len(rows))
        ctx.report("selected_share", len(rows) / ctx.pools["source"])
        model = ctx.classifier()
        ctx.restricted("source", rows).train(supervised(model), update=model, on=("source",))
        fitted: Fitted = model
        return fitted
