"""What the methods here are measured against: the same classifiers without adaptation, or behind a pooled PCA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tlbench_subspaces.axes import principal_axes, require_dim
from tlbench_subspaces.classifiers import Classifier, classify_mapped, two_domains

if TYPE_CHECKING:
    from tlbench import Context, Fitted


@dataclass(frozen=True)
class SourceClassifier:
    """A classifier of the source's frozen features, applied to the target's as it is; no adaptation.

    With ``1-nn`` the usual baseline of the shallow methods (Gong et al. 2012; Long et al. 2013, table 3); with
    ``svm`` or ``logistic`` the one that is tuned as they are, and often better than published baselines.
    """

    name: ClassVar[str] = "source-classifier"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "same_classes"})

    classifier: Classifier = "svm"
    """1-NN, a linear SVM or logistic regression; C by cross-validation on the source."""

    def fit(self, ctx: Context) -> Fitted:
        return classify_mapped(ctx, self.classifier, source=lambda x: x, target=lambda x: x)


@dataclass(frozen=True)
class PooledPCA:
    """The principal axes of both domains together, and a classifier behind (row PCA of Long et al. 2013, table 3)."""

    name: ClassVar[str] = "pca"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    dim: int = 30
    """How many axes, or all where the examples span fewer."""
    classifier: Classifier = "1-nn"
    """1-NN, a linear SVM or logistic regression; C by cross-validation on the source."""

    def __post_init__(self) -> None:
        require_dim(self.dim)

    def fit(self, ctx: Context) -> Fitted:
        source_ND, _, target_MD = two_domains(ctx)
        mean_D, axes_DK = principal_axes(np.concatenate([source_ND, target_MD]), self.dim)
        ctx.report("dimensions", axes_DK.shape[1])
        return classify_mapped(ctx, self.classifier, lambda x: (x - mean_D) @ axes_DK, lambda x: (x - mean_D) @ axes_DK)
