"""The residual networks for CIFAR of He et al. 2016 (section 4.2), with weights from a local file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench.api.types import InputTransform
from tlbench.errors import DataError, SkipTrial

if TYPE_CHECKING:
    from tlbench.api.data import Shape

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without parameters ("option A": strided, padded with zero channels)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.pad = stride, (after - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + shortcut)


class ResNetFeatures(nn.Module):
    """x [B, 3, 32, 32] -> features [B, 64]; the blocks are the stem and the three stages."""

    def __init__(self, per_stage: int, head: nn.Linear | None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, per_stage)
        self.layer2 = self._stage(16, 32, per_stage)
        self.layer3 = self._stage(32, 64, per_stage)
        self.num_features, self.transform = 64, InputTransform(32, 3, MEAN, STD)
        self._own = [head]  # in a list: no module of this one, whose weights are the trunk's

    @staticmethod
    def _stage(before: int, after: int, count: int) -> nn.Sequential:
        first = Block(before, after, 1 if before == after else 2)
        return nn.Sequential(first, *(Block(after, after, 1) for _ in range(count - 1)))

    @property
    def blocks(self) -> list[nn.Module]:
        return [nn.ModuleList([self.conv1, self.bn1]), self.layer1, self.layer2, self.layer3]

    def own_head(self) -> nn.Linear | None:
        """The classifier that the weights were trained with."""
        return self._own[0]

    def forward(self, x: Any) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        features: Tensor = self.layer3(self.layer2(self.layer1(out))).mean((2, 3))
        return features


@dataclass(frozen=True)
class ResNetCifar:
    """ResNet-20, -32, -44 or -56 for images of 32 x 32, after He et al. 2016.

    ``checkpoint`` is a .safetensors file of the state dict under the customary names (``conv1``, ``layer1.0.bn2``,
    ``linear``); tensors that are missing or of another shape are an error.
    """

    name: ClassVar[str] = "resnet-cifar"

    depth: Literal[20, 32, 44, 56] = 20
    """Layers with weights."""
    checkpoint: str | None = None
    """A local .safetensors file with its weights; relative paths start at the suite's folder."""
    trained_on: str | None = None
    """What the weights were trained on, for the board."""

    @property
    def pretrained_on(self) -> str | None:
        return None if self.checkpoint is None else self.trained_on or Path(self.checkpoint).parent.name

    def load(self, shape: Shape, *, pretrained: bool = True) -> ResNetFeatures:
        if shape.kind != "image":
            raise SkipTrial(f"the backbone {self.name!r} takes images; this data set has {shape.kind}")
        net = ResNetFeatures((self.depth - 2) // 6)
        if not pretrained or self.checkpoint is None:
            return net
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state = load_file(self.checkpoint)
        except (OSError, SafetensorError) as error:
            raise DataError(f"{self.checkpoint} cannot be read as a .safetensors file: {error}") from error
        weight, bias = state.pop("linear.weight", None), state.pop("linear.bias", None)
        counters = {k: v for k, v in net.state_dict().items() if k.endswith("num_batches_tracked")}
        try:
            net.load_state_dict({**counters, **state})
            if weight is not None and bias is not None:
                head = nn.Linear(weight.shape[1], weight.shape[0])
                head.load_state_dict({"weight": weight, "bias": bias})
                net._own = [head]
        except RuntimeError as error:
            first = " ".join(str(error).split())[:300]
            raise DataError(
                f"the tensors in {self.checkpoint} are not those of ResNet-{self.depth}: {first}"
            ) from error
        return net
