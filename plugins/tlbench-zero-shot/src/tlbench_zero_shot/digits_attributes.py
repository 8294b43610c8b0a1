"""The data set ``digits-attributes``: handwritten digits, each class described by the strokes that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from tlbench import Domain, Split
from tlbench_zero_shot.splits import stratified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlbench import Cache

SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")
"""The seven-segment display of each digit: a top, b and c right, d bottom, e and f left (e below), g the middle."""
STROKES = {
    "one loop around everything": (0,),
    "loop above": (8, 9),
    "loop below": (6, 8),
    "round": (0, 2, 3, 5, 6, 8, 9),
    "slanted stroke": (1, 2, 4, 7),
}


@dataclass(frozen=True)
class DigitsAttributes:
    """The 8 x 8 digits of scikit-learn, with ten classes described by hand: a zero-shot problem that needs no download.

    Seven attributes are the segments that light up for the digit on a seven-segment display, five are how it is
    written. The test images are those of the data set ``digits``.
    """

    name: ClassVar[str] = "digits-attributes"

    part: Literal["seen", "unseen", "all"] = "seen"
    """All digits but the unseen ones, the unseen ones, or all ten."""
    unseen: tuple[int, ...] = (3, 6, 9)
    """The digits that are not to be seen: every third one by default, which is a rule and no choice."""
    attributes: Literal["segments", "strokes", "all"] = "all"
    """The seven segments, the five strokes, or both."""

    def __post_init__(self) -> None:
        chosen = set(self.unseen)
        if len(chosen) != len(self.unseen) or not chosen <= set(range(10)) or not 2 <= len(chosen) <= 8:
            raise ValueError(f"unseen must be two to eight different digits from 0 to 9, got {list(self.unseen)}")

    def load(self, cache: Cache) -> Domain:
        """Images uint8 [N, 1, 8, 8], grey values 0..16 spread over 0..255."""
        from sklearn.datasets import load_digits

        raw = load_digits()
        x = np.rint(raw.images * (255 / 16)).astype(np.uint8)[:, None]
        y = raw.target.astype(np.int64)
        classes = [c for c in range(10) if self.part == "all" or (c in self.unseen) == (self.part == "unseen")]
        splits = {}
        for split, rows in zip(("train", "test"), stratified(y, "digits", 0.25), strict=True):
            kept = rows[np.isin(y[rows], classes)]
            splits[split] = Split(x[kept], np.searchsorted(classes, y[kept]).astype(np.int64))
        names = "".join(map(str, self.unseen))
        return Domain(
            name="digits-attributes" if self.part == "all" else f"digits-{self.part}-{names}",
            splits=splits,
            label_names=tuple(map(str, classes)),
            kind="image",
            source="Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998, UCI Machine Learning "
            "Repository), test part, as shipped by scikit-learn; attributes by hand",
            licence="CC BY 4.0",
            notes="no test split is given: 25 % of each class were set aside, the same rows as in the data set digits; "
            f"attributes: {self.attributes}",
            class_attributes=described(self.attributes)[classes],
        )


def described(which: str) -> NDArray[np.float32]:
    """Attributes float32 [10, 7], [10, 5] or [10, 12] of the digits, each 0 or 1."""
    segments = np.array([[s in lit for s in "abcdefg"] for lit in SEGMENTS], dtype=np.float32)
    strokes = np.array([[c in has for has in STROKES.values()] for c in range(10)], dtype=np.float32)
    return {"segments": segments, "strokes": strokes, "all": np.concatenate([segments, strokes], axis=1)}[which]
