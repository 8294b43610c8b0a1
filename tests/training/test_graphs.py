"""Steps that are captured and replayed: the same bits as plain steps, and never where a step differs from the last."""

from __future__ import annotations

import importlib.util
import math
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlbench.api.data import Episodes, Pool
from tlbench.api.types import Step, Turn
from tlbench.builtin.small_backbones import MLP, SmallCNN
from tlbench.functional import reverse_gradient, supervised
from tlbench.training.checkpoint import Interrupted
from tlbench.training.graphs import OBSERVED, Graphs
from tlbench.training.hosted import SendingStep
from tlbench.training.observe import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.training.context import TrialContext

STEPS = 30


def _beside(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


TapeCapture = _beside("tape_replay").TapeCapture


def images() -> dict[str, Pool]:
    rng = np.random.default_rng(0)
    return {n: Pool(rng.integers(0, 256, (k, 3, 8, 8)).astype(np.uint8), np.arange(k) % 3, 3)
            for n, k in {"target": 50, "source": 70}.items()}  # fmt: skip


def one(ctx: TrialContext) -> nn.Module:
    model = ctx.classifier()
    ctx.train(supervised(model), update=model)
    return model


def two_turns(ctx: TrialContext) -> nn.Module:
    model = ctx.classifier()

    def apart(source: Any, target: Any, step: Any) -> Any:
        pull = (model.backbone(source.x).mean(0) - model.backbone(target.x).mean(0)).square().sum()
        return {"task": F.cross_entropy(model(source.x), source.y), "apart": 0.1 * pull}

    ctx.take_turns(
        Turn(apart, model.backbone, ("source", "target")), Turn(supervised(model), model.head, ("target",), times=2)
    )
    return model


def outcome(make_context: Any, train: Callable[[TrialContext], Any], graphs: Graphs | None, **more: Any) -> Any:
    ctx = make_context(steps=STEPS, **more)
    torch.manual_seed(0)
    ctx.session.graphs = graphs
    model = train(ctx)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    return state, ctx.session.tape.losses, [s.load() for s in ctx.session.tape.snapshots]


def same(a: Any, b: Any) -> bool:
    def equal(x: dict[str, Any], y: dict[str, Any]) -> bool:
        return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)

    return equal(a[0], b[0]) and a[1] == b[1] and all(equal(x, y) for x, y in zip(a[2], b[2], strict=True))


def taped(said: list[str]) -> Graphs:
    return Graphs(TapeCapture, said.append)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize(("train", "moves"), [(one, 1), (two_turns, 3)])
def test_replayed_steps_give_the_bits_of_plain_ones(
    make_context: Any, train: Any, moves: int, schedule: str, optimizer: str
) -> None:
    more = {"pools": images(), "backbone": SmallCNN(size=8, width=4, depth=2), "optimizer": optimizer,
            "schedule": schedule, "lr": 2.0**-9, "clip_norm": 1.0, "augmentation": "crop-flip"}  # fmt: skip
    said: list[str] = []
    graphs = taped(said)
    # a tensor holds a rate as float32, so the plain side's rates are rounded likewise; on a GPU the loop does it itself
    plain = outcome(make_context, rounded(train), None, **more)
    replayed = outcome(make_context, train, graphs, **more)
    assert said == []
    assert graphs.replayed == moves * STEPS - OBSERVED * (1 if train is one else 2)
    assert same(plain, replayed)


def rounded(train: Callable[[TrialContext], Any]) -> Callable[[TrialContext], Any]:
    """The training with learning rates in float32, by torch's own means: rates in tensors, and every step plain."""

    def run(ctx: TrialContext) -> Any:
        def never(device: torch.device) -> Any:
            return None

        graphs = Graphs(never, lambda text: None)
        over = graphs.over

        def plain(move: Any, device: torch.device) -> Any:
            over(move, device)
            return move

        graphs.over = plain  # type: ignore[method-assign, assignment]
        ctx.session.graphs = graphs
        return train(ctx)

    return run


