"""Inside a window of training nothing is read from the device, and nothing waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tlbench.api.data import Pool
from tlbench.api.types import Turn
from tlbench.builtin.small_backbones import SmallCNN
from tlbench.functional import supervised

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.training.context import TrialContext

WINDOWS = 5


class Reads(TorchDispatchMode):
    """Counts what the host can only go on from when it knows values on the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func is not torch.ops.aten.index.Tensor or any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        if by_mask and {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
            self.count += 1
            self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def supervised_once(ctx: TrialContext) -> None:
    model = ctx.classifier()
    ctx.train(supervised(model), update=model)


def in_turns(ctx: TrialContext) -> None:
    model = ctx.classifier()

    def apart(source: Any, target: Any, step: Any) -> Any:
        pull = (model.backbone(source.x).mean(0) - model.backbone(target.x).mean(0)).square().sum()
        return {"task": F.cross_entropy(model(source.x), source.y), "apart": step.progress * pull}

    ctx.take_turns(
        Turn(apart, model.backbone, ("source", "target")), Turn(supervised(model), model.head, ("target",), times=2)
    )


def reads(make_context: Any, train: Callable[[TrialContext], None], steps: int, **recipe: Any) -> Reads:
    rng = np.random.default_rng(0)
    sizes = {"target": 50, "source": 70}
    pools = {n: Pool(rng.integers(0, 256, (k, 3, 8, 8)).astype(np.uint8), np.arange(k) % 3, 3)
             for n, k in sizes.items()}  # fmt: skip
    ctx = make_context(pools=pools, backbone=SmallCNN(size=8, width=4, depth=2), steps=steps, curve_points=WINDOWS,
                       **recipe)  # fmt: skip
    with Reads() as counted:
        train(ctx)
    return counted


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(("train", "terms"), [(supervised_once, 1), (in_turns, 3)])
def test_losses_are_read_once_a_window_however_many_steps_it_has(
    make_context: Any, train: Any, terms: int, optimizer: str
) -> None:
    more = {"optimizer": optimizer, "clip_norm": 1.0, "warmup": 0.2, "augmentation": "crop-flip"}
    for steps in (20, 60):
        found = reads(make_context, train, steps, **more)
        assert (found.count, found.names) == (WINDOWS * terms, {"aten::_local_scalar_dense"})


def test_a_loss_that_reads_a_value_is_counted(make_context: Any) -> None:
    """So that the test above cannot pass by counting nothing."""

    def nosy(ctx: TrialContext) -> None:
        model = ctx.classifier()

        def loss(target: Any, step: Any) -> Any:
            value = F.cross_entropy(model(target.x), target.y)
            return value if value.item() > 0 else 2 * value

        ctx.train(loss, update=model)

    assert reads(make_context, nosy, 20).count == WINDOWS + 20


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU; its own check for waiting is for CUDA")
@pytest.mark.parametrize("augmentation", ["none", "crop-flip"])
def test_on_a_gpu_torch_finds_nothing_that_waits_inside_a_window(make_context: Any, augmentation: str) -> None:
    rng = np.random.default_rng(0)
    pool = Pool(rng.integers(0, 256, (50, 3, 8, 8)).astype(np.uint8), np.arange(50) % 3, 3)
    ctx = make_context(pools={"target": pool}, backbone=SmallCNN(size=8, width=4, depth=2), steps=40, curve_points=2,
                       augmentation=augmentation, clip_norm=1.0, device="cuda")  # fmt: skip
    model = ctx.classifier()

    def loss(target: Any, step: Any) -> Any:
        if step.index in (5, 25):  # well inside the two windows: whatever has to be set up has been
            torch.cuda.set_sync_debug_mode("error")
        if step.index in (18, 38):
            torch.cuda.set_sync_debug_mode("default")
        return F.cross_entropy(model(target.x), target.y)

    try:
        ctx.train(loss, update=model)
    finally:
        torch.cuda.set_sync_debug_mode("default")
