"""The data set ``digits``: scikit-learn's 8 × 8 digits, and domain shifts of them, without any download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from tlbench.api.data import Domain, Seeds, Split

if TYPE_CHECKING:
    from tlbench.api.data import Array
    from tlbench.api.types import Cache

Shift: TypeAlias = Literal["none", "inverted", "rotated", "noisy", "thick", "permuted", "shuffled"]


@dataclass(frozen=True)
class Digits:
    """Handwritten digits, 1,797 images of 8 × 8 pixels in 10 classes, with a shift of one's choice.

    The same rows are test rows under every shift, so that training on one shifted version never shows a
    test image of another in a different guise.
    """

    name: ClassVar[str] = "digits"

    shift: Shift = "none"
    """inverted (white paper), rotated, noisy, thick (strokes), permuted (every class under another's name)
    or shuffled (labels drawn anew, unrelated to the images); the last two are negative controls."""
    angle: float = 25.0
    """Degrees counter-clockwise of ``rotated``."""
    noise: float = 0.3
    """Standard deviation of ``noisy``, as a share of the range of grey values."""
    classes: tuple[int, ...] | None = None
    """Only these digits, renumbered in this order; all ten where left out."""
    half: Literal["all", "first", "second"] = "all"
    """A half of the training rows; the two halves share no image, so a source and a target need not."""

    def __post_init__(self) -> None:
        if self.classes is not None and (len(set(self.classes)) != len(self.classes) or len(self.classes) < 2):
            raise ValueError(f"classes must be two or more different digits, got {list(self.classes)}")
        if self.classes is not None and (wrong := [c for c in self.classes if c not in range(10)]):
            raise ValueError(f"classes must be digits from 0 to 9, got {wrong[0]}")
        if self.noise < 0:
            raise ValueError(f"noise must not be negative, got {self.noise}")

    def load(self, cache: Cache) -> Domain:
        """Images uint8 [N, 1, 8, 8], grey values 0..16 spread over 0..255."""
        import numpy as np
        from sklearn.datasets import load_digits

        from tlbench.data.splits import split_note, split_rows

        raw = load_digits()
        x = np.rint(raw.images * (255 / 16)).astype(np.uint8)[:, None]
        y = raw.target.astype(np.int64)
        x = _shifted(x, self)
        parts = split_rows(y, "digits", 0.25)
        train = _half(parts.train, y, self.half)
        classes = self.classes if self.classes is not None else tuple(range(10))
        splits = {}
        for name, rows in (("train", train), ("test", parts.test)):
            kept = rows[np.isin(y[rows], classes)]
            labels = np.array([classes.index(int(label)) for label in y[kept]], dtype=np.int64)
            splits[name] = Split(x[kept], _relabelled(labels, self.shift, len(classes), name))
        note = split_note(0.25) + ", the same rows under every shift"
        if self.half != "all":
            note += f"; the {self.half} half of the training rows"
        return Domain(
            name="digits" if self.shift == "none" else f"digits-{self.shift}",
            splits=splits,
            label_names=tuple(str(c) for c in classes),
            kind="image",
            source="Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998, UCI Machine Learning "
            "Repository), test part, as shipped by scikit-learn",
            licence="CC BY 4.0",
            notes=note,
        )


def _half(rows: Array, y: Array, half: str) -> Array:
    """Every row, or the first or second of two stratified halves."""
    from tlbench.data.splits import split_rows

    if half == "all":
        return rows
    halves = split_rows(y[rows], "digits/halves", 0.5)
    return rows[halves.train if half == "first" else halves.test]


def _shifted(x: Array, digits: Digits) -> Array:
    """All images [N, 1, 8, 8] under the shift; what becomes of a row depends on nothing but the row."""
    import numpy as np
    import scipy.ndimage

    if digits.shift == "inverted":
        return 255 - x
    if digits.shift == "rotated":
        turned = scipy.ndimage.rotate(x.astype(np.float64), digits.angle, axes=(3, 2), reshape=False, order=1)
        return _grey(turned)
    if digits.shift == "noisy":
        noise = Seeds(0).generator("digits", "noisy").standard_normal(x.shape) * (255 * digits.noise)
        return _grey(x + noise)
    if digits.shift == "thick":
        thick: Array = scipy.ndimage.maximum_filter(x, size=(1, 1, 2, 2))
        return thick
    return x


def _grey(x: Array) -> Array:
    """Rounded and cut off to 0..255."""
    import numpy as np

    grey: Array = np.rint(x).clip(0, 255).astype(np.uint8)
    return grey


def _relabelled(y: Array, shift: str, num_classes: int, split: str) -> Array:
    """The labels of the negative controls: each class named as the next one, or drawn anew with the same counts."""
    if shift == "permuted":
        moved: Array = (y + 1) % num_classes
        return moved
    if shift == "shuffled":
        drawn: Array = Seeds(0).generator("digits", "shuffled", split).permutation(y)
        return drawn
    return y
