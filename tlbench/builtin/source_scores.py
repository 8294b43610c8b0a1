"""The transferability scores of a trial's source, computed on the labelled target without training on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from tlbench.builtin.references import Majority
from tlbench.errors import TrialError
from tlbench.transferability import NEEDS, SCORES, Evidence

if TYPE_CHECKING:
    from tlbench.api.data import Array
    from tlbench.api.types import Context, Fitted


@dataclass(frozen=True)
class SourceScores:
    """Transferability scores of the source for the target, put into the record; `tlbench rank-sources` runs it.

    They are computed on frozen features of at most ``examples`` labelled target examples (the first of a random order,
    the same for every source), by ``tlbench.transferability``. A score whose evidence the trial lacks is left out: LEEP
    and NCE need the source model's own classifier, and the distances need the source's examples. It predicts what
    ``majority`` does, which is of no interest.
    """

    name: ClassVar[str] = "source-scores"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    uses: ClassVar[frozenset[str]] = frozenset({"source"})

    examples: int = 1000
    """Most examples of each domain."""

    def __post_init__(self) -> None:
        if self.examples < 10:
            raise ValueError(f"examples must be at least 10, got {self.examples}")

    def fit(self, ctx: Context) -> Fitted:
        target = ctx.features("target")
        rows = slice(0, self.examples)
        evidence = Evidence(
            _array(target.x[rows]), _array(target.y[rows]), self._probabilities(ctx), self._source_features(ctx)
        )
        for name, score in SCORES.items():
            if name not in NEEDS or getattr(evidence, NEEDS[name]) is not None:
                ctx.report(name, score(evidence))
        return Majority().fit(ctx)

    def _probabilities(self, ctx: Context) -> Array | None:
        """What the source's classifier says of the target, [N, Z]."""
        try:
            model = ctx.source_classifier().eval()
        except TrialError:
            return None
        features = ctx.features("target").x[: self.examples]
        with torch.no_grad():
            return _array(model.head(features).softmax(1))

    def _source_features(self, ctx: Context) -> Array | None:
        if "source" not in ctx.pools or ctx.shape("source").kind != ctx.shape("target").kind:
            return None
        order = torch.from_numpy(ctx.rng.permutation(ctx.pools["source"])[: self.examples])
        return _array(ctx.features("source").x[order.to(ctx.device)])


def _array(tensor: Any) -> Array:
    found: Array = tensor.detach().cpu().numpy()
    return found
