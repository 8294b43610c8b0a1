"""Views: random changes of whole batches on the device that leave an example what it is.

Dimension key:  B batch  D features  K channels  H height  W width
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench import Batch
from tlbench_unlabelled.second_half import one_tensor

if TYPE_CHECKING:
    from torch import Generator

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Views:
    """Which changes make a view (after Chen et al. 2020, app. A); features get noise only.

    ``crop``    smallest share of an image's area that a random window keeps, resized to the whole; 1 for no crop
    ``flip``    whether images are mirrored left to right half the time
    ``jitter``  strength of random brightness, contrast and, of colour images, saturation
    ``noise``   standard deviation of Gaussian noise, in standard deviations of the inputs
    """

    crop: float = 0.5
    flip: bool = False
    jitter: float = 0.4
    noise: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be in (0, 1], got {self.crop}")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be in [0, 1), got {self.jitter}")
        if self.noise < 0:
            raise ValueError(f"noise must not be negative, got {self.noise}")

    def one(self, x: Tensor, generator: Generator) -> Tensor:
        """A view of each example."""
        if x.dim() == 4:
            x = resized_crop(x, self.crop, generator) if self.crop < 1 else x
            x = flipped(x, generator) if self.flip else x
            x = jittered(x, self.jitter, generator) if self.jitter else x
        return noisy(x, self.noise, generator) if self.noise else x

    def two(self, batch: Batch, generator: Generator) -> Batch:
        """Two views of each example, ``first`` and ``second``."""
        x = one_tensor(batch.x, "simclr")
        return Batch({"first": self.one(x, generator), "second": self.one(x, generator)})


def _uniform(size: int, low: float, high: float, generator: Generator, like: Tensor) -> Tensor:
    """[B, 1, 1, 1] numbers in [low, high)."""
    return (low + (high - low) * torch.rand(size, 1, 1, 1, generator=generator)).to(like)


def resized_crop(x_BKHW: Tensor, smallest: float, generator: Generator) -> Tensor:
    """A random window of each image, of its own proportions and ``smallest`` to 1 of its area, at its size."""
    side_B = _uniform(len(x_BKHW), smallest, 1.0, generator, x_BKHW).sqrt().flatten()
    at_B2 = (2 * torch.rand(len(x_BKHW), 2, generator=generator).to(x_BKHW) - 1) * (1 - side_B)[:, None]
    window_B23 = torch.zeros(len(x_BKHW), 2, 3).to(x_BKHW)
    window_B23[:, 0, 0] = window_B23[:, 1, 1] = side_B
    window_B23[:, :, 2] = at_B2
    grid = F.affine_grid(window_B23, list(x_BKHW.shape), align_corners=False)
    return F.grid_sample(x_BKHW, grid, padding_mode="border", align_corners=False)


def flipped(x_BKHW: Tensor, generator: Generator) -> Tensor:
    """Each image mirrored left to right with probability one half."""
    return torch.where(_uniform(len(x_BKHW), 0, 1, generator, x_BKHW) < 0.5, x_BKHW.flip(3), x_BKHW)


def jittered(x_BKHW: Tensor, strength: float, generator: Generator) -> Tensor:
    """Saturation and contrast times a factor in 1 ± strength; brightness moved by ± strength of the image's spread."""
    size = len(x_BKHW)
    if x_BKHW.shape[1] == 3:
        grey = (x_BKHW * x_BKHW.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
        x_BKHW = grey + (x_BKHW - grey) * _uniform(size, 1 - strength, 1 + strength, generator, x_BKHW)
    mean, spread = x_BKHW.mean((1, 2, 3), keepdim=True), x_BKHW.std((1, 2, 3), keepdim=True)
    contrast = _uniform(size, 1 - strength, 1 + strength, generator, x_BKHW)
    return mean + (x_BKHW - mean) * contrast + spread * _uniform(size, -strength, strength, generator, x_BKHW)


def noisy(x: Tensor, amount: float, generator: Generator) -> Tensor:
    """Gaussian noise of ``amount`` standard deviations: those of each feature, or that of all pixels."""
    spread = x.std(0, correction=0, keepdim=True) if x.dim() == 2 else x.std()
    return x + amount * spread * torch.randn(x.shape, generator=generator).to(x)
