"""Label budgets: exact per class, nested, paired by seed, in an order that tells no class."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlbench.api.data import Seeds
from tlbench.data.subsets import budget_rows, validation_rows
from tlbench.errors import SkipTrial

seeds = st.integers(0, 2**32)
labels = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array)


def generator(seed: int) -> np.random.Generator:
    return Seeds(seed).generator("subset")


@given(seeds, st.integers(1, 6), st.integers(1, 6), st.integers(2, 5))
def test_a_smaller_number_per_class_lies_inside_a_larger_one(seed: int, one: int, other: int, classes: int) -> None:
    few, many = sorted((one, other))
    y = np.random.default_rng(seed).permutation(np.arange(classes * 7) % classes)
    small, large = budget_rows(y, few, generator(seed)), budget_rows(y, many, generator(seed))
    assert np.array_equal(np.bincount(y[large], minlength=classes), np.full(classes, many))
    assert len(set(large)) == len(large)
    assert [row for row in large if row in set(small)] == list(small)


@given(seeds, labels, st.integers(1, 99), st.integers(1, 99))
def test_a_smaller_share_lies_inside_a_larger_one_and_has_the_size_that_is_written(
    seed: int, y: np.ndarray, one: int, other: int
) -> None:
    few, many = sorted((one, other))
    small, large = (budget_rows(y, percent / 100, generator(seed)) for percent in (few, many))
    assert set(small) <= set(large)
    for label, n in zip(*np.unique(y, return_counts=True), strict=True):
        exact = Fraction(many, 100) * int(n)
        assert (y[large] == label).sum() == -(-exact.numerator // exact.denominator)


@given(seeds, labels)
def test_all_is_every_row_once_and_contains_every_other_budget_in_order(seed: int, y: np.ndarray) -> None:
    rows = budget_rows(y, "all", generator(seed))
    assert sorted(rows) == list(range(len(y)))
    half = budget_rows(y, 0.5, generator(seed))
    assert [row for row in rows if row in set(half)] == list(half)


def test_seven_percent_of_a_hundred_are_seven() -> None:
    assert len(budget_rows(np.zeros(100, dtype=int), 0.07, generator(0))) == 7


def test_another_seed_takes_other_rows_and_the_same_seed_the_same() -> None:
    y = np.arange(1000) % 10
    assert np.array_equal(budget_rows(y, 5, generator(1)), budget_rows(y, 5, generator(1)))
    assert not np.array_equal(np.sort(budget_rows(y, 5, generator(1))), np.sort(budget_rows(y, 5, generator(2))))


def test_the_order_of_the_rows_does_not_tell_the_classes_apart() -> None:
    """Over many seeds the class at each place is as good as uniform: the mean label is 4.5 everywhere."""
    y = np.repeat(np.arange(10), 50)
    placed = np.array([y[budget_rows(y, 3, generator(seed))] for seed in range(400)])
    # A uniform label has standard deviation 2.87; the mean of 400 has 0.144; five of these are never exceeded.
    assert np.abs(placed.mean(axis=0) - 4.5).max() < 5 * 2.872 / np.sqrt(400)


def test_a_class_with_too_few_examples_is_named() -> None:
    y = np.array([0] * 5 + [1] * 3)
    with pytest.raises(SkipTrial, match="4 labels per class were asked for and class 'bee' has 3"):
        budget_rows(y, 4, generator(0), names=("ant", "bee"))
    with pytest.raises(SkipTrial, match="class 1 has 3"):
        budget_rows(y, 4, generator(0))
    with pytest.raises(SkipTrial, match="class 'wasp' has 0"):
        budget_rows(y, 1, generator(0), names=("ant", "bee", "wasp"))


@pytest.mark.parametrize("wrong", [0, -1, 0.0, 1.0, 1.5, True, "some"])
def test_a_budget_of_another_kind_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="labels must be"):
        budget_rows(np.zeros(4, dtype=int), wrong, generator(0))  # type: ignore[arg-type]


@given(seeds, labels, st.floats(0.05, 0.95))
def test_validation_is_taken_from_the_budget_class_by_class(seed: int, y: np.ndarray, share: float) -> None:
    rows = budget_rows(y, "all", generator(seed))
    cut = validation_rows(rows, y, share, generator(seed + 1))
    assert sorted([*cut.train, *cut.validation]) == sorted(rows)
    for label, n in zip(*np.unique(y, return_counts=True), strict=True):
        expected = 0 if n == 1 else min(max(round(share * n), 1), n - 1)
        assert (y[cut.validation] == label).sum() == expected
    place = {row: i for i, row in enumerate(rows)}
    for part in cut:
        assert [place[row] for row in part] == sorted(place[row] for row in part)
    again = validation_rows(rows, y, share, generator(seed + 1))
    assert np.array_equal(again.validation, cut.validation)


@pytest.mark.parametrize("share", [0, 1])
def test_a_validation_share_outside_nought_and_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        validation_rows(np.arange(4), np.zeros(4), share, generator(0))
