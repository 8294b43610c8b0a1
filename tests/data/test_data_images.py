"""Images of any kind become uint8 [N, K, H, W] in the one stated way."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.data.cache import DataCache
from tlbench.data.images import DEFAULT_SIZE, Images, Layout, decode, layout
from tlbench.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 4), dtype=np.uint8)
RGB = RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)


def bytes_of(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def through(items: Sequence[Any], folder: Path, size: int | None = None) -> tuple[Layout, np.ndarray]:
    images = Images("set, train", len(items), lambda: items)
    form = layout([images], size)
    return form, decode(images, form, DataCache(folder, None, folder))


def test_grey_images_stay_one_channel_with_their_values(tmp_path: Path) -> None:
    form, x = through([bytes_of(Image.fromarray(GREY)), Image.fromarray(255 - GREY)], tmp_path)
    assert x.dtype == np.uint8
    assert np.array_equal(x, np.stack([GREY, 255 - GREY])[:, None])
    assert (form.channels, form.height, form.width, form.resize) == (1, 5, 4, False)
    assert "grey, 5 × 4 as they are" in form.note


def test_colour_images_are_channels_first(tmp_path: Path) -> None:
    _, x = through([bytes_of(Image.fromarray(RGB))], tmp_path)
    assert np.array_equal(x[0], RGB.transpose(2, 0, 1))


def test_a_set_of_grey_and_colour_is_colour(tmp_path: Path) -> None:
    _, x = through([Image.fromarray(GREY), Image.fromarray(RGB)], tmp_path)
    assert np.array_equal(x[0], np.stack([GREY] * 3))
    assert np.array_equal(x[1], RGB.transpose(2, 0, 1))


def test_one_bit_and_sixteen_bits_are_grey(tmp_path: Path) -> None:
    bits = GREY > 127
    wide = RNG.integers(0, 2**16, (5, 4), dtype=np.uint16)
    _, x = through([bytes_of(Image.fromarray(bits)), bytes_of(Image.fromarray(wide))], tmp_path)
    assert np.array_equal(x[0, 0], bits * np.uint8(255))
    assert np.array_equal(x[1, 0], wide // 256)


def test_a_palette_is_looked_up_in_colour(tmp_path: Path) -> None:
    index = Image.fromarray((GREY % 3).astype(np.uint8))
    palette = np.array([[10, 20, 30], [200, 100, 0], [0, 0, 255]], dtype=np.uint8)
    image = Image.new("P", (4, 5))
    image.putdata(list(index.tobytes()))
    image.putpalette(palette.tobytes())
    _, x = through([bytes_of(image)], tmp_path)
    assert np.array_equal(x[0], palette[GREY % 3].transpose(2, 0, 1))


def test_what_is_transparent_is_laid_on_white(tmp_path: Path) -> None:
    alpha = np.zeros((5, 4, 1), dtype=np.uint8)
    alpha[2:] = 255
    _, x = through([bytes_of(Image.fromarray(np.concatenate([RGB, alpha], axis=2)))], tmp_path)
    assert np.array_equal(x[0], np.where(alpha == 255, RGB, 255).transpose(2, 0, 1))
    half = Image.new("LA", (4, 5), (0, 128))
    _, y = through([half], tmp_path)
    assert y.shape == (1, 1, 5, 4)
    assert np.abs(y.astype(int) - 127).max() <= 1  # 0 · 128/255 + 255 · 127/255


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    _, x = through([Image.new("CMYK", (4, 5), (0, 255, 255, 0))], tmp_path)
    assert np.array_equal(x[0], np.broadcast_to(np.array([255, 0, 0])[:, None, None], (3, 5, 4)))


def test_images_of_different_sizes_are_resized_and_cut_to_one_square(tmp_path: Path) -> None:
    items = [Image.new("L", (300, 200), 70), Image.new("L", (100, 120), 70)]
    form, x = through(items, tmp_path)
    assert x.shape == (2, 1, DEFAULT_SIZE, DEFAULT_SIZE)
    assert (x == 70).all()
    assert "sizes differ" in form.note
    assert "128" in form.note


def test_the_middle_of_the_long_side_is_kept(tmp_path: Path) -> None:
    """Three blocks of 4 × 4 side by side at their own height: the crop is the middle block, untouched."""
    blocks = np.concatenate([np.full((4, 4), v, dtype=np.uint8) for v in (10, 120, 250)], axis=1)
    _, x = through([Image.fromarray(blocks)], tmp_path, size=4)
    assert np.array_equal(x[0, 0], np.full((4, 4), 120))
    _, y = through([Image.fromarray(blocks.T.copy())], tmp_path, size=4)
    assert np.array_equal(y[0, 0], np.full((4, 4), 120))


def test_making_images_smaller_is_antialiased(tmp_path: Path) -> None:
    """A fine chequerboard must become even grey; picking single pixels would leave it black or white."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    _, x = through([Image.fromarray(board)], tmp_path, size=8)
    assert np.abs(x[0, 0, 1:-1, 1:-1].astype(int) - 127).max() <= 8


def test_a_size_that_the_images_have_already_changes_nothing(tmp_path: Path) -> None:
    square = GREY[:4]
    form, x = through([Image.fromarray(square)], tmp_path, size=4)
    assert not form.resize
    assert np.array_equal(x[0, 0], square)


@pytest.mark.parametrize("broken", [b"no image at all", b"", None])
def test_a_corrupt_image_is_named_with_its_row(tmp_path: Path, broken: bytes | None) -> None:
    good = bytes_of(Image.fromarray(RGB))
    bad = (
        bytes_of(Image.fromarray(RNG.integers(0, 256, (50, 40, 3), dtype=np.uint8)))[:3000]
        if broken is None
        else broken
    )
    with pytest.raises(DataError, match=r"set, train, row 2.*cannot be read"):
        through([good, good, bad], tmp_path)


def test_a_corrupt_file_is_named_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"row 0 \(.*bad\.png\)"):
        through([tmp_path / "bad.png"], tmp_path)


def test_images_that_would_not_fit_the_memory_are_refused_before_any_is_decoded(tmp_path: Path) -> None:
    images = Images("set, train", 1000, lambda: (_ for _ in ()).throw(AssertionError("decoded")))
    form = Layout(3, 100, 100, False, "")
    with pytest.raises(DataError, match=r"set, train \(1000 images\) needs 28\.6 MiB"):
        decode(images, form, DataCache(tmp_path, None, tmp_path, memory_limit=10**6))


def test_a_picture_that_would_blow_up_the_memory_is_refused(tmp_path: Path) -> None:
    huge = bytes_of(Image.new("1", (20_000, 10_000)))
    with pytest.raises(DataError, match="row 0"):
        through([huge], tmp_path)
