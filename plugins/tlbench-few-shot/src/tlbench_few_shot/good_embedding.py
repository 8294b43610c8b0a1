"""Good embedding: a linear classifier on frozen features of an ordinary source classifier, one for each support set.

Dimension key:  E episodes  N support examples  Q queries  D features  W ways
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch.nn import functional as F

from tlbench.functional import Linear, logistic_fits, ridge_fits
from tlbench_few_shot.adapted import OnFeatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tlbench import Context, Fitted

Head = Literal["logistic", "ridge"]


@dataclass(frozen=True)
class GoodEmbedding:
    """Unit-length features of an ordinary source classifier and a linear head for each episode (Tian et al. 2020).

    ``logistic`` is the paper's head, min sum_n CE(W x_n + b, y_n) + ||W||^2 / (2 strength); ``ridge`` is the head of
    Bertinetto et al. 2019, min ||X W + b - Y||^2 + ||W||^2 / strength with Y of 0 and 1, on features that were not
    trained for it. Nothing but the head is fitted for an episode, and many episodes are solved together. Departures:
    no self-distillation and no augmented support; solved to a gradient of 1e-6, closer than the authors' L-BFGS.
    """

    name: ClassVar[str] = "good-embedding"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "episodes"})
    start: ClassVar[Literal["source"]] = "source"

    head: Head = "logistic"
    """Cross-entropy, or squares."""
    strength: float = 1.0
    """scikit-learn's C: a smaller one is a stronger penalty on the head's weights."""
    unit_length: bool = True
    """Whether features are scaled to unit length, as the paper does."""

    def __post_init__(self) -> None:
        if not self.strength > 0:
            raise ValueError(f"strength must be positive, got {self.strength}")

    def fit(self, ctx: Context) -> Fitted:
        return OnFeatures(ctx.backbone(), self.heads_for, self.scaled)

    def scaled(self, x_BD: Tensor) -> Tensor:
        """x / ||x||, or x."""
        return F.normalize(x_BD, dim=-1) if self.unit_length else x_BD

    def heads_for(self, support_END: Tensor, y_EN: Tensor, ways: int) -> Callable[[Tensor], Tensor]:
        """Heads fitted on the support's scaled features: those of queries [E, Q, D] -> scores [E, Q, W]."""
        strength_E = torch.full((len(support_END),), self.strength, device=y_EN.device)
        if self.head == "logistic":
            fitted = logistic_fits(support_END, y_EN, ways, strength_E)
        else:
            fitted = ridge_fits(support_END, F.one_hot(y_EN, ways), 1 / strength_E)
        return Linear(fitted.weight.float(), fitted.bias.float()).scores
