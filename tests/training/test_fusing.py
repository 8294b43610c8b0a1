"""Seeds trained as one end where each ends alone; where that is not sure, they are trained one by one."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlbench.api.data import Pool, Seeds, Shape
from tlbench.api.recipe import Recipe
from tlbench.api.types import Group, Turn
from tlbench.builtin.fine_tune import FineTune
from tlbench.builtin.l2_sp import L2SP
from tlbench.builtin.small_backbones import MLP
from tlbench.errors import Diverged
from tlbench.functional import reverse_gradient, supervised
from tlbench.models.factory import ModelFactory
from tlbench.training.checkpoint import Checkpoints, Interrupted
from tlbench.training.context import TrialContext, open_context
from tlbench.training.fused_tape import Seed
from tlbench.training.fusing import clip_each, train_as_one
from tlbench.training.stacked import Refused
from tlbench.training.tape import Tape

if TYPE_CHECKING:
    from functools import partial
    from pathlib import Path

K, STEPS = 3, 110


def context(seed: int, folder: Path | None = None, **options: Any) -> TrialContext:
    rng = np.random.default_rng(options.pop("data", seed))
    x = rng.normal(size=(90, 6)).astype(np.float32)
    stop, meet = options.pop("stop", lambda: False), options.pop("meet", None)
    backbone = options.pop("backbone", MLP(hidden=(8, 5)))
    return open_context(
        {"target": Pool(x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0), 3)},
        num_classes=3,
        models=ModelFactory(backbone, "net", Shape("features", (6,)), Seeds(seed), torch.device("cpu")),
        recipe=Recipe(**{"steps": STEPS, "batch_size": 16, "curve_points": 5, **options}),
        start="random",
        tape=Tape(folder),
        checkpoints=Checkpoints(folder, 1e9),
        stop=stop,
        meet=meet,
    )


def alone(fit: Any, **options: Any) -> list[TrialContext]:
    found = [context(seed, **options) for seed in range(K)]
    for ctx in found:
        fit(ctx)
    return found


def fused(fit: Any, *, folder: Path | None = None, **options: Any) -> tuple[list[TrialContext], list[Any]]:
    """Contexts whose first training was done as one, and how each ended. Raises ``Refused``."""
    calls: list[partial[None]] = []

    def meet(call: partial[None]) -> bool:
        calls.append(call)
        return True

    found = [context(seed, folder and folder / str(seed), meet=meet, **options) for seed in range(K)]
    for ctx in found:
        fit(ctx)
    return found, train_as_one([Seed(call, contextlib.nullcontext) for call in calls], lambda what, measure: True)


def plain(ctx: TrialContext) -> None:
    model = ctx.classifier()
    ctx.train(supervised(model), update=model)


def rates(ctx: TrialContext) -> None:
    model = ctx.classifier()
    model.backbone.blocks[0].requires_grad_(False)
    ctx.train(supervised(model), update=[Group(model.head, lr=3.0, weight_decay=0.1), model])


def terms(ctx: TrialContext) -> None:
    model, start = ctx.classifier(), torch.full((5,), float(ctx.seed))  # a tensor that differs by seed

    def loss(batch: Any, step: Any) -> Any:
        features = model.backbone(batch.x)
        pull = step.progress * (features.mean(0) - start).square().mean()
        return {"task": F.cross_entropy(model.head(features), batch.y), "pull": pull}

    ctx.train(loss, update=model)


def same(mine: list[TrialContext], theirs: list[TrialContext], rtol: float = 1e-3, *, resumed: bool = False) -> None:
    for a, b in zip(mine, theirs, strict=True):
        one, two = a.session.tape, b.session.tape
        assert (one.steps, one.examples, one.loss_steps) == (two.steps, two.examples, two.loss_steps)
        assert [(s.step, s.first, s.point, s.at) for s in one.snapshots] == [
            (s.step, s.first, s.point, s.at) for s in two.snapshots
        ]
        assert resumed or [w[:2] for w in one.windows] == [w[:2] for w in two.windows]  # a resumed one is shorter
        assert one.losses.keys() == two.losses.keys()
        for name, column in one.losses.items():
            assert column == pytest.approx(two.losses[name], rel=rtol, abs=rtol * 1e-2)
        for s, t in zip(one.snapshots, two.snapshots, strict=True):
            for name, tensor in s.load().items():
                torch.testing.assert_close(tensor, t.load()[name], rtol=rtol, atol=rtol * 1e-1)


@pytest.mark.parametrize(
    ("fit", "recipe"),
    [
        (plain, {}),
        (plain, {"optimizer": "sgd", "lr": 0.05, "clip_norm": 0.3, "weight_decay": 0.01}),
        (plain, {"optimizer": "adam", "schedule": "linear", "warmup": 0.2}),
        (plain, {"data": 0, "clip_norm": 0.1, "schedule": "constant"}),  # all seeds see the same examples
        (rates, {}),
        (terms, {"batch_size": 200}),
        (L2SP().fit, {}),
        (FineTune(layer_decay=0.5).fit, {}),
    ],
)
def test_each_seed_ends_where_it_ends_alone(fit: Any, recipe: dict[str, Any]) -> None:
    ours, ends = fused(fit, **recipe)
    assert ends == [None] * K
    same(alone(fit, **recipe), ours)
    assert all(ctx.session.tape.fused == {"seeds": K, "steps": STEPS} for ctx in ours)
    last = [ctx.session.tape.losses for ctx in ours]
    assert last[0] != last[1]  # each its own


def test_a_network_of_features_and_of_images_is_the_same_to_it() -> None:
    """Constant tensors, flattened images and scaled pixels go the same way."""
    rng = np.random.default_rng(0)
    pools = [{"target": Pool(rng.integers(0, 256, (64, 1, 4, 4), np.uint8), np.arange(64) % 3, 3)} for _ in range(K)]

    def make(seed: int, meet: Any) -> TrialContext:
        models = ModelFactory(
            MLP(hidden=(8,), size=4), "net", Shape("image", (1, 4, 4)), Seeds(seed), torch.device("cpu")
        )
        recipe = Recipe(steps=STEPS, batch_size=16, curve_points=2)
        return open_context(
            pools[seed],
            num_classes=3,
            models=models,
            recipe=recipe,
            start="random",
            tape=Tape(None),
            checkpoints=Checkpoints(None),
            meet=meet,
        )

    calls: list[Any] = []
    ours, theirs = (
        [make(k, lambda call: calls.append(call) or True) for k in range(K)],
        [make(k, None) for k in range(K)],
    )
    for ctx in (*ours, *theirs):
        plain(ctx)
    train_as_one([Seed(call, contextlib.nullcontext) for call in calls], lambda what, measure: True)
    same(theirs, ours)


# ---- what is not fused -----------------------------------------------------------------------------


def counts(ctx: TrialContext) -> None:
    model, seen = ctx.classifier(), [0]

    def loss(batch: Any, step: Any) -> Any:
        seen[0] += 1
        return F.cross_entropy(model(batch.x), batch.y)

    ctx.train(loss, update=model)


def counts_late(ctx: TrialContext) -> None:
    model, seen = ctx.classifier(), [0]

    def loss(batch: Any, step: Any) -> Any:
        if step.index == 70:
            seen.append(1)
        return F.cross_entropy(model(batch.x), batch.y) / len(seen)

    ctx.train(loss, update=model)


def draws_late(ctx: TrialContext) -> None:
    model = ctx.classifier()

    def loss(batch: Any, step: Any) -> Any:
        noise = torch.rand(()) if step.index == 70 else 0.0
        return F.cross_entropy(model(batch.x), batch.y) + noise

    torch.manual_seed(ctx.seed)
    ctx.train(loss, update=model)


def fails_late(ctx: TrialContext) -> None:
    model = ctx.classifier()

    def loss(batch: Any, step: Any) -> Any:
        scores = model(batch.x)
        return F.cross_entropy(scores[:8], batch.y[:8]) if step.index == 70 else F.cross_entropy(scores, batch.y)

    ctx.train(loss, update=model)


def number(ctx: TrialContext) -> None:
    model, own = ctx.classifier(), 1.0 + ctx.seed
    ctx.train(lambda batch, step: own * F.cross_entropy(model(batch.x), batch.y), update=model)


def number_late(ctx: TrialContext) -> None:
    model, own = ctx.classifier(), 1.0 + ctx.seed
    ctx.train(
        lambda batch, step: F.cross_entropy(model(batch.x), batch.y) * (own if step.index == 70 else 1), update=model
    )


def alias(ctx: TrialContext) -> None:
    model = ctx.classifier()
    held = model.head.weight.detach()  # not a copy: it changes with the training
    ctx.train(lambda b, s: F.cross_entropy(model(b.x), b.y) + (model.head.weight - held).square().sum(), update=model)


def reverses(ctx: TrialContext) -> None:
    model = ctx.classifier()
    ctx.train(lambda b, s: F.cross_entropy(model.head(reverse_gradient(model.backbone(b.x), 0.0)), b.y), update=model)


def reads(ctx: TrialContext) -> None:
    model = ctx.classifier()
    ctx.train(lambda b, s: F.cross_entropy(model(b.x), b.y) * float(b.x.mean() > 0), update=model)


def changes(ctx: TrialContext) -> None:
    plain(ctx.augmented(lambda batch, generator: batch))


def in_turns(ctx: TrialContext) -> None:
    model = ctx.classifier()
    turn = Turn(supervised(model), model)
    ctx.take_turns(turn, turn)


class Normed(MLP):
    def load(self, shape: Shape, *, pretrained: bool = True) -> Any:
        net = super().load(shape, pretrained=pretrained)
        net.net.append(nn.BatchNorm1d(5))
        return net


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (counts, {}, "keeps a count"),
    (counts_late, {}, "keeps a count"),
    (draws_late, {}, "draws"),
    (fails_late, {}, "__getitem__"),
    (number, {}, "other values"),
    (number_late, {}, "other values"),
    (alias, {}, "trained weight"),
    (reverses, {}, "view_as"),
    (reads, {}, "gt is not known"),
    (changes, {}, "augmented, changed"),
    (in_turns, {}, "take turns"),
    (plain, {"steps": 40}, "too few"),
    (plain, {"precision": "bfloat16"}, "bfloat16"),
    (plain, {"backbone": MLP(hidden=(8, 5), dropout=0.2)}, "dropout"),
    (plain, {"backbone": Normed(hidden=(8, 5))}, "add_ is not known"),
]


@pytest.mark.parametrize(("fit", "options", "why"), REFUSED, ids=lambda v: getattr(v, "__name__", None))
def test_what_is_not_sure_is_refused_and_everything_is_as_before(fit: Any, options: dict[str, Any], why: str) -> None:
    calls: list[Any] = []

    def meet(call: partial[None]) -> bool:
        calls.append((call, torch.get_rng_state()))
        return True

    ours = [context(seed, meet=meet, **options) for seed in range(K)]
    for ctx in ours:
        torch.manual_seed(7)
        fit(ctx)
    with pytest.raises(Refused, match=why):
        train_as_one([Seed(call, contextlib.nullcontext) for call, _ in calls], lambda what, measure: True)
    for call, drawn in calls:  # now each by itself, to the bit
        torch.set_rng_state(drawn)
        call()
    theirs = []
    for seed in range(K):
        theirs.append(context(seed, **options))
        torch.manual_seed(7)
        fit(theirs[-1])
    same(theirs, ours, rtol=0.0)
    assert not any(ctx.session.tape.fused for ctx in ours)


def test_a_shape_that_does_not_pay_is_not_fused() -> None:
    calls: list[Any] = []
    for seed in range(K):
        plain(context(seed, meet=lambda call: calls.append(call) or True))
    asked: list[Any] = []
    with pytest.raises(Refused, match="does not pay"):
        train_as_one(
            [Seed(call, contextlib.nullcontext) for call in calls],
            lambda what, measure: bool(asked.append((what, measure()))),
        )
    what, gain = asked[0]
    assert what["seeds"] == K
    assert what["weights"][0] == [8, 6]
    assert what["batches"] == [16]
    assert 0.1 < gain < 10


# ---- seeds that end apart --------------------------------------------------------------------------


def explodes(ctx: TrialContext) -> None:
    model, scale = ctx.classifier(), torch.tensor(1e30 if ctx.seed == 1 else 1.0)
    ctx.train(lambda batch, step: scale * F.cross_entropy(model(batch.x), batch.y), update=model)


def test_a_seed_that_diverges_does_no_harm_to_the_others() -> None:
    options = {"optimizer": "sgd", "lr": 0.1}
    ours, ends = fused(explodes, **options)
    assert ends[0] is None
    assert ends[2] is None
    with pytest.raises(Diverged) as own:
        explodes(context(1, **options))
    assert isinstance(ends[1], Diverged)
    assert str(ends[1]) == str(own.value)
    theirs = [context(seed, **options) for seed in (0, 2)]
    for ctx in theirs:
        explodes(ctx)
    same(theirs, [ours[0], ours[2]])


def test_when_all_diverge_each_says_so() -> None:
    def all_explode(ctx: TrialContext) -> None:
        model = ctx.classifier()
        ctx.train(lambda batch, step: 1e30 * F.cross_entropy(model(batch.x), batch.y), update=model)

    _, ends = fused(all_explode, optimizer="sgd", lr=0.1)
    assert [type(end) for end in ends] == [Diverged] * K


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_stopped_training_goes_on_alone_from_the_checkpoint_of_each(tmp_path: Path, optimizer: Any) -> None:
    asked = iter(range(10_000))
    stop = lambda: next(asked) > 60  # noqa: E731
    _, ends = fused(plain, folder=tmp_path, stop=stop, optimizer=optimizer)
    assert [type(end) for end in ends] == [Interrupted] * K
    again = [context(seed, tmp_path / str(seed), optimizer=optimizer) for seed in range(K)]
    for ctx in again:
        plain(ctx)
    assert all(0 < ctx.session.checkpoints.resumed_from < STEPS for ctx in again)
    assert all(0 < ctx.session.tape.fused["steps"] < STEPS for ctx in again)
    same(alone(plain, optimizer=optimizer), again, resumed=True)


def test_seeds_with_a_checkpoint_are_not_fused(tmp_path: Path) -> None:
    asked = iter(range(10_000))
    fused(plain, folder=tmp_path, stop=lambda: next(asked) > 60)
    with pytest.raises(Refused, match="checkpoint"):
        fused(plain, folder=tmp_path)


def test_clipping_is_that_of_each_seed() -> None:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(K, 4, 3)), nn.Parameter(torch.randn(K, 5)), nn.Parameter(torch.randn(K))]
    for p in parameters[:2]:
        p.grad = torch.randn_like(p) * torch.tensor([0.01, 1.0, 100.0]).view(-1, *[1] * (p.dim() - 1))
    grads = [p.grad.clone() for p in parameters[:2] if p.grad is not None]
    clip_each(parameters, 0.5)
    for k in range(K):
        own = [nn.Parameter(g[k]) for g in grads]
        for p, g in zip(own, grads, strict=True):
            p.grad = g[k].clone()
        nn.utils.clip_grad_norm_(own, 0.5)
        for p, stacked in zip(own, parameters, strict=False):
            assert stacked.grad is not None
            assert p.grad is not None
            torch.testing.assert_close(stacked.grad[k], p.grad)
    assert math.isclose(
        float(sum(p.grad[2].square().sum() for p in parameters[:2] if p.grad is not None)), 0.25, rel_tol=1e-4
    )
