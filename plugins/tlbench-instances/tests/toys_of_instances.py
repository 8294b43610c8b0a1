"""Transfer problems in which part of the source misleads."""

from __future__ import annotations

import numpy as np

from tlbench import Domain, Recipe, Split
from tlbench.builtin.small_backbones import Identity
from tlbench.builtin.tasks import Adaptation, FineTuning
from tlbench.testing import Toy

NAMES = ("left", "right")
RECIPE = Recipe(steps=200, batch_size=64, lr=2e-2, schedule="constant")


def two_regions(rng: np.random.Generator, size: int, share: float) -> Split:
    """A ``share`` of the examples at -3 on the first axis, where the second axis is the class, the others at +3,
    where it is the opposite. Four axes of noise. No linear classifier is right in both regions."""
    near = rng.random(size) < share
    y = rng.integers(2, size=size)
    side = np.where(y == 1, 2.0, -2.0) * np.where(near, 1, -1)
    x = np.column_stack([np.where(near, -3.0, 3.0), side, np.zeros((size, 4))]) + rng.normal(size=(size, 6))
    return Split(x.astype(np.float32), y)


def another_mixture() -> Toy:
    """The source is mostly in the region of the opposite rule, the target nearly never: covariate shift.

    With a linear classifier, which must choose between the regions, the source alone leads to the wrong one.
    """
    rng = np.random.default_rng(11)
    source = Domain("mostly-right", {n: two_regions(rng, 600, 0.25) for n in ("train", "test")}, NAMES, "features")
    target = Domain("mostly-left", {n: two_regions(rng, 400, 0.97) for n in ("train", "test")}, NAMES, "features")
    return Toy(source, target, Adaptation(), Identity(), RECIPE)


def contrary_examples(classes: int = 2, share: float = 0.2, stretch: float = 3.0, labels: int = 5) -> Toy:
    """Most of the source follows the target's rule; a ``share`` of it has the wrong class and, being long, much pull.

    The rule is a direction for each class among 30, which a few labelled target examples alone find badly.
    """
    rng = np.random.default_rng(12)
    directions = 1.6 * np.linalg.qr(rng.normal(size=(30, classes)))[0].T

    def split(size: int, contrary: float) -> Split:
        y = rng.integers(classes, size=size)
        other = rng.random(size) < contrary
        shown = np.where(other[:, None], stretch * directions[(y + 1) % classes], directions[y])
        return Split((shown + rng.normal(size=(size, 30))).astype(np.float32), y)

    names = tuple("abcdef"[:classes])
    source = Domain("mixed", {n: split(400, share) for n in ("train", "test")}, names, "features")
    target = Domain("pure", {n: split(400, 0.0) for n in ("train", "test")}, names, "features")
    return Toy(source, target, FineTuning(labels=labels), Identity(), RECIPE)
