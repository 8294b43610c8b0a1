"""Batches are pure functions of (seed, pool, step); so is what augmentation makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlbench.training.augment import augmentation, random_crop, random_flip
from tlbench.training.streams import Stream


def numbers(size: int, batch: int, seed: int = 3) -> Stream:
    """A stream whose examples are their own row numbers."""
    return Stream(torch.arange(size), None, batch_size=batch, seed=seed, scale=lambda x: x)


@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 2**63 - 1))
def test_an_epoch_shows_no_example_twice_and_leaves_out_less_than_a_batch(size: int, batch: int, seed: int) -> None:
    stream = numbers(size, batch, seed)
    per_epoch = size // min(batch, size)
    for epoch in range(3):
        shown = torch.cat([stream.batch(epoch * per_epoch + k).x for k in range(per_epoch)]).tolist()
        assert len(set(shown)) == len(shown)
        assert set(shown) <= set(range(size))
        assert size - len(shown) < min(batch, size)


def test_every_example_comes_once_in_an_epoch_whose_size_is_a_multiple_of_the_batch() -> None:
    stream = numbers(48, 16)
    epochs = [torch.cat([stream.batch(3 * e + k).x for k in range(3)]).tolist() for e in range(4)]
    assert all(sorted(shown) == list(range(48)) for shown in epochs)
    assert len({tuple(shown) for shown in epochs}) == 4


def test_a_batch_does_not_depend_on_what_was_asked_for_before() -> None:
    forwards = {step: numbers(50, 8).batch(step).x.tolist() for step in range(40)}
    stream = numbers(50, 8)
    for step in np.random.default_rng(0).permutation(np.repeat(np.arange(40), 2)):
        torch.manual_seed(int(step))
        assert stream.batch(int(step)).x.tolist() == forwards[int(step)]


def test_another_seed_gives_another_order() -> None:
    assert numbers(50, 50, seed=1).batch(0).x.tolist() != numbers(50, 50, seed=2).batch(0).x.tolist()


def test_a_pool_smaller_than_the_batch_is_shown_whole_at_each_step() -> None:
    stream = numbers(5, 64)
    assert len(stream) == 5
    shown = [stream.batch(step).x.tolist() for step in range(6)]
    assert all(sorted(s) == [0, 1, 2, 3, 4] for s in shown)
    assert len({tuple(s) for s in shown}) > 1


def test_inputs_of_several_parts_and_labels_stay_together() -> None:
    x = {"a": torch.arange(30), "b": torch.arange(30)[:, None] * torch.ones(4)}
    batch = Stream(x, torch.arange(30) * 2, batch_size=7, seed=0, scale=lambda x: x).batch(2)
    assert len(batch) == 7
    assert torch.equal(batch.y, batch.x["a"] * 2)
    assert torch.equal(batch.x["b"][:, 3], batch.x["a"].float())


def test_a_batch_may_be_changed_in_place_without_a_trace_in_the_pool() -> None:
    x = torch.arange(20.0)
    stream = Stream(x, torch.arange(20), batch_size=20, seed=0, scale=lambda x: x)
    batch = stream.batch(0)
    batch.x.zero_()
    batch.y.zero_()
    assert torch.equal(x, torch.arange(20.0))
    assert stream.batch(0).y.sum() == 190


# ---- augmentation ----------------------------------------------------------------------------------


def images(size: int = 6, side: int = 8) -> torch.Tensor:
    return torch.arange(size * 2 * side * side, dtype=torch.float32).reshape(size, 2, side, side)


@pytest.mark.parametrize("name", ["flip", "crop", "crop-flip"])
def test_augmentation_is_a_pure_function_of_seed_and_step_and_keeps_the_shape(name: str) -> None:
    one, two, other = augmentation(name, 11), augmentation(name, 11), augmentation(name, 12)
    assert one is not None
    assert two is not None
    assert other is not None
    x = images(40)
    before = x.clone()
    torch.manual_seed(0)
    first = one(x, 5)
    torch.manual_seed(99)
    one(x, 6)
    assert torch.equal(one(x, 5), first)
    assert torch.equal(two(x, 5), first)
    assert first.shape == x.shape
    assert not torch.equal(one(x, 6), first)
    assert not torch.equal(other(x, 5), first)
    assert torch.equal(x, before)


def test_no_augmentation_is_none_and_features_pass_as_they_are() -> None:
    assert augmentation("none", 0) is None
    augment: Any = augmentation("crop-flip", 0)
    features, parts = torch.randn(4, 10), {"a": torch.randn(4, 1, 8, 8)}
    assert augment(features, 0) is features
    assert augment(parts, 0) is parts


def test_each_image_is_mirrored_or_not_and_half_of_them_are() -> None:
    x = images(4000, 2)
    flipped = random_flip(x, torch.Generator().manual_seed(1))
    mirrored = torch.tensor(np.ascontiguousarray(x.numpy()[..., ::-1]))
    is_mirrored = (flipped == mirrored).flatten(1).all(1)
    is_same = (flipped == x).flatten(1).all(1)
    assert bool((is_mirrored ^ is_same).all())
    # five standard deviations of a binomial with 4,000 draws
    assert abs(int(is_mirrored.sum()) - 2000) < 5 * np.sqrt(1000)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 24), (5, 9)])
def test_a_crop_is_a_window_of_the_image_padded_by_reflection(height: int, width: int) -> None:
    """Beside NumPy's reflection and slices, image by image, over all windows that there are."""
    x = torch.rand(600, 3, height, width, generator=torch.Generator().manual_seed(0))
    cropped = random_crop(x, torch.Generator().manual_seed(4)).numpy()
    pad_y, pad_x = max(1, height // 8), max(1, width // 8)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)), mode="reflect")
    places = []
    for image, out in zip(padded, cropped, strict=True):
        found = [
            (top, left)
            for top in range(2 * pad_y + 1)
            for left in range(2 * pad_x + 1)
            if np.array_equal(image[:, top : top + height, left : left + width], out)
        ]
        assert len(found) == 1
        places.append(found[0])
    assert set(places) == {(t, c) for t in range(2 * pad_y + 1) for c in range(2 * pad_x + 1)}
