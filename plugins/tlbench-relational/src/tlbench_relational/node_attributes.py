"""The backbone ``node-attributes``: a node's attributes through fully connected layers, blind to the edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from tlbench import Shape, SkipTrial

if TYPE_CHECKING:
    from collections.abc import Sequence


class AttributesTrunk(nn.Module):
    """{"attributes": [B, A], ...} or [B, A] -> features [B, D]."""

    transform: ClassVar[None] = None

    def __init__(self, blocks: Sequence[nn.Module], num_features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(*blocks)
        self.num_features = num_features

    @property
    def blocks(self) -> list[nn.Module]:
        """The layers, from input to output."""
        return list(self.net)

    def forward(self, x: Any) -> Tensor:
        features: Tensor = self.net(x["attributes"] if isinstance(x, Mapping) else x)
        return features


@dataclass(frozen=True)
class NodeAttributes:
    """Fully connected layers with ReLU on a node's own attributes: what can be known of it without the graph."""

    name: ClassVar[str] = "node-attributes"
    pretrained_on: ClassVar[None] = None

    hidden: tuple[int, ...] = (128,)
    """Widths of the layers; the last is the number of features."""
    dropout: float = 0.5
    """Share of the inputs of each layer dropped in training."""

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden needs at least one positive width, got {list(self.hidden)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def load(self, shape: Shape, *, pretrained: bool = True) -> AttributesTrunk:
        if shape.kind == "image":
            raise SkipTrial("the backbone 'node-attributes' takes nodes with attributes; this data set has images")
        layers = [
            nn.Sequential(nn.Dropout(self.dropout), nn.Linear(before, after), nn.ReLU())
            for before, after in pairwise((shape.dims[0], *self.hidden))
        ]
        return AttributesTrunk(layers, self.hidden[-1])
