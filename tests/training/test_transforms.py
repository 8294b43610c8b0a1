"""Transforms of batches, against the same done to one image at a time."""

from __future__ import annotations

import colorsys
import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tlbench.api.recipe import Augmentation, Recipe
from tlbench.api.types import InputTransform
from tlbench.models.torchvision_import import import_timm
from tlbench.training.augment import augmentation, random_crop, random_flip
from tlbench.training.transforms import HUE, colour_jitter, grey, random_grey, resized_crop, turned, windows

X = torch.rand(16, 3, 24, 32, generator=torch.Generator().manual_seed(0))
SCALED = InputTransform(32, 3, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_window_resized_by_matrices_is_what_torch_makes_of_it_one_by_one() -> None:
    rng = np.random.default_rng(0)
    tall, wide = torch.from_numpy(rng.integers(1, 25, 16)), torch.from_numpy(rng.integers(1, 33, 16))
    top = torch.from_numpy(rng.integers(0, 25 - tall.numpy()))
    left = torch.from_numpy(rng.integers(0, 33 - wide.numpy()))
    found = windows(X, top, left, tall, wide)
    for x, y, t, u, h, w in zip(X, found, top, left, tall, wide, strict=True):
        cut = x[None, :, t : t + h, u : u + w]
        one = F.interpolate(cut, (24, 32), mode="bilinear", align_corners=False, antialias=True)
        assert torch.allclose(one[0], y, atol=1e-5)


def test_the_whole_image_as_the_window_changes_nothing() -> None:
    zero, tall, wide = (torch.full((16,), n) for n in (0, 24, 32))
    assert torch.allclose(windows(X, zero, zero, tall, wide), X, atol=1e-6)


def test_windows_have_the_areas_and_ratios_that_are_said() -> None:
    """Row and column numbers as images: of a window much smaller than the image the ends tell its size and place."""
    rows = torch.arange(64.0)[:, None].expand(64, 64)
    x = torch.stack([rows, rows.T]).expand(4000, 2, 64, 64)
    found = resized_crop(x, seeded())
    tall = (found[:, 0, -1, 0] - found[:, 0, 0, 0]) + 1
    wide = (found[:, 1, 0, -1] - found[:, 1, 0, 0]) + 1
    share, ratio = tall * wide / 64**2, wide / tall
    assert 0.06 < share.min() < 0.12
    assert 0.9 < share.max() <= 1.01
    assert 0.65 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.55
    assert abs(float(share.mean()) - 0.5) < 0.05
    assert found[:, 0].min() >= 0
    assert found.max() <= 63 + 1e-4


@pytest.mark.parametrize("shape", [(4, 4), (3, 40), (40, 3)])
def test_images_of_odd_shapes_keep_them(shape: tuple[int, int]) -> None:
    x = torch.rand(50, 1, *shape)
    found = resized_crop(x, seeded())
    assert found.shape == x.shape
    assert torch.isfinite(found).all()


def test_colours_change_as_they_do_one_by_one_with_the_same_factors() -> None:
    found = colour_jitter(X, seeded())
    factors = 0.6 + 0.8 * torch.rand(3, len(X), 1, 1, 1, generator=seeded()).reshape(3, -1).double()
    luma = np.array([0.2989, 0.587, 0.114])
    for i, (x, y) in enumerate(zip(X.double().numpy(), found.numpy(), strict=True)):
        bright, contrast, saturation = (float(f) for f in factors[:, i])
        x = np.clip(bright * x, 0, 1)
        mean = np.tensordot(luma, x, 1).mean()
        x = np.clip(mean + contrast * (x - mean), 0, 1)
        tone = np.tensordot(luma, x, 1)
        assert np.allclose(np.clip(tone + saturation * (x - tone), 0, 1), y, atol=1e-5)


TURNS = torch.tensor([0.0, 0.1, -0.1, 0.25, 0.5, -0.5, 1 / 3, 0.03, -0.47] + [0.2] * 7)
EDGES = torch.tensor(
    [[0, 0, 0], [255, 255, 255], [128, 128, 128], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [1, 0, 0],
     [254, 255, 255], [10, 10, 200], [200, 10, 10], [10, 200, 10], [90, 90, 91], [0, 128, 128]], dtype=torch.uint8
).T[None, :, None].expand(16, 3, 1, 14)  # fmt: skip
"""Black, white, greys, and colours on the borders between the sixths of the circle."""


def test_hue_turns_as_the_standard_library_turns_each_pixel() -> None:
    for x in (X[:, :, :4, :4].double(), EDGES.double() / 255):
        found = turned(x, TURNS)
        for image, result, turn in zip(x, found, TURNS.tolist(), strict=True):
            for pixel, after in zip(image.flatten(1).T.tolist(), result.flatten(1).T.tolist(), strict=True):
                hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
                assert after == pytest.approx(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value), abs=1e-6)


