"""TrAdaBoost: the paper's algorithm, the cases that it leaves open, and a source that partly misleads."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier
from tlbench_instances.learners import weighted_rule
from tlbench_instances.tradaboost import TrAdaBoost, boost, margin, source_factor, target_factor

from tlbench import Domain
from tlbench.builtin.references import Scratch
from tlbench.testing import Toy, check_beats, check_strategy, score
from tlbench.testing.toys import fit

from .toys_of_instances import contrary_examples

METHODS = [
    TrAdaBoost(rounds=6),
    TrAdaBoost(rounds=5, learner="logistic", strength=0.1, initial="equal"),
    TrAdaBoost(rounds=12, learner="stump", balance=False, standardise=False),
    TrAdaBoost(rounds=1),
]


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


# ---- the formulas --------------------------------------------------------------------------------


def test_the_factors_are_those_of_the_paper() -> None:
    assert source_factor(100, 10) == pytest.approx(1 / (1 + sqrt(2 * log(100) / 10)))
    assert source_factor(1, 10) == 1.0
    assert target_factor(0.2) == pytest.approx(0.25)


@pytest.mark.parametrize("error", [0.5, 0.7, 1.0])
def test_a_rule_no_better_than_guessing_has_no_vote_and_moves_no_target_weight(error: float) -> None:
    assert target_factor(error) == 1.0


def test_a_rule_without_error_has_a_finite_vote() -> None:
    assert target_factor(0.0) == pytest.approx(0.001 / 0.999)


def test_the_first_rounds_weights_are_those_worked_out_by_hand() -> None:
    """Two source and two target examples, all of weight 1; a rule that always says 1."""
    seen = []

    def learn(x: Any, y: Any, weight: Any) -> Any:
        seen.append(weight.copy())
        return lambda x: np.ones(len(x))

    boosted = boost(learn, np.zeros((5, 1)), np.array([1.0, 0, 1, 1, 0]), 2, 2, np.ones(5))
    beta = 1 / (1 + sqrt(log(2)))  # 2 ln 2 / 2 rounds
    raw = np.array([1, beta, 1, 1, 2.0])  # one target example of three is wrong: beta_t = (1/3) / (2/3)
    assert np.allclose(seen[0], 0.2)
    assert np.allclose(seen[1], raw / raw.sum())
    assert np.allclose(boosted.source_share, [0.4, (1 + beta) / raw.sum()])
    second = 2 / 4  # of the target's weight 1 + 1 + 2, the wrong example has 2: no vote
    assert np.allclose(boosted.votes, [log(2), -log(second / (1 - second))])


def as_printed(x: Any, y: Any, num_source: int, rounds: int, at: Any) -> Any:
    """The paper's pseudo-code line by line, with products for the answer: 1 or 0 for each row of ``at``."""
    n, m = num_source, len(y) - num_source
    weights = np.ones(n + m)
    beta = 1 / (1 + np.sqrt(2 * np.log(n) / rounds))
    betas, answers = [], []
    for _ in range(rounds):
        p = weights / np.sum(weights)
        h = DecisionTreeClassifier(max_depth=1, random_state=0).fit(x, y, sample_weight=p)
        loss = np.abs(h.predict(x) - y)
        epsilon = sum(weights[i] * loss[i] / np.sum(weights[n:]) for i in range(n, n + m))
        assert 0.001 < epsilon < 0.5  # the case that the paper treats
        beta_t = epsilon / (1 - epsilon)
        for i in range(n + m):
            weights[i] *= beta ** loss[i] if i < n else beta_t ** -loss[i]
        betas.append(beta_t)
        answers.append(h.predict(at))
    first = int(np.ceil(rounds / 2)) - 1
    left = np.prod([b**-a for b, a in zip(betas[first:], answers[first:], strict=True)], axis=0)
    right = np.prod([b**-0.5 for b in betas[first:]])
    return (left >= right).astype(float)


@pytest.mark.parametrize("rounds", [1, 2, 5, 8])
def test_the_answers_are_those_of_the_papers_pseudo_code(rounds: int) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(140, 4))
    y = (x @ np.array([1.0, 0.8, 0.6, 0]) + 0.5 * rng.normal(size=140) > 0).astype(float)
    y[:10] = 1 - y[:10]  # contrary source examples
    at = rng.normal(size=(300, 4))
    boosted = boost(lambda *given: weighted_rule("stump", *given), x, y, 20, rounds, np.ones(140))
    ours = margin(boosted, at)
    assert np.array_equal((ours >= 0).astype(float), as_printed(x, y, 20, rounds, at))
    assert np.abs(ours).max() <= 1 + 1e-12


def test_without_any_vote_the_margin_is_nothing() -> None:
    boosted = boost(
        lambda x, y, w: lambda x: np.ones(len(x)), np.zeros((4, 1)), np.array([1.0, 1, 0, 0]), 2, 3, np.ones(4)
    )
    assert boosted.votes.tolist() == [0.0, 0.0]
    assert margin(boosted, np.zeros((7, 1))).tolist() == [0.0] * 7


