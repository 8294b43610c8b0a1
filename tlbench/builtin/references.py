"""The strategies that others are measured against, and the training of source models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from tlbench.api.types import Fitted, Group, Start
from tlbench.functional import supervised

if TYPE_CHECKING:
    from tlbench.api.types import Context


@dataclass(frozen=True)
class Scratch:
    """The same backbone from random weights, trained on the target alone: what transfer must beat."""

    name: ClassVar[str] = "scratch"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[Start] = "random"

    lr: float = 1.0
    """Multiplies the recipe's learning rate, so that the reference can be tuned like everybody else."""

    def fit(self, ctx: Context) -> Fitted:
        return _train(ctx, "target", self.lr)


@dataclass(frozen=True)
class SourceOnly:
    """Trained on the source and applied to the target as it is: the floor of adaptation."""

    name: ClassVar[str] = "source-only"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "same_classes"})
    start: ClassVar[Start] = "weights"

    lr: float = 1.0
    """Multiplies the recipe's learning rate."""

    @property
    def trains_as(self) -> str | None:
        """The strategy whose training this is: where recipe and data are the same too, one is done for both."""
        return SourceTraining.name if self.lr == 1.0 else None

    def fit(self, ctx: Context) -> Fitted:
        return _train(ctx, "source", self.lr)


@dataclass(frozen=True)
class TargetOracle:
    """Trained on the target's own labels, which the task withholds from everybody else: a ceiling."""

    name: ClassVar[str] = "target-oracle"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[Start] = "weights"

    lr: float = 1.0
    """Multiplies the recipe's learning rate."""

    def fit(self, ctx: Context) -> Fitted:
        return _train(ctx, "target", self.lr)


@dataclass(frozen=True)
class SourceTraining:
    """Supervised training on the source; its weights are kept for the trials that start from them."""

    name: ClassVar[str] = "source-training"
    needs: ClassVar[frozenset[str]] = frozenset({"source"})
    start: ClassVar[Start] = "weights"
    trains_as: ClassVar[str] = name

    def fit(self, ctx: Context) -> Fitted:
        return _train(ctx, "source", 1.0)


@dataclass(frozen=True)
class Majority:
    """Scores each class by its share of the labelled target examples, whatever the input: a blind guess."""

    name: ClassVar[str] = "majority"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[Start] = "random"

    def fit(self, ctx: Context) -> Fitted:
        y = ctx.features("target").y
        share_C = torch.bincount(y, minlength=ctx.num_classes) / len(y)

        def predict(x: Any) -> torch.Tensor:
            size = len(next(iter(x.values())) if isinstance(x, dict) else x)
            return share_C.expand(size, -1)

        return predict


@dataclass(frozen=True)
class Chance:
    """A class drawn at random for each example: what is left where nothing can be learned without a source."""

    name: ClassVar[str] = "chance"
    needs: ClassVar[frozenset[str]] = frozenset({"source"})  # for its classes, which may be among the answers
    start: ClassVar[Start] = "random"

    def fit(self, ctx: Context) -> Fitted:
        classes, device, seed = ctx.num_classes, ctx.device, ctx.seed

        def predict(x: Any) -> torch.Tensor:
            size = len(next(iter(x.values())) if isinstance(x, dict) else x)
            return torch.rand(size, classes, generator=torch.Generator().manual_seed(seed)).to(device)

        return predict


def _train(ctx: Context, pool: str, lr: float) -> Fitted:
    model = ctx.classifier()
    ctx.train(supervised(model), update=Group(model, lr=lr), on=(pool,))
    fitted: Fitted = model
    return fitted
