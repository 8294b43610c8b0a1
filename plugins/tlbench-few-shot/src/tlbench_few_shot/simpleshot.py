"""SimpleShot: nearest centroids after centring and scaling the features; nothing is trained for episodes.

Dimension key:  B examples  D features
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from torch.nn import functional as F

from tlbench_few_shot.adapted import OnFeatures
from tlbench_few_shot.protonet import nearest_prototype

if TYPE_CHECKING:
    from torch import Tensor

    from tlbench import Context, Fitted

Transform = Literal["none", "l2", "centre-l2"]


def transformed(x_BD: Tensor, source_mean_D: Tensor, transform: Transform) -> Tensor:
    """x, x / ||x||, or (x - mean) / ||x - mean|| with the mean of the source (Wang et al. 2019)."""
    if transform == "none":
        return x_BD
    return F.normalize(x_BD - source_mean_D if transform == "centre-l2" else x_BD, dim=-1)


@dataclass(frozen=True)
class SimpleShot:
    """The nearest centroid of the support in the features of an ordinary source classifier (Wang et al. 2019).

    The features are centred by the source's mean and scaled to unit length (the paper's CL2N); the class with
    the nearest centroid by Euclidean distance wins. Centroids are means of scaled features and are not scaled again.
    """

    name: ClassVar[str] = "simpleshot"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "episodes"})
    start: ClassVar[Literal["source"]] = "source"

    transform: Transform = "centre-l2"
    """The paper's UN (``none``), L2N (``l2``) or CL2N (``centre-l2``)."""

    def fit(self, ctx: Context) -> Fitted:
        source_mean_D = ctx.features("source").x.float().mean(0)
        return OnFeatures(
            ctx.backbone(), nearest_prototype, lambda x_BD: transformed(x_BD, source_mean_D, self.transform)
        )
