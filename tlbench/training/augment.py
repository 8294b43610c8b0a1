"""Augmentation of whole batches on the device, drawn from (seed, step)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.training.sending import sent

if TYPE_CHECKING:
    from collections.abc import Callable


def augmentation(name: str, seed: int) -> Callable[[Any, int], Any] | None:
    """(batch [B, K, H, W], step) -> batch of the same shape, or ``None`` for ``none``.

    ``flip`` mirrors each image left to right with probability one half; ``crop`` pads an eighth of the
    side by reflection and cuts a random window of the old size. Inputs that are no images pass as they are.
    """
    if name == "none":
        return None

    def augment(x: Any, step: int) -> Any:
        if not isinstance(x, Tensor) or x.dim() != 4:
            return x
        generator = torch.Generator().manual_seed((seed + step * 0x9E3779B97F4A7C15) % 2**63)
        if "crop" in name:
            x = random_crop(x, generator)
        if "flip" in name:
            x = random_flip(x, generator)
        return x

    return augment


def random_flip(x_BKHW: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right with probability one half."""
    flip_B = sent(torch.rand(len(x_BKHW), generator=generator) < 0.5, x_BKHW.device)
    return torch.where(flip_B[:, None, None, None], x_BKHW.flip(3), x_BKHW)


def random_crop(x_BKHW: Tensor, generator: torch.Generator) -> Tensor:
    """Each image padded by an eighth of its side (reflected) and cut back to its size at a random place."""
    size_B, _, height, width = x_BKHW.shape
    pad_y, pad_x = max(1, height // 8), max(1, width // 8)
    padded = F.pad(x_BKHW, (pad_x, pad_x, pad_y, pad_y), mode="reflect")
    top_B = sent(torch.randint(0, 2 * pad_y + 1, (size_B,), generator=generator), x_BKHW.device)
    left_B = sent(torch.randint(0, 2 * pad_x + 1, (size_B,), generator=generator), x_BKHW.device)
    rows_BH = top_B[:, None] + torch.arange(height, device=x_BKHW.device)
    columns_BW = left_B[:, None] + torch.arange(width, device=x_BKHW.device)
    batch_B = torch.arange(size_B, device=x_BKHW.device)
    return padded[batch_B[:, None, None], :, rows_BH[:, :, None], columns_BW[:, None, :]].permute(0, 3, 1, 2)
