"""Small problems of the shallow methods: the classes are there to be found, but not where the source says."""

from __future__ import annotations

import numpy as np

from tlbench.api.data import Domain, Split
from tlbench.api.recipe import Recipe
from tlbench.builtin.small_backbones import Identity
from tlbench.builtin.tasks import Adaptation
from tlbench.testing import Toy

RECIPE = Recipe(steps=300, batch_size=64, lr=1e-2, schedule="constant")


def toy(source: tuple[np.ndarray, np.ndarray], *target: tuple[np.ndarray, np.ndarray]) -> Toy:
    """Two domains of features as they are; the target's train and test split are given."""
    names = tuple(str(c) for c in range(int(source[1].max()) + 1))
    train, test = target

    def split(pair: tuple[np.ndarray, np.ndarray]) -> Split:
        return Split(pair[0].astype(np.float32), pair[1].astype(np.int64))

    source_domain = Domain("toy-source", {"train": split(source), "test": split(source)}, names, "features")
    target_domain = Domain("toy-target", {"train": split(train), "test": split(test)}, names, "features")
    return Toy(source_domain, target_domain, Adaptation(), Identity(), RECIPE)


def squeezed() -> Toy:
    """Source features without correlation; the target's are the same seen through a matrix that squeezes them.

    Two classes in the plane, on either side of a line. The matrix is symmetric and positive, with a large value along
    a diagonal of the plane: it turns the line by nearly 45 degrees and more, and a quarter of the target falls on the
    source's wrong side. Whitening and colouring with the covariances is exactly this matrix.
    """
    rng = np.random.default_rng(5)
    along, across = np.array([1, 1]) / np.sqrt(2), np.array([1, -1]) / np.sqrt(2)
    matrix = 5 * np.outer(along, along) + 0.3 * np.outer(across, across)

    def draw(size: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.uniform(-1, 1, (4 * size, 2))
        x = x[np.abs(x[:, 0]) > 0.15][:size]
        return x, (x[:, 0] > 0).astype(int)

    source, (train, y), (test, z) = draw(400), draw(400), draw(400)
    return toy(source, (train @ matrix, y), (test @ matrix, z))


def moved() -> Toy:
    """Three classes on a circle in two of twelve directions; the target is moved far along a direction between them."""
    rng = np.random.default_rng(6)

    def draw(size: int, by: float) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers(3, size=size)
        signal = 4 * np.stack([np.cos(2 * np.pi * y / 3), np.sin(2 * np.pi * y / 3)], axis=1)
        x = np.concatenate([signal, np.zeros((size, 10))], axis=1) + rng.normal(size=(size, 12))
        return x + by * np.array([0.45, 0.0, *[0.9 / np.sqrt(10)] * 10]), y

    return toy(draw(300, 0.0), draw(300, 20.0), draw(300, 20.0))


def turned() -> Toy:
    """The direction that tells the classes apart is turned by 80 degrees, and noise stands where it was.

    Both domains have their variance in a plane: the class and one direction that they share. In the target what
    the source's classifier looks at is little more than noise.
    """
    rng = np.random.default_rng(7)

    def draw(size: int, degrees: float) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers(2, size=size)
        x = 0.1 * rng.normal(size=(size, 8))
        side = np.where(y == 1, 4.0, -4.0) + rng.normal(size=size)
        x[:, 0] += np.cos(np.radians(degrees)) * side + (rng.normal(size=size) if degrees else 0)
        x[:, 2] += np.sin(np.radians(degrees)) * side
        x[:, 1] += 2 * rng.normal(size=size)
        return x, y

    return toy(draw(300, 0.0), draw(300, 80.0), draw(300, 80.0))


def noisy() -> Toy:
    """Two classes in one direction of variance 5, and 300 directions of noise that drown distances."""
    rng = np.random.default_rng(8)

    def draw(size: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers(2, size=size)
        x = rng.normal(size=(size, 301))
        x[:, 0] += np.where(y == 1, 2.2, -2.2)
        return x, y

    return toy(draw(60), draw(200), draw(200))
