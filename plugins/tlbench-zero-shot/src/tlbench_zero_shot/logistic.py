"""Probabilities from frozen features: logistic regression of the seen classes, and Platt scaling of any scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench_zero_shot.spectrum import standardisation

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench import Context


def logistic_regression(
    x_ND: Tensor, y_N: Tensor, num_classes: int, strength: float, most_steps: int = 300
) -> tuple[Tensor, Tensor]:
    """Weight [D, C] and bias [C] of min strength * sum_n CE(w' z_n + b, y_n) + ||w||^2 / 2, for raw features.

    z are the features centred and scaled to variance 1 / D each, so that an example has length 1 on average and
    ``strength`` means the same for few and for many features. The bias is not penalised. Convex; solved by L-BFGS in
    double precision, in coordinates in which the Hessian at the start is nearly the identity.
    """
    x = x_ND.double()
    mean_D, scale_D = standardisation(x)
    scale_D = scale_D * x.shape[1] ** 0.5
    z = (x - mean_D) / scale_D
    hessian = z.T @ z / num_classes + torch.eye(z.shape[1], dtype=z.dtype, device=z.device) / strength
    upper = torch.linalg.cholesky(hessian, upper=True)  # the weights are upper^-1 u
    u = z.new_zeros(z.shape[1], num_classes, requires_grad=True)
    bias = z.new_zeros(num_classes, requires_grad=True)

    def objective() -> Tensor:
        weight = torch.linalg.solve_triangular(upper, u, upper=True)
        data = F.cross_entropy(z @ weight + bias, y_N, reduction="sum")
        total: Tensor = (data + weight.square().sum() / (2 * strength)) / len(z)
        return total

    _minimise(objective, [u, bias], most_steps)
    weight_DC = torch.linalg.solve_triangular(upper, u.detach(), upper=True) / scale_D[:, None]
    bias_C: Tensor = bias.detach() - mean_D @ weight_DC
    return weight_DC, bias_C


def class_probabilities(ctx: Context, strength: float) -> Callable[[Tensor], Tensor]:
    """p(y_k | x) of the seen classes: frozen features [B, D] -> [B, S], rows sum to 1."""
    train = ctx.features("source")
    weight_DS, bias_S = logistic_regression(train.x, train.y, ctx.classes("source"), strength)

    def probabilities(x_BD: Tensor) -> Tensor:
        return (x_BD.double() @ weight_DS + bias_S).softmax(1)

    return probabilities


def require_strength(strength: float) -> None:
    if not 0 < strength < float("inf"):
        raise ValueError(f"strength must be a positive number, got {strength}")


def platt_scaling(scores_NA: Tensor, y_NA: Tensor) -> tuple[Tensor, Tensor]:
    """Slope [A] and offset [A] so that sigmoid(slope * score + offset) is the share of ones (Platt 1999, eq. 1).

    Fitted by maximum likelihood to the paper's targets (n1 + 1) / (n1 + 2) for ones and 1 / (n0 + 2) for zeros. The
    scores must be of examples that the classifiers were not trained on. By Newton's method for each column.
    """
    s, y = scores_NA.double(), y_NA.double()
    n1, n0 = y.sum(0), (1 - y).sum(0)
    target = torch.where(y > 0.5, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    size = s.abs().amax(0).clamp(min=1e-12)
    s = s / size
    slope, offset = torch.zeros_like(n1), torch.log((n1 + 1) / (n0 + 1))

    def loss(slope: Tensor, offset: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(s * slope + offset, target, reduction="none").sum(0)

    for _ in range(100):
        p = torch.sigmoid(s * slope + offset)
        g, h = p - target, p * (1 - p)
        g1, g0 = (g * s).sum(0), g.sum(0)
        h11, h10, h00 = (h * s * s).sum(0) + 1e-12, (h * s).sum(0), h.sum(0) + 1e-12
        det = h11 * h00 - h10 * h10
        move1, move0 = (h00 * g1 - h10 * g0) / det, (h11 * g0 - h10 * g1) / det
        rate, now = torch.ones_like(slope), loss(slope, offset)
        for _ in range(30):  # halve the step where it would go too far
            worse = loss(slope - rate * move1, offset - rate * move0) > now
            if not bool(worse.any()):
                break
            rate = torch.where(worse, rate / 2, rate)
        slope, offset = slope - rate * move1, offset - rate * move0
        if float(torch.stack([(rate * move1).abs().max(), (rate * move0).abs().max()]).max()) < 1e-10:
            break
    return slope / size, offset


def _minimise(objective: Callable[[], Tensor], weights: list[Tensor], most_steps: int) -> None:
    optimiser = torch.optim.LBFGS(
        weights,
        max_iter=most_steps,
        max_eval=2 * most_steps,
        history_size=20,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = objective()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
