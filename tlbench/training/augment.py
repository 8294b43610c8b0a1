"""Augmentation of whole batches on the device, drawn from (seed, step)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.training.sending import sent
from tlbench.training.transforms import HUE, colour_jitter, random_grey, resized_crop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.api.types import InputTransform


def augmentation(name: str, seed: int, transform: InputTransform | None = None) -> Callable[[Any, int], Any] | None:
    """(batch [B, K, H, W], step) -> batch of the same shape, or ``None`` for ``none``.

    ``name`` says what is done, joined by ``-``:
    ``crop`` pads an eighth of the side by reflection and cuts a random window of the old size; ``resized-crop`` takes a
    window of 8 to 100 % of the area and resizes it; ``flip`` mirrors each image left to right with probability one
    half; ``colour`` changes brightness, contrast and saturation by up to 40 %, and with ``hue`` the hue by up to a
    tenth of a turn; ``grey`` takes the colours of one image in five. Inputs that are no images pass as they are.

    ``transform`` says how the values were scaled, for colours are changed on the scale of [0, 1]. What crop and flip
    draw does not depend on what is done beside them.
    """
    if name == "none":
        return None
    rest = name.replace("resized-crop", "")
    mean, std = (transform.mean, transform.std) if transform is not None else ((0.0,), (1.0,))

    def augment(x: Any, step: int) -> Any:
        if not isinstance(x, Tensor) or x.dim() != 4:
            return x
        generator = _generator(seed, step)
        if "resized-crop" in name:
            x = resized_crop(x, _generator(seed, step, "resized-crop"))
        if "crop" in rest:
            x = random_crop(x, generator)
        if "flip" in name:
            x = random_flip(x, generator)
        if "colour" in name or "grey" in name:
            mean_K11, std_K11 = x.new_tensor(mean)[:, None, None], x.new_tensor(std)[:, None, None]
            x = x * std_K11 + mean_K11
            if "colour" in name:
                x = colour_jitter(x, _generator(seed, step, "colour"), HUE if "hue" in name else 0.0)
            if "grey" in name:
                x = random_grey(x, _generator(seed, step, "grey"))
            x = (x - mean_K11) / std_K11
        return x

    return augment


def _generator(seed: int, step: int, what: str = "") -> torch.Generator:
    """What is drawn at this step; ``what`` has draws of its own."""
    own = int.from_bytes(hashlib.blake2b(what.encode(), digest_size=7).digest()) if what else 0
    return torch.Generator().manual_seed((seed + own + step * 0x9E3779B97F4A7C15) % 2**63)


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
