"""DAP: a classifier for each attribute, and the class whose attributes are the likeliest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch.nn import functional as F

from tlbench_zero_shot.logistic import platt_scaling
from tlbench_zero_shot.probabilities import attribute_prior, class_scores
from tlbench_zero_shot.spectrum import ridge
from tlbench_zero_shot.unseen import NEEDS, OnFeatures, classes_of, require_calibration

if TYPE_CHECKING:
    from torch import Tensor

    from tlbench import Context, Fitted

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-4, 7))
"""From 0.01 to 1,000 in steps of half a power of ten, on features of length 1."""


@dataclass(frozen=True)
class DAP:
    """Direct attribute prediction (Lampert, Nickisch & Harmeling 2009, eq. 2): argmax_z prod_m p(a_m^z | x) / p(a_m^z).

    Attributes are had or not (others are cut at their mean). Their prior is the mean over the seen classes. An
    attribute that all seen classes have, or none, says nothing: its probability and its prior are 1/2.
    Departures: the paper's classifiers are support vector machines with a chi-square kernel, calibrated by Platt
    scaling on a tenth of the examples; here they are ridge regressions on frozen features, calibrated by Platt scaling
    on what they would say of each example had they not seen it, which has a closed form.
    """

    name: ClassVar[str] = "dap"
    needs: ClassVar[frozenset[str]] = NEEDS

    penalty: float | None = None
    """Ridge penalty on features of length 1; that of the least leave-one-out error where left out."""
    calibration: float = 0.0
    """Generalised zero-shot: taken off the scores of seen classes, here log-probabilities."""

    def __post_init__(self) -> None:
        if self.penalty is not None and self.penalty <= 0:
            raise ValueError(f"penalty must be positive, got {self.penalty}")
        require_calibration(self.calibration)

    def fit(self, ctx: Context) -> Fitted:
        train, classes = ctx.features("source"), classes_of(ctx).binary()
        answers_NA = classes.seen[train.y].double()
        linear, penalty = ridge(train.x, answers_NA, PENALTIES if self.penalty is None else (self.penalty,))
        ctx.report("penalty", penalty)
        slope_A, offset_A = platt_scaling(linear.held_out, answers_NA)
        told_apart_A = (answers_NA.amax(0) > answers_NA.amin(0)).double()
        slope_A, offset_A = slope_A * told_apart_A, offset_A * told_apart_A  # a constant attribute: log-odds 0
        prior_A = attribute_prior(classes.seen)

        def score(x_BD: Tensor) -> Tensor:
            odds_BA = linear(x_BD) * slope_A + offset_A
            return class_scores(F.logsigmoid(odds_BA), F.logsigmoid(-odds_BA), classes.candidates, prior_A)

        return OnFeatures(score, classes, self.calibration).over(ctx)
