"""Many linear classifiers at once: each is what scikit-learn finds for it alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlbench.functional import logistic_fits, logistic_probe, ridge_fits

PATH = np.geomspace(1e-3, 1e1, 5)


def _problem(n: int, d: int, classes: int = 3, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(size=(classes, d))[y] * 0.5 + rng.normal(size=(n, d)) + 2, y


def _exact(x: Any, y: Any, strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, tol=1e-10, max_iter=20_000).fit(x, y)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (12, 40), (20, 20)], ids=["tall", "wide", "square"])
def test_each_strength_of_a_logistic_path_is_that_of_scikit_learn(n: int, d: int) -> None:
    x, y = _problem(n, d)
    found = logistic_fits(torch.from_numpy(x)[None], torch.from_numpy(y)[None], 3, torch.from_numpy(PATH))
    for i, strength in enumerate(PATH):
        expected = _exact(x, y, strength)
        np.testing.assert_allclose(found.weight[i].T.numpy(), expected.coef_, atol=2e-4)
        np.testing.assert_allclose(found.bias[i].numpy(), expected.intercept_, atol=2e-3)


def test_each_of_many_episodes_is_that_of_scikit_learn() -> None:
    problems = [_problem(15, 30, 5, seed) for seed in range(6)]
    x, y = (torch.from_numpy(np.stack(part)) for part in zip(*problems, strict=True))
    found = logistic_fits(x.float(), y, 5, torch.full((6,), 1.0))
    for e, (x_ND, y_N) in enumerate(problems):
        expected = _exact(x_ND.astype(np.float32).astype(np.float64), y_N, 1.0)
        np.testing.assert_allclose(found.weight[e].T.numpy(), expected.coef_, atol=2e-4)
        scores = found.scores(x)[e].numpy()
        np.testing.assert_allclose(scores, expected.decision_function(x_ND), atol=3e-3)


def test_each_strength_of_a_ridge_path_is_that_of_scikit_learn() -> None:
    for n, d in ((60, 5), (12, 40)):
        x, y = _problem(n, d)
        target = np.eye(3)[y]
        found = ridge_fits(torch.from_numpy(x)[None], torch.from_numpy(target)[None], torch.from_numpy(PATH))
        for i, strength in enumerate(PATH):
            expected = Ridge(alpha=strength).fit(x, target)
            np.testing.assert_allclose(found.weight[i].T.numpy(), expected.coef_, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(found.bias[i].numpy(), expected.intercept_, rtol=1e-6, atol=1e-9)


def test_examples_that_are_all_alike_give_the_shares_of_the_classes() -> None:
    x, y = torch.ones(1, 8, 3), torch.tensor([[0, 0, 0, 0, 0, 0, 1, 1]])
    found = logistic_fits(x, y, 2, torch.tensor([1.0, 10.0]))
    assert not found.weight.any()
    shares = found.scores(x).softmax(-1)[:, 0]
    torch.testing.assert_close(shares, torch.tensor([[0.75, 0.25]] * 2).double(), atol=1e-5, rtol=0)
    ridge = ridge_fits(x, torch.eye(2)[y[0]][None], torch.tensor([1.0]))
    torch.testing.assert_close(ridge.scores(x)[0, 0], torch.tensor([0.75, 0.25]).double())


def test_too_few_steps_are_an_error_and_no_wrong_answer() -> None:
    x, y = _problem(60, 5)
    with pytest.raises(ArithmeticError, match="1 of 1"):
        logistic_fits(torch.from_numpy(x)[None], torch.from_numpy(y)[None], 3, torch.tensor([100.0]), most=1)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("split", [None, 60])
def test_a_joint_probe_is_the_probe_with_an_exact_solver(classes: int, split: int | None) -> None:
    x, y = _problem(90, 6, classes)
    weight, bias = logistic_probe(x, y, classes, PATH.tolist(), split=split, joint=True)
    plain_weight, plain_bias = logistic_probe(x, y, classes, PATH.tolist(), split=split)
    np.testing.assert_allclose(weight, plain_weight, atol=3e-3)
    np.testing.assert_allclose(bias, plain_bias, atol=3e-2)
    x_new, _ = _problem(200, 6, classes, 1)
    assert ((x_new @ weight + bias).argmax(1) == (x_new @ plain_weight + plain_bias).argmax(1)).mean() > 0.99


def test_a_joint_probe_knows_labels_with_gaps_and_single_examples() -> None:
    x, y = _problem(40, 6)
    weight, bias = logistic_probe(x, np.array([0, 2, 4])[y], 6, PATH.tolist(), joint=True)
    compact, _ = logistic_probe(x, y, 3, PATH.tolist(), joint=True)
    np.testing.assert_array_equal(weight[:, [0, 2, 4]], compact)
    assert bias[[1, 3, 5]].tolist() == [-1e4] * 3
    single, _ = logistic_probe(x[:3], y[:3], 3, PATH.tolist(), joint=True)
    np.testing.assert_allclose(single, logistic_probe(x[:3], y[:3], 3, [1.0])[0], atol=1e-3)


@pytest.mark.parametrize(("n", "classes"), [(15, 5), (60, 2), (90, 3)])
@pytest.mark.parametrize("held", [0, 12])
def test_a_probe_is_to_the_bit_that_of_a_grid_search_over_a_pipeline(n: int, classes: int, held: int) -> None:
    x, y = _problem(n, 20, classes, seed=n)
    y[:classes] = np.arange(classes)  # with a validation set too, each class is in the training part
    rule: Any = (
        PredefinedSplit(np.where(np.arange(n) < n - held, -1, 0)) if held else StratifiedKFold(min(5, n // classes))
    )
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    grid = {"logisticregression__C": PATH.tolist()}
    best = GridSearchCV(pipeline, grid, cv=rule, scoring="accuracy").fit(x, y).best_estimator_
    coef, intercept = best[1].coef_, best[1].intercept_
    if classes == 2:
        coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
    weight, bias = logistic_probe(x, y, classes, PATH.tolist(), split=n - held if held else None)
    np.testing.assert_array_equal(weight, (coef / best[0].scale_).T)
    np.testing.assert_array_equal(bias, intercept - coef @ (best[0].mean_ / best[0].scale_))
