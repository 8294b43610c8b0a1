"""Augmentation of whole batches of images on their device, and mixup of anything.

Dimension key:  B batch  K channels  H height  W width  C classes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Generator


def uniform(size: int, low: float, high: float, generator: Generator) -> Tensor:
    """float32 [B] in [low, high)."""
    return low + (high - low) * torch.rand(size, generator=generator)


def affine_matrices(angle_B: Tensor, zoom_B: Tensor, shear_B: Tensor, shift_B2: Tensor, mirror_B: Tensor) -> Tensor:
    """[B, 2, 3] from output to input positions in [-1, 1]: mirror, then zoom, shear (radians), rotate, shift.

    A zoom of 2 shows the middle half of the image, twice as large; an angle turns the image counter-clockwise.
    """
    cos_B, sin_B = angle_B.cos(), angle_B.sin()
    rotate_B22 = torch.stack([torch.stack([cos_B, -sin_B], 1), torch.stack([sin_B, cos_B], 1)], 1)
    one_B, zero_B = torch.ones_like(angle_B), torch.zeros_like(angle_B)
    shear_B22 = torch.stack([torch.stack([one_B, shear_B.tan()], 1), torch.stack([zero_B, one_B], 1)], 1)
    scale_B22 = torch.diag_embed(torch.stack([mirror_B / zoom_B, 1 / zoom_B], 1))
    return torch.cat([rotate_B22 @ shear_B22 @ scale_B22, shift_B2[:, :, None]], 2)


def warp(x_BKHW: Tensor, matrix_B23: Tensor) -> Tensor:
    """Each image seen through its own affine map: one bilinear resampling, borders reflected."""
    _, _, height, width = x_BKHW.shape
    aspect = matrix_B23.new_tensor([[1.0, height / width, 1.0], [width / height, 1.0, 1.0]])
    grid = F.affine_grid((matrix_B23 * aspect).to(x_BKHW), list(x_BKHW.shape), align_corners=False)
    return F.grid_sample(x_BKHW, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def jitter_colour(x_BKHW: Tensor, strength: float, generator: Generator) -> Tensor:
    """Brightness, contrast and saturation of each image, each changed by a factor in 1 ± ``strength``.

    Works on any scale of values: contrast is about the image's own mean, and brightness adds a share of its spread.
    """
    size = len(x_BKHW)
    bright, contrast, saturation = (
        uniform(size, -strength, strength, generator).to(x_BKHW)[:, None, None, None] for _ in range(3)
    )
    mean_B111, spread_B111 = x_BKHW.mean((1, 2, 3), keepdim=True), x_BKHW.std((1, 2, 3), keepdim=True)
    out = mean_B111 + (x_BKHW - mean_B111) * (1 + contrast) + bright * spread_B111
    grey_B1HW = out.mean(1, keepdim=True)
    return grey_B1HW + (out - grey_B1HW) * (1 + saturation)


def mixup(x_B: Tensor, y_B: Tensor, num_classes: int, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Convex combinations of pairs of examples and of their labels (Zhang et al. 2018, eq. 1).

    One weight for the batch, from Beta(alpha, alpha) as in the authors' algorithm; labels become float [B, C].
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    weight = float(
        np.random.default_rng(seed).beta(alpha, alpha)
    )  # torch draws from Beta with no generator of one's own
    other_B = torch.randperm(len(x_B), generator=generator).to(x_B.device)
    one_hot_BC = F.one_hot(y_B, num_classes).to(x_B.dtype)
    return weight * x_B + (1 - weight) * x_B[other_B], weight * one_hot_BC + (1 - weight) * one_hot_BC[other_B]
