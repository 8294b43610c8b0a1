"""Attribute embedding: images are mapped into the space of descriptions so that the right class is the nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench_zero_shot.tower import Train, tower
from tlbench_zero_shot.unseen import NEEDS, Normalise, calibrated, classes_of, require_calibration

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms

Ranking = Literal["sum", "max", "weighted"]


def ranking_loss(scores_BS: Tensor, y_B: Tensor, margin: float, ranking: Ranking = "sum") -> Tensor:
    """Mean over the batch of the hinges max(0, margin - s_y + s_z) of the wrong classes z.

    ``sum``       their sum (DeViSE: Frome et al. 2013, eq. 1)
    ``max``       the largest one (structured joint embedding: Akata et al. 2015, eq. 3 and 4)
    ``weighted``  their sum times l_r / r, with r the number of them above 0 and l_r = 1 + 1/2 + ... + 1/r
                  (ALE: Akata et al. 2016, after Usunier et al. 2009): the top of the list counts most
    """
    right_B1 = scores_BS.gather(1, y_B[:, None])
    hinge_BS = (margin - right_B1 + scores_BS).clamp(min=0).scatter(1, y_B[:, None], 0.0)
    if ranking == "max":
        return hinge_BS.amax(1).mean()
    total_B = hinge_BS.sum(1)
    if ranking == "weighted":
        rank_B = (hinge_BS > 0).sum(1)
        counts = torch.arange(1, hinge_BS.shape[1] + 1, device=hinge_BS.device)
        harmonic = torch.cat([hinge_BS.new_zeros(1), (1 / counts).to(hinge_BS).cumsum(0)])
        total_B = total_B * harmonic[rank_B] / rank_B.clamp(min=1)
    return total_B.mean()


@dataclass(frozen=True)
class AttributeEmbedding:
    """A linear map from features to descriptions, trained by ranking (Frome et al. 2013; Akata et al. 2016).

    Descriptions and embedded images have length 1, so that the score is their cosine: among raw inner products
    a few descriptions, the hubs, would be nearest to most images (Dinu, Lazaridou & Baroni 2015). ``normalise_images:
    false`` leaves the images' length, as the papers do. The optimiser's weight decay is the map's only penalty.
    Departures: the papers take plain stochastic gradient descent, a random wrong class or all of them at a time, and
    stop early; here the suite's recipe rules. DeViSE goes on to train the network: ``train: all`` does so at once.
    """

    name: ClassVar[str] = "attribute-embedding"
    needs: ClassVar[frozenset[str]] = NEEDS

    ranking: Ranking = "sum"
    """Which wrong classes count: all alike (DeViSE), the worst one (SJE), or by their rank (ALE)."""
    margin: float = 0.1
    """By how much the right class must win; DeViSE has 0.1."""
    signatures: Normalise = "l2"
    """Descriptions as they are, of length 1, or of length 1 around the mean of the seen classes."""
    normalise_images: bool = True
    """Whether embedded images have length 1 too."""
    train: Train = "head"
    """``head`` keeps the backbone frozen, ``all`` trains it along."""
    calibration: float = 0.0
    """Generalised zero-shot: taken off the scores of seen classes, here cosines."""

    def __post_init__(self) -> None:
        if self.margin <= 0:
            raise ValueError(f"margin must be positive, got {self.margin}")
        require_calibration(self.calibration)

    def fit(self, ctx: Context) -> Fitted:
        classes = classes_of(ctx).normalised(self.signatures)
        image = tower(ctx, classes.seen.shape[1], self.train, bias=False)

        def scores(x: Any, descriptions_CA: Tensor) -> Tensor:
            f_BA = image(x)
            return (F.normalize(f_BA, dim=1) if self.normalise_images else f_BA) @ descriptions_CA.T

        def loss(source: Batch, step: Step) -> Terms:
            return ranking_loss(scores(source.x, classes.seen), source.y, self.margin, self.ranking)

        ctx.train(loss, update=image, on=("source",))
        return lambda x: calibrated(scores(x, classes.candidates), classes.is_seen, self.calibration)
