"""Two convolutions and a fully connected layer: the backbone of the digit experiments of the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench import InputTransform, SkipTrial

if TYPE_CHECKING:
    from tlbench import Shape


class TwoConvNet(nn.Module):
    """Grey images [B, 1, H, W] -> features [B, D]."""

    def __init__(self, spec: TwoConv, transform: InputTransform | None) -> None:
        super().__init__()
        first, second = spec.filters
        side = ((spec.size - 4) // 2 - 4) // 2
        self.low = nn.Sequential(nn.Conv2d(spec.channels, first, 5), nn.ReLU(), nn.MaxPool2d(2))
        self.high = nn.Sequential(nn.Conv2d(first, second, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(spec.dropout / 2))
        self.dense = nn.Sequential(
            nn.Flatten(), nn.Linear(second * side**2, spec.features), nn.ReLU(), nn.Dropout(spec.dropout)
        )
        self.blocks = [self.low, self.high, self.dense]
        self.num_features, self.transform, self.size = spec.features, transform, spec.size
        # a third faster on a CPU
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        if self.transform is None:
            x = frame(x, self.size) * 2 - 1
        features: Tensor = self.dense(self.high(self.low(x.contiguous(memory_format=torch.channels_last))))
        return features


def frame(x_BKHW: Tensor, size: int) -> Tensor:
    """Put images into the middle of a black square [B, K, size, size]; larger ones lose their edges."""
    spare = [size - x_BKHW.shape[3], size - x_BKHW.shape[2]]
    return F.pad(x_BKHW, [part for n in spare for part in (n // 2, n - n // 2)])


@dataclass(frozen=True)
class TwoConv:
    """Two 5 x 5 convolutions with pooling and a fully connected layer (after LeCun et al. 1998).

    ``fit: resize`` brings all images to one size, as every other backbone does. ``fit: pad`` leaves the pixels
    as they are and puts smaller images into the middle of a black square: so USPS's 16 pixels do not become
    28, and its digits are nearer in size to MNIST's, whose 28 pixels have a margin of 4 on each side.
    """

    name: ClassVar[str] = "two-conv"
    pretrained_on: ClassVar[None] = None

    size: int = 28
    """Side of the square input."""
    channels: Literal[1, 3] = 1
    """1: all images in grey; 3: in colour, where grey ones have three equal channels."""
    filters: tuple[int, int] = (20, 50)
    """Channels of the two convolutions."""
    features: int = 128
    """Width of the fully connected layer."""
    dropout: float = 0.0
    """Share of the features dropped in training; half of it after the convolutions."""
    fit: Literal["resize", "pad"] = "resize"
    """How images of another size come to ``size``."""

    def __post_init__(self) -> None:
        if self.size < 16:
            raise ValueError(f"size must be at least 16, got {self.size}")
        if self.fit == "pad" and self.channels != 1:
            raise ValueError(f"fit: pad takes images as they are, in grey, got channels {self.channels}")
        if len(self.filters) != 2 or min(*self.filters, self.features) < 1:
            raise ValueError(f"need two numbers of filters and features >= 1, got {self.filters} and {self.features}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def load(self, shape: Shape, *, pretrained: bool = True) -> TwoConvNet:
        if shape.kind != "image":
            raise SkipTrial(f"the backbone 'two-conv' takes images; this data set has {shape.kind} of {shape.dims}")
        if self.fit == "pad" and shape.dims[0] != 1:
            raise SkipTrial("the backbone 'two-conv' with fit: pad takes grey images as they are; these have colours")
        return TwoConvNet(self, None if self.fit == "pad" else self._transform())

    def _transform(self) -> InputTransform:
        half = (0.5,) * self.channels
        return InputTransform(self.size, self.channels, half, half)
