"""The metrics against scikit-learn, also where classes are absent or scores tie."""

import numpy as np
import pytest
from sklearn import metrics as sk

from tlbench.builtin.metrics import Accuracy, BalancedAccuracy, LogLoss, MacroF1
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


@pytest.mark.parametrize("metric", [Accuracy(), BalancedAccuracy(), MacroF1(), LogLoss()])
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
    assert [m.higher_is_better for m in (Accuracy, BalancedAccuracy, MacroF1, LogLoss)] == [True, True, True, False]
