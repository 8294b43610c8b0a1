"""Views: random changes of whole batches on the device that leave an example what it is.

What is drawn is drawn on the host, all of it first, so that a loss may ask for it with ``step.host``.

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
    from collections.abc import Mapping, Sequence

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
        return self.of(x, self.draws(x.shape, generator))

    def draws(self, shape: Sequence[int], generator: Generator) -> dict[str, Tensor]:
        """The numbers of the host that make views of inputs of this shape."""
        size, images, drawn = shape[0], len(shape) == 4, {}
        if images and self.crop < 1:
            drawn["area"] = _uniform(size, self.crop, 1.0, generator)
            drawn["corner"] = torch.rand(size, 2, generator=generator)
        if images and self.flip:
            drawn["flip"] = _uniform(size, 0, 1, generator)
        if images and self.jitter:
            if shape[1] == 3:
                drawn["luma"] = torch.tensor(_LUMA)[:, None, None]
                drawn["saturation"] = _uniform(size, 1 - self.jitter, 1 + self.jitter, generator)
            drawn["contrast"] = _uniform(size, 1 - self.jitter, 1 + self.jitter, generator)
            drawn["brightness"] = _uniform(size, -self.jitter, self.jitter, generator)
        if self.noise:
            drawn["noise"] = torch.randn(shape, generator=generator)
        return drawn

    def of(self, x: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
        """The views that these numbers make, on the device of the inputs."""
        drawn = {name: numbers.to(x) for name, numbers in drawn.items()}
        if "area" in drawn:
            x = resized_crop(x, drawn["area"].sqrt().flatten(), drawn["corner"])
        if "flip" in drawn:
            x = torch.where(drawn["flip"] < 0.5, x.flip(3), x)
        if "contrast" in drawn:
            x = jittered(x, drawn)
        return noisy(x, self.noise, drawn["noise"]) if self.noise else x

    def two(self, batch: Batch, generator: Generator) -> Batch:
        """Two views of each example, ``first`` and ``second``."""
        x = one_tensor(batch.x, "simclr")
        return Batch({"first": self.one(x, generator), "second": self.one(x, generator)})


def _uniform(size: int, low: float, high: float, generator: Generator) -> Tensor:
    """[B, 1, 1, 1] numbers in [low, high)."""
    return low + (high - low) * torch.rand(size, 1, 1, 1, generator=generator)


def resized_crop(x_BKHW: Tensor, side_B: Tensor, corner_B2: Tensor) -> Tensor:
    """A window of each image at its size: a share of its side, at a place between 0 and 1 in each direction."""
    at_B2 = (2 * corner_B2 - 1) * (1 - side_B)[:, None]
    window_B23 = x_BKHW.new_zeros(len(x_BKHW), 2, 3)
    window_B23[:, 0, 0] = window_B23[:, 1, 1] = side_B
    window_B23[:, :, 2] = at_B2
    grid = F.affine_grid(window_B23, list(x_BKHW.shape), align_corners=False)
    return F.grid_sample(x_BKHW, grid, padding_mode="border", align_corners=False)


def jittered(x_BKHW: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
    """Saturation and contrast times their factors; brightness moved by its share of the image's spread."""
    if "saturation" in drawn:
        grey = (x_BKHW * drawn["luma"]).sum(1, keepdim=True)
        x_BKHW = grey + (x_BKHW - grey) * drawn["saturation"]
    mean, spread = x_BKHW.mean((1, 2, 3), keepdim=True), x_BKHW.std((1, 2, 3), keepdim=True)
    return mean + (x_BKHW - mean) * drawn["contrast"] + spread * drawn["brightness"]


def noisy(x: Tensor, amount: float, noise: Tensor) -> Tensor:
    """Gaussian noise of ``amount`` standard deviations: those of each feature, or that of all pixels."""
    spread = x.std(0, correction=0, keepdim=True) if x.dim() == 2 else x.std()
    return x + amount * spread * noise
