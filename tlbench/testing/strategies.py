"""The contract of a strategy."""

from __future__ import annotations

import copy
import dataclasses
import gc
import sys
import tempfile
import types
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tlbench.api.recipe import Recipe
from tlbench.errors import TrialError
from tlbench.testing.classes import check_class
from tlbench.testing.settings import contract_toy
from tlbench.testing.toys import Toy, every_pool, fit
from tlbench.training.checkpoint import Interrupted

if TYPE_CHECKING:
    from tlbench.api.data import Array, Pool
    from tlbench.training.context import TrialContext

TOGETHER = 1e-3
"""How far apart, in units of their range, scores may be that rounding alone tells apart."""


def check_strategy(strategy: Any, toy: Toy | None = None) -> None:
    """The whole contract of a strategy, on a small problem with every pool that it may ask for.

    ``toy`` is that problem, for a strategy that takes no feature vectors; where left out, one that fits its needs.

    It is a frozen dataclass with ``name``, ``needs`` and a docstring; its scores are finite and [N, C]; the same
    seed gives the same scores; a training that was stopped and resumed gives the same; it changes neither itself
    nor its pools; it asks for no more than the budget; nothing that it can reach from its context holds a test
    example; and where it adapts to many episodes at once, its scores are those of adapting to each by itself.
    """
    check_class(strategy, "strategy", "fit")
    assert isinstance(getattr(strategy, "needs", None), frozenset), "`needs` must be a frozenset of pool names"
    assert isinstance(getattr(strategy, "uses", frozenset()), frozenset), "`uses` must be a frozenset of pool names"
    toy = dataclasses.replace(toy or contract_toy(strategy), recipe=Recipe(steps=24, batch_size=16, curve_points=6))
    before = {name: copy.deepcopy((pool.x, pool.y)) for name, pool in every_pool(toy, toy.problem(0)).items()}
    own = copy.deepcopy(vars(strategy))
    try:
        first = fit(strategy, toy, extra=True)
    except TrialError as error:
        raise AssertionError(f"fit() failed: {error}") from error
    _check_pools_as_before(first.ctx, before)
    assert vars(strategy) == own, "fit() changed the strategy itself: state lives in the call, not on self"
    scores = first.scores()
    again = fit(strategy, toy, extra=True).scores()
    for name in scores:
        assert np.array_equal(scores[name], again[name]), (
            "the same seed gave other scores: draw from ctx.rng or torch, and keep no state on self"
        )
    for name, found in first.together().items():
        apart = np.abs(found - scores[name]).max()
        assert apart <= TOGETHER * np.ptp(scores[name]), (
            f"adapt_all() gave other scores than adapt() for {name}, by {apart:.3g}; only rounding may differ"
        )
    reachable = reachable_arrays(first.ctx)
    for pool in first.problem.test.values():
        for array in reachable:
            assert not _same_data(array, pool), "test data can be reached from the context"
    _check_resume(strategy, toy, scores)


def _check_pools_as_before(ctx: TrialContext, before: Mapping[str, tuple[Any, Array | None]]) -> None:
    """The pools, the copies of them that batches are made of, and the features that other trials will get."""
    for name, pool in ctx.given.items():
        x, y = before[name]
        assert _equal(x, pool.x), f"the strategy changed the pool {name}"
        assert y is None or np.array_equal(y, np.asarray(pool.y)), f"the strategy changed the labels of {name}"
        inputs, labels = ctx._tensors(name)
        assert _equal(x, inputs), f"the strategy changed the batches of {name} in place"
        assert y is None or np.array_equal(y, labels.numpy()), f"the strategy changed the labels of {name} in place"  # type: ignore[union-attr]
        if ctx.shape(name) == ctx.models.shape:
            assert torch.equal(ctx.features(name).x, ctx._through_backbone(inputs)), (
                f"the strategy changed the features of {name} in place; others share them"
            )


def _equal(x: Any, other: Any) -> bool:
    if isinstance(x, Mapping):
        return all(_equal(x[part], other[part]) for part in x)
    return np.array_equal(np.asarray(x), np.asarray(other))


def _check_resume(strategy: Any, toy: Toy, scores: Mapping[str, Array]) -> None:
    """Stop at several places and go on; the scores must be those of an unbroken fit."""
    for steps in (1, 7, 20):
        with tempfile.TemporaryDirectory() as name:
            calls = iter([False] * steps)
            try:
                done = fit(strategy, toy, folder=Path(name), stop=partial(next, calls, True), extra=True)
            except Interrupted:
                done = fit(strategy, toy, folder=Path(name), extra=True)
            for pool, values in done.scores().items():
                assert np.array_equal(values, scores[pool]), f"stopped and resumed, it gave other scores on {pool}"


def reachable_arrays(root: object) -> list[Any]:
    """Every array and tensor within reach of an object, through closures too; not through modules and classes."""
    namespaces = {id(vars(m)) for m in list(sys.modules.values()) if isinstance(m, types.ModuleType)}
    seen: set[int] = set(namespaces)
    found, stack = [], [root]
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, types.ModuleType | type | types.BuiltinFunctionType):
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray | Tensor):
            found.append(item)
        if isinstance(item, np.ndarray) and item.base is not None:
            stack.append(item.base)
        stack.extend(gc.get_referents(item))
        stack.extend(gc.get_referents(getattr(item, "__dict__", None)))
    return found


def _same_data(array: Any, pool: Pool) -> bool:
    value = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    own = [pool.y, *(pool.x.values() if isinstance(pool.x, Mapping) else (pool.x,))]
    return any(
        o is not None
        and o.size > 1
        and (np.shares_memory(value, o) or (value.shape == o.shape and np.array_equal(value, o)))
        for o in own
    )
