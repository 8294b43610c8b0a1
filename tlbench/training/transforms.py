"""Transforms of image batches, one random draw for each image, all images of a batch at once on the device.

Dimension key:  B batch  K channels  H height  W width  T tries  P output positions  J input positions
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

AREA, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
STRENGTH = 0.4
HUE = 0.1
"""Share of a whole turn, beside a ``STRENGTH`` of 0.4: 0.8 s and 0.2 s with s = 0.5 (Chen et al. 2020, appendix A)."""
GREY_SHARE = 0.2
_LUMA = (0.2989, 0.587, 0.114)


def resized_crop(x_BKHW: Tensor, generator: torch.Generator) -> Tensor:
    """A window of each image, of 8 to 100 % of its area and 3:4 to 4:3, brought to the image's size.

    Drawn as Szegedy et al. (2015, section 6) do and every training script since: the first of ten windows that fits,
    else the largest in the middle. Bilinear with antialiasing, as two products with matrices of weights.
    """
    size, _, height, width = x_BKHW.shape
    area_BT = height * width * (AREA[0] + (AREA[1] - AREA[0]) * torch.rand(size, TRIES, generator=generator))
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio_BT = torch.exp(low + (high - low) * torch.rand(size, TRIES, generator=generator))
    wide_BT = (area_BT * ratio_BT).sqrt().round().long()
    tall_BT = (area_BT / ratio_BT).sqrt().round().long()
    fits_BT = (wide_BT > 0) & (wide_BT <= width) & (tall_BT > 0) & (tall_BT <= height)
    first_B1 = fits_BT.long().argmax(1, keepdim=True)
    some_B = fits_BT.any(1)
    middle_tall, middle_wide = min(height, round(width / RATIO[0])), min(width, round(height * RATIO[1]))
    tall_B = torch.where(some_B, tall_BT.gather(1, first_B1)[:, 0], middle_tall)
    wide_B = torch.where(some_B, wide_BT.gather(1, first_B1)[:, 0], middle_wide)
    place_B2 = torch.rand(size, 2, generator=generator)
    top_B = torch.where(some_B, (place_B2[:, 0] * (height - tall_B + 1)).long(), (height - tall_B) // 2)
    left_B = torch.where(some_B, (place_B2[:, 1] * (width - wide_B + 1)).long(), (width - wide_B) // 2)
    return windows(x_BKHW, top_B, left_B, tall_B, wide_B)


def windows(x_BKHW: Tensor, top_B: Tensor, left_B: Tensor, tall_B: Tensor, wide_B: Tensor) -> Tensor:
    """Each image's window, resized to the image's size: bilinear with antialiasing."""
    height, width = x_BKHW.shape[2:]
    rows_BPJ = _weights(height, top_B, tall_B).to(x_BKHW)
    columns_BPJ = _weights(width, left_B, wide_B).to(x_BKHW)
    resized_BKHW: Tensor = rows_BPJ[:, None] @ x_BKHW @ columns_BPJ[:, None].transpose(2, 3)
    return resized_BKHW


def _weights(size: int, first_B: Tensor, length_B: Tensor) -> Tensor:
    """How much each of ``size`` positions in a window [B, P, J] takes of each position of the whole."""
    scale_B = length_B / size
    centre_BP = scale_B[:, None] * (torch.arange(size) + 0.5)
    place_BJ = torch.arange(size) - first_B[:, None]
    reach_B = scale_B.clamp(min=1)
    far_BPJ = (place_BJ[:, None, :] - centre_BP[:, :, None] + 0.5) / reach_B[:, None, None]
    inside_BJ = (place_BJ >= 0) & (place_BJ < length_B[:, None])
    weights_BPJ = (1 - far_BPJ.abs()).clamp(min=0) * inside_BJ[:, None]
    shares_BPJ: Tensor = weights_BPJ / weights_BPJ.sum(2, keepdim=True)
    return shares_BPJ


def colour_jitter(x_BKHW: Tensor, generator: torch.Generator, hue: float = 0.0) -> Tensor:
    """Brightness, contrast and saturation of each image times a factor of 0.6 to 1.4, in this order; x in [0, 1].

    Contrast is about the mean grey of the image, saturation about the grey of the pixel (Rec. 601); values are cut off
    to [0, 1] after each. Last the hue is turned by up to ``hue`` of a whole turn either way, at most one half; with 0
    nothing is drawn for it. Departure from the usual code: one order for all.
    """
    if not 0 <= hue <= 0.5:
        raise ValueError(f"hue must be in [0, 0.5], got {hue}")
    factor_3B111 = 1 + STRENGTH * (2 * torch.rand(3, len(x_BKHW), 1, 1, 1, generator=generator) - 1)
    brightness, contrast, saturation = factor_3B111.to(x_BKHW)
    x = (brightness * x_BKHW).clamp(0, 1)
    mean_B111 = grey(x).mean((1, 2, 3), keepdim=True)
    x = (contrast * x + (1 - contrast) * mean_B111).clamp(0, 1)
    if x.shape[1] == 3:
        x = (saturation * x + (1 - saturation) * grey(x)).clamp(0, 1)
        if hue:
            x = turned(x, hue * (2 * torch.rand(len(x), generator=generator) - 1))
    jittered: Tensor = x
    return jittered


def turned(x_B3HW: Tensor, turn_B: Tensor) -> Tensor:
    """The hue of each image turned by a share of a whole turn, as in the hexagonal model HSV (Smith 1978).

    Value and saturation stay. x is float in [0, 1] or uint8, and so is the result.
    """
    if x_B3HW.dtype == torch.uint8:
        return (255 * turned(x_B3HW.float() / 255, turn_B)).round().to(torch.uint8)
    red, green, blue = x_B3HW.unbind(1)
    value_BHW, least_BHW = x_B3HW.amax(1), x_B3HW.amin(1)
    chroma_BHW = value_BHW - least_BHW
    share_BHW = 1 / torch.where(chroma_BHW > 0, chroma_BHW, 1)  # grey has no hue, and any will do
    sixths_BHW = torch.where(
        value_BHW == red,
        (green - blue) * share_BHW,
        torch.where(value_BHW == green, (blue - red) * share_BHW + 2, (red - green) * share_BHW + 4),
    )
    sixths_BHW = sixths_BHW + 6 * turn_B.to(x_B3HW)[:, None, None]
    place_B3HW = (sixths_BHW[:, None] + x_B3HW.new_tensor((5, 3, 1))[:, None, None]) % 6
    lacks_B3HW = torch.minimum(place_B3HW, 4 - place_B3HW).clamp(0, 1)
    back: Tensor = value_BHW[:, None] - chroma_BHW[:, None] * lacks_B3HW
    return back


def random_grey(x_BKHW: Tensor, generator: torch.Generator) -> Tensor:
    """One image in five loses its colours (Chen et al. 2020, appendix A); images of one channel have none."""
    chosen_B = (torch.rand(len(x_BKHW), generator=generator) < GREY_SHARE).to(x_BKHW.device)
    return torch.where(chosen_B[:, None, None, None], grey(x_BKHW), x_BKHW)


def grey(x_BKHW: Tensor) -> Tensor:
    """[B, 1, H, W]: the Rec. 601 grey of three channels, else their mean."""
    if x_BKHW.shape[1] != 3:
        return x_BKHW.mean(1, keepdim=True)
    return (x_BKHW * x_BKHW.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
