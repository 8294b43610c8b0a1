"""The data set ``digits-features``: scikit-learn's digits in several feature spaces, without any download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from tlbench import Domain, Seeds, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlbench import Cache

View: TypeAlias = Literal["pixels", "fourier", "profiles", "gradients"]


@dataclass(frozen=True)
class DigitsFeatures:
    """Handwritten digits, 1,797 examples in 10 classes, described in one of four unlike ways.

    Two views have nothing in common that could be copied across: neither the number of features nor their meaning.
    The rows of scikit-learn's set are in the order in which people wrote, and a ``half`` is a half of the rows in
    that order: a source of the first and a target of the second share no image and few writers. Within a half, one
    example in four is for testing, the same rows in every view. The split is not that of the data set ``digits``:
    as the source of one another, the two would show test images.
    """

    name: ClassVar[str] = "digits-features"

    view: View = "fourier"
    """pixels (64); fourier: moduli of the low frequencies (24), blind to where in the frame a digit stands;
    profiles: ink of each row and column, and where it begins from each side (48); gradients: histograms of the
    strokes' directions in four quarters (32)."""
    half: Literal["all", "first", "second"] = "all"
    """All rows, or the first or the second half of them."""

    def load(self, cache: Cache) -> Domain:
        """Features float32 [N, D], each with mean 0 and deviation 1 over the training rows."""
        import numpy as np
        from sklearn.datasets import load_digits

        raw = load_digits()
        y = raw.target.astype(np.int64)
        x = features_of(raw.images / 16, self.view)
        middle = len(y) // 2
        begin, end = {"all": (0, len(y)), "first": (0, middle), "second": (middle, len(y))}[self.half]
        tested = Seeds(0).generator("digits-features", "split").random(len(y)) < 0.25
        within = (np.arange(len(y)) >= begin) & (np.arange(len(y)) < end)
        train, test = within & ~tested, within & tested
        mean, deviation = x[train].mean(0), x[train].std(0)
        x = ((x - mean) / np.where(deviation > 0, deviation, 1)).astype(np.float32)
        return Domain(
            name=f"digits-{self.view}" + ("" if self.half == "all" else f"-{self.half}"),
            splits={"train": Split(x[train], y[train]), "test": Split(x[test], y[test])},
            label_names=tuple(str(c) for c in range(10)),
            kind="features",
            source="Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998, UCI Machine Learning "
            "Repository), test part, as shipped by scikit-learn",
            licence="CC BY 4.0",
            notes=f"one row in four for testing, drawn once; {self.half} rows in order of writing; z-score of each "
            "feature, from the training rows",
        )


def features_of(images_NHW: NDArray[Any], view: View) -> NDArray[Any]:
    """Grey values [N, 8, 8] in [0, 1] -> features [N, D] of the view, not scaled."""
    import numpy as np

    if view == "pixels":
        return images_NHW.reshape(len(images_NHW), -1)
    if view == "fourier":
        # a real image's spectrum is symmetric: half of its columns say all; the highest frequencies are noise
        low = np.abs(np.fft.rfft2(images_NHW))[:, [0, 1, 2, -3, -2, -1]][:, :, :4]
        spectrum: NDArray[Any] = low.reshape(len(low), -1)
        return spectrum
    if view == "profiles":
        rows, columns = images_NHW.sum(2), images_NHW.sum(1)
        ink = images_NHW > 0.25
        turned = ink.transpose(0, 2, 1)
        sides = [_first(ink), _first(ink[:, :, ::-1]), _first(turned), _first(turned[:, :, ::-1])]
        return np.concatenate([rows, columns, *sides], axis=1)
    down, across = np.gradient(images_NHW, axis=(1, 2))
    bins = np.floor((np.arctan2(down, across) + np.pi) / (2 * np.pi) * 8).astype(int) % 8
    strength = np.hypot(down, across)
    histograms = [
        np.stack([(strength * (bins == b))[:, r : r + 4, c : c + 4].sum((1, 2)) for b in range(8)], axis=1)
        for r in (0, 4)
        for c in (0, 4)
    ]
    return np.concatenate(histograms, axis=1)


def _first(ink_NHW: NDArray[Any]) -> NDArray[Any]:
    """How far in from the left the ink of each row begins; the width of the image where there is none; [N, H]."""
    import numpy as np

    begins: NDArray[Any] = np.where(ink_NHW.any(2), ink_NHW.argmax(2), ink_NHW.shape[2]).astype(np.float64)
    return begins
