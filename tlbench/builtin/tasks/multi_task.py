"""Labelled source and labelled target together: multi-task learning, and the same over different feature spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tlbench.api.data import Problem
from tlbench.data.pools import labelled_target, pool_of, require_labels, require_share, test_of
from tlbench.errors import SkipTrial

if TYPE_CHECKING:
    from tlbench.api.data import Domain, Pool, Seeds
    from tlbench.api.types import Start


@dataclass(frozen=True)
class MultiTask:
    """A labelled source and a labelled target, learned together and scored on both (Caruana 1997).

    The target's score is what gains are of; that of the source, where a method gives a predictor for it, says what
    it still knows there. Gain is measured against ``scratch``: the target alone, on the same examples.
    """

    name: ClassVar[str] = "multi-task"
    offers: ClassVar[frozenset[str]] = frozenset({"target", "target_val", "source", "same_classes"})
    references: ClassVar[tuple[str, ...]] = ("scratch", "majority")
    start: ClassVar[Start] = "source"
    needs_source: ClassVar[bool] = False

    labels: Literal["all"] | int | float = "all"
    """``all``, a number of labelled target examples for each class, or a share of each class in (0, 1)."""
    validation: float = 0.2
    """Share of the labelled target examples that chooses, under the rule ``target-val``."""

    def __post_init__(self) -> None:
        require_share("validation", self.validation)
        require_labels(self.labels)

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        return _both(source, target, labelled_target(target, self.labels, self.validation, seeds, selection))


@dataclass(frozen=True)
class Heterogeneous:
    """A labelled source and a labelled target whose examples are not of one feature space.

    Another number of features, another kind, or (for two documents in two languages) other features altogether.
    Methods that start from weights trained on the source cannot run here, and say so.
    Gain is measured against ``scratch``: the target alone.
    """

    name: ClassVar[str] = "heterogeneous"
    offers: ClassVar[frozenset[str]] = frozenset({"target", "target_val", "source", "same_classes"})
    references: ClassVar[tuple[str, ...]] = ("scratch", "majority")
    start: ClassVar[Start] = "random"
    needs_source: ClassVar[bool] = False

    labels: Literal["all"] | int | float = "all"
    """``all``, a number of labelled target examples for each class, or a share of each class in (0, 1)."""
    validation: float = 0.2
    """Share of the labelled target examples that chooses, under the rule ``target-val``."""

    def __post_init__(self) -> None:
        require_share("validation", self.validation)
        require_labels(self.labels)

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        if source is not None and source.shape == target.shape:
            raise SkipTrial(
                f"{source.name} and {target.name} both have examples of shape {target.shape.dims}; "
                "this task is for different feature spaces, see multi-task"
            )
        return _both(source, target, labelled_target(target, self.labels, self.validation, seeds, selection))


def _both(source: Domain | None, target: Domain, train: dict[str, Pool]) -> Problem:
    test = {"target": test_of(target)}
    if source is not None:
        train["source"] = pool_of(source.splits["train"], source.num_classes)
        if not source.whole:
            test["source"] = test_of(source)
    validation = train.get("target_val")
    return Problem(train, test, target.num_classes, validation=validation, optional=frozenset({"source"}))
