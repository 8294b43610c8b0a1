"""TCA: components on which the two domains have the same mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tlbench_subspaces.axes import of_unit_length
from tlbench_subspaces.classifiers import Classifier, classify_mapped, two_domains
from tlbench_subspaces.transfer_components import (
    Kernel,
    Lengths,
    domain_gap,
    representation,
    require,
    transfer_components,
)

if TYPE_CHECKING:
    from tlbench import Context, Fitted
    from tlbench_subspaces.classifiers import Array


@dataclass(frozen=True)
class TCA:
    """Transfer component analysis (Pan, Tsang, Kwok & Yang 2011, eq. 10), and a classifier behind.

    The components minimise the maximum mean discrepancy of the domains (see ``transfer_components``). New examples
    are mapped by them, so the method also works on a test set apart from the unlabelled pool.
    Departures, both as in the published numbers on Office-Caltech10 (Long et al. 2013): M is divided by its
    Frobenius norm, and components have length one where the paper's constraint W^T K H K W = I would have them
    whitened (``lengths``); and the linear kernel is taken in the primal, with the penalty on X^T W (``kernel``).
    """

    name: ClassVar[str] = "tca"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    dim: int = 30
    """How many components, or fewer where the examples span fewer."""
    regularisation: float = 1.0
    """Weight of the size of the components beside the discrepancy, relative to the norm of M."""
    kernel: Kernel = "primal"
    """``primal``: features as they are. ``linear`` and ``rbf`` solve for weights of the examples, in their number."""
    gamma: float | None = None
    """For ``rbf``: exp(-gamma squared distance); one over the median squared distance where left out."""
    unit_length: bool = True
    """Divide examples, and then their projections, by their Euclidean lengths."""
    lengths: Lengths = "unit"
    """The scale of the components: each of length one, or whitened as the paper's constraint has it."""
    classifier: Classifier = "1-nn"
    """1-NN, a linear SVM or logistic regression; C by cross-validation on the projected source."""

    def __post_init__(self) -> None:
        require(self.dim, self.regularisation, self.gamma)

    def fit(self, ctx: Context) -> Fitted:
        source_ND, _, target_MD = two_domains(ctx)
        both = np.concatenate([source_ND, target_MD])
        represent = representation(self.kernel, both, self.gamma, self.unit_length)
        gap = domain_gap(len(source_ND), len(target_MD))
        w_PK = transfer_components(represent(both), gap, self.regularisation, self.dim, self.lengths)
        ctx.report("dimensions", w_PK.shape[1])

        def project(x: Array) -> Array:
            z = represent(x) @ w_PK
            return of_unit_length(z) if self.unit_length else z

        return classify_mapped(ctx, self.classifier, project, project)
