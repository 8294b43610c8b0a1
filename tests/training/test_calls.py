"""A loss is called with a batch of each pool and the step; one that does not take these is told so before the start."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tlbench.api.data import Episodes
from tlbench.api.types import Turn
from tlbench.errors import TrialError
from tlbench.training.calls import require_takes

if TYPE_CHECKING:
    from collections.abc import Callable

ON = ("source", "target")


def error(model: Any, *batches: Any) -> Any:
    return sum(torch.nn.functional.cross_entropy(model(batch.x), batch.y) for batch in batches)


@pytest.mark.parametrize("turns", [False, True])
def test_a_loss_that_takes_too_few_is_told_what_it_is_given_before_anything_happens(
    make_context: Any, turns: bool
) -> None:
    ctx = make_context()
    model = ctx.classifier()
    before, called = [p.clone() for p in model.parameters()], []

    def loss(batch: Any) -> Any:
        called.append(batch)
        return error(model, batch)

    words = (
        r"the loss loss\(batch\) cannot be called with a batch of each pool in on=\['source', 'target'\] and then the "
        r"step \(too many positional arguments\): write it as loss\(source, target, step\)"
    )
    train = partial(ctx.take_turns, Turn(loss, model, ON)) if turns else partial(ctx.train, loss, update=model, on=ON)
    with pytest.raises(TrialError, match=words):
        train()
    assert called == []
    assert ctx.steps_left == ctx.budget
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


def too_many(a: Any, b: Any, c: Any, step: Any) -> Any: ...
def named(source: Any, target: Any, *, step: Any) -> Any: ...


class Few(torch.nn.Module):
    def __call__(self, batch: Any) -> Any: ...


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (too_many, r"too_many\(a, b, c, step\) .*missing a required argument: 'step'"),
        (named, r"named\(source, target, \*, step\) .*too many positional arguments"),
        (partial(too_many, None, None), r"partial\(c, step\) .*too many"),
        (Few(), r"Few\(batch\) .*too many positional arguments"),
    ],
)
def test_whatever_is_called_is_shown_as_it_is(loss: Any, words: str) -> None:
    with pytest.raises(TrialError, match=words):
        require_takes([Turn(loss, [], ON)])


def decorated(own: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the function that it wraps one argument more."""

    @wraps(own)
    def given(*batches: Any) -> Any:
        return own(None, *batches)

    return given


class Module(torch.nn.Module):
    def forward(self, source: Any, target: Any, step: Any) -> Any: ...


class Silent:
    """Does not say what it takes."""

    __signature__ = "none"

    def __call__(self, *given: Any) -> Any: ...


@pytest.mark.parametrize(
    "loss",
    [
        lambda *given: None,
        lambda source, *rest: None,
        lambda source, target, step, more=1, **other: None,
        partial(too_many, None),
        decorated(too_many),
        Module(),
        Silent(),
        max,
    ],
)
def test_what_takes_them_and_what_does_not_say_is_not_refused(loss: Any) -> None:
    require_takes([Turn(loss, [], ON)])
    require_takes([Turn(loss, [], (Episodes("source"), "target"))])
