"""Images: from PNG or JPEG bytes, files or Pillow images to one array uint8 [N, K, H, W].

All images of a data set get one number of channels and one size, over all its splits:

* channels: grey (8 or 16 bits, one bit, grey with alpha) stays one channel where every image is grey, else
  all are RGB; palettes and CMYK become RGB; what is transparent is laid on white; 16 bits lose their lower 8;
* size: kept where all images have one size and none was asked for; else the short side is resized to
  ``image_size`` (bilinear with antialiasing, as Pillow does it) and the middle square is cut out.

The orientation tag of photographs is not applied, as in the usual training pipelines.

Dimension key:  N examples  K channels  H height  W width
"""

from __future__ import annotations

import io
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tlbench.data.rows import PIECE, cores, release
from tlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    import PIL.Image

    from tlbench.api.data import Array
    from tlbench.api.types import Cache

DEFAULT_SIZE = 128
"""The size [pixels] of images whose sizes differ, where none is asked for."""

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"})

Read: TypeAlias = "Callable[[], Iterable[bytes | Path | PIL.Image.Image]]"
"""Yields the images of a split in order; called twice, so that they need not all be held."""


@dataclass(frozen=True)
class Images:
    """The images of one split: ``what`` names data set and split in errors, ``count`` is N."""

    what: str
    count: int
    read: Read


@dataclass(frozen=True)
class Layout:
    """The one form of all images of a data set, and how they come to it in words."""

    channels: int
    height: int
    width: int
    resize: bool
    note: str


def decoder() -> str:
    """Names what decoded pixels depend on, for the key of a cache."""
    import PIL

    return f"images-1/pillow-{PIL.__version__}"


def layout(sets: Iterable[Images], image_size: int | None = None) -> Layout:
    """The first pass, over headers only: which form fits all images of all splits.

    Raises ``DataError`` with data set, split and row where an image cannot be read, ``ValueError`` for a
    size under one.
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be at least 1, got {image_size}")
    sizes: set[tuple[int, int]] = set()
    colour = False
    for images in sets:
        for image, ours in _opened(images):
            sizes.add(image.size)
            colour = colour or image.mode not in GREY_MODES
            if ours:
                image.close()
    if not sizes:
        raise DataError("there are no images")
    channels = 3 if colour else 1
    words = "RGB" if colour else "grey"
    width, height = next(iter(sizes))
    if len(sizes) == 1 and image_size in (None, width, height) and (image_size is None or width == height):
        return Layout(channels, height, width, False, f"images {words}, {height} × {width} as they are")
    size = image_size or DEFAULT_SIZE
    where = "their sizes differ" if len(sizes) > 1 else f"they are {height} × {width}"
    note = f"images {words}, {where}: short side resized to {size}, middle {size} × {size} cut out"
    return Layout(channels, size, size, True, note)


def decode(images: Images, form: Layout, cache: Cache) -> Array:
    """The second pass: every image in that form, uint8 [N, K, H, W], on all cores at hand.

    Within ``cache.arrays`` the result is a file that fills up, and memory holds a few images at a time. Raises
    ``DataError`` where neither disk nor memory would do, or with data set, split and row of the first corrupt image.
    """
    shape = (images.count, form.channels, form.height, form.width)
    out = cache.empty(shape, np.uint8, f"{images.what} ({images.count} images)")
    every = max(1, PIECE // max(1, out[:1].nbytes))
    begun: deque[tuple[int, PIL.Image.Image, Future[Array]]] = deque()
    row = -1

    def finish(most: int) -> None:
        """Wait for the oldest images until so many are left."""
        while len(begun) > most:
            at, image, pixels = begun.popleft()
            try:
                out[at] = pixels.result()
            except (OSError, ValueError, SyntaxError, IndexError) as error:
                raise DataError(_damaged(images, at, image, error)) from error
            if at % every == 0:
                release(out)

    threads = cores()
    with ThreadPoolExecutor(threads) as pool:
        opened = enumerate(_opened(images))
        try:
            while True:
                try:
                    row, (image, ours) = next(opened)
                except StopIteration:
                    break
                except DataError:
                    finish(0)  # one before it may be corrupt too
                    raise
                begun.append((row, image, pool.submit(_pixels, image, form, close=ours)))
                finish(4 * threads)
            finish(0)
        finally:
            for _, image, pixels in begun:
                if pixels.cancel():
                    image.close()
    if row + 1 != images.count:
        raise DataError(f"{images.what}: {row + 1} images were read where {images.count} were announced")
    release(out)
    return out


def _pixels(opened: PIL.Image.Image, form: Layout, *, close: bool) -> Array:
    """One image as uint8 [K, H, W]; Pillow decodes and resizes without the interpreter's lock."""
    import PIL.Image

    with opened if close else nullcontext():
        image = _flat(opened, "RGB" if form.channels == 3 else "L")
    if form.resize:
        width, height = image.size
        short = min(width, height)
        size = form.height
        new = (max(size, round(width * size / short)), max(size, round(height * size / short)))
        image = image.resize(new, PIL.Image.Resampling.BILINEAR)
        left, top = (new[0] - size) // 2, (new[1] - size) // 2
        image = image.crop((left, top, left + size, top + size))
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if form.channels == 1 else pixels.transpose(2, 0, 1)


def _flat(image: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """The image as 8 bits grey or RGB, laid on white where it is transparent."""
    import PIL.Image

    if image.mode.startswith("I"):
        wide = np.asarray(image)
        image = PIL.Image.fromarray((np.clip(wide, 0, 65535) >> 8).astype(np.uint8))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = PIL.Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = PIL.Image.alpha_composite(ground, image).convert("RGB")
    return image.convert(mode)


def _opened(images: Images) -> Iterator[tuple[PIL.Image.Image, bool]]:
    """Each image with its header read and its pixels not yet, and whether it is a file that was opened here."""
    import PIL.Image

    for row, item in enumerate(images.read()):
        try:
            with _bombs_are_errors():
                if isinstance(item, bytes):
                    image: Any = PIL.Image.open(io.BytesIO(item))
                else:
                    image = PIL.Image.open(item) if isinstance(item, Path) else item
            if image.mode == "F":
                raise ValueError("its pixels are floats")
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError, Warning) as error:
            raise DataError(_damaged(images, row, item, error)) from error
        yield image, isinstance(item, Path)


@contextmanager
def _bombs_are_errors() -> Iterator[None]:
    """An image of a size that no data set has is refused before its pixels take the memory."""
    import PIL.Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        yield


def _damaged(images: Images, row: int, item: object, error: BaseException) -> str:
    path = item if isinstance(item, Path) else getattr(item, "filename", "")
    at = f" ({path})" if path else ""
    reason = "not an image that Pillow reads" if type(error).__name__ == "UnidentifiedImageError" else error
    return f"{images.what}, row {row}{at}: the image cannot be read: {reason}. Mend or remove it."
