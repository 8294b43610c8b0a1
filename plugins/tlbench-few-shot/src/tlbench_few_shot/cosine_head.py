"""Baseline++: an ordinary source classifier whose head measures angles, and such a head for each support set.

Dimension key:  E episodes  B examples  N support examples  Q queries  D features  C classes  W ways
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench_few_shot.adapted import OnFeatures
from tlbench_few_shot.inner_loop import Parameters, descend
from tlbench_few_shot.protonet import prototypes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench import Batch, Context, Fitted, Step, Terms


def cosine_scores(x_BD: Tensor, weight_CD: Tensor, scale: float) -> Tensor:
    """scale * x . w_c / (||x|| ||w_c||): [B, C] (Chen et al. 2019). Also of many episodes, [E, B, C]."""
    return scale * F.normalize(x_BD, dim=-1) @ F.normalize(weight_CD, dim=-1).mT


@dataclass(frozen=True)
class BaselinePlusPlus:
    """Supervised training with a cosine head, and a new cosine head for each support set (Chen et al. 2019).

    The backbone is trained with the head on all of the source's classes and is frozen in the test, where only a
    head for the episode's classes is fitted. Departure: the paper starts that head from random weights and fits
    it with momentum on batches of 4; here it starts from the class means of the support (Qi, Brown & Lowe 2018) and
    takes plain gradient steps on the whole support set, so that nothing is drawn. With ``steps: 0`` the class means are
    the head.
    """

    name: ClassVar[str] = "baseline++"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "episodes"})

    scale: float = 10.0
    """What the cosine is multiplied by before the softmax."""
    steps: int = 100
    """Gradient steps on each support set."""
    lr: float = 0.01
    """Rate of these steps; the head's weights have unit length at their start."""

    def __post_init__(self) -> None:
        for name in ("scale", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.steps < 0:
            raise ValueError(f"steps must not be negative, got {self.steps}")

    def fit(self, ctx: Context) -> Fitted:
        net = ctx.backbone()
        head = nn.Linear(net.num_features, ctx.classes("source"), bias=False)

        def loss(source: Batch, step: Step) -> Terms:
            return F.cross_entropy(cosine_scores(net(source.x), head.weight, self.scale), source.y)

        ctx.train(loss, update=[net, head], on=("source",))
        return OnFeatures(net, self.head_for)

    def head_for(self, support_END: Tensor, y_EN: Tensor, ways: int) -> Callable[[Tensor], Tensor]:
        """Heads fitted on the support's features: query features [E, Q, D] -> scores [E, Q, W]; or all without E.

        Weights start and stay in the span of the support, so that the steps are taken in orthonormal axes of it.
        """
        axes_EDK = None
        if support_END.shape[-2] < support_END.shape[-1]:
            axes_EDK = torch.linalg.qr(support_END.mT).Q
            support_END = support_END @ axes_EDK
        start_EWK = F.normalize(prototypes(F.normalize(support_END, dim=-1), y_EN, ways), dim=-1)

        def loss(now: Parameters) -> Tensor:
            scores_ENW = cosine_scores(support_END, now["weight"], self.scale)
            each_EN = F.cross_entropy(scores_ENW.flatten(0, -2), y_EN.flatten(), reduction="none").view(y_EN.shape)
            return each_EN.mean(-1).sum()  # a sum over episodes: the slope of one is that of its own mean

        weight_EWK = descend(loss, {"weight": start_EWK}, self.lr, self.steps)["weight"]
        weight_EWD = weight_EWK if axes_EDK is None else weight_EWK @ axes_EDK.mT
        return lambda query_EQD: cosine_scores(query_EQD, weight_EWD, self.scale)
