"""The metrics against scikit-learn, also where classes are absent or scores tie."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from tlbench.builtin.calibration_metrics import ECE, Brier, LogLoss, are_probabilities
from tlbench.builtin.group_metrics import GroupGap, WorstGroupAccuracy
from tlbench.builtin.metrics import Accuracy, BalancedAccuracy, MacroF1
from tlbench.testing import check_metric

rng = np.random.default_rng(0)
CASES = {
    "plain": (rng.normal(size=(200, 5)).astype(np.float32), rng.integers(5, size=200)),
    "two classes": (rng.normal(size=(60, 2)).astype(np.float32), rng.integers(2, size=60)),
    "classes without examples": (rng.normal(size=(50, 6)).astype(np.float32), rng.integers(3, size=50) * 2),
    "ties": (rng.integers(2, size=(80, 4)).astype(np.float32), rng.integers(4, size=80)),
    "one example": (np.array([[0.1, 0.7, 0.2]], np.float32), np.array([2])),
    "huge scores": ((1e4 * rng.normal(size=(40, 3))).astype(np.float32), rng.integers(3, size=40)),
}
each_case = pytest.mark.parametrize("case", CASES)


@pytest.mark.parametrize(
    "metric",
    [
        Accuracy(),
        BalancedAccuracy(),
        MacroF1(),
        LogLoss(),
        ECE(),
        ECE(bins=3),
        Brier(),
        WorstGroupAccuracy(),
        GroupGap(),
    ],
)
def test_the_contract_holds(metric: object) -> None:
    check_metric(metric)


@each_case
def test_accuracy_is_scikit_learns(case: str) -> None:
    scores, y = CASES[case]
    assert Accuracy().score(scores, y) == pytest.approx(sk.accuracy_score(y, scores.argmax(1)))


@each_case
def test_balanced_accuracy_is_the_mean_recall_of_the_classes_that_occur(case: str) -> None:
    scores, y = CASES[case]
    expected = sk.recall_score(y, scores.argmax(1), labels=np.unique(y), average="macro", zero_division=0)
    assert BalancedAccuracy().score(scores, y) == pytest.approx(expected)


@each_case
def test_macro_f1_is_the_mean_over_all_classes(case: str) -> None:
    scores, y = CASES[case]
    predicted = scores.argmax(1)
    f1 = []
    for c in range(scores.shape[1]):
        hit, said, true = ((predicted == c) & (y == c)).sum(), (predicted == c).sum(), (y == c).sum()
        f1.append(2 * hit / (said + true) if said + true else 0.0)
    assert MacroF1().score(scores, y) == pytest.approx(np.mean(f1))


@each_case
def test_log_loss_is_scikit_learns_on_the_softmax(case: str) -> None:
    scores, y = CASES[case]
    if are_probabilities(scores):
        scores = np.log(scores)
    if case == "huge scores":  # scikit-learn cuts probabilities off; these are exact
        wide = scores.astype(np.float64)
        expected = np.mean(np.logaddexp.reduce(wide, 1) - wide[np.arange(len(y)), y])
    else:
        shares = np.exp(scores.astype(np.float64)) / np.exp(scores.astype(np.float64)).sum(1, keepdims=True)
        expected = sk.log_loss(y, shares, labels=np.arange(scores.shape[1]))
    assert LogLoss().score(scores, y) == pytest.approx(expected)


def test_a_tie_goes_to_the_lowest_class() -> None:
    scores = np.zeros((4, 3), np.float32)
    assert Accuracy().score(scores, np.array([0, 0, 1, 2])) == 0.5
    assert BalancedAccuracy().score(scores, np.array([0, 0, 1, 2])) == pytest.approx(1 / 3)


def test_which_way_is_better_is_stated() -> None:
    more, less = (Accuracy, BalancedAccuracy, MacroF1, WorstGroupAccuracy), (LogLoss, ECE, Brier, GroupGap)
    assert all(m.higher_is_better for m in more)
    assert not any(m.higher_is_better for m in less)


# ---- confidence --------------------------------------------------------------------------------------


def shares_of(scores: Any) -> Any:
    wide = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    return wide / wide.sum(1, keepdims=True)


@each_case
@pytest.mark.parametrize("bins", [1, 4, 15])
def test_the_calibration_error_is_guos_equation_bin_by_bin(case: str, bins: int) -> None:
    scores, y = CASES[case]
    shares = scores.astype(np.float64) if case == "one example" else shares_of(scores)
    confidence, predicted, error = shares.max(1), shares.argmax(1), 0.0
    for m in range(1, bins + 1):
        inside = ((m - 1) / bins < confidence) & (confidence <= m / bins)
        if inside.any():
            accuracy = (predicted[inside] == y[inside]).mean()
            error += inside.sum() / len(y) * abs(accuracy - confidence[inside].mean())
    assert ECE(bins=bins).score(scores, y) == pytest.approx(error, abs=1e-7)


def test_the_calibration_error_by_hand() -> None:
    shares = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.45, 0.55]], np.float32)
    y = np.array([0, 1, 1, 1])
    # two bins: (0.5, 1] has all four, three of them right, mean confidence 0.7375
    assert ECE(bins=2).score(shares, y) == pytest.approx(abs(3 / 4 - 0.7375), abs=1e-6)
    # ten: (0.8, 0.9] one of two right; (0.5, 0.6] both
    assert ECE(bins=10).score(shares, y) == pytest.approx(2 / 4 * 0.4 + 2 / 4 * (1 - 0.575), abs=1e-6)


def test_a_predictor_that_knows_its_odds_is_calibrated_and_one_that_boasts_is_not() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(200_000, 3)).astype(np.float32)
    shares = shares_of(logits)
    y = (shares.cumsum(1) < rng.random((len(shares), 1))).sum(1)  # drawn with these very probabilities
    assert ECE().score(logits, y) < 0.005
    assert ECE().score(3 * logits, y) > 0.1


@each_case
def test_the_brier_score_is_scikit_learns_or_the_sum_over_classes(case: str) -> None:
    scores, y = CASES[case]
    shares = scores.astype(np.float64) if case == "one example" else shares_of(scores)
    expected = np.mean([sum((shares[i, c] - (y[i] == c)) ** 2 for c in range(shares.shape[1])) for i in range(len(y))])
    assert Brier().score(scores, y) == pytest.approx(expected, abs=1e-6)
    if shares.shape[1] == 2:
        assert Brier().score(scores, y) == pytest.approx(2 * sk.brier_score_loss(y, shares[:, 1]))


@pytest.mark.parametrize("metric", [ECE(), Brier(), LogLoss()])
def test_probabilities_are_taken_as_they_are_and_other_scores_through_a_softmax(metric: Any) -> None:
    logits = rng.normal(size=(50, 4)).astype(np.float32)
    y = rng.integers(4, size=50)
    shares = shares_of(logits).astype(np.float32)
    assert are_probabilities(shares)
    assert not are_probabilities(logits)
    assert not are_probabilities(np.abs(logits) / 10)
    assert metric.score(shares, y) == pytest.approx(metric.score(logits, y), rel=1e-5)
    certain = np.eye(4, dtype=np.float32)[(y + 1) % 4]  # wrong, without a doubt
    expected = {"ece": 1.0, "brier": 2.0, "log-loss": -np.log(1e-7)}[metric.name]
    assert metric.score(certain, y) == pytest.approx(expected)


# ---- groups ------------------------------------------------------------------------------------------


def test_the_worst_group_and_the_gap_by_hand() -> None:
    y = np.array([0, 0, 0, 0, 1, 1, 1])
    scores = np.eye(2)[[0, 0, 0, 1, 1, 0, 0]]
    group = np.array([7, 7, 3, 3, 3, 9, 9])  # right: 2 of 2, 2 of 3, 0 of 2
    assert WorstGroupAccuracy().score(scores, y, group) == 0.0
    assert GroupGap().score(scores, y, group) == 1.0
    assert WorstGroupAccuracy().score(scores[:5], y[:5], group[:5]) == pytest.approx(2 / 3)
    assert GroupGap().score(scores[:5], y[:5], group[:5]) == pytest.approx(1 / 3)
    assert GroupGap().score(scores, y, np.full(7, 4)) == 0.0
    assert WorstGroupAccuracy().score(scores, y, np.full(7, 4)) == Accuracy().score(scores, y)
