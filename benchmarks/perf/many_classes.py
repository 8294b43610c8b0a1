"""A plugin for P9: classes with so many examples as those of the few-shot papers, and their logistic head in a loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from tlbench import Batch, Domain, Split, hookimpl

EACH = 300
"""Examples of each class in each split; miniImageNet's classes have 600."""


@dataclass(frozen=True)
class ManyClasses:
    """Classes that lie around random centres: grey images with a side of ``image``, or vectors of ``features``."""

    name: ClassVar[str] = "many-classes"

    first: int = 0
    count: int = 20
    features: int = 512
    image: int = 0

    def load(self, cache: Any) -> Domain:
        shape = (1, self.image, self.image) if self.image else (self.features,)
        classes = range(self.first, self.first + self.count)
        centres = np.stack([np.random.default_rng(c).normal(size=shape) for c in classes])

        def split(which: int) -> Split:
            y = np.repeat(np.arange(self.count), EACH)
            noise = np.random.default_rng([self.first, which]).normal(size=(len(y), *shape))
            if self.image:
                return Split((128 + 30 * (centres[y] + 1.5 * noise)).clip(0, 255).astype(np.uint8), y)
            return Split((1.1 / self.features**0.25 * centres[y] + noise).astype(np.float32), y)

        names = tuple(f"class {c}" for c in classes)
        kind = "image" if self.image else "features"
        return Domain(f"classes {self.first}", {"train": split(0), "test": split(1)}, names, kind)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PublishedLoop:
    """The head of Tian et al. 2020 as their code has it: scikit-learn's, for one support set after the other."""

    name: ClassVar[str] = "published-loop"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "episodes"})
    start: ClassVar[str] = "source"

    def fit(self, ctx: Any) -> Any:
        return _OneByOne(ctx.backbone().eval())


@dataclass(frozen=True, eq=False)
class _OneByOne:
    net: Any

    def adapt(self, support: Batch) -> Any:
        from sklearn.linear_model import LogisticRegression

        with torch.no_grad():
            x = F.normalize(self.net(support.x).float(), dim=-1)
        head = LogisticRegression(C=1.0, max_iter=1000).fit(x.numpy(), support.y.numpy())
        weight, bias = (torch.from_numpy(part).float() for part in (head.coef_.T, head.intercept_))
        return lambda x: F.normalize(self.net(x).float(), dim=-1) @ weight + bias


@hookimpl
def tlbench_datasets() -> list[type]:
    return [ManyClasses]


@hookimpl
def tlbench_strategies() -> list[type]:
    return [PublishedLoop]
