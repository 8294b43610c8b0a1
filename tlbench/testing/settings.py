"""Small problems of the settings beyond fine-tuning and adaptation: unseen classes, and two graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor, nn

from tlbench.api.data import Domain, Graph, Shape, Split
from tlbench.api.recipe import Recipe
from tlbench.builtin.small_backbones import MLP, Trunk
from tlbench.builtin.tasks import FewShot, NodeClassification, ZeroShot
from tlbench.testing.toys import Toy, few_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlbench.api.data import Array


class _Attributes(nn.Module):
    """A node's attributes, and not its number."""

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return x["attributes"]


@dataclass(frozen=True)
class _NodeMLP:
    """An MLP over the attributes of single nodes."""

    name: ClassVar[str] = "node-mlp"
    pretrained_on: ClassVar[None] = None

    def load(self, shape: Shape, *, pretrained: bool = True) -> Trunk:
        trunk = MLP(hidden=(16,)).load(Shape("features", shape.dims), pretrained=pretrained)
        return Trunk([_Attributes(), *trunk.net], trunk.num_features, None)


def unseen_classes(task: Any = None) -> Toy:
    """Twelve classes with six yes-or-no attributes each; four of them are the target's, of which nothing was seen.

    An example is its class's attributes (as -1 or 1) on six of 30 directions, with noise on all of them. The source's
    eight classes show which directions mean something, and which attribute each is. ``task`` defaults to few-shot.
    """
    rng = np.random.default_rng(5)
    mixing = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    codes = np.array([[int(bit) for bit in f"{n:06b}"] for n in rng.permutation(64)[:12]], dtype=np.float32)

    def split(classes: range, per_class: int) -> Split:
        y = np.repeat(np.arange(len(classes)), per_class)
        signal = 1.2 * (2 * codes[classes.start : classes.stop][y] - 1)
        x = np.concatenate([signal, np.zeros((len(y), 24))], 1) + rng.normal(size=(len(y), 30))
        order = rng.permutation(len(y))
        return Split((x @ mixing).astype(np.float32)[order], y[order])

    def domain(name: str, classes: range) -> Domain:
        splits = {"train": split(classes, 60), "test": split(classes, 40)}
        names = tuple(f"class {c}" for c in classes)
        return Domain(name, splits, names, "features", class_attributes=codes[classes.start : classes.stop])

    recipe = Recipe(steps=150, batch_size=32, lr=5e-3, schedule="constant")
    task = task or FewShot(ways=4, shots=1, queries=10, episodes=40)
    return Toy(domain("seen", range(8)), domain("unseen", range(8, 12)), task, MLP(hidden=(32, 16)), recipe)


def two_graphs(task: Any = None) -> Toy:
    """Two graphs of three communities; a node's attributes tell its community poorly, its neighbours' together well.

    ``task`` defaults to node classification without labels on the target.
    """
    rng = np.random.default_rng(11)
    centres = rng.normal(size=(3, 12))

    def domain(name: str, per_class: int) -> Domain:
        y = rng.permutation(np.repeat(np.arange(3), per_class))
        x = (0.4 * centres[y] + rng.normal(size=(len(y), 12))).astype(np.float32)
        same = y[:, None] == y[None]
        linked = np.triu(rng.random(same.shape) < np.where(same, 0.12, 0.01), 1)
        edges = np.array(np.nonzero(linked | linked.T), dtype=np.int64)
        half = len(y) // 2
        splits = {"train": _nodes(x, y, np.arange(half)), "test": _nodes(x, y, np.arange(half, len(y)))}
        return Domain(name, splits, ("a", "b", "c"), "graph", graph=Graph(x, edges))

    recipe = Recipe(steps=150, batch_size=64, lr=1e-2, schedule="constant")
    return Toy(domain("graph-source", 80), domain("graph-target", 80), task or NodeClassification(), _NodeMLP(), recipe)


def _nodes(x: Array, y: Array, rows: Array) -> Split:
    return Split({"attributes": x[rows].copy(), "node": rows.astype(np.int64)}, y[rows].copy())


def contract_toy(strategy: Any) -> Toy:
    """The small problem that has whatever the strategy needs."""
    if "graphs" in strategy.needs:
        return two_graphs(NodeClassification(labels=5))
    if "class_attributes" in strategy.needs:
        return unseen_classes(ZeroShot())
    if "episodes" in strategy.needs:
        return unseen_classes()
    return few_labels()
