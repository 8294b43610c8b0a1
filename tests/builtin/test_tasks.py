"""The tasks: which labels exist, which examples are whose, and what does not apply."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tlbench.api.data import Domain, Pool, Problem, Seeds, Split
from tlbench.builtin.references import Majority
from tlbench.builtin.tasks import Adaptation, FineTuning, SourceTrainingTask
from tlbench.errors import SkipTrial
from tlbench.testing import check_task

NAMES = ("ant", "bee", "cat")


def _split(first: int, counts: tuple[int, ...]) -> Split:
    """Examples that are their own number, so that any pool tells which rows it holds."""
    y = np.random.default_rng(first).permutation(np.repeat(np.arange(len(counts)), counts))
    return Split((first + np.arange(len(y), dtype=np.float32))[:, None], y)


def _domain(name: str, first: int, counts: tuple[int, ...] = (40, 30, 20), names: tuple[str, ...] = NAMES) -> Domain:
    return Domain(name, {"train": _split(first, counts), "test": _split(first + 500, (9, 9, 9))}, names, "features")


SOURCE, TARGET = _domain("source", 10_000, (50, 50, 50)), _domain("target", 20_000)


def _ids(pool: Pool) -> set[int]:
    assert not isinstance(pool.x, Mapping)
    return {int(v) for v in pool.x[:, 0]}


def _labelled_rightly(pool: Pool, split: Split) -> bool:
    assert not isinstance(pool.x, Mapping)
    assert not isinstance(split.x, Mapping)
    assert pool.y is not None
    truth = dict(zip(split.x[:, 0].tolist(), split.y.tolist(), strict=True))
    return all(truth[v] == label for v, label in zip(pool.x[:, 0].tolist(), pool.y.tolist(), strict=True))


def _build(task: Any, seed: int = 0, rule: str = "last", source: Domain | None = SOURCE,
           target: Domain = TARGET) -> Problem:  # fmt: skip
    problem: Problem = task.build(source, target, Seeds(seed), rule)
    return problem


@pytest.mark.parametrize(
    "task",
    [FineTuning(), FineTuning(labels=2), FineTuning(labels=0.3), Adaptation(), Adaptation(protocol="transductive"),
     SourceTrainingTask()],
)  # fmt: skip
def test_the_contract_holds(task: Any) -> None:
    check_task(task)


# ---- fine-tuning ---------------------------------------------------------------------------------


def test_a_label_budget_is_so_many_of_each_class() -> None:
    pool = _build(FineTuning(labels=5)).train["target"]
    assert np.bincount(np.asarray(pool.y)).tolist() == [5, 5, 5]
    assert _labelled_rightly(pool, TARGET.splits["train"])
    share = _build(FineTuning(labels=0.25)).train["target"]
    assert np.bincount(np.asarray(share.y)).tolist() == [10, 8, 5]  # a quarter of 40, 30 and 20, rounded up
    assert len(_build(FineTuning()).train["target"]) == 90


@pytest.mark.parametrize("seed", range(4))
def test_smaller_budgets_lie_inside_larger_ones(seed: int) -> None:
    pools = [_ids(_build(FineTuning(labels=n), seed).train["target"]) for n in (1, 2, 5, 10, 20)]
    pools.append(_ids(_build(FineTuning(), seed).train["target"]))
    for small, large in pairwise(pools):
        assert small < large


def test_the_examples_depend_on_the_seed_and_the_target_and_on_nothing_else() -> None:
    first = _build(FineTuning(labels=5)).train["target"]
    again = _build(FineTuning(labels=5), source=None).train["target"]
    other = _build(FineTuning(labels=5), source=_domain("another", 30_000)).train["target"]
    for pool in (again, other):
        assert np.array_equal(np.asarray(pool.x), np.asarray(first.x))
        assert np.array_equal(np.asarray(pool.y), np.asarray(first.y))
    seeds = [frozenset(_ids(_build(FineTuning(labels=5), seed).train["target"])) for seed in range(6)]
    assert len(set(seeds)) == 6


@pytest.mark.parametrize("labels", [5, 0.5, "all"])
def test_validation_is_taken_out_of_the_budget(labels: Any) -> None:
    whole = _build(FineTuning(labels=labels)).train["target"]
    problem = _build(FineTuning(labels=labels), rule="target-val")
    train, held = problem.train["target"], problem.train["target_val"]
    assert problem.validation is held
    assert _ids(train) | _ids(held) == _ids(whole)
    assert not _ids(train) & _ids(held)
    assert _labelled_rightly(held, TARGET.splits["train"])
    assert set(np.asarray(train.y).tolist()) == set(np.asarray(held.y).tolist()) == {0, 1, 2}
    assert len(held) == round(0.2 * len(whole))


def test_one_label_of_each_class_leaves_nothing_to_choose_by() -> None:
    with pytest.raises(SkipTrial, match=r"no example is left to choose by: each class of target has one"):
        _build(FineTuning(labels=1), rule="target-val")
    assert len(_build(FineTuning(labels=1)).train["target"]) == 3


def test_a_class_that_is_too_small_is_named() -> None:
    with pytest.raises(SkipTrial, match="30 labels per class were asked for and class 'cat' has 20 in all"):
        _build(FineTuning(labels=30))
    rare = replace(TARGET, label_names=(*NAMES, "dodo"))
    with pytest.raises(SkipTrial, match="class 'dodo' has 0 in all"):
        _build(FineTuning(labels=1), target=rare)
    assert len(_build(FineTuning(), target=rare).train["target"]) == 90


def test_other_classes_in_the_source_do_not_matter_to_fine_tuning() -> None:
    source = replace(_domain("letters", 1, (5, 5)), label_names=("x", "y"))
    problem = _build(FineTuning(), source=source)
    assert problem.train["source"].num_classes == 2
    assert problem.num_classes == 3


def test_choosing_on_the_source_does_not_apply_to_fine_tuning() -> None:
    with pytest.raises(SkipTrial, match="source-val"):
        _build(FineTuning(), rule="source-val")


@pytest.mark.parametrize("rule", ["last", "target-val", "oracle"])
@pytest.mark.parametrize("task", [FineTuning(labels=5), FineTuning(), Adaptation(), SourceTrainingTask()])
def test_the_test_split_is_scored_whole_and_in_no_training_pool(task: Any, rule: str) -> None:
    problem = _build(task, rule=rule)
    (test,) = problem.test.values()
    assert _ids(test) == {int(v) for v in np.asarray(TARGET.splits["test"].x)[:, 0]}
    for pool in (*problem.train.values(), *problem.withheld.values(), *filter(None, [problem.validation])):
        assert not _ids(pool) & _ids(test)


# ---- adaptation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["inductive", "transductive"])
@pytest.mark.parametrize("rule", ["last", "source-val", "target-val", "oracle"])
def test_adaptation_shows_no_label_of_the_target(protocol: Any, rule: str) -> None:
    problem = _build(Adaptation(protocol=protocol), rule=rule)
    assert set(problem.train) == {"source", "target_unlabelled"} | ({"source_val"} if rule == "source-val" else set())
    assert problem.train["target_unlabelled"].y is None
    for name, pool in problem.train.items():
        if name != "target_unlabelled":
            assert all(v < 20_000 for v in _ids(pool))
            assert _labelled_rightly(pool, SOURCE.splits["train"])
    assert set(problem.withheld) == {"target"}
    assert _labelled_rightly(problem.withheld["target"], TARGET.splits["train"])


def test_the_unlabelled_pool_is_the_training_split_or_the_test_examples() -> None:
    inductive, transductive = _build(Adaptation()), _build(Adaptation(protocol="transductive"))
    training = {int(v) for v in np.asarray(TARGET.splits["train"].x)[:, 0]}
    assert _ids(inductive.train["target_unlabelled"]) == training
    assert _ids(transductive.train["target_unlabelled"]) == _ids(transductive.test["target"])
    assert _ids(transductive.withheld["target"]) == training


def test_source_validation_comes_out_of_the_source() -> None:
    problem = _build(Adaptation(validation=0.2), rule="source-val")
    assert problem.validation is problem.train["source_val"]
    assert len(problem.train["source_val"]) == 30
    assert not _ids(problem.train["source"]) & _ids(problem.train["source_val"])
    assert len(_ids(problem.train["source"]) | _ids(problem.train["source_val"])) == 150


def test_target_validation_is_in_no_pool_of_the_target() -> None:
    problem = _build(Adaptation(validation=0.2), rule="target-val")
    assert problem.validation is not None
    assert len(problem.validation) == 18
    for pool in (problem.train["target_unlabelled"], problem.withheld["target"]):
        assert not _ids(pool) & _ids(problem.validation)


def test_validation_differs_by_seed_and_is_the_same_for_the_same() -> None:
    def held(seed: int) -> frozenset[int]:
        return frozenset(_ids(_build(Adaptation(), seed, "source-val").train["source_val"]))

    assert held(1) == held(1)
    assert len({held(seed) for seed in range(4)}) == 4


@pytest.mark.parametrize("rule", ["last", "source-val", "target-val"])
def test_without_a_source_no_label_of_the_target_stands_in_for_it(rule: str) -> None:
    problem = _build(Adaptation(), rule=rule, source=None)
    assert set(problem.train) == {"target_unlabelled"}
    assert problem.train["target_unlabelled"].y is None
    if rule != "last":
        assert problem.validation is not None
        assert not _ids(problem.withheld["target"]) & _ids(problem.validation)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("ant", "bee", "dog"), ["source has 3, target has 3", "only source has 'dog'", "only target has 'cat'"]),
        (("bee", "ant", "cat"), ["in one order", "source has 'bee', 'ant', 'cat'", "target has 'ant', 'bee', 'cat'"]),
        ((*NAMES, *(f"extra {i}" for i in range(7))), ["source has 10, target has 3", "'extra 0'", "and 2 more"]),
    ],
)
def test_other_classes_do_not_apply_and_are_named(names: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(SkipTrial) as caught:
        _build(Adaptation(), source=replace(SOURCE, label_names=names))
    for word in words:
        assert word in str(caught.value)


# ---- training on a source ------------------------------------------------------------------------


def test_a_source_model_never_chooses_by_what_is_its_target_elsewhere() -> None:
    for rule in ("last", "target-val", "oracle"):
        problem = _build(SourceTrainingTask(), rule=rule, source=None)
        assert set(problem.train) == {"source"}
        assert len(problem.train["source"]) == 90
        assert problem.validation is None
    chosen = _build(SourceTrainingTask(), rule="source-val", source=None)
    assert chosen.validation is not None
    assert len(chosen.validation) == 9
    assert not _ids(chosen.validation) & _ids(chosen.train["source"])


# ---- parameters, and inputs of several parts -----------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
@pytest.mark.parametrize("task", [FineTuning, Adaptation])
def test_shares_that_cannot_be_are_refused(task: Any, share: float) -> None:
    with pytest.raises(ValueError, match="validation must be in"):
        task(validation=share)


@pytest.mark.parametrize("labels", [0, -1, 1.5, "some"])
def test_budgets_that_cannot_be_are_refused_before_anything_is_loaded(labels: Any) -> None:
    with pytest.raises(ValueError, match="labels must be"):
        FineTuning(labels=labels)


def test_inputs_of_several_parts_are_cut_alike() -> None:
    def parts(domain: Domain) -> Domain:
        return replace(domain, splits={n: Split({"a": s.x, "b": 2 * s.x}, s.y) for n, s in domain.splits.items()})  # type: ignore[operator,dict-item]

    pool = _build(FineTuning(labels=5), source=None, target=parts(TARGET)).train["target"]
    assert isinstance(pool.x, Mapping)
    assert np.array_equal(pool.x["b"], 2 * pool.x["a"])
    assert len(pool) == 15
    plain = _build(FineTuning(labels=5), source=None).train["target"]
    assert np.array_equal(pool.x["a"], np.asarray(plain.x))


def test_majority_is_a_reference_of_fine_tuning_only() -> None:
    assert Majority.name in FineTuning.references
    assert Adaptation.references == ("source-only", "target-oracle")
