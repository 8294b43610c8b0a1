"""The tape: every point of the curve can be put back exactly as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlbench.functional import supervised
from tlbench.training import tape as tape_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


class Net(nn.Module):
    """A body with buffers and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU())
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.body(x))
        return out


def watched(net: Net, seen: dict[int, Any], offset: int = 0) -> Callable[..., Any]:
    """The usual loss, with an independent copy of all weights before each step."""

    def loss(batch: Any, step: Any) -> Any:
        seen[offset + step.index] = state(net)
        return F.cross_entropy(net(batch.x), batch.y)

    return loss


def check_all_points(ctx: Any, net: nn.Module, seen: dict[int, Any], steps: list[int]) -> None:
    """Put back every point in several orders; each must be what the copy says.

    Statistics of the body are part of the point only where the body was trained: a forward pass before the
    body's training moves nothing that is measured here.
    """
    tape = ctx.session.tape
    positions = tape.points()
    assert [tape.snapshots[p].step for p in positions] == steps
    for order in (positions, positions[::-1], positions[1::2] + positions[::2]):
        for position in order:
            tape.restore(position)
            wanted = seen[tape.snapshots[position].step]
            for name, value in net.state_dict().items():
                assert torch.equal(value, wanted[name]), (name, tape.snapshots[position].step)


def test_points_of_one_training_are_put_back_exactly(make_context: Any) -> None:
    ctx, net, seen = make_context(steps=20, curve_points=4), Net(), {}
    ctx.train(watched(net, seen), update=net)
    seen[20] = state(net)
    check_all_points(ctx, net, seen, [0, 5, 10, 15, 20])


@pytest.mark.parametrize("first", [4, 5, 7, 19])
def test_points_of_a_head_first_and_then_whole_training_are_put_back_exactly(make_context: Any, first: int) -> None:
    ctx, net, seen = make_context(steps=20, curve_points=4), Net(), {}
    net.body.requires_grad_(False)
    net.body.eval()
    ctx.train(watched(net, seen), update=net.head, steps=first)
    net.body.requires_grad_(True)
    ctx.train(watched(net, seen, first), update=net)
    seen[20] = state(net)
    check_all_points(ctx, net, seen, [0, 5, 10, 15, 20])


@pytest.mark.parametrize("first", [5, 7])
def test_what_was_trained_in_an_earlier_phase_only_stands_where_that_phase_ended(make_context: Any, first: int) -> None:
    ctx, net, seen = make_context(steps=20, curve_points=4), Net(), {}
    net.body.requires_grad_(False)
    net.body.eval()
    ctx.train(watched(net, seen), update=net.head, steps=first)
    net.body.requires_grad_(True)
    net.head.requires_grad_(False)
    ctx.train(watched(net, seen, first), update=net, steps=6)
    net.head.requires_grad_(True)
    net.body.requires_grad_(False)
    net.body.eval()
    ctx.train(watched(net, seen, first + 6), update=net)
    seen[20] = state(net)
    check_all_points(ctx, net, seen, [0, 5, 10, 15, 20])


def test_what_a_strategy_did_between_two_phases_belongs_to_the_second(make_context: Any) -> None:
    """A head that is drawn anew between the phases: points before and after keep their own."""
    ctx, net, seen = make_context(steps=20, curve_points=4), Net(), {}
    ctx.train(watched(net, seen), update=net, steps=7)
    nn.init.ones_(net.head.weight)
    ctx.train(watched(net, seen, 7), update=net)
    seen[20] = state(net)
    check_all_points(ctx, net, seen, [0, 5, 10, 15, 20])


def test_snapshots_beyond_the_memory_go_to_disk_and_come_back_the_same(
    make_context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tape_module, "_IN_MEMORY", 600)
    ctx, net, seen = make_context(folder=tmp_path, steps=20, curve_points=4), Net(), {}
    ctx.train(watched(net, seen), update=net, steps=7)
    ctx.train(watched(net, seen, 7), update=net)
    seen[20] = state(net)
    kept = [s.path is None for s in ctx.session.tape.snapshots]
    assert kept[0]
    assert not all(kept)
    assert len(list(tmp_path.glob("spilled-*.safetensors"))) == kept.count(False)
    check_all_points(ctx, net, seen, [0, 5, 10, 15, 20])


def test_weights_in_another_order_of_elements_are_kept_too(
    make_context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transposed weight (as channels-last ones are) cannot be written as it lies; it must come back right."""
    monkeypatch.setattr(tape_module, "_IN_MEMORY", 0)
    ctx, net, seen = make_context(folder=tmp_path, every=0.0, steps=10, curve_points=2), Net(), {}
    net.head.weight = nn.Parameter(torch.randn(5, 3).t())
    assert not net.head.weight.is_contiguous()
    ctx.train(watched(net, seen), update=net)
    seen[10] = state(net)
    check_all_points(ctx, net, seen, [0, 5, 10])


def test_what_a_strategy_did_after_its_last_training_is_the_end(make_context: Any) -> None:
    ctx, net, seen = make_context(steps=20, curve_points=4), Net(), {}
    ctx.train(watched(net, seen), update=net)
    ctx.session.tape.close()
    assert len(ctx.session.tape.snapshots) == 5  # nothing was done to the weights yet
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.5)
    net.requires_grad_(False)
    net.head.requires_grad_(True)
    seen[20] = state(net)
    ctx.session.tape.close()
    check_all_points(ctx, net.head, {k: {n.removeprefix("head."): v for n, v in w.items()} for k, w in seen.items()},
                     [0, 5, 10, 15, 20])  # fmt: skip


def test_a_training_shorter_than_the_budget_keeps_its_end_though_it_is_no_point(make_context: Any) -> None:
    ctx = make_context(steps=20, curve_points=2)
    model = ctx.classifier()
    ctx.train(supervised(model), update=model, steps=13)
    assert [(s.step, s.point, s.first) for s in ctx.session.tape.snapshots] == [
        (0, True, True),
        (10, True, False),
        (13, False, False),
    ]


def test_a_term_that_comes_and_goes_has_gaps_in_its_column(make_context: Any) -> None:
    ctx = make_context(steps=12, curve_points=3)
    model = ctx.classifier()
    ctx.train(lambda b, s: {"a": F.cross_entropy(model(b.x), b.y)}, update=model, steps=4)
    ctx.train(lambda b, s: {"b": F.cross_entropy(model(b.x), b.y)}, update=model, steps=4)
    ctx.train(lambda b, s: {"a": F.cross_entropy(model(b.x), b.y)}, update=model)
    tape = ctx.session.tape
    assert tape.loss_steps == [4, 8, 12]
    assert [v is None for v in tape.losses["a"]] == [False, True, False]
    assert [v is None for v in tape.losses["b"]] == [True, False, True]
