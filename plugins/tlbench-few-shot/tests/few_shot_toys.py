"""Small few-shot problems: classes told apart in few of many directions, and strokes in small images."""

from __future__ import annotations

from functools import cache

import numpy as np

from tlbench import Domain, Recipe, Split
from tlbench.builtin.references import Scratch
from tlbench.builtin.small_backbones import MLP, Identity
from tlbench.builtin.tasks import FewShot
from tlbench.testing import Toy, score


def telling_directions(shots: int = 1, queries: int = 5) -> Toy:
    """Forty source classes and eight others, told apart in 3 of 20 directions; the other 17 are louder noise.

    One example shows where a class lies, but not which directions matter: that is to be learnt from the source.
    """
    rng = np.random.default_rng(9)
    mixing = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    centres = 3 * rng.normal(size=(48, 3))

    def split(classes: range, per_class: int) -> Split:
        y = np.repeat(np.arange(len(classes)), per_class)
        telling = centres[classes.start : classes.stop][y] + 0.5 * rng.normal(size=(len(y), 3))
        x = np.concatenate([telling, 3 * rng.normal(size=(len(y), 17))], 1)
        order = rng.permutation(len(y))
        return Split((x @ mixing).astype(np.float32)[order], y[order])

    def domain(name: str, classes: range) -> Domain:
        splits = {"train": split(classes, 40), "test": split(classes, 20)}
        return Domain(name, splits, tuple(f"class {c}" for c in classes), "features")

    recipe = Recipe(steps=200, batch_size=64, lr=5e-3, schedule="constant", curve_points=2)
    task = FewShot(ways=4, shots=shots, queries=queries, episodes=20)
    return Toy(domain("seen", range(40)), domain("unseen", range(40, 48)), task, MLP(hidden=(32, 16)), recipe)


def strokes() -> Toy:
    """Images of 12 × 12 with one stroke of 2 × 8 pixels; a class is its direction, and it moves about.

    Shifted strokes share few pixels with their own class, so that pixels mislead and shapes do not.
    """
    rng = np.random.default_rng(2)

    def image(turned: int) -> np.ndarray:
        drawn = np.zeros((12, 12), dtype=np.uint8)
        row, column = rng.integers(1, 10), rng.integers(1, 4)
        drawn[row : row + 2, column : column + 8] = 255
        return drawn.T if turned else drawn

    def domain(name: str, bright: int) -> Domain:
        def split(per_class: int) -> Split:
            y = np.repeat([0, 1], per_class)
            x = np.stack([image(c) for c in y])[:, None]
            return Split(x if bright else 255 - x, y)

        return Domain(name, {"train": split(10), "test": split(12)}, (f"{name} 0", f"{name} 1"), "image")

    recipe = Recipe(steps=60, batch_size=4, lr=1e-2, schedule="constant", curve_points=2)
    task = FewShot(ways=2, shots=1, queries=3, episodes=30)
    return Toy(domain("dark", 0), domain("light", 1), task, Identity(size=12), recipe)


@cache
def refitted_from_scratch() -> float:
    """What the task's reference reaches on ``telling_directions``; computed once, for it is fitted on each episode."""
    return score(Scratch(), telling_directions())
