"""The built-in digits: real shifts of the same rows, and splits that never leak into each other."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tlbench.api.data import Domain
from tlbench.builtin.digits import Digits
from tlbench.data.cache import DataCache, domain_hash

SHIFTS = ("none", "inverted", "rotated", "noisy", "thick", "permuted", "shuffled")


def load(**params: object) -> Domain:
    return Digits(**params).load(DataCache(Path("unused"), None, Path()))  # type: ignore[arg-type]


def x(domain: Domain, split: str = "train") -> np.ndarray:
    array = domain.splits[split].x
    assert isinstance(array, np.ndarray)
    return array


def test_the_digits_are_scikit_learns_spread_over_eight_bits() -> None:
    digits, raw = load(), load_digits()
    assert x(digits).dtype == np.uint8
    assert x(digits).shape[1:] == (1, 8, 8)
    assert digits.num_classes == 10
    ours = np.concatenate([x(digits), x(digits, "test")])[:, 0]
    labels = np.concatenate([digits.splits["train"].y, digits.splits["test"].y])
    assert len(ours) == 1797
    expected = sorted(
        (np.rint(i / 16 * 255).astype(int).tobytes(), y) for i, y in zip(raw.images, raw.target, strict=True)
    )
    assert sorted((i.astype(int).tobytes(), y) for i, y in zip(ours, labels, strict=True)) == expected
    counts = np.bincount(raw.target)
    assert np.array_equal(np.bincount(digits.splits["test"].y), [round(0.25 * n) for n in counts])


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_is_the_same_every_time_and_its_splits_share_no_memory(shift: str) -> None:
    one, other = load(shift=shift), load(shift=shift)
    assert domain_hash(one) == domain_hash(other)
    assert not np.shares_memory(x(one), x(one, "test"))
    assert not np.shares_memory(one.splits["train"].y, one.splits["test"].y)
    assert x(one).dtype == np.uint8
    assert one.splits["train"].y.dtype == np.int64


@pytest.mark.parametrize("shift", ["inverted", "rotated", "noisy", "thick"])
def test_a_shift_changes_the_images_and_never_which_rows_are_test_rows(shift: str) -> None:
    plain, shifted = load(), load(shift=shift)
    for split in ("train", "test"):
        assert np.array_equal(plain.splits[split].y, shifted.splits[split].y)
        assert (x(plain, split) != x(shifted, split)).any(axis=(1, 2, 3)).all()


def test_each_shift_does_to_an_image_what_it_says() -> None:
    plain = x(load()).astype(int)
    assert np.array_equal(x(load(shift="inverted")), 255 - plain)

    quarter = x(load(shift="rotated", angle=90))
    assert np.array_equal(quarter, np.rot90(plain, axes=(2, 3)))  # NumPy turns counter-clockwise as well

    grown = np.pad(plain, ((0, 0), (0, 0), (1, 0), (1, 0)), mode="edge")
    parts = [grown[..., i : i + 8, j : j + 8] for i in (0, 1) for j in (0, 1)]
    assert np.array_equal(x(load(shift="thick")), np.max(parts, axis=0))

    noise = x(load(shift="noisy", noise=0.1)).astype(int) - plain
    inside = (plain > 100) & (plain < 155)  # four deviations from either end: nothing is cut off
    assert noise[inside].std() == pytest.approx(25.5, rel=0.05)
    assert noise[inside].mean() == pytest.approx(0, abs=1)


def test_each_shift_of_the_images_is_a_real_one_that_can_be_learned() -> None:
    """A linear classifier of the plain digits loses at least 8 points, and one trained on the shift gains them back."""
    plain = load()

    def flat(domain: Domain, split: str) -> np.ndarray:
        return x(domain, split).reshape(-1, 64) / 255

    model = LogisticRegression(max_iter=500).fit(flat(plain, "train"), plain.splits["train"].y)
    at_home = model.score(flat(plain, "test"), plain.splits["test"].y)
    assert at_home > 0.95
    for shift in ("inverted", "rotated", "noisy", "thick"):
        domain = load(shift=shift)
        away = model.score(flat(domain, "test"), domain.splits["test"].y)
        assert away < at_home - 0.08, shift
    rotated = load(shift="rotated")
    own = LogisticRegression(max_iter=500).fit(flat(rotated, "train"), rotated.splits["train"].y)
    assert own.score(flat(rotated, "test"), rotated.splits["test"].y) > 0.95


def test_permuted_labels_give_every_class_another_name() -> None:
    plain, permuted = load(), load(shift="permuted")
    pairs = set(zip(plain.splits["train"].y.tolist(), permuted.splits["train"].y.tolist(), strict=True))
    assert len(pairs) == 10
    assert all(old != new for old, new in pairs)
    assert np.array_equal(x(plain), x(permuted))


def test_shuffled_labels_keep_their_counts_and_tell_nothing_of_the_image() -> None:
    plain, shuffled = load(), load(shift="shuffled")
    for split in ("train", "test"):
        old, new = plain.splits[split].y, shuffled.splits[split].y
        assert np.array_equal(np.bincount(old), np.bincount(new))
        assert abs((old == new).mean() - 0.1) < 0.05


def test_classes_are_renumbered_in_the_order_given() -> None:
    plain, some = load(), load(classes=(7, 2))
    assert some.label_names == ("7", "2")
    for split in ("train", "test"):
        y = plain.splits[split].y
        rows = np.isin(y, (7, 2))
        assert np.array_equal(x(some, split), x(plain, split)[rows])
        assert np.array_equal(some.splits[split].y, np.where(y[rows] == 7, 0, 1))


def test_the_two_halves_share_no_row_and_make_up_the_training_split() -> None:
    rows = {half: {i.tobytes() for i in x(load(half=half))} for half in ("all", "first", "second")}
    assert rows["first"] | rows["second"] == rows["all"]
    assert len(x(load(half="first"))) + len(x(load(half="second"))) == len(x(load()))
    assert not rows["first"] & rows["second"]
    assert np.array_equal(x(load(half="first"), "test"), x(load(), "test"))


@pytest.mark.parametrize("wrong", [{"classes": (1,)}, {"classes": (1, 1)}, {"classes": (1, 10)}, {"noise": -1.0}])
def test_a_wrong_parameter_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"classes must be|noise must"):
        Digits(**wrong)  # type: ignore[arg-type]
