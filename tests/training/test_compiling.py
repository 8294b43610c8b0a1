"""Large networks are compiled while they are trained: once for all that are alike, and plain ever after."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tlbench.api.data import Pool, Shape
from tlbench.api.types import Group
from tlbench.builtin.small_backbones import MLP, SmallCNN
from tlbench.functional import supervised
from tlbench.training.compiling import compiled, is_compiled
from tlbench.training.graphs import Graphs

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own making while it traces


class Counting:
    """A backend that compiles nothing and counts how often it is asked to."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1
        return graph.forward


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_seeds_and_pairs_reuse_what_was_compiled_and_digits_stay(make_context: Any) -> None:
    backend, found = Counting(), []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        pool = Pool(rng.integers(0, 256, (50, 3, 8, 8)).astype(np.uint8), rng.permutation(50) % 3, 3)
        states = []
        for compiling in (True, False):
            ctx = make_context(pools={"target": pool}, backbone=SmallCNN(size=8, width=4, depth=2), steps=6)
            model = ctx.classifier()
            if compiling:
                with compiled([model], backend, large=0) as nets:
                    assert nets == [model.backbone]
                    ctx.train(supervised(model), update=model)
            else:
                ctx.train(supervised(model), update=model)
            states.append(model.state_dict())
            assert not is_compiled([model])
        assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
        found.append(backend.graphs)
    assert found[0] >= 1
    assert found == [found[0]] * 3


def test_small_networks_are_left_alone() -> None:
    net = MLP().load(Shape("features", (6,)))
    with compiled([net]) as nets:
        assert nets == []
        assert not is_compiled([net])


def test_what_torch_cannot_compile_runs_plainly(make_context: Any) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler here")

    ctx = make_context(steps=6)
    model = ctx.classifier()
    with compiled([model], broken, large=0):
        ctx.train(supervised(model), update=model)
    twin_ctx = make_context(steps=6)
    twin = twin_ctx.classifier()
    twin_ctx.train(supervised(twin), update=twin)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_compiled_network_is_not_captured_as_well(make_context: Any) -> None:
    said: list[str] = []
    ctx = make_context(steps=6)
    ctx.session.graphs = Graphs(say=said.append)
    model = ctx.classifier()
    with compiled([model], Counting(), large=0):
        ctx.train(supervised(model), update=[Group(model.head), model.backbone])
    assert said == ["steps run one by one and not as a CUDA graph: its network is compiled"]


def test_a_context_compiles_only_where_it_is_asked_to(make_context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlbench.training.context.compiled", partial(compiled, backend=Counting(), large=0))
    seen = []
    for compiling in (False, True):
        ctx = make_context(steps=2)
        ctx.session.compile = compiling
        model = ctx.classifier()
        inner = supervised(model)

        def loss(batch: Any, step: Any, model: Any = model, inner: Any = inner) -> Any:
            seen.append(is_compiled([model]))
            return inner(batch, step)

        ctx.train(loss, update=model)
        assert not is_compiled([model])
    assert seen == [False, False, True, True]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU; inductor's kernels are for one")
def test_on_a_gpu_a_compiled_network_learns_the_same_within_rounding(make_context: Any) -> None:
    losses = []
    for compiling in (True, False):
        rng = np.random.default_rng(0)
        pool = Pool(rng.integers(0, 256, (50, 3, 8, 8)).astype(np.uint8), np.arange(50) % 3, 3)
        ctx = make_context(pools={"target": pool}, backbone=SmallCNN(size=8, width=4, depth=2), steps=20, device="cuda")
        model = ctx.classifier()
        with compiled([model], large=0 if compiling else 1 << 60):
            ctx.train(supervised(model), update=model)
        losses.append(ctx.session.tape.losses["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
