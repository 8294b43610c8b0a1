"""Principal axes and unit lengths: what several of the methods start from.

Dimension key:  N examples  D features  K axes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tlbench_subspaces.classifiers import Array


class Axes(NamedTuple):
    """The mean [D] of some examples and their leading principal axes [D, K], in orthonormal columns."""

    mean: Array
    axes: Array


def principal_axes(x_ND: Array, most: int) -> Axes:
    """The first ``most`` principal axes, fewer where the examples span fewer; the largest entry of each is positive."""
    mean_D = x_ND.mean(axis=0)
    _, size, axes_KD = np.linalg.svd(x_ND - mean_D, full_matrices=False)
    rank = int((size > size[0] * max(x_ND.shape) * np.finfo(float).eps).sum())
    axes_DK = axes_KD[: max(1, min(most, rank))].T
    sign = np.sign(axes_DK[np.abs(axes_DK).argmax(axis=0), np.arange(axes_DK.shape[1])])
    return Axes(mean_D, axes_DK * sign)


def of_unit_length(x_ND: Array) -> Array:
    """Each row divided by its Euclidean length; a row of zeros stays."""
    length = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND / np.where(length == 0, 1, length)


def require_dim(dim: int) -> None:
    """Raise ``ValueError`` unless ``dim`` is a number of dimensions."""
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
