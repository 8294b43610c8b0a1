"""For measurements of memory: a data set of any size, made a thousand images at a time, and a method on features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tlbench import hookimpl
from tlbench.api.data import Domain, Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlbench.api.data import Array
    from tlbench.api.types import Cache, Context, Fitted

CHUNK = 1000


@dataclass(frozen=True)
class Blocks:
    """Images uint8 [N, 3, side, side]; the mean of the first channel tells the class."""

    name: ClassVar[str] = "blocks"

    count: int
    """Training examples."""
    tests: int = 1000
    """Test examples."""
    side: int = 32
    """Pixels."""

    def load(self, cache: Cache) -> Domain:
        import numpy as np

        from tlbench.data.rows import release

        def filled(count: int, seed: int) -> tuple[Array, Array]:
            x = cache.empty((count, 3, self.side, self.side), np.uint8, "the images")
            y = np.empty(count, np.int64)
            for begin in range(0, count, CHUNK):
                rng = np.random.default_rng([seed, begin])
                part = x[begin : begin + CHUNK]
                y[begin : begin + CHUNK] = rng.integers(0, 4, len(part))
                part[:] = np.frombuffer(rng.bytes(part.size), np.uint8).reshape(part.shape)
                part[:, 0] = part[:, 0] // 4 + 48 * y[begin : begin + CHUNK, None, None].astype(np.uint8)
                release(x)
            return x, y

        def build() -> Mapping[str, Array]:
            (x, y), (x_test, y_test) = filled(self.count, 0), filled(self.tests, 1)
            return {"train/x": x, "train/y": y, "test/x": x_test, "test/y": y_test}

        found = cache.arrays(f"blocks-{self.count}-{self.tests}-{self.side}", build)
        splits = {name: Split(found[f"{name}/x"], found[f"{name}/y"]) for name in ("train", "test")}
        return Domain("blocks", splits, ("a", "b", "c", "d"), "image")


@dataclass(frozen=True)
class ClassMeans:
    """The nearest mean of a class in frozen features; takes no memory worth the word beside them."""

    name: ClassVar[str] = "class-means"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    def fit(self, ctx: Context) -> Fitted:
        import torch

        train = ctx.features("target")
        means_CD = torch.stack([train.x[train.y == c].mean(0) for c in range(ctx.num_classes)])
        return ctx.on_features(lambda x_BD: -torch.cdist(x_BD.float(), means_CD))


@hookimpl
def tlbench_strategies() -> list[type]:
    return [ClassMeans]


@hookimpl
def tlbench_datasets() -> list[type]:
    return [Blocks]
