"""All zero-shot strategies: the contract, problems that they solve and must not solve, generalised zero-shot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tlbench_zero_shot
import torch
from tlbench_zero_shot.attribute_embedding import AttributeEmbedding
from tlbench_zero_shot.conse import ConSE
from tlbench_zero_shot.dap import DAP
from tlbench_zero_shot.eszsl import ESZSL
from tlbench_zero_shot.iap import IAP
from tlbench_zero_shot.task_conditioned import TaskConditioned
from tlbench_zero_shot.unseen import Classes, calibrated, normalised

from tlbench.builtin.small_backbones import MLP
from tlbench.testing import check_beats, check_strategy, score
from tlbench.testing.toys import fit

from .zoo import misdescribed, zebra

DEFAULTS = [
    DAP(), IAP(), ESZSL(), ConSE(), AttributeEmbedding(signatures="centred-l2"), TaskConditioned(ways=4),
]  # fmt: skip
VARIANTS = [
    DAP(penalty=1.0, calibration=2.0), IAP(strength=10.0), ESZSL(gamma=1.0, lam=0.1, labels="signed"),
    ESZSL(signatures="as-is", folds=2), ConSE(top=None, signatures="l2"), ConSE(top=1),
    AttributeEmbedding(ranking="max", normalise_images=False), AttributeEmbedding(ranking="weighted", train="all"),
    TaskConditioned(score="joint", hidden=8), TaskConditioned(train="all", ways=2),
]  # fmt: skip
TRAINED = [AttributeEmbedding(signatures="centred-l2"), TaskConditioned(ways=4)]


def ids(strategy: Any) -> str:
    return str(strategy)[:60]


@pytest.mark.parametrize("strategy", [*DEFAULTS, *VARIANTS], ids=ids)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


def test_the_plugin_offers_its_strategies_and_data_sets() -> None:
    assert {s.name for s in tlbench_zero_shot.tlbench_strategies()} == {s.name for s in DEFAULTS}
    assert {d.name for d in tlbench_zero_shot.tlbench_datasets()} == {"awa1-lss", "digits-attributes"}


@pytest.mark.parametrize("strategy", DEFAULTS, ids=ids)
def test_a_zebra_is_a_striped_horse(strategy: Any) -> None:
    check_beats(strategy, zebra(), margin=0.5, seeds=(0, 1))


@pytest.mark.parametrize("strategy", DEFAULTS, ids=ids)
def test_a_zebra_that_is_described_as_a_lion_is_taken_for_one(strategy: Any) -> None:
    """It is the description that carries the knowledge, and a wrong one carries a wrong one."""
    assert score(strategy, misdescribed(zebra())) < 0.15


@pytest.mark.parametrize(
    "strategy", [ConSE(signatures="centred-l2"), TaskConditioned(score="joint", ways=4), DAP(penalty=1.0),
                 AttributeEmbedding(ranking="max", signatures="centred-l2"), ESZSL(labels="signed"),
                 AttributeEmbedding(ranking="weighted", signatures="centred-l2")], ids=ids)  # fmt: skip
def test_the_variants_solve_it_as_well(strategy: Any) -> None:
    assert score(strategy, zebra()) > 0.8


def _both(strategy: Any) -> tuple[float, float]:
    """Accuracy on unseen and on seen classes, with any class as the answer."""
    done = fit(strategy, zebra(generalised=True, noise=1.0))
    right = {name: float((s.argmax(1) == done.problem.test[name].y).mean()) for name, s in done.scores().items()}
    return right["target"], right["source"]


@pytest.mark.parametrize("make", [DAP, IAP, ESZSL, ConSE, AttributeEmbedding, TaskConditioned])
def test_a_larger_calibration_gives_to_the_unseen_what_it_takes_from_the_seen(make: Any) -> None:
    unseen, seen = _both(make())
    unseen_far, seen_far = _both(make(calibration=1e4))
    assert seen > 0.4
    assert seen_far == 0.0
    assert unseen_far >= unseen
    assert unseen_far == pytest.approx(score(make(), zebra(noise=1.0)), abs=0.02)  # the standard setting


def test_in_the_standard_setting_calibration_changes_nothing() -> None:
    plain, far = (fit(DAP(calibration=c), zebra()).scores()["target"] for c in (0.0, 100.0))
    assert np.array_equal(plain, far)


def test_calibrated_stacking_takes_a_constant_off_the_seen_classes() -> None:
    scores, seen = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([True, False, True])
    assert calibrated(scores, seen, 1.5).tolist() == [[-0.5, 2.0, 1.5]]


@pytest.mark.parametrize("strategy", [DAP(), IAP()], ids=ids)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_attribute_that_all_seen_classes_share_changes_no_score(strategy: Any, value: float) -> None:
    """Nothing was learned about it, so it must not tell unseen classes apart, though they differ in it."""
    toy = zebra()
    seen, unseen = (np.asarray(d.class_attributes) for d in (toy.source, toy.target))
    more = replace(
        toy,
        source=replace(toy.source, class_attributes=np.column_stack([seen, np.full(len(seen), value, np.float32)])),
        target=replace(toy.target, class_attributes=np.column_stack([unseen, np.array([0, 1, 1], np.float32)])),
    )
    np.testing.assert_allclose(fit(strategy, more).scores()["target"], fit(strategy, toy).scores()["target"], rtol=1e-5)


# ---- what learns ---------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", TRAINED, ids=ids)
@pytest.mark.parametrize(("train", "moves"), [("head", False), ("all", True)])
def test_the_backbone_learns_only_where_it_is_told_to(strategy: Any, train: str, moves: bool) -> None:
    toy = replace(zebra(), backbone=MLP(hidden=(16,)))
    done = fit(replace(strategy, train=train), toy)
    before = done.ctx.backbone().state_dict()
    after = next(m for m in _modules(done.fitted) if hasattr(m, "scale_D")).backbone.state_dict()
    assert any(not torch.equal(before[k], after[k]) for k in before) == moves
    assert score(replace(strategy, train=train), toy) > 0.6


def _modules(fitted: Any, depth: int = 3) -> list[torch.nn.Module]:
    """Modules that a predictor's closure holds."""
    found: list[torch.nn.Module] = []
    for cell in getattr(fitted, "__closure__", None) or ():
        held = cell.cell_contents
        found += [held] if isinstance(held, torch.nn.Module) else _modules(held, depth - 1) if depth else []
    return found


