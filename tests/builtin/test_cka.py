"""CKA against the formula written from the papers: what it is invariant to, and what it tells apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tlbench.builtin.model_metrics import CKA, linear_cka, unbiased_hsic
from tlbench.testing import check_metric

rng = np.random.default_rng(0)


def hsic_of_quadruples(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """The U-statistic itself: the mean over all ordered quadruples of different examples (Song et al. 2012, eq. 4)."""
    n = len(k)
    pairs = [k[i, j] * l[i, j] for i, j in itertools.permutations(range(n), 2)]
    triples = [k[i, j] * l[i, q] for i, j, q in itertools.permutations(range(n), 3)]
    fours = [k[i, j] * l[q, r] for i, j, q, r in itertools.permutations(range(n), 4)]
    return float(np.mean(pairs) + np.mean(fours) - 2 * np.mean(triples))


def biased_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Kornblith et al. 2019, section 3: ||Y'X||^2 / (||X'X|| ||Y'Y||) of centred features."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.square(y.T @ x).sum() / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def test_the_contract_holds() -> None:
    check_metric(CKA())


def test_hsic_is_the_mean_over_all_quadruples() -> None:
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    assert unbiased_hsic(x @ x.T, y @ y.T) == pytest.approx(hsic_of_quadruples(x @ x.T, y @ y.T))


def test_cka_is_the_ratio_of_those() -> None:
    x, y = rng.normal(size=(8, 3)).astype(np.float32), rng.normal(size=(8, 5)).astype(np.float32)
    k, l = ((z := v.astype(np.float64)) @ z.T for v in (x, y))  # noqa: E741
    expected = hsic_of_quadruples(k, l) / np.sqrt(hsic_of_quadruples(k, k) * hsic_of_quadruples(l, l))
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-6)


def test_with_many_examples_it_is_kornbliths_linear_cka() -> None:
    x = rng.normal(size=(4000, 6))
    y = x @ rng.normal(size=(6, 4)) + rng.normal(size=(4000, 4))
    assert 0.2 < biased_cka(x, y) < 0.9
    assert linear_cka(x, y) == pytest.approx(biased_cka(x, y), abs=0.01)


def test_equal_features_are_exactly_1_and_rotations_and_scales_do_not_count() -> None:
    x, y = rng.normal(size=(50, 6)).astype(np.float32), rng.normal(size=(50, 9)).astype(np.float32)
    y[:, :6] += x
    assert linear_cka(x, x) == 1.0
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    assert linear_cka(x, 3.7 * x @ turn + 5) == pytest.approx(1, abs=1e-6)
    assert linear_cka(x @ turn, y) == pytest.approx(linear_cka(x, y), abs=1e-6)
    assert linear_cka(x * [1, 1, 1, 1, 1, 9], x) < 0.9  # an invertible map alone does count
    assert linear_cka(x, y) == linear_cka(y, x)


def test_unrelated_features_are_near_0_also_where_they_outnumber_the_examples() -> None:
    values = [linear_cka(rng.normal(size=(60, 500)), rng.normal(size=(60, 500))) for _ in range(20)]
    assert np.mean(values) == pytest.approx(0, abs=0.05)
    assert biased_cka(rng.normal(size=(60, 500)), rng.normal(size=(60, 500))) > 0.5  # what the unbiased one is for


def test_it_is_undefined_where_nothing_varies() -> None:
    x = rng.normal(size=(20, 3)).astype(np.float32)
    assert linear_cka(x, np.ones((20, 2), np.float32)) is None
    assert linear_cka(x[:3], x[:3]) is None
