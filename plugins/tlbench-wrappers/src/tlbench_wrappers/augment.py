"""Augmentation around any strategy: every training batch changed at random, on its device."""

from __future__ import annotations

from dataclasses import dataclass
from math import radians
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from tlbench import Batch, Strategy, TrialError
from tlbench_wrappers.around import needs_of, spaces_of, start_of, uses_of
from tlbench_wrappers.images import affine_matrices, jitter_colour, mixup, uniform, warp

if TYPE_CHECKING:
    from tlbench import Context, Fitted


@dataclass(frozen=True)
class Augment:
    """The strategy inside, trained on augmented batches (Shorten & Khoshgoftaar 2019 survey the field).

    Flip, crop, rotation, zoom and shear are one affine map and one resampling for each image; what is drawn depends on
    seed, pool and step alone. Only training batches change: validation and test examples never do. Inputs that are no
    images are left as they are, except by ``mixup``, which mixes labelled batches of anything.
    Frozen features do not come in batches, so a strategy that trains on those alone is unchanged.
    """

    name: ClassVar[str] = "augment"

    of: Strategy
    """The strategy inside."""
    flip: bool = False
    """Mirror left to right, half of the images. Wrong for digits and letters."""
    crop: float = 0.0
    """Shift by up to this share of the side, each way."""
    rotate: float = 0.0
    """Degrees, at most, each way."""
    zoom: float = 0.0
    """Enlarge or shrink by up to this share."""
    shear: float = 0.0
    """Degrees, at most, each way."""
    colour: float = 0.0
    """Largest relative change of brightness, contrast and saturation."""
    mixup: float = 0.0
    """Alpha of the Beta distribution that mixes pairs of labelled examples; 0 for none."""

    def __post_init__(self) -> None:
        for name, below in (("crop", 1.0), ("rotate", 181.0), ("zoom", 1.0), ("shear", 60.0), ("colour", 1.0)):
            if not 0 <= getattr(self, name) < below:
                raise ValueError(f"{name} must be in [0, {below:g}), got {getattr(self, name)}")
        if self.mixup < 0:
            raise ValueError(f"mixup must not be negative, got {self.mixup}")

    @property
    def needs(self) -> frozenset[str]:
        return needs_of(self.of)

    @property
    def uses(self) -> frozenset[str]:
        return uses_of(self.of)

    @property
    def start(self) -> Any:
        return start_of([self.of])

    @property
    def spaces(self) -> str:
        return spaces_of(self.of)

    def fit(self, ctx: Context) -> Fitted:
        classes = {ctx.classes(name) for name in ctx.pools}
        if self.mixup and len(classes) > 1:
            raise TrialError(f"mixup mixes labels of one label space; the pools here have {sorted(classes)} classes")

        def change(batch: Batch, generator: torch.Generator) -> Batch:
            x = batch.x
            if isinstance(x, Tensor) and x.dim() == 4:
                x = self._images(x, generator)
            if self.mixup and batch.y is not None and isinstance(x, Tensor) and x.is_floating_point():
                return Batch(*mixup(x, batch.y, max(classes), self.mixup, generator))
            return Batch(x, batch.y)

        fitted: Fitted = self.of.fit(ctx.augmented(change))
        return fitted

    def _images(self, x_BKHW: Tensor, generator: torch.Generator) -> Tensor:
        """The affine map, then the colours."""
        size = len(x_BKHW)
        if self.flip or self.crop or self.rotate or self.zoom or self.shear:
            mirror_B = torch.where(torch.rand(size, generator=generator) < 0.5 * self.flip, -1.0, 1.0)
            angle_B = uniform(size, -radians(self.rotate), radians(self.rotate), generator)
            shear_B = uniform(size, -radians(self.shear), radians(self.shear), generator)
            zoom_B = uniform(size, 1 - self.zoom, 1 + self.zoom, generator)
            shift_B2 = 2 * uniform(2 * size, -self.crop, self.crop, generator).reshape(size, 2)
            x_BKHW = warp(x_BKHW, affine_matrices(angle_B, zoom_B, shear_B, shift_B2, mirror_B).to(x_BKHW.device))
        return jitter_colour(x_BKHW, self.colour, generator) if self.colour else x_BKHW
