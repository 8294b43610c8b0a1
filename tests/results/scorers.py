"""A plugin for stored predictions: a described data set, and strategies that come to scores in each kind of way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from tlbench import Batch, Domain, hookimpl
from tlbench.builtin.digits import Digits


def nearest(x: Any, y: Any, classes: int) -> Any:
    """The nearest class mean of the pixels."""
    means = torch.stack([x.flatten(1)[y == c].mean(0) for c in range(classes)])
    return lambda q: -torch.cdist(q.flatten(1), means)


@dataclass(frozen=True)
class Described:
    """Digits with attributes: the bits of each digit's value, and one that is always on."""

    name: ClassVar[str] = "described"

    classes: tuple[int, ...] = (0, 1)

    def load(self, cache: Any) -> Domain:
        domain = Digits(classes=self.classes).load(cache)
        bits = [[1, *(c >> b & 1 for b in range(4))] for c in self.classes]
        return dataclasses.replace(domain, class_attributes=np.array(bits, dtype=np.float32))


@dataclass(frozen=True)
class AttributeMeans:
    """Predicts each attribute by least squares on the pixels, and takes the class with the nearest description."""

    name: ClassVar[str] = "attribute-means"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "class_attributes"})
    start: ClassVar[str] = "random"

    def fit(self, ctx: Any) -> Any:
        source = ctx.inputs("source")
        given, wanted = ctx.attributes("source"), ctx.attributes("target")
        weight = torch.linalg.lstsq(source.x.flatten(1), given[source.y], driver="gelsd").solution
        return lambda x: -torch.cdist(x.flatten(1) @ weight, wanted)


@dataclass(frozen=True)
class Both:
    """A predictor for the target and one for the source."""

    name: ClassVar[str] = "both"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target"})
    start: ClassVar[str] = "random"

    def fit(self, ctx: Any) -> Any:
        pools = {name: ctx.inputs(name) for name in ("source", "target")}
        return {name: nearest(pool.x, pool.y, ctx.classes(name)) for name, pool in pools.items()}


@dataclass(frozen=True)
class Adapts:
    """Adapts to each episode."""

    name: ClassVar[str] = "adapts"
    needs: ClassVar[frozenset[str]] = frozenset({"episodes"})
    start: ClassVar[str] = "random"

    def fit(self, ctx: Any) -> Any:
        return self

    def adapt(self, support: Batch) -> Any:
        return nearest(support.x, support.y, int(support.y.max()) + 1)


@dataclass(frozen=True)
class Refitted:
    """Is fitted anew on each support set."""

    name: ClassVar[str] = "refitted"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[str] = "random"

    def fit(self, ctx: Any) -> Any:
        support = ctx.inputs("target")
        return nearest(support.x, support.y, ctx.num_classes)


@hookimpl
def tlbench_datasets() -> list[type]:
    return [Described]


@hookimpl
def tlbench_strategies() -> list[type]:
    return [AttributeMeans, Both, Adapts, Refitted]
