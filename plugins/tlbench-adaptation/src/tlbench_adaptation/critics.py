"""What tells the two domains apart: the domain classifier of the adversarial methods."""

from __future__ import annotations

from torch import nn


def domain_critic(width: int, hidden: int) -> nn.Sequential:
    """Two hidden layers and one logit: features [B, width] -> [B, 1], large for the source."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
    )
