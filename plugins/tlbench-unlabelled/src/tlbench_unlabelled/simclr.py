"""SimCLR: learn features on an unlabelled source by telling two views of one example from all others.

Dimension key:  B batch  P projection
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench import Batch, Group, TrialError
from tlbench_unlabelled.second_half import Then, require_pretraining, require_second_half, softmax_then
from tlbench_unlabelled.views import Views

if TYPE_CHECKING:
    from tlbench import Context, Fitted, Start, Step, Terms


def nt_xent(first_BP: Tensor, second_BP: Tensor, temperature: float) -> Tensor:
    """Mean over all 2B views i, with j the other view of the same example (Chen et al. 2020, eq. 1), of

    l(i, j) = -log exp(sim(z_i, z_j) / t) / sum over k != i of exp(sim(z_i, z_k) / t),  sim the cosine.
    """
    with torch.autocast(first_BP.device.type, enabled=False):  # differences of cosines over t need float32
        z = F.normalize(torch.cat([first_BP, second_BP]).float(), dim=1)
        logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
        other = torch.arange(len(z), device=z.device).roll(len(first_BP))
        return F.cross_entropy(logits, other)


@dataclass(frozen=True)
class SimCLR:
    """Contrastive pre-training on the unlabelled source, then softmax and fine-tuning on the target (Chen et al. 2020).

    Minimises NT-Xent of the projections z = g(h) of two random views of each example; the target gets the features
    h, and g is thrown away. All 2B views pass the network together. Starts from random weights, so that all that is
    gained comes from the source, and has a budget beside that of the target.
    Departures: no blur, no change of hue, no grey images; windows keep their proportions; no flip unless asked for (a
    mirrored digit is another thing). The paper trains by LARS with batches of 4,096; here the recipe rules, and the
    temperature that is best depends on its batch.
    """

    name: ClassVar[str] = "simclr"
    needs: ClassVar[frozenset[str]] = frozenset({"source_unlabelled", "target"})
    start: ClassVar[Start] = "random"

    then: Then = "fine-tune"
    """What the labelled target is for: the softmax layer only, or fine-tuning everything from there."""
    temperature: float = 0.5
    """Divides the cosines; the smaller, the more the nearest negatives weigh."""
    projection: int = 64
    """Width of the projection's output; its hidden layer is as wide as the features."""
    crop: float = 0.5
    """Smallest share of an image's area that a view keeps; 1 for no crop."""
    flip: bool = False
    """Whether views are mirrored left to right half the time."""
    jitter: float = 0.4
    """Strength of random brightness, contrast and saturation."""
    noise: float = 0.1
    """Standard deviation of noise in standard deviations of the inputs; the only change of features."""
    pretrain_steps: int | None = None
    """Steps of pre-training; as many as the recipe has where left out."""
    pretrain_lr: float = 1.0
    """Multiplies the recipe's learning rate while pre-training."""
    strength: float = 1.0
    """C of the softmax layer, the inverse of its regularisation."""
    lr: float = 1.0
    """Multiplies the recipe's learning rate while fine-tuning."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if self.projection < 1:
            raise ValueError(f"projection must be at least 1, got {self.projection}")
        self._views()
        require_pretraining(self.pretrain_steps, self.pretrain_lr)
        require_second_half(self.strength, self.lr)

    def fit(self, ctx: Context) -> Fitted:
        return softmax_then(ctx, self.pretrain(ctx), self.then, strength=self.strength, lr=self.lr)

    def pretrain(self, ctx: Context) -> nn.Module:
        """The backbone after pre-training on the unlabelled source."""
        backbone = ctx.backbone()
        width = backbone.num_features
        projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, self.projection))

        def loss(views: Batch, step: Step) -> Terms:
            if len(views) < 2:
                raise TrialError("simclr needs two examples in a batch; batches here have one")
            z = projection(backbone(torch.cat([views.x["first"], views.x["second"]])))
            first_BP, second_BP = z.chunk(2)
            return {"nt-xent": nt_xent(first_BP, second_BP, self.temperature)}

        branch = ctx.using(augment=self._views().two, steps=self.pretrain_steps)
        branch.train(loss, update=Group([backbone, projection], lr=self.pretrain_lr), on=("source_unlabelled",))
        found: nn.Module = backbone
        return found

    def _views(self) -> Views:
        return Views(self.crop, self.flip, self.jitter, self.noise)
