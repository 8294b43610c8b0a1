"""Transfer components: directions along which the domains' means agree and the examples vary (TCA and JDA).

Dimension key:  N examples of source and target together  P columns of their representation  R gaps  K components
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.linalg

from tlbench import TrialError
from tlbench_subspaces.axes import of_unit_length, require_dim

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench_subspaces.classifiers import Array

Kernel = Literal["primal", "linear", "rbf"]
Lengths = Literal["unit", "whitened"]


def domain_gap(num_source: int, num_target: int) -> Array:
    """e [N, 1] with M_0 = e e^T: 1 / N_S for the source, -1 / N_T for the target (Pan et al. 2011, eq. 3).

    X^T e is the difference of the domains' means, and e^T K e their squared maximum mean discrepancy.
    """
    return np.concatenate([np.full(num_source, 1 / num_source), np.full(num_target, -1 / num_target)])[:, None]


def class_gaps(source_y: Array, target_y: Array, num_classes: int) -> Array:
    """e_c [N, C] with M_c = e_c e_c^T of each class (Long et al. 2013, eq. 6); zeros where a domain lacks the class."""
    gaps = np.zeros((len(source_y) + len(target_y), num_classes))
    for label in range(num_classes):
        s, t = source_y == label, target_y == label
        if s.any() and t.any():
            gaps[:, label] = np.concatenate([s / s.sum(), -(t / t.sum())])
    return gaps


def transfer_components(
    x_NP: Array, gaps_NR: Array, regularisation: float, dim: int, lengths: Lengths = "unit"
) -> Array:
    """W [P, K] that minimises tr(W^T X^T M X W) + regularisation tr(W^T W) with W^T X^T H X W = I.

    (Pan et al. 2011, eq. 10; Long et al. 2013, eq. 8.) X is the kernel matrix, or in the primal the examples
    themselves; H centres; M = sum_r e_r e_r^T, divided by its Frobenius norm, so the paper's weight is
    ``regularisation`` times that norm. The columns are the leading solutions w of

        X^T H X w = phi (X^T M X + regularisation I) w,

    which has a symmetric matrix on the left and a positive definite one on the right, so ``eigh`` solves it. (The
    papers write it as eigenvectors of (X^T M X + mu I)^-1 X^T H X, a product that is not symmetric.)
    ``whitened`` scales the columns to the constraint; ``unit`` to length one. At most as many columns as X has rank.
    """
    gap_RP = gaps_NR.T @ x_NP
    scatter = np.cov(x_NP, rowvar=False, bias=True).reshape(x_NP.shape[1], -1) * len(x_NP)  # X^T H X
    penalty = gap_RP.T @ gap_RP / np.linalg.norm(gaps_NR.T @ gaps_NR) + regularisation * np.eye(x_NP.shape[1])
    first = max(0, x_NP.shape[1] - dim)
    phi, w = scipy.linalg.eigh(scatter, penalty, subset_by_index=[first, x_NP.shape[1] - 1])
    kept = phi > phi[-1] * x_NP.shape[1] * np.finfo(float).eps
    if not kept.any():
        raise TrialError("the examples of both domains are all the same: there is no component to find")
    phi, w = phi[kept][::-1], w[:, kept][:, ::-1]
    length = np.sqrt(np.einsum("pk,pq,qk->k", w, scatter, w)) if lengths == "whitened" else np.linalg.norm(w, axis=0)
    components: Array = w / length
    return components


def representation(kernel: Kernel, both_ND: Array, gamma: float | None, unit_length: bool) -> Callable[[Array], Array]:
    """The function x [M, D] -> [M, P] that components act on: x itself, or its kernel values with all examples.

    ``rbf`` is exp(-gamma ||x - x'||^2), with gamma one over the median squared distance where it is not given.
    ``unit_length`` divides each example by its length first.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    prepare = of_unit_length if unit_length else np.asarray
    if kernel == "primal":
        return prepare
    basis_ND = prepare(both_ND)
    if kernel == "linear":
        return lambda x: prepare(x) @ basis_ND.T
    if gamma is None:
        distance = euclidean_distances(basis_ND, squared=True)
        gamma = 1 / max(float(np.median(distance[~np.eye(len(distance), dtype=bool)])), np.finfo(float).tiny)
    return lambda x: np.exp(-gamma * euclidean_distances(prepare(x), basis_ND, squared=True))


def require(dim: int, regularisation: float, gamma: float | None) -> None:
    """Raise ``ValueError`` for parameters that cannot be."""
    require_dim(dim)
    if regularisation <= 0:
        raise ValueError(f"regularisation must be positive, got {regularisation}")
    if gamma is not None and gamma <= 0:
        raise ValueError(f"gamma must be positive, got {gamma}")
