"""Shared middle: inputs of two kinds through stems of their own into one network, and out to a head for each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor, nn

from tlbench import Shape, SkipTrial, TrialError
from tlbench_multitask.two_tasks import BOTH, TwoTasks, twin

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms

StemKind = Literal["linear", "conv"]
"""How images enter: flattened into one linear layer, or through two small convolutions first."""

StemNorm = Literal["batch", "layer"]
"""How two unlike stems come to one scale: each unit over the domain's examples, or each example over its units."""


def make_stem(x: Tensor, width: int, kind: StemKind, norm: StemNorm) -> nn.Sequential:
    """Inputs of the shape of ``x`` [B, ...] -> [B, width]: linear, then the norm; convolutions first for images.

    Only one domain passes a stem, so neither norm mixes domains. LayerNorm forgets how long an input is.
    """
    front: list[nn.Module] = []
    inputs = x[0].numel()
    if kind == "conv" and x.dim() == 4:
        for before, after in ((x.shape[1], 16), (16, 32)):
            front += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
        inputs = 32 * -(-x.shape[2] // 4) * -(-x.shape[3] // 4)
    last = nn.BatchNorm1d(width) if norm == "batch" else nn.LayerNorm(width)
    return nn.Sequential(*front, nn.Flatten(), nn.Linear(inputs, width), last)


class Route(nn.Module):
    """One task's way: its stem, the middle, its head."""

    def __init__(self, stem: nn.Module, middle: Any, num_classes: int) -> None:
        super().__init__()
        self.stem, self.middle = stem, middle
        self.head = nn.Linear(int(middle.num_features), num_classes)

    def forward(self, x: Any) -> Tensor:
        scores: Tensor = self.head(self.middle(self.stem(x)))
        return scores


@dataclass(frozen=True)
class SharedMiddle:
    """Separate input layers into shared hidden layers into separate heads (Huang et al. 2013; Collobert & Weston 2008).

    x_S -> e_S(x_S) and x_T -> e_T(x_T), both [B, width], then one middle m for both, then h_S and h_T: what is shared
    lies between, so the two domains may have different inputs as well as different classes. Minimises
    sum_t w_t mean L_t as ``shared-trunk`` does, with one batch of each task in each step (tasks sampled uniformly).
    The middle is the trial's backbone, built for vectors of ``width`` and started at random: weights for pixels
    would mean nothing there. BatchNorms, those of the middle too, are each task's own. Departure: both papers share
    from the bottom wherever the inputs agree, and have no norm between the layers.
    """

    name: ClassVar[str] = "shared-middle"
    needs: ClassVar[frozenset[str]] = frozenset({"target", "source"})
    start: ClassVar[str] = "random"
    spaces: ClassVar[str] = "any"

    width: int = 64
    """Where the stems meet: the length of the vectors that the middle takes."""
    stem: StemKind = "linear"
    """For images: flattened into one linear layer, or two convolutions of stride 2 before it."""
    norm: StemNorm = "batch"
    """At the end of each stem: BatchNorm of the one domain that passes it, or LayerNorm, for batches of one."""
    target_weight: float = 1.0
    """Weight of the target's mean loss."""
    source_weight: float = 1.0
    """Weight of the source's mean loss; 0 trains on the target alone."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")
        if self.target_weight <= 0:
            raise ValueError(f"target_weight must be positive, got {self.target_weight}")
        if self.source_weight < 0:
            raise ValueError(f"source_weight must not be negative, got {self.source_weight}")

    def fit(self, ctx: Context) -> Fitted:
        middle = ctx.backbone(shape=Shape("features", (self.width,)))
        tasks = TwoTasks(self._route(ctx, "target", middle), self._route(ctx, "source", twin(middle)))

        def loss(target: Batch, source: Batch, step: Step) -> Terms:
            if self.norm == "batch" and min(len(target), len(source)) < 2:
                raise TrialError("shared-middle needs two examples of each task in a batch; or say norm: layer")
            losses = tasks.losses(target, source)
            return {"target": self.target_weight * losses.target, "source": self.source_weight * losses.source}

        ctx.train(loss, update=[tasks.target, tasks.source], on=BOTH)
        return tasks.predictors

    def _route(self, ctx: Context, pool: str, middle: nn.Module) -> Route:
        x = ctx.inputs(pool).x
        if isinstance(x, Mapping):
            raise SkipTrial(f"shared-middle takes images and feature vectors; {pool} has {', '.join(x)}")
        return Route(make_stem(x, self.width, self.stem, self.norm), middle, ctx.classes(pool)).to(ctx.device)