# ---- learners ------------------------------------------------------------------------------------


@pytest.mark.parametrize("learner", ["linear-svm", "logistic", "stump"])
def test_a_weight_of_three_is_an_example_three_times(learner: Any) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(60, 3)), rng.integers(2, size=60).astype(float)
    weight = rng.integers(1, 4, size=60)
    repeated = np.repeat(np.arange(60), weight)
    at = rng.normal(size=(200, 3))
    once = weighted_rule(learner, x, y, weight.astype(float), strength=1.0)
    often = weighted_rule(learner, x[repeated], y[repeated], np.ones(len(repeated)), strength=1.0)
    assert (once(at) == often(at)).mean() > 0.99


def test_balance_gives_both_classes_the_same_weight() -> None:
    """At the one place where both classes are, 1 of 2 examples of the one class meet 3 of 9 of the other."""
    x = np.array([[1.0]] + [[-1.0]] + [[1.0]] * 3 + [[-1.0]] * 6)
    y = np.array([1.0] * 2 + [0.0] * 9)
    plain, balanced = (weighted_rule("stump", x, y, np.ones(11), balance=b) for b in (False, True))
    assert plain(np.array([[1.0], [-1.0]])).tolist() == [0, 0]
    assert balanced(np.array([[1.0], [-1.0]])).tolist() == [1, 0]


def test_examples_of_one_class_make_a_constant_rule() -> None:
    assert weighted_rule("linear-svm", np.zeros((3, 1)), np.ones(3), np.ones(3))(np.zeros((5, 1))).tolist() == [1.0] * 5
    assert weighted_rule("logistic", np.zeros((3, 1)), np.zeros(3), np.ones(3))(np.zeros((5, 1))).tolist() == [0.0] * 5


# ---- problems ------------------------------------------------------------------------------------


def mean_score(strategy: Any, toy: Toy) -> float:
    return float(np.mean([score(strategy, toy, seed) for seed in range(3)]))


@pytest.mark.parametrize("strategy", [TrAdaBoost(rounds=30), TrAdaBoost(rounds=30, learner="logistic")], ids=str)
def test_a_source_that_partly_misleads_still_helps(strategy: Any) -> None:
    check_beats(strategy, contrary_examples(), margin=0.04)


def test_both_domains_together_without_boosting_are_negative_transfer_there() -> None:
    toy = contrary_examples()
    assert mean_score(TrAdaBoost(rounds=1, initial="equal"), toy) < mean_score(Scratch(), toy) - 0.05


def test_more_than_two_classes_are_one_against_the_rest() -> None:
    toy = contrary_examples(classes=3, share=0.4, stretch=1.0, labels=10)
    boosted, union = TrAdaBoost(rounds=10, initial="equal"), TrAdaBoost(rounds=1, initial="equal")
    assert mean_score(boosted, toy) > mean_score(union, toy) + 0.05


def test_what_is_left_of_the_source_is_reported() -> None:
    def share(**parameters: Any) -> float:
        return float(fit(TrAdaBoost(**parameters), contrary_examples()).ctx.session.reported["source_share"])

    assert share(rounds=1, initial="equal") == pytest.approx(400 / 410)
    assert share(rounds=1) == pytest.approx(0.5)
    assert 0 < share(rounds=30) < 0.5


def test_a_tie_is_for_the_second_class_as_the_paper_has_it() -> None:
    toy = contrary_examples()
    target = toy.target.splits["train"]
    rng = np.random.default_rng(0)
    random = replace(target, y=rng.permutation(target.y))
    blind = replace(toy, target=replace(toy.target, splits={"train": random, "test": toy.target.splits["test"]}))
    scores = fit(TrAdaBoost(rounds=1, learner="stump"), blind).scores()["target"]
    assert np.allclose(scores[:, 0], -scores[:, 1])
    assert (scores != 0).all()


def test_a_source_with_other_classes_is_not_taken() -> None:
    toy = contrary_examples()
    y = np.arange(400) % 3
    splits = {name: replace(split, y=y) for name, split in toy.source.splits.items()}
    other: Toy = replace(toy, source=Domain("three", splits, ("a", "b", "c"), "features"))
    with pytest.raises(AssertionError, match=r"tradaboost needs.*same_classes"):  # the host skips such a trial
        fit(TrAdaBoost(), other)


@pytest.mark.parametrize(("wrong", "words"), [({"rounds": 0}, "rounds.*0"), ({"strength": 0.0}, "strength.*0")])
def test_wrong_parameters_are_named(wrong: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrAdaBoost(**wrong)


def test_scores_are_float_tensors_on_the_inputs_device() -> None:
    done = fit(TrAdaBoost(rounds=2), contrary_examples())
    answer = done.fitted(torch.zeros(5, 30))
    assert answer.shape == (5, 2)
    assert answer.dtype == torch.float32
