"""Conv4: the four-block convolutional network of the few-shot papers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from tlbench import InputTransform, Shape, SkipTrial


class Conv4Net(nn.Module):
    """x [B, K, S, S] -> features [B, width * (S // 16)^2]."""

    def __init__(self, transform: InputTransform, width: int) -> None:
        super().__init__()
        self.transform = transform
        self.num_features = width * (transform.size // 16) ** 2
        widths = [transform.channels, width, width, width, width]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2))
            for before, after in itertools.pairwise(widths)
        )

    def forward(self, x: Any) -> Tensor:
        for block in self.blocks:
            x = block(x)
        features: Tensor = x.flatten(1)
        return features


@dataclass(frozen=True)
class Conv4:
    """Four times a 3 × 3 convolution with 64 filters, BatchNorm, ReLU and 2 × 2 max-pooling (Vinyals et al. 2016).

    The features are the last map, flattened: 64 numbers for 28 × 28 images, 1,600 for 84 × 84. Pixels are scaled
    to [0, 1] and nothing is subtracted, so that the zeros of the padding continue a black ground.
    """

    name: ClassVar[str] = "conv4"
    pretrained_on: ClassVar[None] = None

    size: int = 28
    """Side of the square input; images are resized to it."""
    channels: int = 1
    """1 or 3; grey images are repeated, colour images turned grey."""
    width: int = 64
    """Filters of each block."""

    def __post_init__(self) -> None:
        if self.size < 16:
            raise ValueError(f"size must be at least 16, which four poolings bring to 1, got {self.size}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")

    def load(self, shape: Shape, *, pretrained: bool = True) -> Conv4Net:
        if shape.kind != "image":
            raise SkipTrial(f"the backbone 'conv4' takes images; this data set has {shape.kind} of shape {shape.dims}")
        transform = InputTransform(self.size, self.channels, (0.0,) * self.channels, (1.0,) * self.channels)
        return Conv4Net(transform, self.width)
