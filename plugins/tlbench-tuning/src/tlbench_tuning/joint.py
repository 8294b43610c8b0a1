"""Target-weighted joint training: both domains at once, the target's loss with a weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from tlbench import SkipTrial

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def weighted(target: Tensor, source: Tensor, gamma: float) -> dict[str, Tensor]:
    """gamma * mean L_T + (1 - gamma) * mean L_S, as its two terms (after Pan & Yang 2010, sec. 3.3)."""
    return {"target": gamma * target, "source": (1 - gamma) * source}


@dataclass(frozen=True)
class TargetWeightedJoint:
    """Trains on source and target together, with more weight on the target's loss (Pan & Yang 2010, sec. 3.3).

    gamma * mean CE on the target + (1 - gamma) * mean CE on the source; means, so that a large source does not drown
    a small target. ``head: shared`` is one classifier for both, for domains of the same classes in one order;
    ``own`` gives each domain its head on a shared backbone, for any classes. The backbone starts from its own
    pre-trained weights, or else at random: the source is in the training itself. The two domains pass the
    backbone one after the other, so that BatchNorm normalises each by its own statistics; its running ones mix.
    """

    name: ClassVar[str] = "target-weighted-joint"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target"})
    start: ClassVar[str] = "weights"

    gamma: float = 0.5
    """Weight of the target, in [0, 1]; at 1 the source plays no part."""
    head: Literal["own", "shared"] = "own"
    """Each domain with its own head, or one for both."""

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"gamma must be in [0, 1], got {self.gamma}")

    def fit(self, ctx: Context) -> Fitted:
        model = ctx.classifier()
        counts = ctx.classes("source"), ctx.num_classes
        if self.head == "shared" and counts[0] != counts[1]:
            raise SkipTrial("one head is for the same classes; the source has {} and the target {}".format(*counts))
        source_head = model.head if self.head == "shared" else ctx.classifier(num_classes=ctx.classes("source")).head

        def loss(target: Batch, source: Batch, step: Step) -> Terms:
            on_target = F.cross_entropy(model(target.x), target.y)
            on_source = F.cross_entropy(source_head(model.backbone(source.x)), source.y)
            return weighted(on_target, on_source, self.gamma)

        ctx.train(loss, update=[model, source_head], on=("target", "source"))
        return {"target": model, "source": nn.Sequential(model.backbone, source_head)}
