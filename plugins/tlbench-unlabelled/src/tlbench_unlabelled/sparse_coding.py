"""Sparse coding: bases learned on an unlabelled source, and a softmax layer on the target's codes in them.

Dimension key:  N examples  B batch  P inputs  S bases  C classes
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench_unlabelled.second_half import one_tensor, softmax

if TYPE_CHECKING:
    from tlbench import Context, Fitted, Start


REMEMBERED = 0.2
"""What the codes of a pass still count in the next one, while bases are learned."""


def objective(x_NP: Tensor, codes_NS: Tensor, bases_SP: Tensor, beta: float) -> Tensor:
    """sum_i ||x_i - sum_j a_ij b_j||^2 + beta ||a_i||_1 (Raina et al. 2007, eq. 1)."""
    return (x_NP - codes_NS @ bases_SP).square().sum() + beta * codes_NS.abs().sum()


def learn_bases(x_NP: Tensor, bases: int, beta: float, passes: int, seed: int, batch: int = 256) -> Tensor:
    """Bases [S, P] with ||b_j|| <= 1 that minimise the objective over bases and codes (Raina et al. 2007, eq. 1-2).

    By online dictionary learning (Mairal et al. 2009, algorithms 1 and 2): codes of a batch, then each basis in turn to
    its best for all codes so far, of which those of earlier passes count less. A basis that no code uses becomes an
    example.
    """
    draw = torch.Generator().manual_seed(seed)
    drawn_S = torch.randint(len(x_NP), (bases,), generator=draw).to(x_NP.device)
    bases_SP = F.normalize(x_NP[drawn_S] + 1e-3 * torch.randn(bases, x_NP.shape[1], generator=draw).to(x_NP), dim=1)
    codes_SS, both_SP = x_NP.new_zeros(bases, bases), torch.zeros_like(bases_SP)
    for _ in range(passes):
        codes_SS, both_SP = REMEMBERED * codes_SS, REMEMBERED * both_SP
        order_N = torch.randperm(len(x_NP), generator=draw).to(x_NP.device)
        for rows in (order_N[i : i + batch] for i in range(0, len(order_N), batch)):
            codes_BS = encode(x_NP[rows], bases_SP, beta, steps=100)
            codes_SS, both_SP = codes_SS + codes_BS.T @ codes_BS, both_SP + codes_BS.T @ x_NP[rows]
            used_S = codes_SS.diagonal() > 1e-9
            for j in range(bases):
                best_P = bases_SP[j] + (both_SP[j] - codes_SS[j] @ bases_SP) / codes_SS[j, j].clamp(min=1e-9)
                idle_P = F.normalize(x_NP[rows[j % len(rows)]], dim=0)
                bases_SP[j] = torch.where(used_S[j], best_P / best_P.norm().clamp(min=1), idle_P)
    return bases_SP


def encode(x_BP: Tensor, bases_SP: Tensor, beta: float, steps: int = 500) -> Tensor:
    """The codes [B, S] that minimise the objective for given bases (Raina et al. 2007, eq. 3).

    By FISTA (Beck & Teboulle 2009): a step down the gradient of the squared error, then every code moved towards 0 by
    beta / L, with momentum; L is the largest curvature. All examples at once.
    """
    curvature = float(2 * torch.linalg.matrix_norm(bases_SP, 2).square().clamp(min=1e-12))
    codes_BS = ahead_BS = x_BP.new_zeros(len(x_BP), len(bases_SP))
    momentum = 1.0
    for _ in range(steps):
        slope_BS = 2 * (ahead_BS @ bases_SP - x_BP) @ bases_SP.T
        moved_BS = F.softshrink(ahead_BS - slope_BS / curvature, beta / curvature)
        following = (1 + sqrt(1 + 4 * momentum**2)) / 2
        ahead_BS = moved_BS + (momentum - 1) / following * (moved_BS - codes_BS)
        codes_BS, momentum = moved_BS, following
    return codes_BS


@dataclass(frozen=True)
class SparseCoding:
    """Self-taught learning as it was first proposed: sparse codes in bases of the source (Raina et al. 2007).

    Bases b minimise sum_i ||x_i - sum_j a_ij b_j||^2 + beta ||a_i||_1 with ||b_j|| <= 1 over the unlabelled source;
    the target's examples are given by their codes a, and a softmax layer is solved for on those. No network is used and
    nothing is trained by gradient: its learning curve is one point. Inputs are centred and scaled as the source's are,
    to a mean squared length of 1, so that ``beta`` means the same whatever their units.
    Departures: the paper reduces whole images by PCA first and chooses among SVM, GDA and a Fisher kernel.
    """

    name: ClassVar[str] = "sparse-coding"
    needs: ClassVar[frozenset[str]] = frozenset({"source_unlabelled", "target"})
    start: ClassVar[Start] = "random"

    bases: int = 128
    """How many bases are learned."""
    beta: float = 0.1
    """Weight of the codes' L1 norm; the larger, the fewer bases make up an example."""
    passes: int = 10
    """Passes over the source while the bases are learned."""
    strength: float = 1.0
    """C of the softmax layer, the inverse of its regularisation."""

    def __post_init__(self) -> None:
        for name in ("beta", "strength"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("bases", "passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def fit(self, ctx: Context) -> Fitted:
        source_NP = _flat(ctx.inputs("source_unlabelled").x)
        mean_P = source_NP.mean(0)
        scale = (source_NP - mean_P).square().sum(1).mean().sqrt().clamp(min=1e-12)
        seed = int(ctx.rng.integers(2**31))
        with torch.autocast(source_NP.device.type, enabled=False):
            bases_SP = learn_bases((source_NP - mean_P) / scale, self.bases, self.beta, self.passes, seed)

        def codes(x: Any) -> Tensor:
            with torch.autocast(bases_SP.device.type, enabled=False):  # hundreds of steps add up in bfloat16
                return encode((_flat(x) - mean_P) / scale, bases_SP, self.beta)

        known = ctx.inputs("target")
        known_NS = codes(known.x)
        ctx.report("bases-in-use", float((known_NS != 0).sum(1).float().mean()))
        layer = softmax(known_NS, known.y, ctx.num_classes, self.strength)
        return lambda x: layer(codes(x))


def _flat(x: Any) -> Tensor:
    """Inputs [B, ...] -> [B, P]."""
    return one_tensor(x, "sparse-coding").flatten(1).float()
