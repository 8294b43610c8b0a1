"""The formulas of the zero-shot methods against NumPy from the papers and against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SkRidge
from tlbench_zero_shot.attribute_embedding import ranking_loss
from tlbench_zero_shot.conse import convex_combination, cosine
from tlbench_zero_shot.eszsl import ESZSL, GRID, bilinear_map
from tlbench_zero_shot.iap import implied_attributes
from tlbench_zero_shot.logistic import logistic_regression, platt_scaling
from tlbench_zero_shot.probabilities import attribute_prior, class_scores
from tlbench_zero_shot.spectrum import ridge, spectrum, standardisation
from tlbench_zero_shot.task_conditioned import conditional_log_loss
from tlbench_zero_shot.tower import candidates_of

from tlbench.testing import unseen_classes
from tlbench.testing.toys import fit

from .zoo import zebra

RNG = np.random.default_rng(0)


def T(x: Any) -> torch.Tensor:  # noqa: N802
    return torch.from_numpy(np.asarray(x))


# ---- DAP and IAP ---------------------------------------------------------------------------------


def test_the_score_of_a_class_is_the_log_of_the_papers_product() -> None:
    p = RNG.uniform(0.01, 0.99, size=(6, 5))  # p(a_m = 1 | x)
    candidates, prior = RNG.integers(2, size=(4, 5)), RNG.uniform(0.2, 0.8, size=5)
    expected = np.ones((6, 4))
    for n in range(6):
        for z in range(4):
            for m in range(5):
                a = candidates[z, m]
                expected[n, z] *= (p[n, m] if a else 1 - p[n, m]) / (prior[m] if a else 1 - prior[m])
    got = class_scores(T(np.log(p)), T(np.log(1 - p)), T(candidates), T(prior))
    np.testing.assert_allclose(np.exp(got.numpy()), expected)


def test_many_attributes_do_not_underflow() -> None:
    """The product of 5,000 probabilities is 0 in floating point; its logarithm still tells classes apart."""
    low = torch.full((1, 5000), 0.01, dtype=torch.float64)
    candidates = torch.ones(2, 5000)
    candidates[1, 0] = 0
    scores = class_scores(low.log(), (1 - low).log(), candidates, torch.full((5000,), 0.5, dtype=torch.float64))
    assert bool(torch.isfinite(scores).all())
    assert scores[0, 1] > scores[0, 0]


def test_the_prior_is_the_mean_over_the_seen_classes_and_half_where_they_are_all_alike() -> None:
    assert attribute_prior(torch.tensor([[1.0, 0, 1], [1, 0, 0], [1, 0, 0]])).tolist() == [
        0.5,
        0.5,
        pytest.approx(1 / 3),
    ]


def test_attributes_follow_from_the_probabilities_of_all_classes() -> None:
    p, seen = np.array([[0.7, 0.2, 0.1]]), np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0]])
    yes, no = implied_attributes(T(p), T(seen))
    np.testing.assert_allclose(np.exp(yes.numpy()), [[0.8, 0.1, 0.9]])
    np.testing.assert_allclose(np.exp(no.numpy()), [[0.2, 0.9, 0.1]])


def test_an_attribute_of_all_seen_classes_says_nothing() -> None:
    seen = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    yes, no = implied_attributes(torch.tensor([[0.3, 0.7]]), seen)
    assert yes[0, 0].exp() == no[0, 0].exp() == pytest.approx(0.5)
    without = class_scores(yes, no, torch.tensor([[1.0, 1], [0, 1]]), attribute_prior(seen))
    assert without[0, 0] == without[0, 1]


def test_a_certain_classifier_gives_finite_scores() -> None:
    seen = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    yes, no = implied_attributes(torch.tensor([[1.0, 0.0]]), seen)
    assert bool(torch.isfinite(yes).all() and torch.isfinite(no).all())


# ---- classifiers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("dims", [5, 90])
def test_the_logistic_regression_is_that_of_scikit_learn(strength: float, dims: int) -> None:
    rng = np.random.default_rng(dims)
    x = rng.normal(size=(80, dims)) * rng.uniform(0.1, 9, size=dims) + rng.normal(size=dims)
    x[:, 2] = 7.0  # a constant feature
    y = rng.integers(4, size=80)
    weight, bias = logistic_regression(T(x), T(y), 4, strength)
    z = (x - x.mean(0)) / np.where(x.std(0) < 1e-9, np.inf, x.std(0)) / np.sqrt(dims)
    oracle = LogisticRegression(C=strength, tol=1e-9, max_iter=10_000).fit(z, y)
    got = torch.softmax(T(x) @ weight + bias, 1).numpy()
    np.testing.assert_allclose(got, oracle.predict_proba(z), atol=2e-4)


@pytest.mark.parametrize("separable", [False, True])
def test_platt_scaling_is_maximum_likelihood_for_platts_targets(separable: bool) -> None:
    """Each example counts as a one with weight t and as a zero with weight 1 - t, for an independent solver."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(60, 3)) * [1, 40, 0.01]
    truth = (scores + (0 if separable else 1) * rng.normal(size=(60, 3)) * [1, 40, 0.01] > 0).astype(float)
    slope, offset = platt_scaling(T(scores), T(truth))
    for m in range(3):
        n1, n0 = truth[:, m].sum(), (1 - truth[:, m]).sum()
        t = np.where(truth[:, m] > 0.5, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
        size = np.abs(scores[:, m]).max()
        s = np.tile(scores[:, m] / size, 2)[:, None]
        labels, weights = np.repeat([1, 0], 60), np.concatenate([t, 1 - t])
        oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(s, labels, sample_weight=weights)
        np.testing.assert_allclose(float(slope[m]) * size, oracle.coef_[0, 0], rtol=1e-3)
        np.testing.assert_allclose(float(offset[m]), oracle.intercept_[0], atol=1e-3)


def test_platt_scaling_of_an_attribute_that_all_have_is_finite() -> None:
    slope, offset = platt_scaling(T(RNG.normal(size=(20, 1))), torch.ones(20, 1))
    assert bool(torch.isfinite(slope).all() and torch.isfinite(offset).all())


@pytest.mark.parametrize("dims", [4, 30])
def test_the_ridge_predicts_each_example_as_if_it_had_been_left_out(dims: int) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(20, dims)) * 3 + 1, rng.normal(size=(20, 2))
    got, chosen = ridge(T(x), T(y), (0.3, 3.0))
    z = (x - x.mean(0)) / x.std(0) / np.sqrt(dims)
    errors, held = {}, {}
    for penalty in (0.3, 3.0):
        left_out = np.array([
            SkRidge(alpha=penalty).fit(np.delete(z, i, 0), np.delete(y, i, 0)).predict(z[i : i + 1])[0]
            for i in range(20)
        ])  # fmt: skip
        errors[penalty], held[penalty] = ((left_out - y) ** 2).mean(), left_out
    assert chosen == min(errors, key=errors.__getitem__)
    np.testing.assert_allclose(got.held_out.numpy(), held[chosen], rtol=1e-8)
    np.testing.assert_allclose(got(T(x)).numpy(), SkRidge(alpha=chosen).fit(z, y).predict(z), rtol=1e-8)


