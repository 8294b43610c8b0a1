"""Linear models with a prior, and Daume's feature augmentation."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import lsqr
from sklearn.linear_model import LogisticRegression, Ridge
from tlbench_tuning.feature_augmentation import FeatureAugmentation, augmented
from tlbench_tuning.linear import logistic_towards, ridge_towards, with_bias
from tlbench_tuning.prior_transfer import PriorTransfer
from torch.nn import functional as F

from tlbench import Domain
from tlbench.builtin.l2_sp import l2_sp_penalty
from tlbench.builtin.small_backbones import Identity
from tlbench.testing import few_labels, score
from tlbench.testing.toys import fit

RNG = np.random.default_rng(0)
X, Y, PRIOR = RNG.normal(size=(30, 4)), RNG.integers(3, size=30), RNG.normal(size=(4, 3))


@pytest.mark.parametrize("strength", [0.1, 1.0, 50.0])
def test_ridge_towards_a_prior_is_damped_least_squares_from_it(strength: float) -> None:
    """scipy's lsqr minimises ||A x - b||^2 + damp^2 ||x - x0||^2: lambda is the square of its damping."""
    y = RNG.normal(size=(30, 3))
    expected = [lsqr(X, y[:, c], damp=np.sqrt(strength), x0=PRIOR[:, c], atol=1e-12, btol=1e-12)[0] for c in range(3)]
    np.testing.assert_allclose(ridge_towards(X, y, PRIOR, strength), np.stack(expected, 1), atol=1e-6)


def test_ridge_towards_zero_is_ridge() -> None:
    y = RNG.normal(size=(30, 3))
    expected = Ridge(alpha=2.0, fit_intercept=False).fit(X, y).coef_.T
    np.testing.assert_allclose(ridge_towards(X, y, np.zeros((4, 3)), 2.0), expected, atol=1e-8)


@pytest.mark.parametrize("strength", [0.5, 4.0])
def test_logistic_towards_zero_is_logistic_regression(strength: float) -> None:
    model = LogisticRegression(C=1 / strength, fit_intercept=False, tol=1e-10, max_iter=5000).fit(X, Y)
    np.testing.assert_allclose(logistic_towards(X, Y, np.zeros((4, 3)), strength), model.coef_.T, atol=1e-4)


@pytest.mark.parametrize("strength", [0.3, 3.0])
def test_l2_sp_of_a_linear_model_ends_at_the_prior_model(strength: float) -> None:
    """L2-SP weighs alpha against the mean of the losses, the prior against their sum: strength = N alpha."""
    start, x, y = torch.from_numpy(PRIOR), torch.from_numpy(X), torch.from_numpy(Y)
    weight = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight, y) + l2_sp_penalty([weight], [start], [], strength / len(x), 0.0)
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(weight.detach().numpy(), logistic_towards(X, Y, PRIOR, strength), atol=1e-4)


@pytest.mark.parametrize("solve", [ridge_towards, logistic_towards])
def test_a_strong_prior_is_returned_as_it_is(solve: Any) -> None:
    y = Y if solve is logistic_towards else np.eye(3)[Y]
    np.testing.assert_allclose(solve(X, y, PRIOR, 1e9), PRIOR, atol=1e-6)


def test_a_class_without_examples_keeps_its_place_among_the_others() -> None:
    found = logistic_towards(X, np.where(Y == 2, 1, Y), np.zeros((4, 3)), 0.1)
    assert np.isfinite(found).all()
    assert (with_bias(X)[:, -1] == 1).all()


# ---- the strategies ------------------------------------------------------------------------------


def _sided() -> Any:
    """Few-label data whose inputs are themselves the features."""
    return replace(few_labels(), backbone=Identity())


def test_prior_transfer_is_ridge_by_hand() -> None:
    toy = _sided()
    done = fit(PriorTransfer(model="ridge", strength=3.0, source_strength=2.0), toy)
    source, target = toy.source.splits["train"], done.ctx.given["target"]
    mean, std = source.x.mean(0), source.x.std(0)
    xs, xt, xn = (
        np.column_stack([(np.asarray(x, dtype=float) - mean) / std, np.ones(len(x))])
        for x in (source.x, target.x, toy.target.splits["test"].x)
    )
    ys, yt = (np.where(np.eye(3)[np.asarray(y)] == 1, 1.0, -1.0) for y in (source.y, target.y))
    prior = np.linalg.inv(xs.T @ xs + 2 * np.eye(41)) @ xs.T @ ys
    weight = np.linalg.inv(xt.T @ xt + 3 * np.eye(41)) @ (xt.T @ yt + 3 * prior)
    np.testing.assert_allclose(done.scores()["target"], xn @ weight, atol=1e-3)


def test_the_prior_is_worth_more_than_no_prior() -> None:
    """A source whose own weights are held at zero teaches nothing, and six examples decide alone."""
    alone, pulled = (score(PriorTransfer(source_strength=s), _sided()) for s in (1e9, 1.0))
    assert pulled > alone + 0.1


@pytest.mark.parametrize("strategy", [PriorTransfer(), FeatureAugmentation()], ids=str)
def test_they_ask_for_the_same_classes_in_both_domains(strategy: Any) -> None:
    """The source's weights stand for the target's classes; the host skips pairs of other classes by this need."""
    toy = few_labels()
    other = replace(toy, source=Domain("other", toy.source.splits, ("x", "y", "z"), "features"))
    with pytest.raises(AssertionError, match="needs \\['same_classes'\\]"):
        fit(strategy, other)


def test_two_of_one_domain_are_twice_as_alike_as_two_of_different_ones() -> None:
    """Daume 2007, sec. 3.2: the kernel of augmented features is 2 K within a domain and K across."""
    a, b = RNG.normal(size=(5, 3)), RNG.normal(size=(6, 3))
    s, t = augmented(a, "source"), augmented(b, "target")
    np.testing.assert_allclose(s @ s.T, 2 * a @ a.T)
    np.testing.assert_allclose(t @ t.T, 2 * b @ b.T)
    np.testing.assert_allclose(s @ t.T, a @ b.T)


def test_feature_augmentation_is_logistic_regression_on_three_copies() -> None:
    toy = _sided()
    done = fit(FeatureAugmentation(strength=2.0), toy)
    source, target = toy.source.splits["train"], done.ctx.given["target"]
    mean, std = source.x.mean(0), source.x.std(0)

    def made(x: Any, own: int) -> Any:
        z = np.column_stack([(np.asarray(x, dtype=float) - mean) / std, np.ones(len(x))])
        return np.concatenate([z, z * (own == 1), z * (own == 2)], axis=1)

    x, y = np.concatenate([made(source.x, 1), made(target.x, 2)]), np.concatenate([source.y, np.asarray(target.y)])
    model = LogisticRegression(C=1 / 2, fit_intercept=False, tol=1e-10, max_iter=5000).fit(x, y)
    expected = model.decision_function(made(toy.target.splits["test"].x, 2))
    np.testing.assert_allclose(done.scores()["target"], expected, atol=1e-2)