# ---- descriptions --------------------------------------------------------------------------------


def test_attributes_of_degrees_are_cut_at_the_mean_of_the_seen_classes() -> None:
    classes = Classes(torch.tensor([[0.0, 0.4], [0.2, 1.0]]), torch.tensor([[0.41, 0.39]]), torch.tensor([False]))
    binary = classes.binary()  # the mean is 0.4
    assert binary.seen.tolist() == [[0, 0], [0, 1]]
    assert binary.candidates.tolist() == [[1, 0]]


def test_attributes_that_are_had_or_not_stay_as_they_are() -> None:
    classes = Classes(torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([False]))
    assert torch.equal(classes.binary().seen, classes.seen)
    assert torch.equal(classes.binary().candidates, classes.candidates)


def test_descriptions_come_to_length_one_around_the_mean_of_the_seen_classes() -> None:
    rows = np.array([[3.0, 4.0], [1.0, 0.0]])
    centre = np.array([1.0, 1.0])
    got = normalised(torch.from_numpy(rows), "centred-l2", torch.from_numpy(centre)).numpy()
    expected = (rows - centre) / np.sqrt(((rows - centre) ** 2).sum(1, keepdims=True))
    np.testing.assert_allclose(got, expected)
    assert normalised(torch.from_numpy(rows), "l2", torch.from_numpy(centre))[0].tolist() == [0.6, 0.8]
    assert np.array_equal(normalised(torch.from_numpy(rows), "as-is", torch.from_numpy(centre)).numpy(), rows)


def test_a_class_without_any_attribute_is_no_division_by_zero() -> None:
    assert torch.equal(normalised(torch.zeros(1, 3), "l2", torch.zeros(3)), torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("make", "word"),
    [(lambda: DAP(penalty=0.0), "penalty"), (lambda: DAP(calibration=-1.0), "calibration"),
     (lambda: IAP(strength=0.0), "strength"), (lambda: IAP(calibration=float("inf")), "calibration"),
     (lambda: ESZSL(gamma=0.0), "gamma"), (lambda: ESZSL(lam=-1.0), "lam"), (lambda: ESZSL(folds=1), "folds"),
     (lambda: ConSE(top=0), "top"), (lambda: ConSE(strength=-1.0), "strength"),
     (lambda: AttributeEmbedding(margin=0.0), "margin"), (lambda: TaskConditioned(ways=1), "ways"),
     (lambda: TaskConditioned(hidden=0), "hidden"), (lambda: TaskConditioned(calibration=-0.1), "calibration")],
)  # fmt: skip
def test_parameters_that_cannot_be_are_refused_by_name(make: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make()
