"""`ctx.train` and `ctx.take_turns` beside loops written by hand with torch alone."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlbench.api.data import Pool, Seeds
from tlbench.api.recipe import Recipe
from tlbench.api.types import Group, Turn
from tlbench.builtin.small_backbones import MLP
from tlbench.errors import BudgetError, Diverged, TrialError
from tlbench.functional import supervised
from tlbench.training.context import curve_steps
from tlbench.training.optim import schedule_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.training.context import TrialContext


def order_of(size: int, batch: int, pool: str, seed: int = 1) -> Callable[[int], Any]:
    """Rows of each step, written out from the stated rule: a NumPy permutation for each epoch."""
    per_epoch = size // min(batch, size)

    def rows(step: int) -> Any:
        epoch, k = divmod(step, per_epoch)
        order = np.random.default_rng([Seeds(seed).integer("order", pool), epoch]).permutation(size)
        return order[k * batch : (k + 1) * batch]

    return rows


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def cosine(step: int, total: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * step / total))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("fused", [True, False])
def test_training_equals_a_loop_written_by_hand(make_context: Any, optimizer: str, fused: bool) -> None:
    ctx: TrialContext = make_context(optimizer=optimizer, lr=0.02, weight_decay=0.03, momentum=0.8)
    model = ctx.classifier()
    twin = copy.deepcopy(model)
    ctx.train(supervised(model), update=model)

    made: torch.optim.Optimizer
    if optimizer == "sgd":
        made = torch.optim.SGD(twin.parameters(), lr=0.02, weight_decay=0.03, momentum=0.8, fused=fused)
    else:
        kind = torch.optim.Adam if optimizer == "adam" else torch.optim.AdamW
        made = kind(twin.parameters(), lr=0.02, weight_decay=0.03, fused=fused)
    pool, rows, losses = ctx.given["target"], order_of(50, 16, "target"), []
    assert isinstance(pool.x, np.ndarray)
    assert pool.y is not None
    for step in range(30):
        made.param_groups[0]["lr"] = 0.02 * cosine(step, 30)
        chosen = rows(step)
        loss = F.cross_entropy(twin(torch.from_numpy(pool.x[chosen])), torch.from_numpy(pool.y[chosen]))
        made.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        made.step()
        losses.append(loss.item())

    tape = ctx.session.tape
    assert tape.loss_steps == [6, 12, 18, 24, 30]
    assert tape.losses["loss"] == pytest.approx(np.array(losses).reshape(5, 6).mean(1).tolist(), rel=1e-5)
    if fused:  # the same kernels in the same order give the same bits
        assert same(state(model), state(twin))
    else:
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_the_cosine_schedule_is_torchs_own(warmup: float) -> None:
    total, rise = 40, round(40 * warmup)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - rise)
    factor = schedule_of(Recipe(warmup=warmup, schedule="cosine"), total)
    for step in range(rise, total):
        assert factor(step) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_warm_up_rises_in_equal_steps_and_reaches_the_whole_rate() -> None:
    for schedule in ("constant", "cosine", "linear"):
        factor = schedule_of(Recipe(warmup=0.2, schedule=schedule), 50)  # type: ignore[arg-type]
        assert [factor(i) for i in range(10)] == pytest.approx([0.1 * (i + 1) for i in range(10)])
        assert factor(10) == 1.0


def test_the_linear_schedule_falls_in_equal_steps_and_the_constant_one_does_not_fall() -> None:
    linear = schedule_of(Recipe(schedule="linear"), 8)
    assert [linear(i) for i in range(8)] == pytest.approx([1 - i / 8 for i in range(8)])
    constant = schedule_of(Recipe(schedule="constant"), 8)
    assert [constant(i) for i in range(8)] == [1.0] * 8


def test_groups_train_at_rates_and_decays_of_their_own(make_context: Any) -> None:
    """One step of plain SGD, by its formula: w - lr · factor · (gradient + decay · w)."""
    ctx = make_context(optimizer="sgd", momentum=0.0, lr=0.1, weight_decay=0.5, schedule="constant", steps=1)
    model = ctx.classifier()
    twin = copy.deepcopy(model)
    ctx.train(supervised(model), update=[Group(model.head, lr=3.0, weight_decay=0.0), Group(model.backbone, lr=0.2)])
    pool, chosen = ctx.given["target"], order_of(50, 16, "target")(0)
    F.cross_entropy(twin(torch.from_numpy(pool.x[chosen])), torch.from_numpy(pool.y[chosen])).backward()
    with torch.no_grad():
        for after, before in zip(model.head.parameters(), twin.head.parameters(), strict=True):
            assert torch.allclose(after, before - 0.3 * before.grad, atol=1e-6)
        for after, before in zip(model.backbone.parameters(), twin.backbone.parameters(), strict=True):
            assert torch.allclose(after, before - 0.02 * (before.grad + 0.5 * before), atol=1e-6)


def test_a_parameter_named_twice_keeps_the_options_it_was_first_named_with(make_context: Any) -> None:
    def trained(update: Callable[[Any], Any]) -> dict[str, torch.Tensor]:
        ctx = make_context(optimizer="sgd", lr=0.1)
        model = ctx.classifier()
        ctx.train(supervised(model), update=update(model))
        return state(model)

    first = trained(lambda m: [Group(m.head, lr=5.0), m.backbone])
    assert same(first, trained(lambda m: [Group(m.head, lr=5.0), Group(m, lr=1.0)]))
    assert not same(first, trained(lambda m: [m, Group(m.head, lr=5.0)]))


def test_the_norm_of_the_gradient_is_clipped_over_all_parameters_together(make_context: Any) -> None:
    ctx = make_context(
        optimizer="sgd", momentum=0.0, lr=1.0, weight_decay=0.0, schedule="constant", steps=1, clip_norm=0.01
    )
    model = ctx.classifier()
    before = state(model)
    ctx.train(supervised(model), update=model)
    moved = math.sqrt(sum(float((v - before[k]).square().sum()) for k, v in model.state_dict().items()))
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_named_terms_are_added_up_and_recorded_each(make_context: Any) -> None:
    ctx = make_context(steps=10)
    model = ctx.classifier()
    seen: list[tuple[float, float]] = []

    def loss(batch: Any, step: Any) -> Any:
        task, size = F.cross_entropy(model(batch.x), batch.y), model.head.weight.square().sum()
        seen.append((task.item(), size.item()))
        return {"task": task, "size": 0.5 * size}

    ctx.train(loss, update=model)
    tape, by_hand = ctx.session.tape, np.array(seen).reshape(5, 2, 2).mean(1)
    assert tape.losses["task"] == pytest.approx(by_hand[:, 0].tolist(), rel=1e-6)
    assert tape.losses["size"] == pytest.approx((0.5 * by_hand[:, 1]).tolist(), rel=1e-6)

    one, two = make_context(steps=10), make_context(steps=10)
    a, b = one.classifier(), two.classifier()
    one.train(lambda t, s: F.cross_entropy(a(t.x), t.y) + 0.5 * a.head.weight.square().sum(), update=a)
    two.train(lambda t, s: {"x": F.cross_entropy(b(t.x), t.y), "y": 0.5 * b.head.weight.square().sum()}, update=b)
    assert same(state(a), state(b))


def test_the_loss_sees_one_batch_of_each_pool_in_order_and_no_label_that_is_withheld(make_context: Any) -> None:
    ctx = make_context(steps=7)
    model = ctx.classifier()
    steps = []

    def loss(source: Any, unlabelled: Any, step: Any) -> Any:
        steps.append((step.index, step.total, step.progress))
        for batch, pool in ((source, "source"), (unlabelled, "target_unlabelled")):
            rows = order_of(ctx.pools[pool], 16, pool)(step.index)
            assert np.array_equal(batch.x.numpy(), ctx.given[pool].x[rows])
        assert unlabelled.y is None
        return F.cross_entropy(model(source.x), source.y)

    ctx.train(loss, update=model, on=("source", "target_unlabelled"))
    assert steps == [(i, 7, i / 7) for i in range(7)]
    assert ctx.session.tape.examples == {"source": 7 * 16, "target_unlabelled": 7 * 16}


def test_frozen_modules_stay_in_evaluation_mode_and_keep_their_statistics(make_context: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.9))
            self.free = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.free(self.frozen(x))
            return out

    net = Net()
    net.frozen.requires_grad_(False)
    frozen, free = state(net.frozen), state(net.free)
    modes = []

    def loss(batch: Any, step: Any) -> Any:
        modes.append((net.frozen[1].training, net.frozen[2].training, net.free[1].training, net.free[2].training))
        assert torch.equal(net.frozen(batch.x), net.frozen(batch.x))  # no dropout
        return F.cross_entropy(net(batch.x), batch.y)

    ctx = make_context(steps=5)
    ctx.train(loss, update=net)
    assert set(modes) == {(False, False, True, True)}
    assert same(frozen, state(net.frozen))
    assert not torch.equal(free["1.running_mean"], net.free[1].running_mean)  # type: ignore[arg-type]
    assert not any(m.training for m in net.modules())  # ready to predict


def test_bfloat16_runs_under_autocast_and_keeps_float32_weights(make_context: Any) -> None:
    ctx = make_context(precision="bfloat16", steps=60, lr=0.02)
    model = ctx.classifier()
    kinds = set()

    def loss(batch: Any, step: Any) -> Any:
        scores = model(batch.x)
        kinds.add(scores.dtype)
        return F.cross_entropy(scores, batch.y)

    ctx.train(loss, update=model)
    assert kinds == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    losses = ctx.session.tape.losses["loss"]
    assert losses[-1] < losses[0]


# ---- alternating games -----------------------------------------------------------------------------


def test_a_players_weights_change_in_its_own_turn_only(make_context: Any) -> None:
    ctx = make_context(steps=6)
    body, left, right = nn.Linear(6, 4), nn.Linear(4, 3), nn.Linear(4, 3)
    players = {"body": body, "left": left, "right": right}
    trace: list[tuple[str, dict[str, Any]]] = []

    def game(name: str) -> Callable[..., Any]:
        def loss(batch: Any, step: Any) -> Any:
            trace.append((name, {k: state(m) for k, m in players.items()}))
            both = left(body(batch.x)), right(body(batch.x))
            gap = (both[0].softmax(1) - both[1].softmax(1)).abs().mean()
            if name == "all":
                return F.cross_entropy(both[0], batch.y) + F.cross_entropy(both[1], batch.y)
            return gap if name == "body" else -gap

        return loss

    ctx.take_turns(
        Turn(game("all"), [body, left, right]),
        Turn(game("heads"), [left, right]),
        Turn(game("body"), body, times=3),
    )
    moves = {"all": {"body", "left", "right"}, "heads": {"left", "right"}, "body": {"body"}}
    assert [name for name, _ in trace] == ["all", "heads", "body", "body", "body"] * 6
    ends = [*[s for _, s in trace[1:]], {k: state(m) for k, m in players.items()}]
    for (name, before), after in zip(trace, ends, strict=True):
        changed = {k for k in players if not same(before[k], after[k])}
        assert changed == moves[name]


def test_an_alternating_game_equals_one_written_by_hand_with_shared_optimiser_state(make_context: Any) -> None:
    """The body is trained in both turns with one Adam state, the head in the first only."""
    ctx = make_context(steps=8, optimizer="adam", weight_decay=0.0, schedule="constant", lr=0.01)
    body, head = nn.Linear(6, 4), nn.Linear(4, 3)
    twin_body, twin_head = copy.deepcopy(body), copy.deepcopy(head)

    def task(b: nn.Module, h: nn.Module, x: Any, y: Any) -> torch.Tensor:
        return F.cross_entropy(h(b(x)), y)

    def spread(b: nn.Module, h: nn.Module, x: Any) -> torch.Tensor:
        return h(b(x)).var()

    ctx.take_turns(
        Turn(lambda t, s: task(body, head, t.x, t.y), [body, head]),
        Turn(lambda t, s: spread(body, head, t.x), body, on=("source",), times=2),
    )
    # one Adam each, so that the body has one state; its steps count over both turns
    adam = {m: torch.optim.Adam(m.parameters(), lr=0.01, fused=True) for m in (twin_body, twin_head)}
    target, source = ctx.given["target"], ctx.given["source"]
    for step in range(8):
        rows, others = order_of(50, 16, "target")(step), order_of(70, 16, "source")(step)
        for times, movers in ((1, (twin_body, twin_head)), (2, (twin_body,))):
            for _ in range(times):
                twin_body.zero_grad()
                twin_head.zero_grad()
                if len(movers) == 2:
                    task(
                        twin_body, twin_head, torch.from_numpy(target.x[rows]), torch.from_numpy(target.y[rows])
                    ).backward()  # type: ignore[no-untyped-call]
                else:
                    spread(twin_body, twin_head, torch.from_numpy(source.x[others])).backward()  # type: ignore[no-untyped-call]
                for mover in movers:
                    adam[mover].step()
    for ours, theirs in ((body, twin_body), (head, twin_head)):
        assert all(torch.allclose(state(ours)[k], state(theirs)[k], atol=1e-6) for k in state(ours))
    assert ctx.steps_left == 0


# ---- budget ----------------------------------------------------------------------------------------


def test_the_budget_counts_down_over_phases_and_refuses_more(make_context: Any) -> None:
    ctx = make_context(steps=12)
    model = ctx.classifier()
    ctx.train(supervised(model), update=model.head, steps=5)
    assert ctx.steps_left == 7
    with pytest.raises(BudgetError, match=r"asked for 8 steps of training, but 7 of 12 are left"):
        ctx.train(supervised(model), update=model, steps=8)
    ctx.train(supervised(model), update=model)
    assert ctx.steps_left == 0
    assert ctx.session.tape.steps == 12
    for steps in (None, 0, -3, 1):
        with pytest.raises(BudgetError, match="12"):
            ctx.train(supervised(model), update=model, steps=steps)


@pytest.mark.parametrize(
    ("epochs", "batch", "size", "steps"), [(2.0, 16, 48, 6), (1.5, 16, 50, 5), (3.0, 64, 50, 3), (0.01, 16, 50, 1)]
)
def test_epochs_become_steps_of_the_first_pool(
    make_context: Any, epochs: float, batch: int, size: int, steps: int
) -> None:
    rng = np.random.default_rng(0)
    pools = {"target": Pool(rng.normal(size=(size, 6)).astype(np.float32), rng.integers(3, size=size), 3)}
    assert make_context(pools=pools, steps=None, epochs=epochs, batch_size=batch).steps_left == steps


def test_a_pool_that_was_not_declared_is_refused_by_name(make_context: Any) -> None:
    ctx = make_context()
    model = ctx.classifier()
    with pytest.raises(TrialError, match=r"unknown pool 'targte'\. Did you mean 'target'\?"):
        ctx.train(supervised(model), update=model, on=("targte",))


def test_another_backbone_has_a_budget_of_its_own_and_the_common_tape(make_context: Any) -> None:
    ctx = make_context(steps=10, curve_points=2)
    model = ctx.classifier()
    other = ctx.using(MLP(hidden=(4,)))
    teacher = other.classifier()
    assert teacher.backbone.num_features == 4
    other.train(supervised(teacher), update=teacher)
    assert (other.steps_left, ctx.steps_left) == (0, 10)
    ctx.train(supervised(model), update=model)
    assert ctx.session.tape.steps == 20


def test_curve_points_are_even_and_include_both_ends() -> None:
    assert curve_steps(100, 4) == [0, 25, 50, 75, 100]
    assert curve_steps(3, 20) == [0, 1, 2, 3]
    assert curve_steps(500, 20) == list(range(0, 501, 25))


def test_a_loss_that_is_not_finite_ends_the_trial_and_names_the_term_and_the_window(make_context: Any) -> None:
    ctx = make_context(steps=30, curve_points=3)
    model = ctx.classifier()

    def loss(batch: Any, step: Any) -> Any:
        task = F.cross_entropy(model(batch.x), batch.y)
        return {"task": task, "odd": task.detach() * (float("nan") if step.index == 13 else 0.0)}

    with pytest.raises(Diverged, match=r"the loss term 'odd' became nan between steps 10 and 20"):
        ctx.train(loss, update=model)


def test_a_loss_without_terms_is_an_authors_mistake(make_context: Any) -> None:
    ctx = make_context()
    with pytest.raises(ValueError, match="returned no terms"):
        ctx.train(lambda batch, step: {}, update=ctx.classifier())


def test_a_checkpoint_inside_a_window_does_not_change_what_the_clock_counts(make_context: Any, tmp_path: Any) -> None:
    """Windows hold all steps between two points of the curve, however often a checkpoint was written inside."""
    ctx = make_context(folder=tmp_path, every=0.0, steps=20, curve_points=2)
    model = ctx.classifier()
    ctx.train(supervised(model), update=model)
    tape = ctx.session.tape
    assert [(w.steps, w.examples) for w in tape.windows] == [(10, 160), (10, 160)]
    assert sum(w.seconds for w in tape.windows) == pytest.approx(tape.seconds)
    assert tape.examples == {"target": 20 * 16}
