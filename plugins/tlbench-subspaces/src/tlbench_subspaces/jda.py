"""JDA: components on which the domains have the same mean, and each class has, by pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tlbench_subspaces.axes import of_unit_length
from tlbench_subspaces.classifiers import Classifier, classifier_of, predictor, two_domains
from tlbench_subspaces.transfer_components import (
    Kernel,
    Lengths,
    class_gaps,
    domain_gap,
    representation,
    require,
    transfer_components,
)

if TYPE_CHECKING:
    from tlbench import Context, Fitted
    from tlbench_subspaces.classifiers import Array


@dataclass(frozen=True)
class JDA:
    """Joint distribution adaptation (Long, Wang, Ding, Sun & Yu 2013, eq. 8 and algorithm 1).

    TCA first; then, round by round, the classifier labels the target, and components are found on which the means
    of the domains and of each class agree, M = M_0 + sum_c M_c. The first round is TCA, so ``rounds: 1`` is ``tca``.
    Departures: M is divided by its Frobenius norm, and components have length one where the constraint would have
    them whitened, both as in ``tca``; a class that no target example is taken for has no M_c. (A well-known
    implementation multiplies M_0 by the number of classes; the paper does not, and neither does this.)
    """

    name: ClassVar[str] = "jda"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    dim: int = 30
    """How many components, or fewer where the examples span fewer."""
    rounds: int = 10
    """How many times components are found; each but the first uses the labels of the one before."""
    regularisation: float = 1.0
    """Weight of the size of the components beside the discrepancies, relative to the norm of M."""
    kernel: Kernel = "primal"
    """``primal``: features as they are. ``linear`` and ``rbf`` solve for weights of the examples, in their number."""
    gamma: float | None = None
    """For ``rbf``: exp(-gamma squared distance); one over the median squared distance where left out."""
    unit_length: bool = True
    """Divide examples, and then their projections, by their Euclidean lengths."""
    lengths: Lengths = "unit"
    """The scale of the components: each of length one, or whitened as the paper's constraint has it."""
    classifier: Classifier = "1-nn"
    """1-NN, a linear SVM or logistic regression; it gives the pseudo-labels too."""

    def __post_init__(self) -> None:
        require(self.dim, self.regularisation, self.gamma)
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")

    def fit(self, ctx: Context) -> Fitted:
        source_ND, y_N, target_MD = two_domains(ctx)
        both = np.concatenate([source_ND, target_MD])
        represent = representation(self.kernel, both, self.gamma, self.unit_length)
        x_NP, cut = represent(both), len(source_ND)
        gap = gaps = domain_gap(cut, len(target_MD))
        w_PK = scores = None
        for _ in range(self.rounds):
            w_PK = transfer_components(x_NP, gaps, self.regularisation, self.dim, self.lengths)
            z_NK = self._scaled(x_NP @ w_PK)
            scores = classifier_of(self.classifier, z_NK[:cut], y_N, ctx.num_classes)
            labels = scores(z_NK[cut:]).argmax(axis=1)
            gaps = np.concatenate([gap, class_gaps(y_N, labels, ctx.num_classes)], axis=1)
        assert w_PK is not None
        assert scores is not None
        last, classify = w_PK, scores
        ctx.report("dimensions", last.shape[1])
        return predictor(ctx, lambda x: classify(self._scaled(represent(x) @ last)))

    def _scaled(self, z: Array) -> Array:
        return of_unit_length(z) if self.unit_length else z
