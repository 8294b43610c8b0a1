"""Three shapes and three coats of animals: the zebra is striped and horse-shaped, and was never seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tlbench import Domain, Recipe, Split
from tlbench.builtin.small_backbones import Identity
from tlbench.builtin.tasks import ZeroShot
from tlbench.testing import Toy

ATTRIBUTES = ("horse-shaped", "cat-shaped", "dog-shaped", "striped", "spotted")
SEEN = {
    "horse": (1, 0, 0, 0, 0), "knabstrupper": (1, 0, 0, 0, 1), "tiger": (0, 1, 0, 1, 0), "leopard": (0, 1, 0, 0, 1),
    "wolf": (0, 0, 1, 0, 0), "thylacine": (0, 0, 1, 1, 0),
}  # fmt: skip
UNSEEN = {"zebra": (1, 0, 0, 1, 0), "lion": (0, 1, 0, 0, 0), "dalmatian": (0, 0, 1, 0, 1)}


def zebra(generalised: bool = False, noise: float = 0.5) -> Toy:
    """An example is its attributes, seen from 20 directions with noise on all of them."""
    rng = np.random.default_rng(2)
    mixing = np.linalg.qr(rng.normal(size=(20, 20)))[0]

    def split(codes: Any, per_class: int) -> Split:
        y = np.repeat(np.arange(len(codes)), per_class)
        x = np.concatenate([4 * codes[y], np.zeros((len(y), 15))], axis=1) + noise * rng.normal(size=(len(y), 20))
        order = rng.permutation(len(y))
        return Split((x @ mixing).astype(np.float32)[order], y[order])

    def domain(name: str, animals: Any) -> Domain:
        codes = np.array(list(animals.values()), dtype=np.float32)
        splits = {"train": split(codes, 50), "test": split(codes, 50)}
        return Domain(name, splits, tuple(animals), "features", class_attributes=codes)

    recipe = Recipe(steps=300, batch_size=32, lr=1e-2, schedule="constant")
    return Toy(domain("zoo", SEEN), domain("savanna", UNSEEN), ZeroShot(generalised=generalised), Identity(), recipe)


def misdescribed(toy: Toy) -> Toy:
    """The unseen classes under each other's descriptions: the zebra is said to be a plain cat, and so on."""
    wrong = np.roll(np.asarray(toy.target.class_attributes), 1, axis=0)
    return replace(toy, target=replace(toy.target, class_attributes=wrong))
