"""GFK: inner products over all subspaces on the way from the source's to the target's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tlbench_subspaces.axes import principal_axes, require_dim
from tlbench_subspaces.classifiers import Classifier, classify_mapped, two_domains

if TYPE_CHECKING:
    from tlbench import Context, Fitted
    from tlbench_subspaces.classifiers import Array


def flow_map(source_DK: Array, target_DK: Array) -> Array:
    """L [D, 2K] with G = L L^T, the geodesic flow kernel (Gong, Shi, Sha & Grauman 2012, eq. 5 and 6).

    G is the integral of Phi(t) Phi(t)^T for t from 0 to 1, where Phi is the geodesic on the Grassmann manifold from
    the subspace of P_S at t = 0 to that of P_T at t = 1. With P_S^T P_T = U cos(theta) V^T, principal angles theta,
    the columns of Phi are p_i cos(t theta_i) + q_i sin(t theta_i), p = P_S U and q the directions of the target
    that the source lacks; integrated, G is a 2 x 2 block for each pair (p_i, q_i):

        1/2 [[1 + sin(2 theta) / (2 theta), (1 - cos(2 theta)) / (2 theta)],
             [(1 - cos(2 theta)) / (2 theta), 1 - sin(2 theta) / (2 theta)]].

    (The paper writes -q and so the off-diagonal with the other sign, and leaves out 1/2.) Both subspaces need
    orthonormal columns, and equally many.
    """
    u_KK, cosine_K, v_KK = np.linalg.svd(source_DK.T @ target_DK)
    p_DK = source_DK @ u_KK
    across_DK = target_DK @ v_KK.T - p_DK * cosine_K  # q sin(theta)
    sine_K = np.linalg.norm(across_DK, axis=0)
    theta_K = np.arctan2(sine_K, cosine_K)  # arccos would lose small angles
    q_DK = across_DK / np.where(sine_K < 1e-10, np.inf, sine_K)
    sine2, cosine2 = np.sinc(2 * theta_K / np.pi), np.sin(theta_K) * np.sinc(theta_K / np.pi)
    blocks_K22 = np.array([[1 + sine2, cosine2], [cosine2, 1 - sine2]]).transpose(2, 0, 1) / 2
    size_K2, turn_K22 = np.linalg.eigh(blocks_K22)
    root_K22 = turn_K22 * np.sqrt(np.maximum(size_K2, 0))[:, None, :]
    pair_DK2 = np.stack([p_DK, q_DK], axis=2)
    flow: Array = np.einsum("dkp,kpr->dkr", pair_DK2, root_K22).reshape(len(source_DK), -1)
    return flow


@dataclass(frozen=True)
class GFK:
    """The geodesic flow kernel between the principal subspaces of the domains (Gong et al. 2012), and a classifier.

    Inner products x^T G x' are those of the examples mapped by L with L L^T = G. Each domain is centred on its own
    mean, as the paper's z-scores are. Departures: the paper also takes subspaces of partial least squares for the
    source, and chooses their number by a subspace disagreement measure; here it is a parameter, 20 by default as in
    the published results on Office-Caltech10.
    """

    name: ClassVar[str] = "gfk"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    dim: int = 20
    """How many principal axes of each domain, or fewer where the examples of one span fewer."""
    classifier: Classifier = "1-nn"
    """1-NN, a linear SVM or logistic regression; C by cross-validation on the mapped source."""

    def __post_init__(self) -> None:
        require_dim(self.dim)

    def fit(self, ctx: Context) -> Fitted:
        domains = two_domains(ctx)
        mean_S, axes_S = principal_axes(domains.source, self.dim)
        mean_T, axes_T = principal_axes(domains.target, self.dim)
        dim = min(axes_S.shape[1], axes_T.shape[1])
        ctx.report("dimensions", dim)
        flow = flow_map(axes_S[:, :dim], axes_T[:, :dim])
        return classify_mapped(ctx, self.classifier, lambda x: (x - mean_S) @ flow, lambda x: (x - mean_T) @ flow)
