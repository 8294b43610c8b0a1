"""Scaling: steps that bring feature columns to a common scale, with statistics of one domain's training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlbench.api.data import Array

Scaling: TypeAlias = Literal["none", "l2", "row-sum", "log1p", "zscore"]

WORDS = {
    "none": "no scaling",
    "l2": "each row divided by its Euclidean length",
    "row-sum": "each row divided by the sum of its values",
    "log1p": "log(1 + x)",
    "zscore": "z-score of each feature, mean and standard deviation from this domain's training rows",
}


def scaled(xs: Mapping[str, Array], steps: Scaling | tuple[Scaling, ...]) -> dict[str, Array]:
    """All splits float [N, D] through the steps in turn, float32 out.

    Rows of zeros stay zero; a feature that is constant over the training rows becomes 0 there. The z-score
    divides by the population's standard deviation (over n, not n - 1). Raises ``ValueError`` where ``log1p``
    meets a value of -1 or less.
    """
    import numpy as np

    out = {split: np.asarray(x, dtype=np.float32) for split, x in xs.items()}
    for step in as_steps(steps):
        if step == "zscore":
            mean = out["train"].mean(axis=0, dtype=np.float64)
            std = out["train"].std(axis=0, dtype=np.float64)
            std[std == 0] = 1
            out = {split: ((x - mean) / std).astype(np.float32) for split, x in out.items()}
        elif step == "log1p":
            if any((x <= -1).any() for x in out.values()):
                raise ValueError("log1p needs values above -1")
            out = {split: np.log1p(x) for split, x in out.items()}
        elif step != "none":
            out = {split: _by_row(x, step) for split, x in out.items()}
    return out


def as_steps(steps: Scaling | tuple[Scaling, ...]) -> tuple[Scaling, ...]:
    """One step or several, always as a tuple."""
    return (steps,) if isinstance(steps, str) else tuple(steps)


def scaling_note(steps: Scaling | tuple[Scaling, ...]) -> str:
    """The steps in words, for ``Domain.notes``."""
    return "features: " + (", then ".join(WORDS[step] for step in as_steps(steps)) or WORDS["none"])


def _by_row(x: Array, step: str) -> Array:
    import numpy as np

    size = x.sum(axis=1, keepdims=True) if step == "row-sum" else np.linalg.norm(x, axis=1, keepdims=True)
    size[size == 0] = 1
    scaled_rows: Array = x / size
    return scaled_rows
