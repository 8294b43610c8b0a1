"""Subspace alignment: turn the source's principal axes into the target's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tlbench_subspaces.axes import principal_axes, require_dim
from tlbench_subspaces.classifiers import Classifier, classify_mapped, two_domains

if TYPE_CHECKING:
    from tlbench import Context, Fitted
    from tlbench_subspaces.classifiers import Array


def alignment(source_DK: Array, target_DK: Array) -> Array:
    """M = P_S^T P_T, [K, K], the minimum of ||P_S M - P_T||_F (Fernando et al. 2013, eq. 1 and 2)."""
    return source_DK.T @ target_DK


@dataclass(frozen=True)
class SubspaceAlignment:
    """Subspace alignment (Fernando, Habrard, Sebban & Tuytelaars 2013, algorithm 1).

    Source examples are projected to the source's principal axes and turned by M, target examples are projected to
    the target's; the classifier is trained on the first and applied to the second. Each domain is centred on its
    own mean, as the paper's z-scores are. Departure: the paper chooses the number of axes by a bound on their
    stability and by cross-validation; here it is a parameter.
    """

    name: ClassVar[str] = "subspace-alignment"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    dim: int = 30
    """How many principal axes of each domain, or fewer where its examples span fewer."""
    classifier: Classifier = "1-nn"
    """1-NN, a linear SVM or logistic regression; C by cross-validation on the aligned source."""

    def __post_init__(self) -> None:
        require_dim(self.dim)

    def fit(self, ctx: Context) -> Fitted:
        domains = two_domains(ctx)
        mean_S, axes_S = principal_axes(domains.source, self.dim)
        mean_T, axes_T = principal_axes(domains.target, self.dim)
        ctx.report("dimensions", axes_T.shape[1])
        turned = axes_S @ alignment(axes_S, axes_T)
        return classify_mapped(ctx, self.classifier, lambda x: (x - mean_S) @ turned, lambda x: (x - mean_T) @ axes_T)
