"""Every strategy that is installed scores the same to the bit when those of its steps that can be are replayed."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlbench.api.recipe import Recipe
from tlbench.errors import PluginError, SkipTrial
from tlbench.plugins import Plugins
from tlbench.testing import toys
from tlbench.testing.settings import contract_toy
from tlbench.training.graphs import OBSERVED, Graphs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from tlbench.training.moves import Move


def _tape_capture() -> Any:
    spec = importlib.util.spec_from_file_location("tape_replay", Path(__file__).with_name("tape_replay.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tape_replay"] = module
    spec.loader.exec_module(module)
    return module.TapeCapture


TapeCapture = _tape_capture()
PLUGINS = Plugins.discover()
SIMPLE = {"fine-tune", "l2-sp", "scratch", "source-only"}
OTHER_INPUTS = {"cyclegan", "modified-hausdorff", "self-taught-clustering"}
"""Strategies of images or counts; the problem here has feature vectors."""


class Plain(Graphs):
    """Rates in tensors as for a replay, and every step plain."""

    def over(self, move: Move, device: torch.device) -> Move:
        super().over(move, device)
        return move


def scores(name: str, graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    """What the strategy says of the test examples of a small problem after 24 steps."""
    made = toys.open_context

    def opened(*args: Any, **kwargs: Any) -> Any:
        return made(*args, **kwargs, graphs=graphs)

    try:
        strategy = PLUGINS.build("strategies", name, {})
    except PluginError as error:
        pytest.skip(f"cannot be made without parameters: {error}")
    toy = dataclasses.replace(contract_toy(strategy), recipe=Recipe(steps=24, batch_size=16, curve_points=1))
    with monkeypatch.context() as patched:
        patched.setattr(toys, "open_context", opened)
        return toys.fit(strategy, toy, extra=True).scores()


@pytest.mark.parametrize("name", sorted({*PLUGINS.offers("strategies")} - OTHER_INPUTS))
def test_a_replayed_strategy_scores_the_same_to_the_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    graphs = Graphs(TapeCapture, said.append)
    try:
        replayed = scores(name, graphs, monkeypatch)
    except SkipTrial as skip:
        pytest.skip(str(skip))
    plain = scores(name, Plain(lambda device: None, lambda text: None), monkeypatch)  # type: ignore[arg-type, return-value]
    assert all(np.array_equal(replayed[pool], plain[pool]) for pool in plain), said
    if name in SIMPLE:  # so that this does not compare plain steps with plain steps
        assert graphs.replayed >= 24 - OBSERVED, said
