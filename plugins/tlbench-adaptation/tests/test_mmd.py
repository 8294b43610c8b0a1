"""MMD: the formula against NumPy written from the papers and against skada, and what it must solve."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tlbench_adaptation.mmd import MMD, mmd2

from tlbench.errors import TrialError
from tlbench.testing import check_beats, check_strategy, covariate_shift, score


def _samples(ns: int, nt: int, dims: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(ns, dims)), 1.5 * rng.normal(size=(nt, dims)) + 0.5


def _by_hand(s: Any, t: Any, octaves: Any, estimate: str) -> float:
    """The double sums of Gretton et al. 2012, eq. 3 and 5, pair by pair."""
    both = np.concatenate([s, t])
    apart = [((a - b) ** 2).sum() for i, a in enumerate(both) for j, b in enumerate(both) if i != j]
    median = np.sort(apart)[(len(apart) - 1) // 2]  # torch's median: the lower of the middle two

    def k(a: Any, b: Any) -> float:
        return float(np.mean([np.exp(-((a - b) ** 2).sum() / (2.0**u * median)) for u in octaves]))

    def mean(one: Any, other: Any, skip: bool) -> float:
        return float(
            np.mean([k(a, b) for i, a in enumerate(one) for j, b in enumerate(other) if not (skip and i == j)])
        )

    skip = estimate == "unbiased"
    return mean(s, s, skip) + mean(t, t, skip) - 2 * mean(s, t, False)


@pytest.mark.parametrize("estimate", ["unbiased", "biased"])
@pytest.mark.parametrize(("ns", "nt", "dims"), [(6, 6, 3), (2, 5, 1), (7, 4, 8)])
def test_the_mmd_is_the_double_sum_of_the_paper(ns: int, nt: int, dims: int, estimate: Any) -> None:
    s, t = _samples(ns, nt, dims)
    for octaves in [(-2, -1, 0, 1, 2), (0,)]:
        ours = float(mmd2(torch.from_numpy(s), torch.from_numpy(t), octaves, estimate))
        assert ours == pytest.approx(_by_hand(s, t, octaves, estimate), abs=1e-6)


@pytest.mark.filterwarnings("ignore")  # what skada and skorch warn of on import is theirs
def test_the_biased_estimate_is_that_of_skada_for_the_same_kernel() -> None:
    losses = pytest.importorskip("skada.deep.losses")
    s, t = (torch.from_numpy(x) for x in _samples(9, 7, 4))

    def kernel(x: Any, y: Any) -> Any:
        both = torch.cat([s, t])
        apart = torch.cdist(both, both).square()[~torch.eye(len(both), dtype=torch.bool)]
        return torch.exp(-torch.cdist(x, y).square() / apart.median())

    theirs = float(losses._maximum_mean_discrepancy(s, t, kernel))
    assert float(mmd2(s, t, (0,), "biased")) == pytest.approx(theirs, abs=1e-6)


def test_alike_domains_have_no_mmd_on_average_and_the_biased_estimate_has() -> None:
    rng = np.random.default_rng(0)
    draws = [[torch.from_numpy(rng.normal(size=(8, 3))) for _ in range(2)] for _ in range(400)]
    unbiased = np.array([float(mmd2(s, t)) for s, t in draws])
    biased = np.array([float(mmd2(s, t, estimate="biased")) for s, t in draws])
    assert abs(unbiased.mean()) < 3 * unbiased.std() / 20
    assert unbiased.min() < 0 <= biased.min()
    assert biased.mean() > 0.05


def test_a_change_of_shape_is_seen_where_means_and_covariances_agree() -> None:
    rng = np.random.default_rng(1)
    gauss = torch.from_numpy(rng.normal(size=(500, 1)))
    two_points = torch.from_numpy(rng.choice([-1.0, 1.0], size=(500, 1)))
    again = torch.from_numpy(rng.normal(size=(500, 1)))
    assert float(mmd2(gauss, two_points)) > 10 * abs(float(mmd2(gauss, again)))


def test_the_bandwidth_follows_the_scale_of_the_features_and_takes_no_gradient() -> None:
    s, t = (torch.from_numpy(x) for x in _samples(6, 5, 3))
    assert float(mmd2(100 * s, 100 * t)) == pytest.approx(float(mmd2(s, t)), abs=1e-5)
    # were the median part of the gradient, a common scale could not change the loss and its derivative would be 0
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    mmd2(scale * s, scale * t).backward()  # type: ignore[no-untyped-call]
    assert scale.grad is not None
    assert abs(float(scale.grad)) > 1e-3


def test_equal_features_give_no_division_by_nothing() -> None:
    s = torch.ones(4, 3, requires_grad=True)
    loss = mmd2(s, torch.ones(5, 3))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert s.grad is not None
    assert bool(torch.isfinite(s.grad).all())


def test_it_is_computed_in_float32_under_mixed_precision() -> None:
    s, t = (torch.from_numpy(x).float() for x in _samples(16, 16, 8))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = mmd2(s, t)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, mmd2(s, t))


METHODS = [MMD(), MMD(match="both"), MMD(match="scores"), MMD(estimate="biased"), MMD(passes="joint", octaves=(0.0,))]


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_a_shift_that_can_be_aligned_away_is(strategy: Any) -> None:
    check_beats(strategy, covariate_shift(), margin=0.3)


@pytest.mark.parametrize("strategy", METHODS[:2], ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


def test_without_its_term_it_is_no_better_than_the_source_alone() -> None:
    assert score(MMD(weight=0.0), covariate_shift()) < 0.75


def test_batches_of_one_example_are_refused() -> None:
    toy = covariate_shift()
    with pytest.raises(TrialError, match="mmd needs two examples of each domain"):
        score(MMD(), replace(toy, recipe=replace(toy.recipe, batch_size=1)))


@pytest.mark.parametrize(("parameters", "named"), [({"weight": -1.0}, "weight.*-1"), ({"octaves": ()}, "octaves")])
def test_parameters_that_cannot_be_are_refused(parameters: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        MMD(**parameters)
