"""The parts of a CycleGAN for small images: generator, patch critic and the history of generated images.

Pixels are in [-1, 1] here; ``Pixels`` goes between that and what the backbone sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from tlbench import InputTransform


def _layer(before: int, after: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride, padding=1, padding_mode="reflect", bias=False)
    return nn.Sequential(convolution, nn.InstanceNorm2d(after, affine=True), nn.ReLU())


class Generator(nn.Module):
    """Images [B, K, H, W] to images of the same shape: down to half the side, residual blocks, and up again.

    The residual generator of Zhu et al. (2017, appendix 7.2) with one level in the place of two and fewer blocks.
    """

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.down = nn.Sequential(_layer(channels, width), _layer(width, 2 * width, stride=2))
        self.body = nn.ModuleList(nn.Sequential(_layer(2 * width, 2 * width), _layer(2 * width, 2 * width)[:2])
                                  for _ in range(blocks))  # fmt: skip
        self.up = _layer(2 * width, width)
        self.paint = nn.Conv2d(width, channels, 3, padding=1, padding_mode="reflect")

    def forward(self, x_BKHW: Tensor) -> Tensor:
        h = self.down(x_BKHW)
        for block in self.body:
            h = h + block(h)
        # upsampled and convolved: a transposed convolution paints a chequerboard
        painted: Tensor = self.paint(self.up(F.interpolate(h, x_BKHW.shape[2:])))
        return painted.tanh()


def patch_critic(channels: int, width: int) -> nn.Sequential:
    """Images [B, K, H, W] to a map of verdicts, one for each patch (Isola et al. 2017), with three convolutions."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, 2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, padding=1, bias=False), nn.InstanceNorm2d(2 * width, affine=True),
        nn.LeakyReLU(0.2), nn.Conv2d(2 * width, 1, 3, padding=1),
    )  # fmt: skip


class History(nn.Module):
    """The last ``size`` generated images, shown to the critic in the place of some new ones (Shrivastava et al. 2017).

    Until it is full it keeps and returns each image; then, for each image and with even chance, it returns the
    image itself, or a kept one whose place the image takes. A module, so that its content is part of a checkpoint.
    """

    def __init__(self, size: int, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(size, *dims))

    def plan(self, new: int, before: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """For ``new`` images after so many before: which are ``shown`` [new], and ``left`` in the history [size].

        Numbers of rows, int64, in the history followed by the new images. Drawn on the host, which so need not wait.
        """
        size = len(self.kept)  # type: ignore[arg-type]
        left, shown, filled = list(range(size)), [], min(size, before)
        for image in range(size, size + new):
            shown.append(image)
            if filled < size:
                left[filled] = image
                filled += 1
            elif size and rng.random() < 0.5:
                place = int(rng.integers(size))
                shown[-1], left[place] = left[place], image
        return {"shown": torch.tensor(shown), "left": torch.tensor(left, dtype=torch.int64)}

    def exchange(self, x_BKHW: Tensor, plan: Mapping[str, Tensor]) -> Tensor:
        """The images to show for these new ones, by a plan."""
        kept: Tensor = self.kept  # type: ignore[assignment]
        both = torch.cat([kept, x_BKHW.to(kept.dtype)])
        kept.copy_(both[plan["left"].to(both.device)])
        return both[plan["shown"].to(both.device)].to(x_BKHW.dtype)


@dataclass(frozen=True)
class Pixels:
    """Between a backbone's inputs and pixels in [-1, 1]: ``low`` and ``high`` are black and white, [K, 1, 1]."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, transform: InputTransform | None, device: torch.device) -> Pixels:
        """For inputs (x / 255 - mean) / std, or x / 255 where there is no transform."""
        if transform is None:
            return cls(torch.zeros(1, 1, 1, device=device), torch.ones(1, 1, 1, device=device))
        mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (transform.mean, transform.std))
        return cls(-mean / std, (1 - mean) / std)

    def from_input(self, x: Tensor) -> Tensor:
        return 2 * (x - self.low) / (self.high - self.low) - 1

    def to_input(self, pixels: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * (pixels + 1) / 2
