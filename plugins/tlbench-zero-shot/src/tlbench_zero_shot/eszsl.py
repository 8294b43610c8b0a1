"""ESZSL: a bilinear score of features and descriptions, in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tlbench_zero_shot.spectrum import spectrum
from tlbench_zero_shot.unseen import NEEDS, Normalise, OnFeatures, classes_of, require_calibration

if TYPE_CHECKING:
    from tlbench import Context, Fitted

GRID = tuple(10.0**k for k in range(-3, 4))


class Chosen(NamedTuple):
    gamma: float
    lam: float
    score: float


def bilinear_map(values_D: Tensor, xys_DA: Tensor, seen_SA: Tensor, gamma: float, lam: float) -> Tensor:
    """V = (X X' + gamma I)^-1 X Y S' (S S' + lam I)^-1, [D, A] (Romera-Paredes & Torr 2015, eq. 5).

    In the paper's letters X is [D, N], Y [N, S] and S [A, S]. The features are in coordinates in which X X' is
    diagonal, with ``values`` on the diagonal, so that many gammas cost one decomposition; ``xys`` = X Y S' and
    ``seen`` = S'.
    """
    left_DA = xys_DA / (values_D + gamma)[:, None]
    right_AA = seen_SA.T @ seen_SA + lam * torch.eye(seen_SA.shape[1], dtype=seen_SA.dtype, device=seen_SA.device)
    v_AD: Tensor = torch.linalg.solve(right_AA, left_DA.T)  # the right factor is symmetric
    return v_AD.T


@dataclass(frozen=True)
class ESZSL:
    """Embarrassingly simple zero-shot learning (Romera-Paredes & Torr 2015): argmax_z x' V s_z, V in closed form.

    gamma and lambda are chosen from 10^-3 .. 10^3 on classes that are held out, as unseen classes will be, by accuracy
    averaged over classes; held-out examples of seen classes would choose too little regularisation.
    Departures: the authors' program is the kernel form of it, holds out a fifth of the classes once and chooses by
    overall accuracy; here each class is held out once, in ``folds`` groups, and V is that of the linear kernel.
    The paper's labels are -1 and 1 and the authors' program has 0 and 1; ``labels`` is the choice.
    """

    name: ClassVar[str] = "eszsl"
    needs: ClassVar[frozenset[str]] = NEEDS

    gamma: float | None = None
    """Penalty on the features' side; chosen on held-out classes where left out."""
    lam: float | None = None
    """Penalty on the attributes' side (lambda); chosen on held-out classes where left out."""
    signatures: Normalise = "l2"
    """Descriptions as they are, of length 1, or of length 1 around the mean of the seen classes."""
    labels: Literal["zero-one", "signed"] = "zero-one"
    """What Y has for the classes that an example is not of: 0, or -1."""
    folds: int = 5
    """Groups of classes that are held out in turn; at most as many as there are seen classes."""
    calibration: float = 0.0
    """Generalised zero-shot: taken off the scores of seen classes, which are near the labels."""

    def __post_init__(self) -> None:
        for name, value in (("gamma", self.gamma), ("lam", self.lam)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        require_calibration(self.calibration)

    def fit(self, ctx: Context) -> Fitted:
        train, classes = ctx.features("source"), classes_of(ctx).normalised(self.signatures)
        x_ND, seen_SA = train.x.double(), classes.seen.double()
        gamma, lam, held_out = self._choose(x_ND, train.y, seen_SA, ctx.rng)
        for name, value in (("gamma", gamma), ("lambda", lam), ("held-out classes", held_out)):
            ctx.report(name, value)
        values_R, basis_DR = spectrum(x_ND)
        xys_RA = (x_ND @ basis_DR).T @ (self._y(train.y, len(seen_SA)) @ seen_SA)
        v_DA = basis_DR @ bilinear_map(values_R, xys_RA, seen_SA, gamma, lam)
        weight_DC = v_DA @ classes.candidates.double().T
        return OnFeatures(lambda x_BD: x_BD.double() @ weight_DC, classes, self.calibration).over(ctx)

    def _y(self, y_N: Tensor, num_classes: int) -> Tensor:
        one_hot = torch.nn.functional.one_hot(y_N, num_classes).double()
        return one_hot if self.labels == "zero-one" else 2 * one_hot - 1

    def _choose(self, x_ND: Tensor, y_N: Tensor, seen_SA: Tensor, rng: np.random.Generator) -> Chosen:
        """The pair with the best mean accuracy over held-out classes; of equals the most regularised one."""
        gammas = GRID if self.gamma is None else (self.gamma,)
        lams = GRID if self.lam is None else (self.lam,)
        if len(gammas) * len(lams) == 1 or len(seen_SA) < 4:  # nothing to choose, or nothing to choose by
            return Chosen(self.gamma or 1.0, self.lam or 1.0, 0.0)
        found = np.zeros((len(gammas), len(lams)))
        order = rng.permutation(len(seen_SA))
        groups = np.array_split(order, min(self.folds, len(seen_SA) // 2))
        for group in groups:
            held = torch.from_numpy(np.sort(group)).to(y_N.device)
            rest = torch.from_numpy(np.setdiff1d(order, group)).to(y_N.device)
            out = torch.isin(y_N, held)
            s_SA, truth = seen_SA[rest], torch.searchsorted(held, y_N[out])
            values_R, basis_DR = spectrum(x_ND[~out])
            x_NR = x_ND @ basis_DR
            xys_RA = x_NR[~out].T @ (self._y(torch.searchsorted(rest, y_N[~out]), len(rest)) @ s_SA)
            # x' V s = (x' / (values + gamma) X Y S') (S S' + lambda I)^-1 s: a product for each gamma, a solution for
            # each lambda, and what joins a pair of them is as small as the attributes
            gram_AA, one = s_SA.T @ s_SA, torch.eye(s_SA.shape[1], dtype=s_SA.dtype, device=s_SA.device)
            right_LAH = torch.linalg.solve(torch.stack([gram_AA + lam * one for lam in lams]), seen_SA[held].T)
            class_MH = torch.nn.functional.one_hot(truth, len(held)).double()
            count_H = class_MH.sum(0).clamp(min=1)
            for i, gamma in enumerate(gammas):
                left_MA = (x_NR[out] / (values_R + gamma)) @ xys_RA
                right_LM = (left_MA @ right_LAH).argmax(2) == truth
                right_LH = right_LM.double() @ class_MH / count_H
                found[i] += [float(right_H.mean()) for right_H in right_LH]
        i, j = max(np.ndindex(found.shape), key=lambda at: (found[at], sum(at)))
        return Chosen(gammas[i], lams[j], float(found[i, j]) / len(groups))
