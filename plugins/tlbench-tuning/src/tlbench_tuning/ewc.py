"""EWC: the pull to the start is stronger on the weights that mattered to the source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from tlbench import Group
from tlbench.functional import rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlbench import Batch, Context, Fitted, Step, Terms

CHUNK = 16
"""Examples whose gradients are held at once."""


def fisher_diagonal(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Mean over examples of (d log p(y | x) / d theta_i)^2, for each parameter: the empirical Fisher information."""
    weights = {name: w.detach() for name, w in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def log_likelihood(weights: dict[str, Tensor], x: Any, y: Tensor) -> Tensor:
        one = {name: part[None] for name, part in x.items()} if isinstance(x, dict) else x[None]
        return -F.cross_entropy(functional_call(model, (weights, buffers), (one,)), y[None])

    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    for rows in torch.split(torch.arange(len(batch)), CHUNK):
        slopes = vmap(grad(log_likelihood), in_dims=(None, 0, 0))(weights, rows_of(batch.x, rows), batch.y[rows])
        for name, slope in slopes.items():
            total[name] += slope.square().sum(0)
    return {name: value / len(batch) for name, value in total.items()}


def ewc_penalty(
    weights: Mapping[str, Tensor], start: Mapping[str, Tensor], fisher: Mapping[str, Tensor], strength: float
) -> Tensor:
    """strength / 2 * sum_i F_i (theta_i - theta0_i)^2 (Kirkpatrick et al. 2017, eq. 3)."""
    terms = [(fisher[name] * (weights[name] - at).square()).sum() for name, at in start.items()]
    return strength / 2 * torch.stack(terms).sum()


@dataclass(frozen=True)
class EWC:
    """Elastic weight consolidation: L2-SP with each weight's pull scaled by its Fisher information (Kirkpatrick 2017).

    F is the diagonal, empirical one (the labels of the source, not samples of the model) at the source's weights, on
    ``examples`` of the source, in evaluation mode; on the backbone's parameters, for the head is new. Weight decay
    is off for the backbone, which the penalty holds, and as in the recipe for the head. Departure: the paper
    keeps one network for both tasks and shares all its weights.
    """

    name: ClassVar[str] = "ewc"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target"})
    start: ClassVar[str] = "source"

    strength: float = 100.0
    """lambda. Fisher information is small where the source is well fitted, hence larger than L2-SP's alpha."""
    examples: int = 512
    """Examples of the source that F is measured on, drawn at random."""

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise ValueError(f"strength must not be negative, got {self.strength}")
        if self.examples < 1:
            raise ValueError(f"examples must be at least 1, got {self.examples}")

    def fit(self, ctx: Context) -> Fitted:
        from tlbench import Batch

        model, source = ctx.classifier(), ctx.inputs("source")
        chosen = ctx.rng.permutation(len(source))[: self.examples]
        rows = torch.from_numpy(chosen).to(ctx.device)
        known = fisher_diagonal(ctx.source_classifier().eval(), Batch(rows_of(source.x, rows), source.y[rows]))
        fisher = {name.removeprefix("backbone."): f for name, f in known.items() if name.startswith("backbone.")}
        weights = dict(model.backbone.named_parameters())
        start = {name: w.detach().clone() for name, w in weights.items()}

        def loss(target: Batch, step: Step) -> Terms:
            return {
                "task": F.cross_entropy(model(target.x), target.y),
                "ewc": ewc_penalty(weights, start, fisher, self.strength),
            }

        ctx.train(loss, update=[Group(model.backbone, weight_decay=0.0), model])
        fitted: Fitted = model
        return fitted
