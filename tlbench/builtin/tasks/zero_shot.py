"""Zero-shot: classes of which there is a description and no example."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tlbench.api.data import Problem
from tlbench.data.pools import pool_of, refuse_whole, require_disjoint, test_of
from tlbench.errors import SkipTrial

if TYPE_CHECKING:
    from tlbench.api.data import Array, Domain, Seeds
    from tlbench.api.types import Start


@dataclass(frozen=True)
class ZeroShot:
    """A labelled source, and a target of other classes known by their attributes alone (Lampert et al. 2009).

    ``generalised``: the test has examples of seen and of unseen classes, and any class may be the answer (Chao et al.
    2016); the source's classes come first. Then the record has the scores on the unseen (``target``) and the seen
    classes (``source``) and their harmonic mean, which is the result (Xian et al. 2018, eq. 2).
    Choose ``balanced-accuracy`` as the first metric: it is the customary mean over classes.
    Gain is measured against ``chance``: no method can learn these classes without the source.
    """

    name: ClassVar[str] = "zero-shot"
    offers: ClassVar[frozenset[str]] = frozenset({"source", "class_attributes"})
    references: ClassVar[tuple[str, ...]] = ("chance",)
    start: ClassVar[Start] = "weights"
    needs_source: ClassVar[bool] = True

    generalised: bool = False
    """Whether seen classes are among the answers, and among the test examples."""

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        if selection in ("source-val", "target-val"):
            raise SkipTrial(f"no example of an unseen class can choose; the selection rule {selection!r} needs some")
        unseen = target.num_classes
        test = test_of(target)
        if source is None:  # for a strategy that looks at no example at all
            return Problem({}, {"target": test}, unseen)
        require_disjoint(source, target, "zero-shot is for classes that the source does not have")
        attributes = {"source": _attributes(source), "target": _attributes(target)}
        if attributes["source"].shape[1] != attributes["target"].shape[1]:
            raise SkipTrial(
                f"{source.name} describes classes by {attributes['source'].shape[1]} attributes and {target.name} by "
                f"{attributes['target'].shape[1]}; they must be the same ones"
            )
        train = {"source": pool_of(source.splits["train"], source.num_classes)}
        if not self.generalised:
            return Problem(train, {"target": test}, unseen, class_attributes=attributes)
        refuse_whole(source)
        seen = source.num_classes
        attributes["target"] = np.concatenate([attributes["source"], attributes["target"]])
        tests = {
            "target": replace(test, y=np.asarray(test.y) + seen, num_classes=seen + unseen),
            "source": replace(test_of(source), num_classes=seen + unseen),
        }
        return Problem(train, tests, seen + unseen, class_attributes=attributes, harmonic=True)


def _attributes(domain: Domain) -> Array:
    if domain.class_attributes is None:
        raise SkipTrial(f"{domain.name} has no class attributes, which zero-shot describes unseen classes by")
    found: Array = np.asarray(domain.class_attributes, dtype=np.float32)
    return found