def test_hue_turns_as_another_library_turns_it_image_by_image() -> None:
    import_timm()  # where torchvision was built for another torch, this makes it importable
    functional = pytest.importorskip("torchvision.transforms.functional", exc_type=ImportError)
    whole = (255 * X).round().to(torch.uint8)
    for x in (X, whole, EDGES):
        found = turned(x, TURNS)
        assert found.dtype == x.dtype
        for image, result, turn in zip(x, found, TURNS.tolist(), strict=True):
            expected = functional.adjust_hue(image, turn)
            apart = (result.double() - expected.double()).abs().max()
            assert apart <= (1 if x.dtype == torch.uint8 else 1e-5), "one of 256 levels: it cuts off and we round"


def test_no_turn_and_a_whole_turn_leave_every_level_as_it_was() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    x = torch.stack([levels, levels.flip(0), levels.roll(77)])[None, :, None]
    for turn in (0.0, 1.0, -1.0):
        assert torch.equal(turned(x, torch.tensor([turn])), x)


def test_hue_is_turned_last_by_up_to_a_tenth_either_way_and_without_it_nothing_changes() -> None:
    generator = seeded()
    plain = colour_jitter(X, generator)
    assert torch.equal(colour_jitter(X, seeded(), hue=0.0), plain)
    turns = HUE * (2 * torch.rand(len(X), generator=generator) - 1)
    assert HUE == 0.1
    assert turns.min() < 0 < turns.max()
    assert torch.equal(colour_jitter(X, seeded(), hue=HUE), turned(plain, turns))
    one_channel = X[:, :1]
    assert torch.equal(colour_jitter(one_channel, seeded(), hue=HUE), colour_jitter(one_channel, seeded()))
    with pytest.raises(ValueError, match=r"hue must be in \[0, 0\.5\], got 0\.6"):
        colour_jitter(X, seeded(), hue=0.6)


def test_one_image_in_five_is_grey_and_the_others_are_as_they_were() -> None:
    x = X[:1].expand(4000, 3, 24, 32)
    found = random_grey(x, seeded())
    is_same, is_grey = (found == X[0]).flatten(1).all(1), (found == grey(X[:1])).flatten(1).all(1)
    assert bool((is_same ^ is_grey).all())
    assert abs(int(is_grey.sum()) - 800) < 5 * math.sqrt(4000 * 0.2 * 0.8)


@pytest.mark.parametrize("channels", [1, 2])
def test_images_without_colours_pass(channels: int) -> None:
    augment = augmentation("resized-crop-flip-colour-grey", 1)
    assert augment is not None
    x = torch.rand(5, channels, 8, 8)
    assert augment(x, 0).shape == x.shape


@pytest.mark.parametrize("name", [n for n in get_args(Augmentation) if n != "none"])
def test_every_augmentation_of_a_recipe_is_a_pure_function_of_seed_and_step(name: str) -> None:
    assert Recipe(augmentation=name).augmentation == name  # type: ignore[arg-type]
    one, other = augmentation(name, 3, SCALED), augmentation(name, 4, SCALED)
    assert one is not None
    assert other is not None
    before = X.clone()
    first = one(X, 7)
    torch.manual_seed(99)
    one(X, 8)
    assert torch.equal(one(X, 7), first)
    assert not torch.equal(one(X, 8), first)
    assert not torch.equal(other(X, 7), first)
    assert torch.equal(X, before)


def test_crop_and_flip_draw_what_they_always_drew() -> None:
    """Written out by hand, so that no record of an old recipe can change; and colours beside them move nothing."""
    generator = torch.Generator().manual_seed((5 + 3 * 0x9E3779B97F4A7C15) % 2**63)
    by_hand = random_flip(random_crop(X, generator), generator)
    plain, coloured = augmentation("crop-flip", 5), augmentation("crop-flip-colour", 5)
    assert plain is not None
    assert coloured is not None
    assert torch.equal(plain(X, 3), by_hand)
    black = torch.zeros_like(X)
    black[:, :, :2] = 1.0  # where this is white, colours other than those leave an edge
    assert torch.equal(coloured(black, 3) > 0.3, plain(black, 3) > 0.3)


def test_colours_are_changed_on_the_scale_of_the_pixels_whatever_the_scaling() -> None:
    mean, std = torch.tensor(SCALED.mean)[:, None, None], torch.tensor(SCALED.std)[:, None, None]
    raw, scaled = augmentation("crop-flip-colour", 2), augmentation("crop-flip-colour", 2, SCALED)
    assert raw is not None
    assert scaled is not None
    assert torch.allclose(scaled((X - mean) / std, 1) * std + mean, raw(X, 1), atol=1e-5)
