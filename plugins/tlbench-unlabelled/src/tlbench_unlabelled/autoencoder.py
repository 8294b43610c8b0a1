"""Autoencoder: learn features on an unlabelled source by reconstructing it, then a softmax layer on the target.

Dimension key:  B batch  D features  P inputs (pixels)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from tlbench import Batch, Group
from tlbench_unlabelled.second_half import (
    Then,
    one_tensor,
    require_pretraining,
    require_second_half,
    softmax_then,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench import Context, Fitted, Start, Step, Terms


def reconstruction(guess_BP: Tensor, x_BP: Tensor) -> Tensor:
    """1/B sum_i 1/2 ||guess_i - x_i||^2: a sum over inputs, a mean over examples (UFLDL, sparse autoencoder)."""
    return (guess_BP - x_BP).square().sum(1).mean() / 2


def kl_sparsity(activity_BD: Tensor, rho: float) -> Tensor:
    """sum_j KL(rho || rho_j) = sum_j rho log(rho / rho_j) + (1 - rho) log((1 - rho) / (1 - rho_j)).

    rho_j is the mean activity of unit j over the batch, in (0, 1) (UFLDL, sparse autoencoder).
    """
    with torch.autocast(activity_BD.device.type, enabled=False):  # bfloat16 has no number between 0.996 and 1
        rho_D = activity_BD.float().mean(0).clamp(1e-6, 1 - 1e-6)
        return (rho * (rho / rho_D).log() + (1 - rho) * ((1 - rho) / (1 - rho_D)).log()).sum()


def weight_penalty(modules: Sequence[nn.Module]) -> Tensor:
    """1/2 sum of the squared weights; biases and the affine parameters of normalisation are no weights."""
    weights = [w for module in modules for w in module.parameters() if w.dim() > 1]
    return sum((w.square().sum() for w in weights), torch.zeros(())) / 2


def activity(features_BD: Tensor) -> Tensor:
    """|h| / (1 + |h|), in [0, 1): how active a unit of any range is; UFLDL's sigmoid units are in (0, 1) already."""
    size = features_BD.abs()
    return size / (1 + size)


@dataclass(frozen=True)
class Autoencoder:
    """Reconstruct the unlabelled source, then softmax on the target's features, then fine-tune (Raina et al. 2007).

    Pre-training minimises 1/B sum 1/2 ||dec(enc(x)) - x||^2 + decay/2 ||W||^2 + sparsity sum_j KL(rho || rho_j), the
    sparse autoencoder of the tutorial UFLDL (Ng et al.); ``noise`` makes it a denoising one (Vincent et al. 2008).
    It starts from random weights, so that all that is gained comes from the source, and has a budget beside that
    of the target. The optimiser's own weight decay is off while pre-training: ``decay`` is in its place.
    Departures: the encoder is the trial's backbone, the decoder two layers; UFLDL has one sigmoid layer each, so
    sparsity is measured on |h| / (1 + |h|), and its batch is the whole data set, ours the recipe's. Raina et al.
    use sparse coding (see ``sparse-coding``).
    """

    name: ClassVar[str] = "autoencoder"
    needs: ClassVar[frozenset[str]] = frozenset({"source_unlabelled", "target"})
    start: ClassVar[Start] = "random"

    then: Then = "fine-tune"
    """What the labelled target is for: the softmax layer only, or fine-tuning everything from there."""
    noise: float = 0.0
    """Share of the inputs that is set to 0 before encoding; what is to be reconstructed has no noise."""
    sparsity: float = 0.0
    """Weight of the sparsity term, beta; UFLDL takes 3."""
    rho: float = 0.1
    """Activity that the sparsity term wants of each feature on the mean."""
    decay: float = 0.0
    """Weight of the penalty on weights, lambda; UFLDL takes 0.003."""
    decoder: int = 256
    """Width of the decoder's hidden layer."""
    pretrain_steps: int | None = None
    """Steps of pre-training; as many as the recipe has where left out."""
    pretrain_lr: float = 1.0
    """Multiplies the recipe's learning rate while pre-training."""
    strength: float = 1.0
    """C of the softmax layer, the inverse of its regularisation."""
    lr: float = 1.0
    """Multiplies the recipe's learning rate while fine-tuning."""

    def __post_init__(self) -> None:
        if not 0 <= self.noise < 1:
            raise ValueError(f"noise must be in [0, 1), got {self.noise}")
        if not 0 < self.rho < 1:
            raise ValueError(f"rho must be in (0, 1), got {self.rho}")
        for name in ("sparsity", "decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.decoder < 1:
            raise ValueError(f"decoder must be at least 1, got {self.decoder}")
        require_pretraining(self.pretrain_steps, self.pretrain_lr)
        require_second_half(self.strength, self.lr)

    def fit(self, ctx: Context) -> Fitted:
        return softmax_then(ctx, self.pretrain(ctx), self.then, strength=self.strength, lr=self.lr)

    def pretrain(self, ctx: Context) -> nn.Module:
        """The backbone after pre-training on the unlabelled source."""
        encoder = ctx.backbone()
        inputs = prod(ctx.shape("source_unlabelled").dims)
        decoder = nn.Sequential(
            nn.Linear(encoder.num_features, self.decoder), nn.ReLU(), nn.Linear(self.decoder, inputs)
        )

        def loss(source: Batch, step: Step) -> Terms:
            features_BD = encoder(source.x["seen"])
            terms = {"reconstruction": reconstruction(decoder(features_BD), source.x["clean"].flatten(1))}
            if self.sparsity:
                terms["sparsity"] = self.sparsity * kl_sparsity(activity(features_BD), self.rho)
            if self.decay:
                terms["decay"] = self.decay * weight_penalty([encoder, decoder])
            return terms

        branch = ctx.using(augment=self._corrupt, steps=self.pretrain_steps)
        both = Group([encoder, decoder], lr=self.pretrain_lr, weight_decay=0.0)
        branch.train(loss, update=both, on=("source_unlabelled",))
        found: nn.Module = encoder
        return found

    def _corrupt(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Inputs as they are, and with a share of them set to 0."""
        clean = one_tensor(batch.x, "autoencoder")
        kept = torch.rand(clean.shape, generator=generator).to(clean.device) >= self.noise if self.noise else 1
        return Batch({"clean": clean, "seen": clean * kept})
