"""Pools of a domain's examples, as tasks hand them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tlbench.api.data import Pool
from tlbench.data.subsets import budget_rows, validation_rows
from tlbench.errors import SkipTrial

if TYPE_CHECKING:
    from typing import Literal

    from tlbench.api.data import Array, Domain, Seeds, Split


def pool_of(split: Split, num_classes: int, rows: Array | None = None) -> Pool:
    """A pool of these rows, all where ``None`` or where they are all in order (then nothing is copied)."""
    if rows is None or (len(rows) == len(split) and np.array_equal(rows, np.arange(len(split)))):
        return Pool(split.x, split.y, num_classes)
    x = {k: v[rows] for k, v in split.x.items()} if isinstance(split.x, Mapping) else split.x[rows]
    return Pool(x, split.y[rows], num_classes)


def test_of(domain: Domain) -> Pool:
    """The test examples, with their groups where there are any."""
    split = domain.splits["test"]
    return replace(pool_of(split, domain.num_classes), group=split.group)


def unlabelled(pool: Pool) -> Pool:
    """The same examples without their labels."""
    return Pool(pool.x, None, pool.num_classes)


def held_out(domain: Domain, split: Split, rows: Array) -> Pool:
    """The validation examples; a class of one example gives none, and then there is nothing to choose by."""
    if not len(rows):
        raise SkipTrial(
            f"no example is left to choose by: each class of {domain.name} has one labelled example, and that is "
            "trained on; give more labels or choose by the selection rule 'last'"
        )
    return replace(pool_of(split, domain.num_classes, rows), group=None if split.group is None else split.group[rows])


def labelled_target(
    target: Domain, labels: Literal["all"] | int | float, validation: float, seeds: Seeds, selection: str
) -> dict[str, Pool]:
    """The pool ``target`` of a label budget and, under ``target-val``, the pool ``target_val`` taken out of it.

    Raises ``SkipTrial`` for a rule that needs something else, and for a target whose test is its training.
    """
    if selection == "source-val":
        raise SkipTrial("the selection rule 'source-val' needs a target with the source's classes and no labels")
    refuse_whole(target)
    split = target.splits["train"]
    rows = budget_rows(split.y, labels, seeds.generator("subset", target.name), target.label_names)
    found = {}
    if selection == "target-val":
        rows, held = validation_rows(rows, split.y, validation, seeds.generator("validation", target.name))
        found["target_val"] = held_out(target, split, held)
    return {"target": pool_of(split, target.num_classes, rows), **found}


def refuse_whole(target: Domain) -> None:
    """Skip where a target's training examples are its test examples, and their labels would be shown."""
    if target.whole:
        raise SkipTrial(
            f"every example of {target.name} is a test example, so none of its labels may be shown; "
            "load it with a test split of its own"
        )


def require_share(name: str, value: float) -> None:
    """Raise ``ValueError`` for a share outside (0, 1)."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must be in (0, 1), got {value}")


def require_labels(labels: object) -> None:
    """Raise ``ValueError`` for what is no label budget: ``all``, a whole number from 1, a share in (0, 1)."""
    fits = labels >= 1 if isinstance(labels, int) else isinstance(labels, float) and 0 < labels < 1
    if labels != "all" and not fits:
        raise ValueError(f"labels must be all, a whole number from 1 or a share in (0, 1), got {labels!r}")


def require_disjoint(source: Domain, target: Domain, what: str) -> None:
    """Skip where source and target share a class by name; ``what`` says why that matters."""
    if common := [name for name in target.label_names if name in set(source.label_names)]:
        raise SkipTrial(f"{source.name} and {target.name} share the classes {listed(common)}; {what}")


def difference(source: Domain, target: Domain) -> str:
    """How the class names of two domains differ, in words."""
    ours, theirs = source.label_names, target.label_names
    only = [
        f"only {domain.name} has {listed([n for n in domain.label_names if n not in others])}"
        for domain, others in ((source, theirs), (target, ours))
        if set(domain.label_names) - set(others)
    ]
    if not only:
        return f"{source.name} has {listed(ours)}, {target.name} has {listed(theirs)}"
    return f"{source.name} has {len(ours)}, {target.name} has {len(theirs)}; {', '.join(only)}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in quotes, the first few of many."""
    return f"{', '.join(map(repr, names[:most]))}{f' and {len(names) - most} more' if len(names) > most else ''}"
