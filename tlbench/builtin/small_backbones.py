"""Small backbones that need no download: a convolutional net, an MLP and the identity."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from tlbench.api.types import InputTransform
from tlbench.errors import SkipTrial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.api.data import Shape


class Trunk(nn.Module):
    """Blocks one after another; x [B, ...] -> features [B, D]."""

    def __init__(self, blocks: Sequence[nn.Module], num_features: int, transform: InputTransform | None) -> None:
        super().__init__()
        self.net = nn.Sequential(*blocks)
        self.num_features = num_features
        self.transform = transform

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks that have parameters, from input to output."""
        return [block for block in self.net if any(True for _ in block.parameters())]

    def forward(self, x: Any) -> Tensor:
        features: Tensor = self.net(x)
        return features


def _transform(name: str, shape: Shape, size: int, channels: int, *, centred: bool) -> InputTransform:
    if shape.kind != "image":
        raise SkipTrial(f"the backbone {name!r} takes images; this data set has {shape.kind} of shape {shape.dims}")
    mean, std = (0.5, 0.5) if centred else (0.0, 1.0)
    return InputTransform(size, channels, (mean,) * channels, (std,) * channels)


@dataclass(frozen=True)
class SmallCNN:
    """Convolution, normalisation, ReLU and pooling, ``depth`` times, then the mean over the image."""

    name: ClassVar[str] = "small-cnn"
    pretrained_on: ClassVar[None] = None

    size: int = 32
    """Side of the square input; images are resized to it."""
    channels: int = 3
    """1 or 3; grey images are repeated, colour images turned grey."""
    width: int = 32
    """Channels after the first block; doubled by each further block."""
    depth: int = 3
    """Blocks; each but the last halves the side."""

    def __post_init__(self) -> None:
        if self.depth < 1 or self.width < 1 or self.channels not in (1, 3):
            raise ValueError("depth and width must be at least 1, channels 1 or 3")
        if self.size < 2 ** (self.depth - 1):
            raise ValueError(
                f"size {self.size} is too small for {self.depth} blocks; it must be at least {2 ** (self.depth - 1)}"
            )

    def load(self, shape: Shape, *, pretrained: bool = True) -> Trunk:
        transform = _transform(self.name, shape, self.size, self.channels, centred=True)
        widths = [self.channels, *(self.width * 2**i for i in range(self.depth))]
        blocks: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            layers = [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2) if i < self.depth - 1 else nn.AdaptiveAvgPool2d(1)))
        return Trunk([*blocks, nn.Flatten()], widths[-1], transform)


@dataclass(frozen=True)
class MLP:
    """Fully connected layers with ReLU, for features; images are resized and flattened first."""

    name: ClassVar[str] = "mlp"
    pretrained_on: ClassVar[None] = None

    hidden: tuple[int, ...] = (256, 128)
    """Widths of the layers; the last is the number of features."""
    dropout: float = 0.0
    """Share of each layer's outputs dropped in training."""
    size: int = 16
    """For images: side of the square grey input."""

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden needs at least one positive width, got {list(self.hidden)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")

    def load(self, shape: Shape, *, pretrained: bool = True) -> Trunk:
        transform, inputs, flat = None, shape.dims[0], []
        if shape.kind == "image":
            transform, inputs = _transform(self.name, shape, self.size, 1, centred=True), self.size**2
            flat = [nn.Flatten()]
        widths = [inputs, *self.hidden]
        drop = [nn.Dropout(self.dropout)] if self.dropout else []
        layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU(), *drop) for a, b in pairwise(widths)]
        return Trunk([*flat, *layers], widths[-1], transform)


@dataclass(frozen=True)
class Identity:
    """The inputs themselves as features; images are resized and flattened to values in [0, 1]."""

    name: ClassVar[str] = "identity"
    pretrained_on: ClassVar[None] = None

    size: int = 16
    """For images: side of the square input."""
    channels: int = 1
    """For images: 1 or 3."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")

    def load(self, shape: Shape, *, pretrained: bool = True) -> Trunk:
        if shape.kind == "features":
            return Trunk([nn.Flatten()], shape.dims[0], None)
        transform = _transform(self.name, shape, self.size, self.channels, centred=False)
        return Trunk([nn.Flatten()], self.channels * self.size**2, transform)
