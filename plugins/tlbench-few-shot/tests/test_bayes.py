"""Bayesian one-shot: scipy's Student t, quadratic discriminants in the limit, and a prior found again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from tlbench_few_shot.bayes import (
    BayesOneShot,
    NormalInverseWishart,
    fit_prior,
    log_predictive,
    posterior,
    principal_axes,
)

from tlbench import TrialError
from tlbench.testing import check_strategy, score

from .few_shot_toys import refitted_from_scratch, telling_directions

D = 3


def _prior(kappa: float = 0.7, nu: float = 8.0) -> NormalInverseWishart:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(D, D))
    return NormalInverseWishart(torch.from_numpy(rng.normal(size=D)), kappa, nu, torch.from_numpy(a @ a.T + np.eye(D)))


def _examples(size: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(size=(size, D)) * [1.0, 2.0, 0.5] + 1


def _student(m: Any, kappa: float, nu: float, s: Any) -> Any:
    """t_{nu - d + 1}(m, S (kappa + 1) / (kappa (nu - d + 1)))."""
    freedom = nu - D + 1
    return scipy.stats.multivariate_t(loc=m, shape=s * (kappa + 1) / (kappa * freedom), df=freedom)


def test_without_examples_a_class_has_the_prior_predictive() -> None:
    prior, x = _prior(), _examples(20)
    assert posterior(prior, torch.zeros(0, D, dtype=torch.float64)) is prior
    expected = _student(prior.mean.numpy(), prior.kappa, prior.nu, prior.scatter.numpy()).logpdf(x)
    np.testing.assert_allclose(log_predictive(prior, torch.from_numpy(x)).numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_after_examples_it_is_the_student_t_of_the_conjugate_update(k: int) -> None:
    prior, seen, x = _prior(), _examples(k, seed=2), _examples(20)
    m0, s0 = prior.mean.numpy(), prior.scatter.numpy()
    kappa, nu = prior.kappa + k, prior.nu + k
    m = (prior.kappa * m0 + seen.sum(0)) / kappa
    # S_k = S_0 + sum x x^T + kappa_0 m_0 m_0^T - kappa_k m_k m_k^T, the other form of the same update
    s = s0 + seen.T @ seen + prior.kappa * np.outer(m0, m0) - kappa * np.outer(m, m)
    belief = posterior(prior, torch.from_numpy(seen))
    assert (belief.kappa, belief.nu) == (kappa, nu)
    np.testing.assert_allclose(belief.mean.numpy(), m, rtol=1e-12)
    np.testing.assert_allclose(belief.scatter.numpy(), s, rtol=1e-9)
    expected = _student(m, kappa, nu, s).logpdf(x)
    np.testing.assert_allclose(log_predictive(belief, torch.from_numpy(x)).numpy(), expected, rtol=1e-10)


def test_examples_one_by_one_are_the_same_as_together() -> None:
    prior, seen = _prior(), torch.from_numpy(_examples(5))
    together, one_by_one = posterior(prior, seen), prior
    for row in seen:
        one_by_one = posterior(one_by_one, row[None])
    for a, b in zip(together, one_by_one, strict=True):
        torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b))


def test_the_predictive_of_all_but_one_times_the_last_is_the_evidence_in_any_order() -> None:
    """p(a) p(b | a) = p(b) p(a | b): what a wrong update breaks."""
    prior = _prior()
    a, b = (torch.from_numpy(_examples(1, seed)) for seed in (3, 4))
    forth = log_predictive(prior, a) + log_predictive(posterior(prior, a), b)
    back = log_predictive(prior, b) + log_predictive(posterior(prior, b), a)
    torch.testing.assert_close(forth, back)


def test_with_very_many_examples_it_is_a_quadratic_discriminant() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([_examples(20000, 5), _examples(20000, 6) @ rng.normal(size=(D, D)) - 1])
    y = np.repeat([0, 1], 20000)
    oracle = QuadraticDiscriminantAnalysis(priors=[0.5, 0.5]).fit(x, y)
    new = torch.from_numpy(_examples(50, 7))
    ours = [log_predictive(posterior(_prior(), torch.from_numpy(x[y == c])), new) for c in (0, 1)]
    np.testing.assert_allclose((ours[1] - ours[0]).numpy(), oracle.decision_function(new.numpy()), atol=0.05, rtol=0.01)


def test_the_prior_of_drawn_classes_is_found_again() -> None:
    rng = np.random.default_rng(3)
    kappa, nu = 0.25, D + 12.0
    mean = np.array([1.0, -2.0, 0.5])
    expected = np.diag([1.0, 4.0, 0.25])
    sigmas = scipy.stats.invwishart(df=nu, scale=expected * (nu - D - 1)).rvs(400, random_state=rng)
    x = np.concatenate([rng.multivariate_normal(rng.multivariate_normal(mean, s / kappa), s, size=20) for s in sigmas])
    found = fit_prior(torch.from_numpy(x), torch.arange(400).repeat_interleave(20), 0.0)
    assert found.kappa == pytest.approx(kappa, rel=0.15)
    assert found.nu == pytest.approx(nu, rel=0.25)
    np.testing.assert_allclose(found.mean.numpy(), mean, atol=0.35)
    np.testing.assert_allclose((found.scatter / (found.nu - D - 1)).numpy(), expected, atol=0.3)


def test_shrinking_whole_leaves_a_diagonal() -> None:
    x, y = torch.from_numpy(np.random.default_rng(0).normal(size=(60, D)) @ np.ones((D, D))), torch.arange(60) % 4
    x = x + 0.1 * torch.from_numpy(_examples(60))
    whole, none = (fit_prior(x, y, s).scatter for s in (1.0, 0.0))
    assert torch.equal(whole, torch.diag(whole.diagonal()))
    assert float((none - torch.diag(none.diagonal())).abs().max()) > 0


def test_classes_of_one_variance_leave_nothing_to_doubt_and_nothing_fails() -> None:
    x = torch.from_numpy(_examples(8))
    same = torch.cat([x, x + 5])
    prior = fit_prior(same, torch.arange(2).repeat_interleave(8), 0.1)
    assert np.isfinite(prior.nu)
    assert prior.nu > 100


@pytest.mark.parametrize("y", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_a_source_without_classes_to_learn_from_is_refused(y: list[int]) -> None:
    with pytest.raises(TrialError, match="two classes or more"):
        fit_prior(torch.from_numpy(_examples(4)), torch.tensor(y), 0.1)


def test_axes_are_those_of_most_variance_and_none_without() -> None:
    x = np.random.default_rng(0).normal(size=(100, 5)) * [0.0, 3.0, 1.0, 0.0, 2.0] + 7
    axes = principal_axes(torch.from_numpy(x), 2).abs().numpy()
    np.testing.assert_allclose(axes, np.eye(5)[:, [1, 4]], atol=0.3)
    assert principal_axes(torch.from_numpy(x), 5).shape == (5, 3)


@pytest.mark.parametrize("strategy", [BayesOneShot(), BayesOneShot(dims=4, shrinkage=1.0)], ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


@pytest.mark.parametrize("shots", [1, 5])
def test_a_prior_of_other_classes_beats_learning_from_one_example(shots: int) -> None:
    assert score(BayesOneShot(), telling_directions(shots)) > refitted_from_scratch() + 0.25


def test_what_was_fitted_is_in_the_record() -> None:
    from tlbench.testing.toys import fit

    reported = fit(BayesOneShot(), telling_directions()).ctx.session.reported
    assert reported["kappa"] > 0
    assert reported["nu"] > 0


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: BayesOneShot(dims=0), "dims must be at least 1, got 0"),
        (lambda: BayesOneShot(shrinkage=1.5), r"shrinkage must be in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_parameters_are_named(wrong: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        wrong()
