"""MAML: gradients by hand on a quadratic, the same by vmap and in turn, BatchNorm, and a problem."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tlbench_few_shot.inner_loop import Parameters, descend
from tlbench_few_shot.maml import MAML, maml_loss
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tlbench import Batch, EpisodeBatch
from tlbench.builtin.small_backbones import SmallCNN
from tlbench.testing import check_strategy, score

from .few_shot_toys import refitted_from_scratch, strokes, telling_directions

A, B, ALPHA = 3.0, 2.0, 0.1
"""L(theta; support b) = a / 2 (theta - b)^2, whose gradient is a (theta - b) and whose Hessian is a."""


def _quadratic(theta: Parameters, x: Any, y: Tensor) -> Tensor:
    return (A / 2 * (theta["w"] - x).square()).sum()


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_descent_on_a_quadratic_is_the_closed_form(steps: int) -> None:
    w = torch.tensor([5.0], dtype=torch.float64)
    found = descend(lambda now: _quadratic(now, B, w), {"w": w}, ALPHA, steps)["w"]
    assert float(found) == pytest.approx(B + (1 - ALPHA * A) ** steps * (5.0 - B))


def _episodes(supports: list[float], queries: list[float]) -> EpisodeBatch:
    def batch(values: list[float]) -> Batch:
        return Batch(torch.tensor(values, dtype=torch.float64)[:, None], torch.zeros(len(values), 1))

    return EpisodeBatch(batch(supports), batch(queries))


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_full_gradient_has_the_factor_of_the_hessian_and_the_first_order_one_has_not(
    steps: int, at_once: bool
) -> None:
    supports, queries = [1.0, -2.0], [1.5, 4.0]
    for first_order in (False, True):
        w = torch.tensor([5.0], dtype=torch.float64, requires_grad=True)

        def adapt(loss: Any, theta: Parameters, first_order: bool = first_order) -> Parameters:
            return descend(loss, theta, ALPHA, steps, first_order=first_order)

        loss = maml_loss(_quadratic, {"w": w}, _episodes(supports, queries), adapt, at_once=at_once)
        loss.backward()  # type: ignore[no-untyped-call]
        shrunk = (1 - ALPHA * A) ** steps
        adapted = [s + shrunk * (5.0 - s) for s in supports]
        assert float(loss.detach()) == pytest.approx(
            sum(A / 2 * (t - q) ** 2 for t, q in zip(adapted, queries, strict=True)) / 2
        )
        slopes = [A * (t - q) for t, q in zip(adapted, queries, strict=True)]
        factor = 1.0 if first_order else shrunk  # d theta' / d theta
        assert w.grad is not None
        assert float(w.grad) == pytest.approx(factor * sum(slopes) / 2)


def test_adaptation_works_where_the_host_has_switched_gradients_off() -> None:
    w = torch.tensor([5.0])
    with torch.no_grad():
        found = descend(lambda now: _quadratic(now, B, w), {"w": w}, ALPHA, 1)["w"]
    assert float(found) == pytest.approx(B + (1 - ALPHA * A) * (5.0 - B))
    assert not found.requires_grad


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    ).double()


def _images() -> EpisodeBatch:
    generator = torch.Generator().manual_seed(1)
    s, q = (torch.randn(4, 3 * each, 1, 8, 8, generator=generator, dtype=torch.float64) for each in (1, 2))
    ys, yq = (torch.arange(3).repeat_interleave(each).expand(4, -1) for each in (1, 2))
    return EpisodeBatch(Batch(s, ys), Batch(q, yq))


@pytest.mark.parametrize("first_order", [False, True])
def test_a_network_with_batch_norm_has_the_gradients_of_autograd_through_unrolled_steps(first_order: bool) -> None:
    """By vmap and one by one; the oracle is ``torch.autograd.grad`` with ``create_graph``, written out."""
    net, batch = _net(), _images()
    torch.func.replace_all_batch_norm_modules_(net)

    def loss(theta: Parameters, x: Any, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(net, theta, (x,)), y)

    def adapt(of_support: Any, theta: Parameters) -> Parameters:
        return descend(of_support, theta, 0.2, 2, first_order=first_order)

    total = torch.zeros((), dtype=torch.float64)
    for e in range(4):
        theta = dict(net.named_parameters())
        for _ in range(2):
            support = loss(theta, batch.support.x[e], batch.support.y[e])
            slopes = torch.autograd.grad(support, list(theta.values()), create_graph=not first_order)
            theta = {k: w - 0.2 * g for (k, w), g in zip(theta.items(), slopes, strict=True)}
        total = total + loss(theta, batch.query.x[e], batch.query.y[e]) / 4
    expected = torch.autograd.grad(total, list(net.parameters()))
    for at_once in (False, True):
        net.zero_grad()
        found = maml_loss(loss, dict(net.named_parameters()), batch, adapt, at_once=at_once)
        found.backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(found, total)
        for parameter, slope in zip(net.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, slope, rtol=1e-6, atol=1e-9)


class _Context:
    """A context whose training takes the loss of one batch."""

    class episode:  # noqa: N801
        ways, shots, queries = 3, 1, 2

    def __init__(self) -> None:
        self.model = nn.Sequential()
        self.model.add_module("backbone", _net()[:-1])
        self.model.add_module("head", _net()[-1])

    def classifier(self, num_classes: int) -> nn.Module:
        assert num_classes == 3
        return self.model

    def train(self, loss: Any, *, update: Any, on: Any) -> None:
        self.on = on
        loss(_images(), None).backward()


def _weights(predict: Any) -> Parameters:
    """The adapted parameters that a predictor holds."""
    cells = dict(zip(predict.__code__.co_freevars, predict.__closure__, strict=True))
    found: Parameters = cells["theta"].cell_contents
    return found


@pytest.mark.parametrize("anil", [False, True])
def test_anil_adapts_the_head_and_maml_everything(anil: bool) -> None:
    ctx: Any = _Context()
    fitted: Any = MAML(inner_lr=0.5, anil=anil).fit(ctx)
    batch = _images()
    theta = _weights(fitted.adapt(Batch(batch.support.x[0], batch.support.y[0])))
    moved = {k for k, w in ctx.model.named_parameters() if not torch.equal(theta[k], w)}
    # the bias before a BatchNorm has no gradient but for rounding
    assert {"head.weight", "head.bias"} <= moved
    assert ("backbone.0.weight" in moved) is not anil
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in ctx.model.parameters())


@pytest.mark.parametrize(("asked", "steps"), [(None, 1), (0, 0), (4, 4)])
def test_the_test_may_take_other_steps_than_training(asked: int | None, steps: int) -> None:
    ctx: Any = _Context()
    fitted: Any = MAML(inner_lr=0.5, test_steps=asked).fit(ctx)
    support = Batch(_images().support.x[0], _images().support.y[0])
    start = {k: w.detach() for k, w in ctx.model.named_parameters()}
    expected = descend(lambda now: fitted.loss(now, support.x, support.y), start, 0.5, steps)
    found = _weights(fitted.adapt(support))
    assert all(torch.equal(found[k], expected[k]) for k in expected)


def test_batch_norm_uses_the_statistics_of_the_batch_at_hand() -> None:
    """So a query's scores depend on its fellow queries: transductive, as the paper's code is."""
    ctx: Any = _Context()
    fitted: Any = MAML().fit(ctx)
    norms = [m for m in ctx.model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert all(m.running_mean is None for m in norms)
    batch = _images()
    predict = fitted.adapt(Batch(batch.support.x[0], batch.support.y[0]))
    query = batch.query.x[0]
    assert not torch.allclose(predict(query)[:3], predict(query[:3]), atol=1e-3)
    torch.testing.assert_close(predict(query), predict(query))


def test_training_episodes_are_of_the_size_of_the_tests() -> None:
    ctx: Any = _Context()
    MAML(queries=7, episodes=3).fit(ctx)
    (on,) = ctx.on
    assert (on.pool, on.ways, on.shots, on.queries, on.count) == ("source", 3, 1, 7, 3)


@pytest.mark.parametrize("strategy", [MAML(), MAML(first_order=True, inner_steps=2), MAML(anil=True)], ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


def test_the_contract_holds_with_batch_norm() -> None:
    check_strategy(MAML(), replace(strokes(), backbone=SmallCNN(size=12, channels=1, width=4, depth=2)))


def test_weights_made_for_adapting_beat_random_ones() -> None:
    assert score(MAML(), telling_directions()) > refitted_from_scratch() + 0.05


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: MAML(inner_lr=0.0), "inner_lr must be positive, got 0.0"),
        (lambda: MAML(inner_steps=0), "inner_steps must be at least 1, got 0"),
        (lambda: MAML(test_steps=-1), "test_steps must not be negative, got -1"),
        (lambda: MAML(queries=0), "queries must be at least 1, got 0"),
        (lambda: MAML(episodes=0), "episodes must be at least 1, got 0"),
    ],
)
def test_wrong_parameters_are_named(wrong: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        wrong()
