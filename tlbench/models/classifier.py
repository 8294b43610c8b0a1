"""A backbone with a linear head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Classifier(nn.Module):
    """``backbone`` x [B, ...] -> features [B, D]; ``head`` features -> scores [B, C]."""

    def __init__(self, backbone: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head: nn.Module = nn.Linear(int(backbone.num_features), num_classes)  # type: ignore[arg-type]

    def forward(self, x: Any) -> Tensor:
        scores: Tensor = self.head(self.backbone(x))
        return scores
