"""Nearest neighbour by the Modified Hausdorff distance between strokes: one-shot without any learning.

Dimension key:  B images  P and Q pixels of ink  K channels  S side
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from tlbench import SkipTrial
from tlbench_few_shot.adapted import ways_of

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Predictor


def modified_hausdorff(a_P2: Tensor, b_Q2: Tensor) -> Tensor:
    """max(mean_a min_b ||a - b||, mean_b min_a ||a - b||), a scalar (Dubuisson & Jain 1994)."""
    gaps_PQ = torch.cdist(a_P2, b_Q2, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.maximum(gaps_PQ.amin(1).mean(), gaps_PQ.amin(0).mean())


def ink(image_KSS: Tensor, middle: Tensor) -> Tensor:
    """Coordinates [P, 2] of the pixels on the rarer side of the middle grey, centred on their mean [pixels]."""
    grey_SS = image_KSS.mean(0)
    light_SS = grey_SS > middle
    mask_SS = ~light_SS if light_SS.double().mean() > 0.5 else light_SS
    at_P2 = mask_SS.nonzero().double()
    if not len(at_P2):  # a blank image: a single point in the middle
        return torch.zeros(1, 2, dtype=torch.float64, device=image_KSS.device)
    return at_P2 - at_P2.mean(0)


@dataclass(frozen=True)
class ModifiedHausdorff:
    """The class of the nearest support image by the Modified Hausdorff distance (Dubuisson & Jain 1994).

    The baseline that comes with Omniglot's one-shot runs (Lake, Salakhutdinov & Tenenbaum 2015): images are sets of
    ink pixels, centred on their mean. Nothing is trained and no backbone is used, but the images are as the
    backbone would see them: use one that keeps their size, such as ``identity`` with ``size: 105``.
    Ink is what lies on the rarer side of the middle between the darkest and the lightest pixel of the support set.
    """

    name: ClassVar[str] = "modified-hausdorff"
    needs: ClassVar[frozenset[str]] = frozenset({"episodes"})
    start: ClassVar[Literal["random"]] = "random"

    def fit(self, ctx: Context) -> Fitted:
        return self

    def adapt(self, support: Batch) -> Predictor:
        """A predictor that scores a class by minus the distance to the nearest of its support images."""
        if not isinstance(support.x, Tensor) or support.x.dim() != 4:
            raise SkipTrial("modified-hausdorff compares strokes in images; these examples are no images")
        ways, y_N = ways_of(support), support.y
        greys = support.x.mean(1)
        middle = (greys.amin() + greys.amax()) / 2
        known = [ink(image, middle) for image in support.x]

        def distances(image_KSS: Tensor) -> Tensor:
            points = ink(image_KSS, middle)
            gaps_N = torch.stack([modified_hausdorff(points, other) for other in known])
            nearest_W = gaps_N.new_full((ways,), float("inf"))
            return nearest_W.scatter_reduce(0, y_N, gaps_N, "amin")

        def predict(x_BKSS: Any) -> Tensor:
            return -torch.stack([distances(image) for image in x_BKSS]).float()

        return predict
