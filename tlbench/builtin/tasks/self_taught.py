"""Without labels on the source: self-taught learning, and clustering, which has no labels at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tlbench.api.data import Problem
from tlbench.data.pools import (
    labelled_target,
    pool_of,
    require_disjoint,
    require_labels,
    require_share,
    test_of,
    unlabelled,
)
from tlbench.errors import SkipTrial

if TYPE_CHECKING:
    from tlbench.api.data import Domain, Seeds
    from tlbench.api.types import Start


@dataclass(frozen=True)
class SelfTaught:
    """An unlabelled source of other classes, and a labelled target (Raina et al. 2007).

    With classes in common it would be semi-supervised learning; say ``classes: any`` to allow that.
    Gain is measured against ``scratch``: the same backbone from random weights, on the target's labels alone.
    """

    name: ClassVar[str] = "self-taught"
    offers: ClassVar[frozenset[str]] = frozenset({"source_unlabelled", "target", "target_val"})
    references: ClassVar[tuple[str, ...]] = ("scratch", "majority")
    start: ClassVar[Start] = "weights"
    needs_source: ClassVar[bool] = False

    labels: Literal["all"] | int | float = "all"
    """``all``, a number of labelled target examples for each class, or a share of each class in (0, 1)."""
    validation: float = 0.2
    """Share of the labelled target examples that chooses, under the rule ``target-val``."""
    classes: Literal["disjoint", "any"] = "disjoint"
    """Whether source and target must have no class in common."""

    def __post_init__(self) -> None:
        require_share("validation", self.validation)
        require_labels(self.labels)

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        train = labelled_target(target, self.labels, self.validation, seeds, selection)
        if source is not None:
            if self.classes == "disjoint":
                require_disjoint(source, target, "self-taught learning is from other classes; else say classes: any")
            train["source_unlabelled"] = unlabelled(pool_of(source.splits["train"], source.num_classes))
        validation = train.get("target_val")
        return Problem(train, {"target": test_of(target)}, target.num_classes, validation=validation)


@dataclass(frozen=True)
class Clustering:
    """An unlabelled source and an unlabelled target: the target's test examples are to be clustered (Dai et al. 2008).

    There are as many clusters as classes; that number is told, and is the one thing that an oracle gives. The test
    pool's clusters are matched to the classes one to one before metrics are computed: accuracy is clustering accuracy.
    Gain is measured against ``k-means`` on the inputs themselves, which has no source.
    """

    name: ClassVar[str] = "clustering"
    offers: ClassVar[frozenset[str]] = frozenset({"source_unlabelled", "target_unlabelled"})
    references: ClassVar[tuple[str, ...]] = ("k-means",)
    start: ClassVar[Start] = "weights"
    needs_source: ClassVar[bool] = False

    protocol: Literal["inductive", "transductive"] = "inductive"
    """Whether the unlabelled pool is the target's training split, or the test examples themselves."""

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        if selection in ("source-val", "target-val"):
            raise SkipTrial(f"there are no labels to choose by; the selection rule {selection!r} needs some")
        if target.whole and self.protocol == "inductive":
            raise SkipTrial(f"every example of {target.name} is a test example; the protocol must be transductive")
        test = test_of(target)
        shown = test if self.protocol == "transductive" else pool_of(target.splits["train"], target.num_classes)
        train = {"target_unlabelled": unlabelled(shown)}
        if source is not None:
            train["source_unlabelled"] = unlabelled(pool_of(source.splits["train"], source.num_classes))
        return Problem(train, {"target": test}, target.num_classes, matching="clusters")
