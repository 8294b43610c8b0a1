"""Linear classifiers fitted many at once: a path of strengths over one data set, or a head for each of many episodes.

Dimension key:  E fits  N examples  D features  C outputs  K axes, min(N, D) and for logistic fits the bias  Q queries
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Linear", "logistic_fits", "ridge_fits"]


class Linear(NamedTuple):
    """Linear classifiers, one for each E."""

    weight: Tensor
    """[E, D, C]"""
    bias: Tensor
    """[E, C]"""

    def scores(self, x_EQD: Tensor) -> Tensor:
        """x W + b: [E, Q, C]; one entry of x is shared."""
        return _times(x_EQD.to(self.weight.dtype), self.weight) + self.bias[:, None]


def ridge_fits(x_END: Tensor, target_ENC: Tensor, strength_E: Tensor) -> Linear:
    """argmin ||X W + b - Y||^2 + strength ||W||^2 for each E, from one eigendecomposition of each distinct X.

    Either of ``x_END`` and ``target_ENC`` may have one entry, which is then shared: a path of strengths over one X
    costs one decomposition, of size D or, where there are fewer examples, N (the dual form). Calculates in float64.
    """
    z_ENK, back, mean_E1D = _own_axes(x_END)
    mean_E1C = target_ENC.double().mean(1, keepdim=True)
    # the columns of Z are orthogonal: (Z'Z + s I)^-1 is a division
    variance_EK = z_ENK.square().sum(1)
    right_EKC = z_ENK.mT @ (target_ENC.double() - mean_E1C)
    weight_EDC = back(right_EKC / (variance_EK + strength_E.double()[:, None]).unsqueeze(-1))
    return Linear(weight_EDC, (mean_E1C - _times(mean_E1D, weight_EDC)).squeeze(1))


def logistic_fits(
    x_END: Tensor, y_EN: Tensor, num_classes: int, strength_E: Tensor, *, tolerance: float = 1e-6, most: int = 100
) -> Linear:
    """argmin sum_n CE(x_n W + b, y_n) + ||W||^2 / (2 strength) for each E, all together; in float64.

    ``strength`` is scikit-learn's C. ``x_END`` and ``y_EN`` may have one entry, which is then shared: a path of
    strengths over one data set is as good as many episodes with one strength. Newton's method with conjugate
    gradients (Nocedal & Wright 2006, algorithm 7.1), in the axes of X X' or X' X, whichever is smaller: its cost goes
    with min(N, D), and there the diagonal of the Hessian is a good preconditioner. Stops where the gradient of the
    mean loss is at most ``tolerance`` in each coordinate of these axes; raises ``ArithmeticError`` after ``most``
    steps of Newton. A class without examples gets a low bias.
    """
    z_ENK, back, mean_E1D = _own_axes(x_END)
    fits, n = len(strength_E), z_ENK.shape[1]
    decay_E11 = 1 / (n * strength_E.double())[:, None, None]
    ones_EN1 = z_ENK.new_ones(*z_ENK.shape[:2], 1)
    z_ENK = torch.cat([z_ENK, ones_EN1], -1)  # the bias is the last weight
    decay_EK1 = decay_E11.repeat(1, z_ENK.shape[-1], 1)
    decay_EK1[:, -1] = 0
    one_hot_ENC = F.one_hot(y_EN, num_classes).double()
    fitted_EKC = z_ENK.new_zeros(fits, z_ENK.shape[-1], num_classes)
    left = torch.arange(fits, device=z_ENK.device)
    problem = _Logistic(z_ENK, one_hot_ENC, decay_EK1)
    for _ in range(most):
        loss_E, slope_EKC, p_ENC = problem.at(fitted_EKC[left])
        open_ = slope_EKC.abs().amax((1, 2)) > tolerance
        if not open_.all():  # what has converged is left alone
            left, problem = left[open_], problem.part(open_)
            loss_E, slope_EKC, p_ENC = loss_E[open_], slope_EKC[open_], p_ENC[open_]
        if not len(left):
            break
        step_EKC = problem.newton_step(slope_EKC, p_ENC)
        fitted_EKC[left] = problem.down(fitted_EKC[left], loss_E, slope_EKC, step_EKC)
    else:
        raise ArithmeticError(f"{len(left)} of {fits} logistic regressions have not converged in {most} steps")
    weight_EDC = back(fitted_EKC[:, :-1])
    bias_E1C = fitted_EKC[:, -1:] - fitted_EKC[:, -1:].mean(-1, keepdim=True)  # its mean says nothing
    return Linear(weight_EDC, (bias_E1C - _times(mean_E1D, weight_EDC)).squeeze(1))


def _own_axes(x_END: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor], Tensor]:
    """Z [E, N, K], the way back B and the mean [E, 1, D]: Z = (X - mean) B has orthogonal columns; K = min(N, D).

    B takes weights of Z [E, K, C] to weights of X [E, D, C]. Its columns are orthonormal, or zero where X has no
    extent, so that penalties on ||W|| are the same on the weights of Z. All in float64.
    """
    mean_E1D = x_END.mean(1, keepdim=True, dtype=torch.float64)
    centred = x_END - mean_E1D
    if x_END.shape[1] >= x_END.shape[2]:
        axes_EDK = torch.linalg.eigh(centred.mT @ centred).eigenvectors
        return centred @ axes_EDK, lambda w_EKC: _times(axes_EDK, w_EKC), mean_E1D
    values_EK, rows_ENK = torch.linalg.eigh(centred @ centred.mT)
    inverse_EK = torch.where(values_EK > 1e-13 * values_EK[:, -1:], values_EK, torch.inf).rsqrt()
    left_ENK = rows_ENK * inverse_EK[:, None]
    z_ENK = rows_ENK * (values_EK * inverse_EK)[:, None]

    def back(w_EKC: Tensor) -> Tensor:
        by_example_ENC = _times(left_ENK, w_EKC)
        if len(centred) == 1:
            return _times(centred.mT, by_example_ENC)
        return (
            by_example_ENC.mT @ centred
        ).mT  # with the features last in memory, here and in the scores: 3 times faster

    return z_ENK, back, mean_E1D


def _times(a_EMK: Tensor, b_EKC: Tensor) -> Tensor:
    """A product for each E; where A is shared, a single one with the columns of all."""
    if len(a_EMK) > 1 or len(b_EKC) == 1:
        return a_EMK @ b_EKC
    wide_MX = a_EMK[0] @ b_EKC.movedim(0, 1).flatten(1)
    return wide_MX.view(len(wide_MX), len(b_EKC), -1).movedim(1, 0)


class _Logistic(NamedTuple):
    """Mean cross-entropy of Z W with the penalty decay / 2 ||W||^2, for each E."""

    z: Tensor
    """[E, N, K]"""
    one_hot: Tensor
    """[E, N, C]"""
    decay: Tensor
    """[E, K, 1]"""

    def part(self, rows: Tensor) -> _Logistic:
        """These fits alone; what is shared stays so."""
        return _Logistic(*(p if len(p) == 1 else p[rows] for p in self))

    def loss(self, w_EKC: Tensor, scores_ENC: Tensor) -> Tensor:
        fit_EN = scores_ENC.logsumexp(-1) - (scores_ENC * self.one_hot).sum(-1)
        return fit_EN.mean(-1) + (self.decay * w_EKC.square()).sum((1, 2)) / 2

    def at(self, w_EKC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss [E], its gradient [E, K, C] and the probabilities [E, N, C]."""
        scores_ENC = _times(self.z, w_EKC)
        p_ENC = scores_ENC.softmax(-1)
        slope_EKC = _times(self.z.mT, (p_ENC - self.one_hot) / p_ENC.shape[1]) + self.decay * w_EKC
        return self.loss(w_EKC, scores_ENC), slope_EKC, p_ENC

    def newton_step(self, slope_EKC: Tensor, p_ENC: Tensor, most: int = 250) -> Tensor:
        """H^-1 slope, about: conjugate gradients until the residual is small beside the slope."""
        n = p_ENC.shape[1]
        diagonal_EKC = _times(self.z.square().mT, p_ENC * (1 - p_ENC) / n) + self.decay
        diagonal_EKC = diagonal_EKC + 1e-12 * diagonal_EKC.amax((1, 2), keepdim=True)
        step_EKC = torch.zeros_like(slope_EKC)
        rest_EKC, way_EKC = slope_EKC, slope_EKC / diagonal_EKC
        size_E = (rest_EKC * way_EKC).sum((1, 2))
        enough_E = (size_E * size_E.clamp(max=0.25)).clamp(min=1e-18)  # size is about twice what the loss can fall
        for _ in range(most):
            open_E = size_E > enough_E
            if not open_E.any():
                break
            moved_ENC = _times(self.z, way_EKC)
            moved_ENC = p_ENC * (moved_ENC - (p_ENC * moved_ENC).sum(-1, keepdim=True)) / n
            bent_EKC = _times(self.z.mT, moved_ENC) + self.decay * way_EKC
            along_E = torch.where(open_E, size_E / (way_EKC * bent_EKC).sum((1, 2)).clamp(min=1e-300), 0.0)
            step_EKC = step_EKC + along_E[:, None, None] * way_EKC
            rest_EKC = rest_EKC - along_E[:, None, None] * bent_EKC
            direct_EKC = rest_EKC / diagonal_EKC
            before_E, size_E = size_E, torch.where(open_E, (rest_EKC * direct_EKC).sum((1, 2)), size_E)
            way_EKC = direct_EKC + (size_E / before_E.clamp(min=1e-300))[:, None, None] * way_EKC
        return step_EKC

    def down(self, now_EKC: Tensor, loss_E: Tensor, slope_EKC: Tensor, step_EKC: Tensor) -> Tensor:
        """Where the step leads, halved until the loss falls enough (Armijo)."""
        fall_E = (slope_EKC * step_EKC).sum((1, 2))
        share_E = torch.ones_like(loss_E)
        for _ in range(30):
            next_EKC = now_EKC - share_E[:, None, None] * step_EKC
            found_E = self.loss(next_EKC, _times(self.z, next_EKC))
            # beside rounding a loss cannot be seen to fall
            bad_E = found_E > loss_E - 1e-4 * share_E * fall_E + 1e-14 * loss_E.abs()
            if not bad_E.any():
                break
            share_E = torch.where(bad_E, share_E / 2, share_E)
        return next_EKC
