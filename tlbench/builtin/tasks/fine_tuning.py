"""Fine-tuning: a labelled target, of any classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tlbench.api.data import Problem
from tlbench.data.pools import labelled_target, pool_of, require_labels, require_share, test_of

if TYPE_CHECKING:
    from tlbench.api.data import Domain, Seeds
    from tlbench.api.types import Start


@dataclass(frozen=True)
class FineTuning:
    """A labelled target, of any classes; how many labels is the question.

    The label budget includes validation: under the selection rule ``target-val``, a share ``validation`` of
    the labelled examples is set apart for choosing and the rest is trained on. Subsets nest: the five
    examples of a class are among its ten; they depend on the seed and the target, not on the strategy.
    Gain is measured against ``scratch``: the same backbone from random weights on the same examples.
    """

    name: ClassVar[str] = "fine-tuning"
    offers: ClassVar[frozenset[str]] = frozenset({"target", "target_val", "source", "same_classes"})
    references: ClassVar[tuple[str, ...]] = ("scratch", "majority")
    start: ClassVar[Start] = "source"
    needs_source: ClassVar[bool] = False

    labels: Literal["all"] | int | float = "all"
    """``all``, a number of labelled examples for each class, or a share of each class in (0, 1)."""
    validation: float = 0.2
    """Share of the labelled examples that chooses, under the rule ``target-val``."""

    def __post_init__(self) -> None:
        require_share("validation", self.validation)
        require_labels(self.labels)

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        train = labelled_target(target, self.labels, self.validation, seeds, selection)
        if source is not None:
            train["source"] = pool_of(source.splits["train"], source.num_classes)
        return Problem(train, {"target": test_of(target)}, target.num_classes, validation=train.get("target_val"))
