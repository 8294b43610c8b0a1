"""CORAL: whiten the source and colour it again with the target's covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from tlbench import TrialError
from tlbench_subspaces.classifiers import Classifier, classify_mapped, two_domains

if TYPE_CHECKING:
    from tlbench import Context, Fitted
    from tlbench_subspaces.classifiers import Array

Regularisation = float | Literal["ledoit-wolf"]


def coral_map(source_ND: Array, target_MD: Array, regularisation: Regularisation = 1.0) -> Array:
    """A = C_S^(-1/2) C_T^(1/2), [D, D]; the adapted source is X_S A (Sun, Feng & Saenko 2016, algorithm 1).

    C = cov(X) + regularisation * I for each domain, cov over n - 1; or the estimate of Ledoit & Wolf (2004), which
    shrinks the covariance towards a multiple of I by an amount that it finds itself.
    Raises ``TrialError`` where the source's C is singular.
    """
    return power(covariance(source_ND, regularisation), -0.5) @ power(covariance(target_MD, regularisation), 0.5)


def covariance(x_ND: Array, regularisation: Regularisation) -> Array:
    """The regularised covariance [D, D]."""
    if regularisation == "ledoit-wolf":
        from sklearn.covariance import ledoit_wolf

        shrunk: Array = ledoit_wolf(x_ND)[0]
        return shrunk
    return np.atleast_2d(np.cov(x_ND, rowvar=False)) + regularisation * np.eye(x_ND.shape[1])


def power(symmetric_DD: Array, exponent: float) -> Array:
    """A real power of a symmetric, positive semi-definite matrix."""
    size, axes = np.linalg.eigh(symmetric_DD)
    if exponent < 0 and size[0] <= size[-1] * len(size) * np.finfo(float).eps:
        raise TrialError(
            "the source's covariance is singular: its examples do not span the features. "
            "Give coral a regularisation above 0"
        )
    raised: Array = (axes * np.maximum(size, 0) ** exponent) @ axes.T
    return raised


@dataclass(frozen=True)
class CORAL:
    """Correlation alignment in its textbook form (Sun, Feng & Saenko 2016, algorithm 1).

    The source is mapped by C_S^(-1/2) C_T^(1/2), so that its covariance becomes the target's; the classifier is
    trained there and applied to the target as it is. Covariances of the target are those of ``target_unlabelled``.
    The published table on Office-Caltech10 was made by another form: see ``coral-kernel``. Peers differ too: the
    authors' code adds I, ADAPT 1e-5 I, and skada takes Ledoit & Wolf's estimate and centres both domains.
    """

    name: ClassVar[str] = "coral"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    regularisation: Regularisation = 1.0
    """What is added to the diagonal of both covariances, in squared units of the features; or ``ledoit-wolf``."""
    centre: bool = False
    """Move both domains' means to zero before. No change where the features are z-scores of each domain."""
    classifier: Classifier = "svm"
    """1-NN, a linear SVM or logistic regression; C by cross-validation on the adapted source."""

    def __post_init__(self) -> None:
        require_regularisation(self.regularisation)

    def fit(self, ctx: Context) -> Fitted:
        source_ND, _, target_MD = two_domains(ctx)
        a_DD = coral_map(source_ND, target_MD, self.regularisation)
        mean_S, mean_T = (x.mean(axis=0) if self.centre else np.zeros(x.shape[1]) for x in (source_ND, target_MD))
        return classify_mapped(ctx, self.classifier, lambda x: (x - mean_S) @ a_DD, lambda x: x - mean_T)


def require_regularisation(value: Regularisation) -> None:
    """Raise ``ValueError`` for a negative regularisation."""
    if value != "ledoit-wolf" and value < 0:
        raise ValueError(f"regularisation must not be negative, got {value}")
