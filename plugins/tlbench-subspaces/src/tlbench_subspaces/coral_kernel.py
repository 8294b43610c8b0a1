"""CORAL as its authors measured it: an SVM on the asymmetric similarity x A x'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tlbench_subspaces.classifiers import Scorer, columns, over_all_classes, predictor, two_domains
from tlbench_subspaces.coral import Regularisation, coral_map, require_regularisation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sklearn.svm import SVC

    from tlbench import Context, Fitted
    from tlbench_subspaces.classifiers import Array


def similarities(x_ND: Array, a_DD: Array, source_MD: Array) -> Array:
    """S_ij = x_i A^T s_j, [N, M]: the inner products of raw examples with the adapted source s_j A.

    For the source itself the authors' code takes its transpose, x_i A s_j, which is no kernel: it is not symmetric,
    since A, a product of two symmetric matrices, is not. The textbook's is x_i A A^T s_j.
    """
    return x_ND @ a_DD.T @ source_MD.T


def votes(decision: Array) -> Array:
    """Votes of one class against one, [N, K], less a trifle for later classes: LIBSVM takes the first of equal ones.

    Scikit-learn's decision values are the votes plus the machines' confidence, brought under one third.
    """
    return columns(decision) if decision.ndim == 1 else np.rint(decision) - 1e-3 * np.arange(decision.shape[1])


def libsvm_folds(y_N: Array, folds: int) -> Array:
    """The fold of each example in LIBSVM's own cross-validation, with the C library's generator at seed 1.

    Class by class in the order of their first examples: shuffled by exchanging i with a random j >= i, then cut.
    LIBSVM's MATLAB interface seeds with 1 before each call, so that every C is tried on the same folds.
    """
    random = _glibc_random(1)
    fold_N = np.empty(len(y_N), dtype=np.int64)
    _, first = np.unique(y_N, return_index=True)
    for label in y_N[np.sort(first)]:
        rows = np.flatnonzero(y_N == label)
        for i in range(len(rows)):
            j = i + next(random) % (len(rows) - i)
            rows[i], rows[j] = rows[j], rows[i]
        for k in range(folds):
            fold_N[rows[k * len(rows) // folds : (k + 1) * len(rows) // folds]] = k
    return fold_N


def _glibc_random(seed: int) -> Iterator[int]:
    """The GNU C library's ``rand()``: r_i = r_(i-3) + r_(i-31) mod 2^32, without its last bit."""
    state = [seed]
    for _ in range(30):
        state.append(16807 * state[-1] % 2147483647)
    state += state[:3]
    for i in range(34, 344):
        state.append((state[i - 3] + state[i - 31]) % 2**32)
    state = state[-31:]
    while True:
        state = [*state[1:], (state[-3] + state[0]) % 2**32]
        yield state[-1] >> 1


@dataclass(frozen=True)
class CORALKernel:
    """CORAL in the form of its authors' code, which gave the table of Sun, Feng & Saenko (2016).

    With A = C_S^(-1/2) C_T^(1/2), an SVM is trained on the matrix X_S A X_S^T as if it were a kernel, and asked
    about X_T A^T X_S^T. C is chosen by LIBSVM's 2-fold cross-validation on the source. The method's text says
    something else (``coral``): for a linear SVM on X_S A the kernel is X_S A A^T X_S^T.
    Departure: of equally good C the largest is taken, since that gives the published A to C, where they tie.
    """

    name: ClassVar[str] = "coral-kernel"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    regularisation: Regularisation = 1.0
    """What is added to the diagonal of both covariances, in squared units of the features; or ``ledoit-wolf``."""
    folds: int = 2
    """Folds of the cross-validation that chooses C, at most as many as the rarest class has examples."""
    lowest: float = 1e-3
    """The smallest C."""
    highest: float = 1e4
    """The largest C; between them, powers of ten times the smallest."""

    def __post_init__(self) -> None:
        require_regularisation(self.regularisation)
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        if not 0 < self.lowest <= self.highest:
            raise ValueError(f"need 0 < lowest <= highest, got {self.lowest} and {self.highest}")

    def fit(self, ctx: Context) -> Fitted:
        from sklearn.svm import SVC

        source_ND, y_N, target_MD = two_domains(ctx)
        a_DD = coral_map(source_ND, target_MD, self.regularisation)
        own_NN = similarities(source_ND, a_DD, source_ND).T
        strength = self.strength(own_NN, y_N)
        ctx.report("C", strength)

        def fit(gram_NN: Array, y_N: Array) -> Scorer:
            model = SVC(kernel="precomputed", C=strength).fit(gram_NN, y_N)
            return lambda gram_MN: votes(model.decision_function(gram_MN))

        scores = over_all_classes(fit, own_NN, y_N, ctx.num_classes)
        return predictor(ctx, lambda x: scores(similarities(x, a_DD, source_ND)))

    def strength(self, gram_NN: Array, y_N: Array) -> float:
        """The C that gets most of the held out examples right, the largest of equally good ones."""
        from sklearn.svm import SVC

        present, count = np.unique(y_N, return_counts=True)
        if len(present) == 1 or count.min() < 2:
            return 1.0
        fold_N = libsvm_folds(y_N, min(self.folds, int(count.min())))
        right: dict[float, int] = {}
        strength = self.lowest
        while strength <= self.highest * (1 + 1e-9):
            svm = SVC(kernel="precomputed", C=strength)
            right[strength] = sum(_right(svm, gram_NN, y_N, fold_N == fold) for fold in np.unique(fold_N))
            strength *= 10
        return max(right, key=lambda c: (right[c], c))


def _right(svm: SVC, gram_NN: Array, y_N: Array, held_N: Array) -> int:
    """How many of the held out examples an SVM of the others gets right."""
    kept = np.flatnonzero(~held_N)
    svm.fit(gram_NN[np.ix_(kept, kept)], y_N[kept])
    return int((svm.predict(gram_NN[held_N][:, kept]) == y_N[held_N]).sum())
