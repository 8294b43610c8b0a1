"""Every strategy that is installed gives the same to the bit when those of its steps that can be are replayed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from tlbench.errors import SkipTrial
from tlbench.plugins import Plugins


def _beside(name: str) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


every = _beside("every_strategy")
PLUGINS = Plugins.discover()
CASES = every.cases(PLUGINS)
REFUSED = {
    "gcn": "it uses a sparse tensor",  # the whole graph passes as a sparse product
    "gcn-dann": "it depends on where the training stands",  # and it is of sparse products, as gcn is
    "jdot": "it makes a tensor of numbers of the host",  # the exact transport is solved on the host
}
WAIT = {
    "jdot": {"it takes a tensor to the host (Tensor.cpu)", "it takes a tensor to the host (Tensor.numpy)",
             "it makes a tensor of numbers of the host"},
}  # fmt: skip


def trained(case: Any, graphs: Any) -> Any:
    try:
        return every.trained(case, PLUGINS, graphs)
    except SkipTrial as skip:
        pytest.skip(str(skip))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_replayed_strategy_gives_the_same_to_the_bit_and_is_replayed_unless_it_cannot_be(case: Any) -> None:
    replayed, plain = trained(case, every.Counting()), trained(case, every.Plain())
    assert replayed == plain, replayed.reasons
    if str(case) in REFUSED:
        assert [why.startswith(REFUSED[str(case)]) for why in replayed.reasons] == [True], replayed.reasons
    else:
        assert replayed.reasons == ()
        assert replayed.replayed >= replayed.moves / 2  # each training has its first steps plain


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_plain_step_makes_the_host_wait_for_the_device_unless_it_must(case: Any) -> None:
    watching = every.Watching()
    trained(case, watching)
    assert watching.waits == WAIT.get(str(case), set())


@pytest.mark.parametrize("known", [REFUSED, WAIT])
def test_what_is_excused_is_there(known: Any) -> None:
    assert {*known} <= {str(case) for case in CASES}


def test_waiting_is_seen() -> None:
    """So that the test above cannot pass by seeing nothing."""
    import torch
    from torch.nn import functional as F

    from tlbench.testing import toys

    class Nosy:
        name, needs = "nosy", frozenset({"target"})

        def fit(self, ctx: Any) -> Any:
            model = ctx.classifier()

            def loss(batch: Any, step: Any) -> Any:
                weight = (
                    torch.tensor([0.5, 1.0]).mean() + torch.zeros(3).sum() + step.host(lambda now: torch.ones(2)).sum()
                )
                scores = model(batch.x)
                sure = scores[scores.max(1).values > -100]
                return F.cross_entropy(scores, batch.y) * weight + 0 * (len(sure) + float(sure.tolist()[0][0]))

            ctx.train(loss, update=model)
            return model

    watching = every.Watching()
    with every.opening(watching):
        toys.fit(Nosy(), every.Case("nosy", {}).toy(Nosy()), extra=True)
    assert watching.waits == {
        "it makes a tensor of numbers of the host",
        "it makes a tensor on the host (torch.tensor)",
        "it makes a tensor on the host (torch.zeros)",
        "it takes a tensor to the host (Tensor.tolist)",
        "what it does follows from values (aten::index.Tensor)",
    }