@pytest.mark.parametrize("shape", [(30, 6), (6, 30), (10, 10)])
def test_the_spectrum_gives_the_matrix_back(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(4).normal(size=shape)
    x[:, 0] = x[:, 1]  # of less than full rank
    values, basis = (v.numpy() for v in spectrum(T(x)))
    np.testing.assert_allclose(basis @ np.diag(values) @ basis.T, x.T @ x, atol=1e-9)
    np.testing.assert_allclose(basis.T @ basis, np.eye(len(values)), atol=1e-6)
    assert len(values) == np.linalg.matrix_rank(x)


def test_a_constant_feature_becomes_nothing() -> None:
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    mean, scale = standardisation(x)
    assert ((x - mean) / scale).tolist() == [[-1, 0], [1, 0]]


# ---- ESZSL ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [7, 50])
@pytest.mark.parametrize("labels", ["zero-one", "signed"])
def test_the_bilinear_map_is_the_papers_closed_form(dims: int, labels: str) -> None:
    rng = np.random.default_rng(5)
    x, y, s, gamma, lam = rng.normal(size=(dims, 25)), rng.integers(6, size=25), rng.normal(size=(4, 6)), 0.3, 2.0
    hot = np.eye(6)[y] if labels == "zero-one" else 2 * np.eye(6)[y] - 1
    expected = np.linalg.inv(x @ x.T + gamma * np.eye(dims)) @ x @ hot @ s.T @ np.linalg.inv(s @ s.T + lam * np.eye(4))
    values, basis = spectrum(T(x.T))
    xys = (T(x.T) @ basis).T @ (T(hot) @ T(s.T))
    np.testing.assert_allclose((basis @ bilinear_map(values, xys, T(s.T), gamma, lam)).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("labels", ["zero-one", "signed"])
def test_the_strategy_scores_by_that_map(labels: Any) -> None:
    toy = zebra()
    done = fit(ESZSL(gamma=2.0, lam=0.5, signatures="l2", labels=labels), toy)
    train, test = toy.source.splits["train"], toy.target.splits["test"]
    x = np.asarray(train.x, dtype=np.float64).T
    s, u = (np.asarray(d.class_attributes, dtype=np.float64) for d in (toy.source, toy.target))
    s, u = s / np.linalg.norm(s, axis=1, keepdims=True), u / np.linalg.norm(u, axis=1, keepdims=True)
    left, right = np.linalg.inv(x @ x.T + 2 * np.eye(20)), np.linalg.inv(s.T @ s + 0.5 * np.eye(5))
    hot = np.eye(6)[train.y] if labels == "zero-one" else 2 * np.eye(6)[train.y] - 1
    v = left @ x @ hot @ s @ right
    np.testing.assert_allclose(done.scores()["target"], np.asarray(test.x) @ v @ u.T, rtol=1e-3, atol=1e-5)


def test_its_penalties_are_those_that_do_best_on_held_out_classes() -> None:
    toy = unseen_classes()
    x, y = np.asarray(toy.source.splits["train"].x, np.float64), toy.source.splits["train"].y
    s = np.asarray(toy.source.class_attributes, np.float64)
    chosen = ESZSL(folds=4)._choose(T(x), T(y), T(s), np.random.default_rng(9))
    groups = np.array_split(np.random.default_rng(9).permutation(8), 4)
    table = {}
    for gamma in GRID:
        for lam in GRID:
            accuracies = []
            for group in groups:
                held, rest = sorted(group), [c for c in range(8) if c not in group]
                kept = np.isin(y, rest)
                hot = (y[kept][:, None] == np.array(rest)).astype(float)
                left = np.linalg.solve(x[kept].T @ x[kept] + gamma * np.eye(30), x[kept].T @ hot @ s[rest])
                v = left @ np.linalg.inv(s[rest].T @ s[rest] + lam * np.eye(6))
                for i, c in enumerate(held):
                    accuracies.append(((x[y == c] @ v @ s[held].T).argmax(1) == i).mean())
            table[gamma, lam] = np.mean(accuracies)
    assert chosen.score == pytest.approx(max(table.values()))
    assert table[chosen.gamma, chosen.lam] == pytest.approx(max(table.values()))


# ---- ConSE ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [1, 2, 4, None])
def test_the_mixture_is_the_papers_convex_combination(top: int | None) -> None:
    rng = np.random.default_rng(6)
    p, seen = rng.dirichlet(np.ones(4), size=7), rng.normal(size=(4, 3))
    expected = np.zeros((7, 3))
    for n in range(7):
        order = np.argsort(-p[n])[:top]
        for t in order:
            expected[n] += p[n, t] * seen[t] / p[n, order].sum()
    np.testing.assert_allclose(convex_combination(T(p), T(seen), top).numpy(), expected)


def test_with_one_class_it_is_the_description_of_the_likeliest_and_with_all_the_mean() -> None:
    p, seen = torch.tensor([[0.2, 0.5, 0.3]]), torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    assert convex_combination(p, seen, 1).tolist() == [[0, 1]]
    assert convex_combination(p, seen, None)[0].tolist() == pytest.approx([0.5, 0.8])
    assert torch.equal(convex_combination(p, seen, 99), convex_combination(p, seen, None))


def test_the_score_is_the_cosine() -> None:
    f, s = RNG.normal(size=(3, 4)), RNG.normal(size=(2, 4))
    expected = f @ s.T / np.outer(np.linalg.norm(f, axis=1), np.linalg.norm(s, axis=1))
    np.testing.assert_allclose(cosine(T(f), T(s)).numpy(), expected)


# ---- what is trained -----------------------------------------------------------------------------


@pytest.mark.parametrize("ranking", ["sum", "max", "weighted"])
def test_the_ranking_loss_counts_the_hinges_of_the_wrong_classes(ranking: Any) -> None:
    rng = np.random.default_rng(7)
    scores, y, margin = rng.normal(size=(9, 5)) * 0.3, rng.integers(5, size=9), 0.1
    losses = []
    for n in range(9):
        hinges = [max(0.0, margin - scores[n, y[n]] + scores[n, z]) for z in range(5) if z != y[n]]
        rank = sum(h > 0 for h in hinges)
        weight = sum(1 / k for k in range(1, rank + 1)) / max(rank, 1)
        losses.append({"sum": sum(hinges), "max": max(hinges), "weighted": weight * sum(hinges)}[ranking])
    assert float(ranking_loss(T(scores), T(y), margin, ranking)) == pytest.approx(np.mean(losses))


def test_a_class_that_wins_by_the_margin_costs_nothing() -> None:
    scores = torch.tensor([[1.0, 0.89, 0.0]])
    for ranking in ("sum", "max", "weighted"):
        assert float(ranking_loss(scores, torch.tensor([0]), 0.1, ranking)) == 0.0  # type: ignore[arg-type]


def test_the_conditional_likelihood_is_among_the_classes_of_the_task() -> None:
    scores, y = RNG.normal(size=(2, 4)), np.array([1, 3])
    task = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], dtype=bool)
    first = np.exp(scores[0, 1]) / np.exp(scores[0, :2]).sum()
    second = np.exp(scores[1, 3]) / np.exp(scores[1]).sum()
    got = float(conditional_log_loss(T(scores), T(y), T(task)))
    assert got == pytest.approx(-(np.log(first) + np.log(second)) / 2)


