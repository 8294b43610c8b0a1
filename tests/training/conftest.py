"""A context for training tests: small pools, a small net, and whatever recipe a test asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest
import torch

from tlbench.api.data import Pool, Seeds, Shape
from tlbench.api.recipe import Recipe
from tlbench.builtin.small_backbones import MLP
from tlbench.models.factory import ModelFactory
from tlbench.training.checkpoint import Checkpoints
from tlbench.training.context import TrialContext, open_context
from tlbench.training.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class MakeContext(Protocol):
    def __call__(
        self,
        *,
        pools: Mapping[str, Pool] | None = None,
        backbone: Any = None,
        folder: Path | None = None,
        stop: Callable[[], bool] = ...,
        every: float = ...,
        device: str = ...,
        **recipe: Any,
    ) -> TrialContext: ...


def small_pools(sizes: Mapping[str, int]) -> dict[str, Pool]:
    found = {}
    for number, (name, size) in enumerate(sizes.items()):
        rng = np.random.default_rng(number)
        x = rng.normal(size=(size, 6)).astype(np.float32)
        y = (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0)
        found[name] = Pool(x, None if name.endswith("_unlabelled") else y, 3)
    return found


@pytest.fixture
def make_context() -> MakeContext:
    """A context over features [N, 6] of three classes; ``recipe`` fields as keywords."""

    def make(
        *,
        pools: Mapping[str, Pool] | None = None,
        backbone: Any = None,
        folder: Path | None = None,
        stop: Callable[[], bool] = lambda: False,
        every: float = 1e9,
        device: str = "cpu",
        **recipe: Any,
    ) -> TrialContext:
        pools = pools or small_pools({"target": 50, "source": 70, "target_unlabelled": 40})
        dims = tuple(next(iter(pools.values())).x.shape[1:])  # type: ignore[union-attr]
        shape = Shape("image" if len(dims) == 3 else "features", dims)
        torch.manual_seed(5)
        return open_context(
            pools,
            num_classes=3,
            models=ModelFactory(backbone or MLP(hidden=(8, 5)), "net", shape, Seeds(1), torch.device(device)),
            recipe=Recipe(**{"steps": 30, "batch_size": 16, "curve_points": 5, **recipe}),
            start="random",
            tape=Tape(folder),
            checkpoints=Checkpoints(folder, every),
            stop=stop,
        )

    return make
