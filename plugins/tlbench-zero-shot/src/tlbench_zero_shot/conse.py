"""ConSE: the mean description of the likeliest seen classes, and the class that is described most alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tlbench_zero_shot.logistic import class_probabilities, require_strength
from tlbench_zero_shot.unseen import NEEDS, Normalise, OnFeatures, classes_of, require_calibration

if TYPE_CHECKING:
    from torch import Tensor

    from tlbench import Context, Fitted


def convex_combination(p_BS: Tensor, seen_SA: Tensor, top: int | None) -> Tensor:
    """f(x) = sum_{t <= T} p(y_t | x) s(y_t) / Z with Z = sum_{t <= T} p(y_t | x), [B, A] (Norouzi et al. 2014, eq. 2).

    y_t is the t-th likeliest seen class; ``top`` is T, at most all of them.
    """
    p_BT, which_BT = p_BS.topk(min(top or len(seen_SA), len(seen_SA)), dim=1)
    p_BT = p_BT / p_BT.sum(1, keepdim=True)
    return (p_BT[:, :, None] * seen_SA.to(p_BT.dtype)[which_BT]).sum(1)


def cosine(f_BA: Tensor, s_CA: Tensor) -> Tensor:
    """cos(f, s_z), [B, C] (Norouzi et al. 2014, eq. 3)."""
    s_CA = s_CA.to(f_BA.dtype)
    lengths_BC = f_BA.norm(dim=1)[:, None] * s_CA.norm(dim=1)
    cosine_BC: Tensor = f_BA @ s_CA.T / lengths_BC.clamp(min=1e-12)
    return cosine_BC


@dataclass(frozen=True)
class ConSE:
    """Convex combination of semantic embeddings (Norouzi et al. 2014): nothing is trained on the descriptions.

    With ``top`` 1 it is the class described most like the likeliest seen class. Departures: the paper's
    probabilities are those of a network's own softmax, and its descriptions word vectors; here a logistic regression
    of the seen classes on frozen features, and class attributes.
    """

    name: ClassVar[str] = "conse"
    needs: ClassVar[frozenset[str]] = NEEDS

    top: int | None = 5
    """How many of the likeliest seen classes are mixed; all where null. The paper has 10 of 1,000."""
    signatures: Normalise = "as-is"
    """Descriptions as they are, of length 1, or of length 1 around the mean of the seen classes."""
    strength: float = 1.0
    """Inverse penalty of the logistic regression of the seen classes, on features of length 1."""
    calibration: float = 0.0
    """Generalised zero-shot: taken off the scores of seen classes, here cosines."""

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise ValueError(f"top must be at least 1, got {self.top}")
        require_strength(self.strength)
        require_calibration(self.calibration)

    def fit(self, ctx: Context) -> Fitted:
        classes = classes_of(ctx).normalised(self.signatures)
        probabilities = class_probabilities(ctx, self.strength)

        def score(x_BD: Tensor) -> Tensor:
            return cosine(convex_combination(probabilities(x_BD), classes.seen, self.top), classes.candidates)

        return OnFeatures(score, classes, self.calibration).over(ctx)
