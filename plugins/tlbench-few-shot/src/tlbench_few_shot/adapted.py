"""What an episodic strategy returns: features by a network, and a rule that turns support sets into scores.

Dimension key:  E episodes  N support examples  Q queries  D features  W ways
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from tlbench import Batch

if TYPE_CHECKING:
    from tlbench import Predictor

Rule: TypeAlias = Callable[[Tensor, Tensor, int], Callable[[Tensor], Tensor]]
"""Support features [E, N, D], labels [E, N] in 0..W-1 and W -> (query features [E, Q, D] -> scores [E, Q, W]).

Each episode by itself; all have as many examples of each class."""


def ways_of(support: Batch) -> int:
    """How many classes support sets are of: labels are 0 .. ways-1 and each occurs."""
    return int(support.y.max()) + 1


@dataclass(frozen=True, eq=False)
class OnFeatures:
    """Embeds the support set, hands it to the rule, and embeds the queries for what the rule gives back.

    The network is in evaluation mode: a query's score depends neither on its fellow queries nor on the support
    set's statistics. It is the trained network itself and no copy, so it follows the point that the host selects.
    ``prepare`` is what the rule wants done with the features [B, D] of each example by itself, once for all episodes.
    """

    net: nn.Module
    rule: Rule
    prepare: Callable[[Tensor], Tensor] = Tensor.float

    def adapt(self, support: Batch) -> Predictor:
        with torch.no_grad():
            of_all = self.adapt_all(Batch(self.embed(support.x)[None], support.y[None]))

        def predict(x: Any) -> Tensor:
            return of_all(self.embed(x)[None])[0]

        return predict

    def embed(self, x: Any) -> Tensor:
        """Features [B, D] of inputs [B, ...]."""
        self.net.eval()
        return self.prepare(self.net(x).float())

    def adapt_all(self, support: Batch) -> Predictor:
        """From support features [E, N, D] with labels [E, N] to query features [E, Q, D] -> scores [E, Q, W]."""
        with torch.no_grad():
            return self.rule(support.x, support.y, ways_of(support))
