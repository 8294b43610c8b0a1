"""Ridge regression for many penalties at once: one eigendecomposition of X'X, from the smaller side of X."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Spectrum(NamedTuple):
    """X'X = basis diag(values) basis' on the row space of X: values [R] above 0, basis [D, R] orthonormal."""

    values: Tensor
    basis: Tensor


def spectrum(x_ND: Tensor) -> Spectrum:
    """The spectrum of X'X in double precision, from X X' where there are more features than examples."""
    x = x_ND.double()
    wide = x.shape[1] > x.shape[0]
    values, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = values > values[-1].clamp(min=1e-300) * max(x.shape) * torch.finfo(values.dtype).eps
    values, vectors = values[kept], vectors[:, kept]
    return Spectrum(values, x.T @ vectors / values.sqrt() if wide else vectors)


class Ridge(NamedTuple):
    """Linear fits weight' x + bias, [D, K] and [K]; held_out [N, K] is what they would say of examples not seen."""

    weight: Tensor
    bias: Tensor
    held_out: Tensor

    def __call__(self, x_BD: Tensor) -> Tensor:
        return x_BD.to(self.weight.dtype) @ self.weight + self.bias


def ridge(x_ND: Tensor, y_NK: Tensor, penalties: tuple[float, ...]) -> tuple[Ridge, float]:
    """min ||Z w + b - Y||^2 + penalty ||w||^2 with the penalty of the least leave-one-out error, and that penalty.

    Z are the features centred and scaled to variance 1 / D each (an example has length 1 on average). The prediction
    for an example left out is y - (y - f) / (1 - h), h the diagonal of the hat matrix (Allen 1974), exactly for the
    weights; the features' mean and scale are those of all examples.
    """
    x, y = x_ND.double(), y_NK.double()
    mean_D, scale_D = standardisation(x)
    scale_D = scale_D * x.shape[1] ** 0.5
    z, centre_K = (x - mean_D) / scale_D, y.mean(0)
    values_R, basis_DR = spectrum(z)
    z_NR = z @ basis_DR
    target_RK = z_NR.T @ (y - centre_K)
    best: tuple[float, float, Tensor, Tensor] | None = None
    for penalty in penalties:
        weight_RK = target_RK / (values_R + penalty)[:, None]
        hat_N = (z_NR.square() / (values_R + penalty)).sum(1) + 1 / len(z)
        held_NK = y - (y - z_NR @ weight_RK - centre_K) / (1 - hat_N).clamp(min=1e-6)[:, None]
        error = float((y - held_NK).square().mean())
        if best is None or error < best[0]:
            best = error, penalty, basis_DR @ weight_RK / scale_D[:, None], held_NK
    if best is None:
        raise ValueError("penalties needs at least one value, got none")
    _, penalty, weight_DK, held_NK = best
    return Ridge(weight_DK, centre_K - mean_D @ weight_DK, held_NK), penalty


def standardisation(x_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and standard deviation [D] of each feature; infinite for a constant one, so that it becomes 0."""
    mean_D, scale_D = x_ND.mean(0), x_ND.std(0, correction=0)
    constant_D = scale_D <= 1e-6 * x_ND.abs().amax(0)
    return mean_D, torch.where(constant_D, torch.inf, scale_D)
