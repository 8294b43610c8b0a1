"""Pools on the disk: the batches, episodes, features and scores of pools in memory, to the bit."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tlbench.api.data import Array, Episodes, Pool, Seeds, Shape
from tlbench.api.recipe import Recipe
from tlbench.builtin.small_backbones import SmallCNN
from tlbench.data.inputs import scaling
from tlbench.data.rows import Rows
from tlbench.errors import TrialError
from tlbench.evaluation.predict import Conditions, predict
from tlbench.functional import supervised
from tlbench.models.factory import ModelFactory
from tlbench.training.ahead import Ahead, chunks
from tlbench.training.augment import augmentation
from tlbench.training.checkpoint import Checkpoints
from tlbench.training.context import TrialContext, open_context
from tlbench.training.streams import EpisodeStream, Stream
from tlbench.training.tape import Tape

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")
CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))
X = np.random.default_rng(0).integers(0, 256, (300, 3, 8, 8), dtype=np.uint8)
Y = np.random.default_rng(1).integers(0, 4, 300)


@pytest.fixture
def mapped(tmp_path: Path) -> Array:
    np.save(tmp_path / "x.npy", X)
    found: Array = np.load(tmp_path / "x.npy", mmap_mode="r")
    return found


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("size", [300, 70, 5])
@pytest.mark.parametrize("batches", [1, 3, 1000])
def test_a_stream_from_the_disk_gives_the_batches_of_one_in_memory(
    mapped: Array, device: str, size: int, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlbench.training.ahead.BLOCK", batches * 32 * X[0].nbytes)
    place, rows = torch.device(device), np.random.default_rng(2).permutation(300)[:size]
    y = torch.from_numpy(Y[rows]).to(place)

    def jitter(batch: Any, generator: torch.Generator) -> Any:
        return type(batch)(batch.x + torch.rand(1, generator=generator).to(place), batch.y)

    common: dict[str, Any] = {
        "batch_size": 32, "seed": 5, "scale": scaling(None, place), "augment": augmentation("crop-flip", 3),
        "changes": (jitter,), "device": place,
    }  # fmt: skip
    here = Stream(torch.from_numpy(X[rows]).to(place), y, **common)
    there = Stream(Rows(mapped, 0)[rows], y, **common)
    assert len(here) == len(there) == size
    for step in [*range(25), 3, 4, 24, 0]:  # over the end of epochs, and back
        one, other = here.batch(step), there.batch(step)
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)
        assert torch.equal(one.rows, other.rows)


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_episodes_from_the_disk_are_those_of_a_pool_in_memory(mapped: Array, device: str) -> None:
    place = torch.device(device)
    y = torch.from_numpy(Y).to(place)
    episodes = Episodes("target", ways=3, shots=2, queries=4, count=2)
    streams = [
        EpisodeStream(x, y, episodes, seed=3, scale=scaling(None, place), augment=augmentation("flip", 1), device=place)
        for x in (torch.from_numpy(X).to(place), Rows(mapped, 0))
    ]
    for step in [*range(6), 2]:
        one, other = (stream.batch(step) for stream in streams)
        for a, b in ((one.support, other.support), (one.query, other.query)):
            assert torch.equal(a.x, b.x)
            assert torch.equal(a.y, b.y)


@pytest.mark.parametrize("block", [1, 2 * 4 * X[0].nbytes])
def test_the_next_batch_is_read_by_a_thread_while_nobody_asks(
    mapped: Array, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlbench.training.ahead.BLOCK", block)
    asked: dict[int, str] = {}
    done = threading.Event()

    def rows_of(step: int) -> Array:
        asked[step] = threading.current_thread().name
        if step == 2:
            done.set()
        return np.arange(4 * step, 4 * step + 4)

    ahead = Ahead(Rows(mapped, 0), rows_of, CPU)
    for step in range(2):
        assert np.array_equal(ahead(step).numpy(), X[4 * step : 4 * step + 4])
    assert done.wait(10)
    assert np.array_equal(ahead(2).numpy(), X[8:12])
    assert all(name.startswith("tlbench-ahead") for name in asked.values())


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_a_batch_from_the_disk_may_be_changed_in_its_place(
    mapped: Array, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlbench.training.ahead.BLOCK", block)
    stream = Stream(Rows(mapped, 0), None, batch_size=300, seed=0, scale=lambda x: x, device=CPU)
    before = stream.batch(0).x.clone()
    stream.batch(0).x.zero_()
    assert torch.equal(stream.batch(0).x, before)
    assert np.array_equal(mapped, X)


def test_what_goes_wrong_in_the_thread_is_raised_where_the_batch_is_asked_for(
    mapped: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlbench.training.ahead.BLOCK", 1)
    ahead = Ahead(Rows(mapped, 0), lambda step: np.array([299 + step]), CPU)
    assert np.array_equal(ahead(0).numpy(), X[299:])
    with pytest.raises(IndexError):
        ahead(1)


@pytest.mark.parametrize("size", [1, 7, 300, 999])
def test_chunks_are_the_pool_in_its_order(mapped: Array, size: int) -> None:
    for x in (torch.from_numpy(X), Rows(mapped, 0)):
        found = list(chunks(x, size, CPU))
        assert torch.equal(torch.cat(found), torch.from_numpy(X))
        assert {len(part) for part in found[:-1]} <= {size}
    parts = list(chunks({"a": torch.arange(9), "b": torch.arange(9) * 2}, 4, CPU))
    assert [len(part["a"]) for part in parts] == [4, 4, 1]
    assert torch.equal(parts[2]["b"], torch.tensor([16]))


# ---- the context -----------------------------------------------------------------------------------


def context(pools: dict[str, Pool], **recipe: Any) -> TrialContext:
    models = ModelFactory(SmallCNN(size=8, width=4, depth=1), "cnn", Shape("image", (3, 8, 8)), Seeds(0), CPU)
    return open_context(
        pools,
        num_classes=4,
        models=models,
        recipe=Recipe(**{"steps": 12, "batch_size": 32, **recipe}),
        start="random",
        tape=Tape(),
        checkpoints=Checkpoints(None),
    )


def trained(pools: dict[str, Pool], **recipe: Any) -> tuple[dict[str, torch.Tensor], list[Any], Array, torch.Tensor]:
    """Weights, losses, scores of the source and features of the target."""
    ctx = context(pools, **recipe)
    model = ctx.classifier()
    ctx.train(supervised(model), update=model)
    conditions = Conditions(CPU, "float32", scaling(ctx.models.transform, CPU))
    scores = predict(model, pools["source"], conditions)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    return state, ctx.session.tape.losses["loss"], scores, ctx.features("target").x


def test_training_scores_and_features_are_the_same_from_the_disk(mapped: Array) -> None:
    rows = np.random.default_rng(3).permutation(300)[:200]
    here = {"target": Pool(X[rows], Y[rows], 4), "source": Pool(X, Y, 4)}
    there = {"target": Pool(Rows(mapped, 0)[rows], Y[rows], 4), "source": Pool(Rows(mapped, 0), Y, 4)}
    for recipe in ({}, {"augmentation": "resized-crop-flip-colour", "precision": "bfloat16"}):
        one, other = trained(here, **recipe), trained(there, **recipe)
        assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
        assert one[1] == other[1]
        assert np.array_equal(one[2], other[2])
        assert torch.equal(one[3], other[3])


def test_pools_that_fit_the_limit_together_are_read_once_and_others_stay_on_the_disk(mapped: Array) -> None:
    limit = 250 * X[0].nbytes
    view = Rows(mapped, limit)
    ctx = context({"target": Pool(view[:200], Y[:200], 4), "source": Pool(view[200:], Y[200:], 4)})
    target, source = ctx._tensors("target")[0], ctx._tensors("source")[0]
    assert torch.equal(target, torch.from_numpy(X[:200]))
    assert isinstance(source, Rows)
    branch = ctx.using(steps=5)
    assert isinstance(branch._tensors("target")[0], Rows)  # a second copy would not fit
    few = ctx.restricted("source", np.arange(50))
    assert isinstance(few._tensors("source")[0], torch.Tensor)
    assert torch.equal(ctx.inputs("target").y, torch.from_numpy(Y[:200]))
    with pytest.raises(TrialError, match=r"the pool source is wanted as a whole.*--memory-limit"):
        ctx.inputs("source")


def test_features_are_in_the_precision_of_the_recipe() -> None:
    pools = {"target": Pool(X, Y, 4)}
    exact, short = (context(pools, precision=p) for p in ("float32", "bfloat16"))
    one, other = exact.features("target").x, short.features("target").x
    net, scale = exact.backbone().eval(), scaling(exact.models.transform, CPU)
    with torch.no_grad():
        by_hand = torch.cat([net(scale(torch.from_numpy(X[i : i + 256]))) for i in (0, 256)])
    assert torch.equal(one, by_hand)
    assert other.dtype == torch.float32
    assert not torch.equal(one, other)
    assert torch.cosine_similarity(one, other).min() > 0.99
