"""Node classification: from the labelled nodes of one graph to the nodes of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tlbench.api.data import Problem
from tlbench.data.pools import difference, labelled_target, pool_of, test_of, unlabelled
from tlbench.errors import SkipTrial

if TYPE_CHECKING:
    from tlbench.api.data import Domain, Graph, Seeds
    from tlbench.api.types import Start


@dataclass(frozen=True)
class NodeClassification:
    """A source graph with labelled nodes, and a target graph of the same classes.

    Both graphs are seen whole, with the attributes of every node, as node classification has it (Kipf & Welling 2017);
    the labels of the target's nodes are withheld, but for ``labels`` of each class.
    No node of one is a node of the other, so only attributes and structure carry over. A target whose nodes are all
    for testing will do, as long as none of its labels is offered.
    Gain is measured against ``source-only``, which reads the nodes' attributes and no edge.
    """

    name: ClassVar[str] = "node-classification"
    offers: ClassVar[frozenset[str]] = frozenset({"source", "target", "target_unlabelled", "graphs", "same_classes"})
    references: ClassVar[tuple[str, ...]] = ("source-only",)
    start: ClassVar[Start] = "weights"
    needs_source: ClassVar[bool] = True

    labels: int = 0
    """Labelled nodes of the target for each class."""

    def __post_init__(self) -> None:
        if self.labels < 0:
            raise ValueError(f"labels must not be negative, got {self.labels}")

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        if selection in ("source-val", "target-val"):
            raise SkipTrial(f"no node is set apart to choose by; the selection rule {selection!r} needs some")
        classes = target.num_classes
        graphs = {"target": _graph(target)}
        train = {"target_unlabelled": unlabelled(pool_of(target.splits["train"], classes))}
        if self.labels:
            train |= labelled_target(target, self.labels, 0.2, seeds, "last")
        if source is not None:
            if source.label_names != target.label_names:
                raise SkipTrial(f"both graphs need the same classes, in one order: {difference(source, target)}")
            train["source"] = pool_of(source.splits["train"], classes)
            graphs["source"] = _graph(source)
        return Problem(train, {"target": test_of(target)}, classes, graphs=graphs)


def _graph(domain: Domain) -> Graph:
    if domain.graph is None:
        raise SkipTrial(f"{domain.name} is no graph, which node classification is about")
    return domain.graph
