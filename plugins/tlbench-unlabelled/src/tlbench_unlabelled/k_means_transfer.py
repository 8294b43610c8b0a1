"""k-means on transferred features.

Dimension key:  N examples  B batch  D features  K clusters
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench_unlabelled.pretraining import Pretraining, after
from tlbench_unlabelled.second_half import require_pretraining

if TYPE_CHECKING:
    from tlbench import Context, Fitted, Start


@dataclass(frozen=True)
class KMeansTransfer:
    """Pre-train on the unlabelled source, then cluster the target by k-means on the frozen features.

    min over centres m of sum_i min_k ||h_i - m_k||^2 (Lloyd's algorithm from k-means++ starts, scikit-learn), where
    features h have length 1, so that distances are those of angles. Unseen examples go to the nearest centre. The
    number of clusters is that of the classes, which is an oracle. ``pretrain: none`` takes the backbone's own weights,
    or random ones where it has none. The clustering takes no gradient step: the learning curve is one point.
    """

    name: ClassVar[str] = "k-means-transfer"
    needs: ClassVar[frozenset[str]] = frozenset({"source_unlabelled", "target_unlabelled"})
    start: ClassVar[Start] = "weights"

    pretrain: Pretraining = "simclr"
    """How the backbone learns from the unlabelled source first."""
    pretrain_steps: int | None = None
    """Steps of pre-training; as many as the recipe has where left out."""
    normalise: bool = True
    """Whether features are brought to length 1."""
    n_init: int = 10
    """Random starts, of which the one of least squared distances is kept."""

    def __post_init__(self) -> None:
        if self.n_init < 1:
            raise ValueError(f"n_init must be at least 1, got {self.n_init}")
        require_pretraining(self.pretrain_steps, 1.0)

    def fit(self, ctx: Context) -> Fitted:
        from sklearn.cluster import KMeans

        taught = after(ctx, self.pretrain, self.pretrain_steps)
        h_ND = self._sized(taught.features("target_unlabelled").x)
        seed = int(ctx.rng.integers(2**31))
        found = KMeans(ctx.num_classes, n_init=self.n_init, random_state=seed).fit(h_ND.cpu().double().numpy())
        ctx.report("inertia", float(found.inertia_))
        centres_KD = torch.from_numpy(found.cluster_centers_).float().to(h_ND.device)
        return taught.on_features(
            lambda h_BD: -torch.cdist(self._sized(h_BD), centres_KD, compute_mode="donot_use_mm_for_euclid_dist")
        )

    def _sized(self, h_BD: Tensor) -> Tensor:
        return F.normalize(h_BD.float(), dim=1) if self.normalise else h_BD.float()