@pytest.mark.parametrize("ways", [2, 4, 9])
def test_each_example_has_its_class_and_others_in_its_task(ways: int) -> None:
    y = torch.from_numpy(np.random.default_rng(8).integers(6, size=50))
    task = candidates_of(y, ways, torch.from_numpy(np.random.default_rng(9).random((50, 6))))
    assert bool(task[torch.arange(50), y].all())
    assert set(task.sum(1).tolist()) == {min(ways, 6)}
    assert bool(task.any(0).all())


@pytest.mark.parametrize("labels", ["zero-one", "signed"])
@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_eszsl_chooses_what_one_map_for_each_pair_of_penalties_chooses(labels: Any, noise: float) -> None:
    """All pairs come from one product for each gamma and one solution for each lambda."""
    rng = np.random.default_rng(0)
    seen = rng.random((10, 6))
    y = np.arange(200) % 10
    x = seen[y] @ rng.normal(size=(6, 12)) + noise * rng.normal(size=(200, 12))
    found = ESZSL(labels=labels)._choose(*(torch.from_numpy(v) for v in (x, y, seen)), np.random.default_rng(3))
    grid, score = [10.0**k for k in range(-3, 4)], {}
    order = np.random.default_rng(3).permutation(10)
    for gamma in grid:
        for lam in grid:
            each = []
            for group in np.array_split(order, 5):
                held, rest = np.sort(group), np.setdiff1d(order, group)
                out = np.isin(y, held)
                target = np.eye(10)[y[~out]][:, rest]
                target = target if labels == "zero-one" else 2 * target - 1
                left = np.linalg.solve(x[~out].T @ x[~out] + gamma * np.eye(12), x[~out].T @ target @ seen[rest])
                v = np.linalg.solve(seen[rest].T @ seen[rest] + lam * np.eye(6), left.T).T
                said = held[(x[out] @ v @ seen[held].T).argmax(1)]
                each.append(np.mean([(said == y[out])[y[out] == c].mean() for c in held]))
            score[gamma, lam] = np.mean(each)
    best = max(score.values())
    assert found.score == pytest.approx(best)
    assert (found.gamma, found.lam) == max(
        (p for p in score if score[p] > best - 1e-12), key=lambda p: np.log10(p).sum()
    )
