"""What an episodic strategy returns: features by a network, and a rule that a support set turns into scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from tlbench import Batch, Predictor

Rule: TypeAlias = Callable[[Tensor, Tensor, int], Callable[[Tensor], Tensor]]
"""Support features [N, D], labels [N] in 0..W-1 and W -> (query features [Q, D] -> scores [Q, W])."""


def ways_of(support: Batch) -> int:
    """How many classes a support set is of: its labels are 0 .. ways-1 and each occurs."""
    return int(support.y.max()) + 1


@dataclass(frozen=True, eq=False)
class OnFeatures:
    """Embeds the support set, hands it to the rule, and embeds the queries for what the rule gives back.

    The network is in evaluation mode: a query's score depends neither on its fellow queries nor on the support
    set's statistics. It is the trained network itself and no copy, so it follows the point that the host selects.
    """

    embed: nn.Module
    rule: Rule

    def adapt(self, support: Batch) -> Predictor:
        self.embed.eval()
        with torch.no_grad():
            score = self.rule(self.embed(support.x).float(), support.y, ways_of(support))

        def predict(x: Any) -> Tensor:
            return score(self.embed(x).float())

        return predict
