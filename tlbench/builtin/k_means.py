"""k-means on the inputs themselves: what a clustering with transfer must beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tlbench.errors import TrialError

if TYPE_CHECKING:
    from tlbench.api.data import Array
    from tlbench.api.types import Context, Fitted, Start


class Centres(NamedTuple):
    """Centres [K, D] of inputs (x - mean) / scale, and the sum of squared distances to the nearest of them."""

    centres: Array
    mean: Array
    scale: Array
    inertia: float

    def scores(self, x_BD: Tensor) -> Tensor:
        """Minus the squared distance to each centre, [B, K]: the nearest centre has the largest score."""
        centres_KD, mean_D, scale_D = (torch.from_numpy(a).to(x_BD) for a in self[:3])
        z_BD = (x_BD - mean_D) / scale_D
        return -torch.cdist(z_BD, centres_KD, compute_mode="donot_use_mm_for_euclid_dist").square()


def k_means(x_ND: Array, clusters: int, *, standardise: bool = False, n_init: int = 10, seed: int = 0) -> Centres:
    """Lloyd's algorithm from ``n_init`` k-means++ starts, the one of least inertia (scikit-learn)."""
    from sklearn.cluster import KMeans

    mean_D, scale_D = np.zeros(x_ND.shape[1]), np.ones(x_ND.shape[1])
    if standardise:
        mean_D, scale_D = x_ND.mean(0), x_ND.std(0)
        scale_D = np.where(scale_D == 0, 1.0, scale_D)  # an input that never varies stays 0
    found = KMeans(clusters, n_init=n_init, random_state=seed).fit((x_ND - mean_D) / scale_D)
    return Centres(found.cluster_centers_, mean_D, scale_D, float(found.inertia_))


@dataclass(frozen=True)
class KMeansReference:
    """k-means on the target's inputs as the backbone would see them, flattened: no network, no source.

    The number of clusters is that of the classes, which is an oracle. Unseen examples go to the nearest centre.
    Takes no gradient step: its learning curve is one point.
    """

    name: ClassVar[str] = "k-means"
    needs: ClassVar[frozenset[str]] = frozenset({"target_unlabelled"})
    start: ClassVar[Start] = "random"

    standardise: bool = False
    """Whether each input is brought to mean 0 and standard deviation 1 first."""
    n_init: int = 10
    """Random starts, of which the best is kept."""

    def __post_init__(self) -> None:
        if self.n_init < 1:
            raise ValueError(f"n_init must be at least 1, got {self.n_init}")

    def fit(self, ctx: Context) -> Fitted:
        x_ND = _flat(ctx.inputs("target_unlabelled").x).cpu().numpy().astype(np.float64)
        seed = int(ctx.rng.integers(2**31))
        found = k_means(x_ND, ctx.num_classes, standardise=self.standardise, n_init=self.n_init, seed=seed)
        ctx.report("inertia", found.inertia)
        return lambda x: found.scores(_flat(x))


def _flat(x: Any) -> Tensor:
    """Inputs [B, ...] -> [B, D]."""
    if isinstance(x, Mapping):
        raise TrialError(f"k-means takes one tensor of inputs; these examples have several: {', '.join(x)}")
    flat: Tensor = x.flatten(1).float()
    return flat
