"""Pre-training by name, for what comes after it: the trial with features that an unlabelled source taught."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tlbench_unlabelled.autoencoder import Autoencoder
from tlbench_unlabelled.second_half import Pretrained
from tlbench_unlabelled.simclr import SimCLR

if TYPE_CHECKING:
    from tlbench import Context

Pretraining = Literal["none", "autoencoder", "simclr"]
"""How the backbone learns from the unlabelled source first: not at all, or as the strategy of that name does."""


def after(ctx: Context, how: Pretraining, steps: int | None) -> Context:
    """The trial with the pre-trained backbone in its own one's place; pre-training has a budget of its own."""
    if how == "none":
        return ctx
    method = {"autoencoder": Autoencoder, "simclr": SimCLR}[how](pretrain_steps=steps)
    return ctx.using(Pretrained(method.pretrain(ctx)))
