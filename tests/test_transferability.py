"""Transferability scores: each against an independent computation, and what it must be at its extremes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits
from sklearn.linear_model import BayesianRidge
from sklearn.neighbors import KNeighborsClassifier

from tlbench.transferability import (
    NEEDS,
    SCORES,
    Evidence,
    h_score,
    knn,
    leep,
    logme,
    mmd,
    nce,
    parc,
    proxy_a_distance,
    shrunk_h_score,
)

X, Y = load_digits(return_X_y=True)
X = X / 16
RNG = np.random.default_rng(0)


def entropy(y: np.ndarray) -> float:
    share = np.bincount(y) / len(y)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())


@pytest.mark.parametrize("rows", [slice(0, 1797), slice(0, 40)])  # more examples than features, and fewer
def test_logme_is_the_evidence_of_bayesian_ridge_per_example(rows: slice) -> None:
    x, y = X[rows], Y[rows]
    flat = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0, "tol": 1e-14, "max_iter": 20_000}
    models = [BayesianRidge(fit_intercept=False, compute_score=True, **flat).fit(x, y == c) for c in range(10)]
    expected = np.mean([m.scores_[-1] for m in models]) / len(y)
    assert logme(x, y) == pytest.approx(expected, rel=1e-6)


def test_a_perfect_head_scores_zero_and_a_constant_one_minus_the_entropy() -> None:
    perfect, constant = np.eye(10)[Y], np.full((len(Y), 4), 0.25)
    for score in (leep, nce):
        assert score(perfect, Y) == pytest.approx(0, abs=1e-12)
        assert score(constant, Y) == pytest.approx(-entropy(Y), rel=1e-12)


def test_leep_and_nce_are_their_formulas_term_by_term() -> None:
    y, p = RNG.integers(3, size=30), RNG.dirichlet(np.ones(5), size=30)
    joint = np.zeros((3, 5))
    for i in range(30):
        joint[y[i]] += p[i] / 30
    expected = np.mean([np.log(sum(joint[y[i], z] / joint[:, z].sum() * p[i, z] for z in range(5))) for i in range(30)])
    assert leep(p, y) == pytest.approx(expected)
    z = p.argmax(1)
    pairs = [(np.mean((y == a) & (z == b)), np.mean(z == b)) for a in range(3) for b in range(5)]
    assert nce(p, y) == pytest.approx(sum(j * np.log(j / m) for j, m in pairs if j > 0))
    assert leep(p, y) >= nce(p, y) + np.log(p.max(1)).mean()  # Nguyen et al. 2020, property 2


def test_the_h_score_is_the_trace_of_between_class_over_all_covariance() -> None:
    x, y = RNG.normal(size=(200, 4)), RNG.integers(3, size=200)
    means = np.stack([x[y == c].mean(0) for c in range(3)])[y]
    between = np.cov(means.T, bias=True)
    assert h_score(x, y) == pytest.approx(np.trace(np.linalg.inv(np.cov(x.T, bias=True)) @ between))
    model = LedoitWolf().fit(x)
    expected = (1 - model.shrinkage_) * np.trace(np.linalg.inv(model.covariance_) @ between)
    assert shrunk_h_score(x, y) == pytest.approx(expected)


def test_the_shrunk_h_score_does_not_reward_more_features_than_examples() -> None:
    y = np.arange(40) % 4
    noise = RNG.normal(size=(40, 200))
    assert h_score(noise, y) > 2.9  # the plain one is fooled: as if the classes were told apart perfectly
    assert shrunk_h_score(noise, y) < h_score(noise, y) / 2


def test_parc_correlates_the_distances_of_features_with_those_of_labels() -> None:
    x, y = X[:25], Y[:25]
    x = x - x.mean(0)
    pairs = [(i, j) for i in range(25) for j in range(i)]
    far = [1 - pearsonr(x[i], x[j]).statistic for i, j in pairs]
    other = [float(y[i] != y[j]) for i, j in pairs]  # 1 - the correlation of one-hot rows is 0 or a constant
    assert parc(X[:25], y, components=100) == pytest.approx(100 * spearmanr(far, other).statistic)


def test_knn_leaves_each_example_out_in_turn() -> None:
    x, y = X[:60], Y[:60]
    right = [
        KNeighborsClassifier(1).fit(np.delete(x, i, 0), np.delete(y, i)).predict(x[i : i + 1])[0] == y[i]
        for i in range(60)
    ]
    assert knn(x, y) == pytest.approx(np.mean(right))


def test_the_proxy_a_distance_is_about_0_for_one_domain_and_2_for_two_that_can_be_told_apart() -> None:
    x = RNG.normal(size=(400, 5))
    assert proxy_a_distance(x[:200], x[200:]) < 0.5
    assert proxy_a_distance(x[:200], x[200:] + 10) == pytest.approx(2)


def test_mmd_is_the_unbiased_statistic_and_grows_with_the_shift() -> None:
    x, y = RNG.normal(size=(12, 3)), RNG.normal(size=(9, 3)) + 1
    both = np.concatenate([x, y])
    square = ((both[:, None] - both[None]) ** 2).sum(2)
    width = np.median(square[np.triu_indices(21, 1)])

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / width))

    expected = (
        np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
        + np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
        - 2 * np.mean([k(a, b) for a in x for b in y])
    )
    assert mmd(x, y) == pytest.approx(expected)
    assert mmd(x, y + 3) > mmd(x, y)


def test_every_score_prefers_a_source_whose_features_tell_the_classes_apart() -> None:
    y = np.arange(200) % 4
    good = np.eye(4)[y] @ RNG.normal(size=(4, 10)) * 3 + RNG.normal(size=(200, 10))
    bad = RNG.normal(size=(200, 10))
    sharp, flat = np.full((200, 4), 0.05), np.full((200, 4), 0.25)
    sharp[np.arange(200), y] = 0.85
    near, far = Evidence(good, y, sharp, good[::-1]), Evidence(bad, y, flat, good + 5)
    for name, score in SCORES.items():
        assert score(near) > score(far), name
    assert set(NEEDS) < set(SCORES)
