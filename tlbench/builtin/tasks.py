"""The first tasks: fine-tuning (labelled target), adaptation (unlabelled target), and training on a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from tlbench.api.types import Array, Domain, Pool, Problem, Seeds, Split, Start
from tlbench.data.subsets import budget_rows, validation_rows
from tlbench.errors import SkipTrial


@dataclass(frozen=True)
class FineTuning:
    """A labelled target, of any classes; how many labels is the question.

    The label budget includes validation: under the selection rule ``target-val``, a share ``validation`` of
    the labelled examples is set apart for choosing and the rest is trained on. Subsets nest: the five
    examples of a class are among its ten; they depend on the seed and the target, not on the strategy.
    Gain is measured against ``scratch``: the same backbone from random weights on the same examples.
    """

    name: ClassVar[str] = "fine-tuning"
    offers: ClassVar[frozenset[str]] = frozenset({"target", "target_val", "source"})
    references: ClassVar[tuple[str, ...]] = ("scratch", "majority")
    start: ClassVar[Start] = "source"
    needs_source: ClassVar[bool] = False

    labels: Literal["all"] | int | float = "all"
    """``all``, a number of labelled examples for each class, or a share of each class in (0, 1)."""
    validation: float = 0.2
    """Share of the labelled examples that chooses, under the rule ``target-val``."""

    def __post_init__(self) -> None:
        _require_share("validation", self.validation)
        if self.labels != "all" and not (
            self.labels >= 1 if isinstance(self.labels, int) else isinstance(self.labels, float) and 0 < self.labels < 1
        ):
            raise ValueError(f"labels must be all, a whole number from 1 or a share in (0, 1), got {self.labels!r}")

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        if selection == "source-val":
            raise SkipTrial("the selection rule 'source-val' needs a target with the source's classes and no labels")
        split = target.splits["train"]
        rows = budget_rows(split.y, self.labels, seeds.generator("subset", target.name), target.label_names)
        train = {}
        validation = None
        if selection == "target-val":
            rows, held = validation_rows(rows, split.y, self.validation, seeds.generator("validation", target.name))
            validation = train["target_val"] = _held_out(target, split, held)
        train["target"] = _pool(split, target.num_classes, rows)
        if source is not None:
            train["source"] = _pool(source.splits["train"], source.num_classes)
        return Problem(train, {"target": _test(target)}, target.num_classes, validation=validation)


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
    offers: ClassVar[frozenset[str]] = frozenset({"source", "source_val", "target_unlabelled"})
    withholds: ClassVar[frozenset[str]] = frozenset({"target"})
    references: ClassVar[tuple[str, ...]] = ("source-only", "target-oracle")
    start: ClassVar[Start] = "weights"
    needs_source: ClassVar[bool] = True

    protocol: Literal["inductive", "transductive"] = "inductive"
    """Which examples of the target are the unlabelled pool."""
    validation: float = 0.1
    """Share of the training examples that chooses, under the rules ``source-val`` and ``target-val``."""

    def __post_init__(self) -> None:
        _require_share("validation", self.validation)

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        if source is not None and source.label_names != target.label_names:
            raise SkipTrial(
                "adaptation needs the same classes in both domains, in one order: "
                f"{_difference(source.name, source.label_names, target.name, target.label_names)}"
            )
        classes, split = target.num_classes, target.splits["train"]
        rows = np.arange(len(split))
        train: dict[str, Pool] = {}
        validation = None
        # without a source, the target's labels choose: only a reference that may see them has no need of a source
        if selection == "target-val" or (selection == "source-val" and source is None):
            rows, held = validation_rows(rows, split.y, self.validation, seeds.generator("validation", target.name))
            validation = _held_out(target, split, held)
        if source is not None:
            source_split = source.splits["train"]
            source_rows = np.arange(len(source_split))
            if selection == "source-val":
                rng = seeds.generator("validation", source.name)
                source_rows, held = validation_rows(source_rows, source_split.y, self.validation, rng)
                validation = train["source_val"] = _held_out(source, source_split, held)
            train["source"] = _pool(source_split, classes, source_rows)
        test = _test(target)
        labelled = _pool(split, classes, rows)
        unlabelled = test if self.protocol == "transductive" else labelled
        train["target_unlabelled"] = Pool(unlabelled.x, None, classes)
        return Problem(train, {"target": test}, classes, withheld={"target": labelled}, validation=validation)


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
            validation = _held_out(target, split, held)
        train = {"source": _pool(split, target.num_classes, rows)}
        return Problem(train, {"source": _test(target)}, target.num_classes, validation=validation)


def _pool(split: Split, num_classes: int, rows: Array | None = None) -> Pool:
    """A pool of these rows, all where ``None`` or where they are all in order (then nothing is copied)."""
    if rows is None or (len(rows) == len(split) and np.array_equal(rows, np.arange(len(split)))):
        return Pool(split.x, split.y, num_classes)
    x = {k: v[rows] for k, v in split.x.items()} if isinstance(split.x, Mapping) else split.x[rows]
    return Pool(x, split.y[rows], num_classes)


def _test(domain: Domain) -> Pool:
    return _pool(domain.splits["test"], domain.num_classes)


def _held_out(domain: Domain, split: Split, rows: Array) -> Pool:
    """The validation examples; a class of one example gives none, and then there is nothing to choose by."""
    if not len(rows):
        raise SkipTrial(
            f"no example is left to choose by: each class of {domain.name} has one labelled example, and that is "
            "trained on; give more labels or choose by the selection rule 'last'"
        )
    return _pool(split, domain.num_classes, rows)


def _require_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be in (0, 1), got {value}")


def _difference(source: str, ours: tuple[str, ...], target: str, theirs: tuple[str, ...]) -> str:
    """How two lists of class names differ, in words."""
    only = [
        f"only {name} has {_listed([n for n in names if n not in others])}"
        for name, names, others in ((source, ours, theirs), (target, theirs, ours))
        if set(names) - set(others)
    ]
    if not only:
        return f"{source} has {_listed(ours)}, {target} has {_listed(theirs)}"
    return f"{source} has {len(ours)}, {target} has {len(theirs)}; {', '.join(only)}"


def _listed(names: Sequence[str], most: int = 5) -> str:
    return f"{', '.join(map(repr, names[:most]))}{f' and {len(names) - most} more' if len(names) > most else ''}"
