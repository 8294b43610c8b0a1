"""Training on a source, once for all the trials that start from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tlbench.api.data import Problem
from tlbench.data.pools import held_out, pool_of, test_of
from tlbench.data.subsets import validation_rows

if TYPE_CHECKING:
    from tlbench.api.data import Domain, Seeds
    from tlbench.api.types import Start


@dataclass(frozen=True)
class SourceTrainingTask:
    """Training a backbone on a source, once for all the trials that start from it. Not for suites."""

    name: ClassVar[str] = "source-training"
    offers: ClassVar[frozenset[str]] = frozenset({"source"})
    references: ClassVar[tuple[str, ...]] = ()
    start: ClassVar[Start] = "weights"
    needs_source: ClassVar[bool] = False

    validation: float = 0.1
    """Share of the source's training examples that chooses, under the rule ``source-val``."""

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        split = target.splits["train"]
        rows = np.arange(len(split))
        validation = None
        if selection == "source-val":
            rng = seeds.generator("validation", target.name)
            rows, held = validation_rows(rows, split.y, self.validation, rng)
            validation = held_out(target, split, held)
        train = {"source": pool_of(split, target.num_classes, rows)}
        return Problem(train, {"source": test_of(target)}, target.num_classes, validation=validation)
