"""Which classes may be the answer, how they are described, and what it costs an answer to be a seen class.

Dimension key:  N examples  B batch  D features  A attributes  S seen classes  C candidate classes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench import Context, Predictor

Normalise = Literal["as-is", "l2", "centred-l2"]
"""Descriptions as they are, of length 1, or of length 1 after the mean of the seen classes is taken off."""

NEEDS = frozenset({"source", "class_attributes"})


class Classes(NamedTuple):
    """Descriptions of the seen classes [S, A] and of the candidates [C, A], and which candidates are seen, bool [C].

    Generalised zero-shot has all classes as candidates, the seen ones first; the standard setting the unseen alone.
    """

    seen: Tensor
    candidates: Tensor
    is_seen: Tensor

    def normalised(self, how: Normalise) -> Classes:
        """The same with normalised descriptions."""
        centre_A = self.seen.mean(0)
        return self._replace(
            seen=normalised(self.seen, how, centre_A), candidates=normalised(self.candidates, how, centre_A)
        )

    def binary(self) -> Classes:
        """The same with attributes that a class has (1) or has not (0).

        Other values than 0 and 1 are cut at their mean over all attributes of the seen classes; the binary matrix of
        Animals with Attributes comes from the continuous one by the mean over all classes (Lampert et al. 2014).
        """
        both = torch.cat([self.seen, self.candidates])
        if bool(((both == 0) | (both == 1)).all()):
            return self
        cut = self.seen.mean()
        return self._replace(seen=(self.seen > cut).float(), candidates=(self.candidates > cut).float())


def normalised(rows_CA: Tensor, how: Normalise, centre_A: Tensor) -> Tensor:
    """Descriptions of classes on one scale."""
    if how == "centred-l2":
        rows_CA = rows_CA - centre_A
    return rows_CA if how == "as-is" else rows_CA / rows_CA.norm(dim=1, keepdim=True).clamp(min=1e-12)


def classes_of(ctx: Context) -> Classes:
    """The classes of this trial."""
    seen, candidates = ctx.attributes("source"), ctx.attributes("target")
    generalised = len(candidates) > len(seen) and torch.equal(candidates[: len(seen)], seen)
    is_seen = torch.arange(len(candidates), device=seen.device) < (len(seen) if generalised else 0)
    return Classes(seen, candidates, is_seen)


def calibrated(scores_BC: Tensor, is_seen_C: Tensor, calibration: float) -> Tensor:
    """s_c - calibration where c is a seen class, and s_c where it is not (Chao et al. 2016, calibrated stacking).

    A model that was trained to give seen classes for an answer gives them to examples of unseen classes as well.
    """
    return scores_BC - calibration * is_seen_C.to(scores_BC.dtype)


@dataclass(frozen=True)
class OnFeatures:
    """A predictor on frozen features from ``score``: features [B, D] -> scores of the candidates [B, C]."""

    score: Callable[[Tensor], Tensor]
    classes: Classes
    calibration: float

    def over(self, ctx: Context) -> Predictor:
        return ctx.on_features(
            lambda x_BD: calibrated(self.score(x_BD), self.classes.is_seen, self.calibration).float()
        )


def require_calibration(calibration: float) -> None:
    if not 0 <= calibration < float("inf"):
        raise ValueError(f"calibration must be a number from 0, got {calibration}")
