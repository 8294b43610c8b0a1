"""Adaptation: a labelled source and an unlabelled target with the same classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from tlbench.api.data import Problem
from tlbench.data.pools import difference, held_out, pool_of, require_share, test_of, unlabelled
from tlbench.data.subsets import validation_rows
from tlbench.errors import SkipTrial

if TYPE_CHECKING:
    from tlbench.api.data import Domain, Pool, Seeds
    from tlbench.api.types import Start


@dataclass(frozen=True)
class Adaptation:
    """A labelled source and an unlabelled target with the same classes.

    ``inductive``: the unlabelled pool is the target's training split and the score is on its test split.
    ``transductive``: the test examples themselves, without labels, are the unlabelled pool.
    Gain is measured against ``source-only``, which does not look at the target; ``target-oracle`` trains on
    the target's labels and is the ceiling. The rule ``target-val`` uses labels that the setting does not
    have; it is there to show what they would be worth, and rows chosen by it are marked.
    """

    name: ClassVar[str] = "adaptation"
    offers: ClassVar[frozenset[str]] = frozenset({"source", "source_val", "target_unlabelled", "same_classes"})
    withholds: ClassVar[frozenset[str]] = frozenset({"target"})
    references: ClassVar[tuple[str, ...]] = ("source-only", "target-oracle")
    start: ClassVar[Start] = "weights"
    needs_source: ClassVar[bool] = True

    protocol: Literal["inductive", "transductive"] = "inductive"
    """Which examples of the target are the unlabelled pool."""
    validation: float = 0.1
    """Share of the training examples that chooses, under the rules ``source-val`` and ``target-val``."""

    def __post_init__(self) -> None:
        require_share("validation", self.validation)

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        if source is not None and source.label_names != target.label_names:
            raise SkipTrial(
                f"adaptation needs the same classes in both domains, in one order: {difference(source, target)}"
            )
        if target.whole and (self.protocol == "inductive" or selection == "target-val"):
            raise SkipTrial(f"every example of {target.name} is a test example; the protocol must be transductive")
        classes, split = target.num_classes, target.splits["train"]
        rows = np.arange(len(split))
        train: dict[str, Pool] = {}
        validation = None
        # without a source, the target's labels choose: only a reference that may see them has no need of a source
        if selection == "target-val" or (selection == "source-val" and source is None):
            rows, held = validation_rows(rows, split.y, self.validation, seeds.generator("validation", target.name))
            validation = held_out(target, split, held)
        if source is not None:
            source_split = source.splits["train"]
            source_rows = np.arange(len(source_split))
            if selection == "source-val":
                rng = seeds.generator("validation", source.name)
                source_rows, held = validation_rows(source_rows, source_split.y, self.validation, rng)
                validation = train["source_val"] = held_out(source, source_split, held)
            train["source"] = pool_of(source_split, classes, source_rows)
        test = test_of(target)
        labelled = pool_of(split, classes, rows)
        shown = test if self.protocol == "transductive" else labelled
        train["target_unlabelled"] = unlabelled(shown)
        withheld = {} if target.whole else {"target": labelled}
        return Problem(train, {"target": test}, classes, withheld=withheld, validation=validation)
