"""Branches: trainings with a budget of their own, beside the trial's learning curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tlbench.api.data import Pool
from tlbench.api.types import Batch
from tlbench.builtin.small_backbones import MLP
from tlbench.errors import BudgetError, SkipTrial
from tlbench.functional import rows_of, supervised
from tlbench.training.checkpoint import Interrupted

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeContext

    from tlbench.training.context import TrialContext


def train(ctx: TrialContext, **more: Any) -> Any:
    model = ctx.classifier()
    ctx.train(supervised(model), update=model, **more)
    return model


def test_what_a_branch_trains_is_no_point_of_the_learning_curve_and_costs_steps(make_context: MakeContext) -> None:
    ctx = make_context(steps=10, curve_points=5)
    train(ctx.using(steps=7))
    train(ctx)
    tape = ctx.session.tape
    assert [tape.snapshots[p].at for p in tape.points()] == [0, 2, 4, 6, 8, 10]
    assert tape.steps == 17
    assert ctx.steps_left == 0


def test_a_training_is_the_same_whether_a_branch_came_before_it_or_not(make_context: MakeContext) -> None:
    alone, after = make_context(), make_context()
    train(after.using(steps=7))
    for a, b in zip(train(alone).parameters(), train(after).parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_branch_has_the_recipes_budget_or_the_one_that_it_was_given_and_no_more(make_context: MakeContext) -> None:
    ctx = make_context(steps=10)
    assert ctx.using().steps_left == 10
    branch = ctx.using(steps=25)
    train(branch, steps=20)
    assert branch.steps_left == 5
    with pytest.raises(BudgetError, match="5 of 25 are left"):
        train(branch, steps=6)
    assert ctx.steps_left == 10


def test_hold_out_sets_a_stratified_share_of_the_target_apart(make_context: MakeContext) -> None:
    y = np.repeat([0, 1, 2], 10)
    pool = Pool(np.arange(30, dtype=np.float32)[:, None].repeat(6, 1), y, 3)
    ctx = make_context(pools={"target": pool})
    branch = ctx.using(hold_out=0.2)
    assert branch.pools == {"target": 24, "target_val": 6}
    assert np.array_equal(np.bincount(np.asarray(branch.given["target_val"].y)), [2, 2, 2])
    rows = [{int(v) for v in np.asarray(branch.given[name].x)[:, 0]} for name in ("target", "target_val")]
    assert rows[0] | rows[1] == set(range(30))
    assert rows[0].isdisjoint(rows[1])
    assert ctx.pools == {"target": 30}


def test_hold_out_keeps_the_validation_examples_that_there_are(make_context: MakeContext) -> None:
    pool = Pool(np.zeros((12, 6), np.float32), np.arange(12) % 3, 3)
    ctx = make_context(pools={"target": Pool(np.zeros((30, 6), np.float32), np.arange(30) % 3, 3), "target_val": pool})
    assert ctx.using(hold_out=0.5).pools == {"target": 30, "target_val": 12}


def test_nothing_can_be_held_out_of_one_example_a_class(make_context: MakeContext) -> None:
    one = Pool(np.zeros((3, 6), np.float32), np.arange(3), 3)
    with pytest.raises(SkipTrial, match="no class of the target has two"):
        make_context(pools={"target": one}).using(hold_out=0.3)


def test_augmented_batches_keep_the_budget_and_the_learning_curve(make_context: MakeContext) -> None:
    seen = []

    def change(batch: Batch, generator: torch.Generator) -> Batch:
        seen.append(len(batch))
        return Batch(batch.x + 100, batch.y)

    ctx = make_context(steps=6, curve_points=3)
    train(ctx.augmented(change))
    assert len(seen) == 6
    assert ctx.steps_left == 0
    assert [ctx.session.tape.snapshots[p].at for p in ctx.session.tape.points()] == [0, 2, 4, 6]


def test_a_trial_stopped_in_a_branch_or_after_it_goes_on_bit_for_bit(make_context: MakeContext, tmp_path: Path) -> None:
    def whole(ctx: TrialContext) -> list[torch.Tensor]:
        first = train(ctx.using(MLP(hidden=(4,)), steps=9))
        model = train(ctx)
        return [p.detach().clone() for part in (first, model) for p in part.parameters()]

    unbroken = whole(make_context(steps=12))
    for after in (3, 14):
        folder = tmp_path / str(after)
        calls = iter([False] * after)
        with pytest.raises(Interrupted):
            whole(make_context(steps=12, folder=folder, every=0.0, stop=lambda calls=calls: next(calls, True)))  # type: ignore[misc]
        resumed = make_context(steps=12, folder=folder, every=0.0)
        for a, b in zip(whole(resumed), unbroken, strict=True):
            assert torch.equal(a, b)
        assert [s.at for s in resumed.session.tape.snapshots if s.point] == [0, 2, 5, 7, 10, 12]


def test_a_restricted_pool_has_those_examples_alone_and_shares_the_budget(make_context: MakeContext) -> None:
    ctx = make_context(steps=10)
    rows = np.array([7, 3, 11])
    part = ctx.restricted("target", rows)
    whole = ctx.features("target").x
    torch.testing.assert_close(part.features("target").x, whole[torch.from_numpy(rows)])
    assert part.pools == {**ctx.pools, "target": 3}
    train(part, steps=4)
    assert part.steps_left == ctx.steps_left == 6
    assert ctx.features("target").x.shape == whole.shape


def test_rows_are_taken_of_a_tensor_and_of_each_tensor_of_a_mapping() -> None:
    x, rows = torch.arange(12.0).reshape(4, 3), torch.tensor([2, 0])
    assert torch.equal(rows_of(x, rows), x[[2, 0]])
    taken = rows_of({"ids": x, "mask": x > 4}, rows)
    assert torch.equal(taken["ids"], x[[2, 0]])
    assert torch.equal(taken["mask"], (x > 4)[[2, 0]])