def test_episodes_are_replayed_too(make_context: Any) -> None:
    def train(ctx: TrialContext) -> nn.Module:
        net = ctx.backbone()

        def loss(batch: Any, step: Any) -> Any:
            means = net(batch.support.x.flatten(0, 1)).view(2, 3, 2, -1).mean(2)
            scores = -torch.cdist(net(batch.query.x.flatten(0, 1)).view(2, 6, -1), means)
            return F.cross_entropy(scores.flatten(0, 1), batch.query.y.flatten())

        ctx.train(loss, update=net, on=(Episodes("target", ways=3, shots=2, queries=2, count=2),))
        return net

    said: list[str] = []
    graphs = taped(said)
    found = outcome(make_context, train, graphs), outcome(make_context, rounded(train), None)
    assert (said, graphs.replayed) == ([], STEPS - OBSERVED)
    assert same(*found)


def test_a_loss_may_hold_the_context_and_draw_nothing_from_it(make_context: Any) -> None:
    def holding(draws: bool) -> Callable[[TrialContext], nn.Module]:
        def train(ctx: TrialContext) -> nn.Module:
            model = ctx.classifier()

            def loss(b: Any, s: Any) -> Any:
                size = ctx.num_classes if not draws else int(ctx.rng.choice([3, 3]))
                return F.cross_entropy(model(b.x), b.y) / size

            ctx.take_turns(Turn(loss, model.head, times=3), Turn(supervised(model), model.backbone))
            return model

        return train

    said: list[str] = []
    graphs = taped(said)
    assert same(outcome(make_context, holding(False), graphs), outcome(make_context, rounded(holding(False)), None))
    assert said == []
    assert graphs.replayed == 4 * STEPS - 2 * OBSERVED
    outcome(make_context, holding(True), taped(said))
    assert len(said) == 1
    assert "it keeps something from step to step (loss:ctx.rng)" in said[0]


def test_a_trial_that_goes_on_from_a_checkpoint_is_replayed_to_the_same_bits(make_context: Any, tmp_path: Path) -> None:
    def stopping(after: int) -> Callable[[], bool]:
        asked = iter(range(10_000))
        return lambda: next(asked) >= after

    whole = outcome(make_context, one, taped([]))
    with pytest.raises(Interrupted):
        outcome(make_context, one, taped([]), folder=tmp_path, stop=stopping(14))
    said: list[str] = []
    graphs = taped(said)
    assert same(outcome(make_context, one, graphs, folder=tmp_path), whole)
    assert said == []
    assert 0 < graphs.replayed < STEPS - OBSERVED


# ---- what the host makes, and what is drawn ---------------------------------------------------------


def by_chance(model: nn.Module, ctx: TrialContext) -> Any:
    return lambda b, s: F.cross_entropy(F.dropout(model(b.x), 0.3), b.y)


def by_schedule(model: nn.Module, ctx: TrialContext) -> Any:
    def loss(b: Any, s: Any) -> Any:
        scores = reverse_gradient(model(b.x), s.host(lambda now: math.exp(-now.progress) - 1.3))
        return {"task": s.host(lambda now: 1 - now.progress / 3) * F.cross_entropy(scores, b.y), "size": scores.mean()}

    return loss


def by_host_draws(model: nn.Module, ctx: TrialContext) -> Any:
    own = torch.Generator().manual_seed(3)

    def made(now: Step) -> Any:
        weight = torch.from_numpy(ctx.rng.random(16)).float()
        return {"weight": weight, "noise": torch.randn(16, 3, generator=own), "late": torch.tensor(now.index > 20)}

    def loss(b: Any, s: Any) -> Any:
        drawn = s.host(made)
        found = F.cross_entropy(model(b.x) + drawn["noise"], b.y, reduction="none") * drawn["weight"]
        return found.mean() + drawn["late"] * found.square().mean()

    return loss


@pytest.mark.parametrize("make", [by_chance, by_schedule, by_host_draws])
def test_what_is_drawn_and_what_the_host_makes_is_new_in_each_replay(make_context: Any, make: Any) -> None:
    def train(ctx: TrialContext) -> nn.Module:
        model = ctx.classifier()
        ctx.train(make(model, ctx), update=model, steps=STEPS // 2)
        ctx.train(make(model, ctx), update=model)
        return model

    said: list[str] = []
    graphs = taped(said)
    replayed = outcome(make_context, train, graphs)
    after = torch.get_rng_state()
    plain = outcome(make_context, rounded(train), None)
    assert (said, graphs.replayed) == ([], STEPS - 2 * OBSERVED)
    assert same(replayed, plain)
    assert torch.equal(after, torch.get_rng_state())


def test_what_the_host_makes_in_another_shape_after_the_capture_ends_the_replays_and_is_not_drawn_twice(
    make_context: Any,
) -> None:
    def train(ctx: TrialContext) -> nn.Module:
        model = ctx.classifier()

        def made(now: Step) -> torch.Tensor:
            return torch.from_numpy(ctx.rng.random(3 if now.index < 20 else 1)).float()

        ctx.train(lambda b, s: F.cross_entropy(model(b.x) * s.host(made), b.y), update=model)
        return model

    said: list[str] = []
    graphs = taped(said)
    assert same(outcome(make_context, train, graphs), outcome(make_context, rounded(train), None))
    assert graphs.replayed == 20 - OBSERVED
    assert said == ["steps run one by one and not as a CUDA graph: what the host makes differs in shape"]


def test_a_step_of_a_gpu_sends_what_the_host_made() -> None:
    step = SendingStep(3, 10, torch.device("meta"))
    assert step.host(lambda now: {"x": torch.ones(2) * now.index})["x"].device.type == "meta"
    assert step.host(lambda now: now.progress) == 0.3


class Unwatched(Step):
    """A step that says that nobody read it."""

    was_read = False

    def __init__(self, index: int, total: int, *_: Any) -> None:
        super().__init__(index, total)


# ---- what cannot be captured ---------------------------------------------------------------------

Loss = "Callable[[nn.Module], Callable[[Any, Any], Any]]"


def by_progress(model: nn.Module) -> Any:
    return lambda b, s: (1 - 0.5 * s.progress) * F.cross_entropy(model(b.x), b.y)


def by_value(model: nn.Module) -> Any:
    def loss(b: Any, s: Any) -> Any:
        found = F.cross_entropy(model(b.x), b.y)
        return found if found.item() > 0.5 else 2 * found

    return loss


def by_mask(model: nn.Module) -> Any:
    return lambda b, s: F.cross_entropy(model(b.x)[b.y > 0], b.y[b.y > 0])


def by_own_chance(model: nn.Module) -> Any:
    generator = torch.Generator()
    return lambda b, s: F.cross_entropy(model(b.x) * torch.rand(3, generator=generator), b.y)


def by_count(model: nn.Module) -> Any:
    count = 0

    def loss(b: Any, s: Any) -> Any:
        nonlocal count
        count += 1
        return F.cross_entropy(model(b.x), b.y) * (2.0 if count > 20 else 1.0)

    return loss


def by_history(model: nn.Module) -> Any:
    before: list[Any] = []

    def loss(b: Any, s: Any) -> Any:
        scores = model(b.x)
        before.append(scores.detach())
        return F.cross_entropy(scores, b.y) + 0.01 * (scores - before[-2:][0]).square().mean()

    return loss


def by_bank(model: nn.Module) -> Any:
    bank = {"mean": torch.zeros(3)}

    def loss(b: Any, s: Any) -> Any:
        scores = model(b.x)
        bank["mean"] = 0.9 * bank["mean"] + 0.1 * scores.detach().mean(0)
        return F.cross_entropy(scores - bank["mean"], b.y)

    return loss


def by_generator(model: nn.Module) -> Any:
    rng = np.random.default_rng(0)

    def loss(b: Any, s: Any) -> Any:
        return F.cross_entropy(model(b.x), b.y) * float(rng.choice([1.0, 1.0, 1.0]))

    return loss


def by_host_number(model: nn.Module) -> Any:
    return lambda b, s: F.cross_entropy(model(b.x), b.y) * torch.tensor(0.5)


def by_sparse(model: nn.Module) -> Any:
    halves = torch.eye(3).mul(0.5).to_sparse()
    return lambda b, s: F.cross_entropy(torch.sparse.mm(halves, model(b.x).T).T, b.y)


def by_notes(model: nn.Module) -> Any:
    notes: dict[str, Any] = {}

    def loss(b: Any, s: Any) -> Any:
        notes.clear()  # so that a new tensor may come to stand where the old one stood
        notes["scores"] = model(b.x).detach()
        return F.cross_entropy(model(b.x), b.y)

    return loss


def by_iterator(model: nn.Module) -> Any:
    rates = iter([1.0] * 25 + [2.0] * 100)
    return lambda b, s: F.cross_entropy(model(b.x), b.y) * next(rates)


def by_host_and_itself(model: nn.Module) -> Any:
    rng = np.random.default_rng(0)

    def loss(b: Any, s: Any) -> Any:
        factor = s.host(lambda now: float(rng.choice([1.0, 1.0])))
        return F.cross_entropy(model(b.x), b.y) * factor * float(rng.choice([1.0, 1.0]))

    return loss


def by_host_with_its_own_step(model: nn.Module) -> Any:
    return lambda b, s: s.host(lambda now: 1.0 - 0.5 * s.progress) * F.cross_entropy(model(b.x), b.y)


def by_host_count(model: nn.Module) -> Any:
    return lambda b, s: F.cross_entropy(model(b.x), b.y) / s.host(lambda now: 1 + now.index // 20)


def by_host_of_scores(model: nn.Module) -> Any:
    def loss(b: Any, s: Any) -> Any:
        scores = model(b.x)
        return s.host(lambda now: 1.0 + 0.0 * float(scores.detach().sum())) * F.cross_entropy(scores, b.y)

    return loss


def by_host_local(model: nn.Module) -> Any:
    class Hidden:
        count = 0

    def loss(b: Any, s: Any) -> Any:
        Hidden.count += 1
        local = Hidden.count
        return s.host(lambda now: 1.0 + 0 * local) * F.cross_entropy(model(b.x), b.y)

    return loss


def by_host_that_counts(model: nn.Module) -> Any:
    count = [0]

    def make(now: Step) -> float:
        count[0] += 1
        return 1.0

    return lambda b, s: s.host(make) * F.cross_entropy(model(b.x), b.y)


def by_host_now_and_then(model: nn.Module) -> Any:
    class Hidden:
        count = 0

    def loss(b: Any, s: Any) -> Any:
        Hidden.count += 1
        return F.cross_entropy(model(b.x), b.y) * (s.host(lambda now: 1.0) if Hidden.count % 4 else 1.0)

    return loss


def by_host_of_a_size(model: nn.Module) -> Any:
    def loss(b: Any, s: Any) -> Any:
        return F.cross_entropy(model(b.x), b.y) * s.host(lambda now: torch.ones(1 + now.index // 3 % 2)).mean()

    return loss


def by_host_iterator(model: nn.Module) -> Any:
    rates = iter([1.0] * 25 + [2.0] * 100)
    return lambda b, s: F.cross_entropy(model(b.x), b.y) * s.host(lambda now: next(rates))


def by_host_partial(model: nn.Module) -> Any:
    def next_scale(kept: list[float]) -> float:
        kept[0] += 1.0
        return 1.0

    scale = partial(next_scale, [0.0])
    return lambda b, s: F.cross_entropy(model(b.x), b.y) * scale()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (by_progress, "it depends on where the training stands"),
        (by_value, "it reads a value on the host (aten::_local_scalar_dense)"),
        (by_mask, "what it does follows from values (aten::"),
        (by_own_chance, "it draws from another generator than the device's common one (aten::rand.generator)"),
        (by_host_and_itself, "it keeps something from step to step (loss:rng)"),
        (by_host_with_its_own_step, "it depends on where the training stands"),
        (by_host_count, "it depends on where the training stands"),
        (by_host_of_scores, "what the host makes follows from something else that the step made"),
        (by_host_local, "what the host makes follows from something else that the step made"),
        (by_host_that_counts, "what the host makes keeps something from step to step"),
        (by_host_now_and_then, "it asks the host for another number of things from step to step"),
        (by_host_of_a_size, "what the host makes differs in shape"),
        (by_host_iterator, "it holds an iterator (host:rates)"),
        (by_host_partial, "it keeps something from step to step (loss:scale.args[0][0])"),
        (by_count, "it keeps something from step to step (loss:count)"),
        (by_history, "it keeps something from step to step (len(loss:before))"),
        (by_bank, "it keeps something from step to step (loss:bank['mean'])"),
        (by_generator, "it keeps something from step to step (loss:rng)"),
        (by_host_number, "it makes a tensor of numbers of the host"),
        (by_sparse, "it uses a sparse tensor (aten::"),
        (by_notes, "it keeps something from step to step (loss:notes['scores'])"),
        (by_iterator, "it holds an iterator (loss:rates)"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_what_cannot_be_replayed_runs_plainly_and_the_reason_is_said_once(
    make_context: Any, make: Any, reason: str
) -> None:
    def train(ctx: TrialContext) -> nn.Module:
        model = ctx.classifier()
        ctx.train(make(model), update=model, steps=15)
        ctx.train(make(model), update=model)
        return model

    said: list[str] = []
    graphs = taped(said)
    found = outcome(make_context, train, graphs)
    assert graphs.replayed == 0
    assert len(said) == 1
    assert f"not as a CUDA graph: {reason}" in said[0]
    assert same(found, outcome(make_context, rounded(train), None))


def test_a_replay_would_have_gone_wrong_where_it_was_refused(
    make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the refusals are needed: with the check switched off, numbers of the host are baked in."""

    def train(ctx: TrialContext) -> nn.Module:
        model = ctx.classifier()
        ctx.train(by_progress(model), update=model)
        return model

    monkeypatch.setattr("tlbench.training.graphs.WatchedStep", Unwatched)
    monkeypatch.setattr("tlbench.training.graphs.why_not_steady", lambda *_: "")
    graphs = taped([])
    found = outcome(make_context, train, graphs)
    assert graphs.replayed == STEPS - OBSERVED
    assert not same(found, outcome(make_context, rounded(train), None))


def test_a_capture_that_fails_leaves_the_plain_steps_and_their_bits(make_context: Any) -> None:
    class Broken(TapeCapture):  # type: ignore[misc, valid-type]
        def __call__(self, work: Any) -> Any:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    said: list[str] = []
    found = outcome(make_context, one, Graphs(Broken, said.append))
    assert said == [
        "steps run one by one and not as a CUDA graph: torch could not capture it: RuntimeError: "
        "CUDA error: operation not permitted when stream is capturing"
    ]
    assert same(found, outcome(make_context, rounded(one), None))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gradient_is_reversed_by_a_tensor_as_by_a_number_to_the_bit(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    for strength in rng.random(20):
        given = torch.from_numpy(rng.normal(size=(50, 3))).to(dtype)
        found = []
        for number in (float(strength), torch.tensor(strength, dtype=torch.float32)):
            x = torch.zeros_like(given, requires_grad=True)
            reverse_gradient(x, number).backward(given)  # type: ignore[no-untyped-call]
            found.append(x.grad)
        assert torch.equal(*found)  # type: ignore[arg-type]


def test_a_short_training_is_not_captured(make_context: Any) -> None:
    def train(ctx: TrialContext) -> nn.Module:
        model = ctx.classifier()
        ctx.train(supervised(model), update=model, steps=OBSERVED - 1)
        return model

    said: list[str] = []
    graphs = taped(said)
    outcome(make_context, train, graphs)
    assert (said, graphs.replayed) == ([], 0)


def test_what_draws_from_the_common_generator_is_not_refused_and_another_generator_is() -> None:
    x = torch.rand(1, 2, 4, 8)
    for given, refused in ((None, False), (torch.Generator(), True)):
        with Observer(torch.device("cpu")) as seen:
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(x, x, x, 0.0)
            F.dropout(x)
            x.clone().bernoulli_(0.5, generator=given)
        assert bool(seen.refusal) is refused


def test_a_tensor_of_another_device_is_refused() -> None:
    with Observer(torch.device("cuda")) as seen:
        torch.ones(2) + 1
    assert seen.refusal == "it uses a tensor on the cpu (aten::add.Tensor)"


def test_a_zero_that_a_sum_begins_with_may_be_on_the_host_and_other_numbers_may_not() -> None:
    values, outside, meta = torch.ones(2, device="meta"), torch.zeros(()), torch.device("meta")
    with Observer(meta) as seen:
        sum(values.square().unbind(), torch.zeros(()))
    assert seen.refusal == ""
    with Observer(meta) as seen:
        values + outside
    assert seen.refusal == "it uses a tensor on the cpu (aten::add.Tensor)"
    with Observer(meta) as seen:
        values * torch.rand(())
    assert seen.refusal == "it draws from another generator than the device's common one (aten::rand)"


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no GPU; a CUDA graph can be captured on one alone"
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("train", [one, two_turns])
def test_on_a_gpu_a_cuda_graph_gives_the_bits_of_plain_steps(make_context: Any, train: Any, optimizer: str) -> None:
    more = {"pools": images(), "backbone": SmallCNN(size=8, width=4, depth=2), "optimizer": optimizer,
            "clip_norm": 1.0, "augmentation": "crop-flip", "device": "cuda"}  # fmt: skip
    torch.backends.cudnn.deterministic = True
    said: list[str] = []
    graphs = Graphs(say=said.append)
    found = outcome(make_context, train, graphs, **more)
    assert said == []
    assert graphs.replayed > STEPS // 2
    assert same(found, outcome(make_context, train, None, **more))


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no GPU; a CUDA graph can be captured on one alone"
)
@pytest.mark.parametrize("make", [by_chance, by_schedule, by_host_draws])
def test_on_a_gpu_draws_and_what_the_host_makes_are_those_of_plain_steps(make_context: Any, make: Any) -> None:
    def train(ctx: TrialContext) -> nn.Module:
        model = ctx.classifier()
        ctx.train(make(model, ctx), update=model)
        return model

    said: list[str] = []
    graphs = Graphs(say=said.append)
    found = outcome(make_context, train, graphs, backbone=MLP(hidden=(8, 5)), device="cuda")
    assert (said, graphs.replayed) == ([], STEPS - OBSERVED)
    assert same(found, outcome(make_context, train, None, backbone=MLP(hidden=(8, 5)), device="cuda"))


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no GPU; a CUDA graph can be captured on one alone"
)
def test_on_a_gpu_what_cannot_be_captured_runs_plainly(make_context: Any) -> None:
    def train(ctx: TrialContext) -> nn.Module:
        model = ctx.classifier()
        ctx.train(by_value(model), update=model)
        return model

    said: list[str] = []
    found = outcome(make_context, train, Graphs(say=said.append), backbone=MLP(hidden=(8, 5)), device="cuda")
    assert len(said) == 1
    assert same(found, outcome(make_context, train, None, backbone=MLP(hidden=(8, 5)), device="cuda"))
