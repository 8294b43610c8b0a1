"""Transferability scores: how well a source should serve a target, told without training on the target.

Larger is better for all of them. They see the target's labelled training examples through a frozen source model, and
the distances see unlabelled source examples too.

Dimension key:  N target examples  M source examples  D features  C target classes  Z source classes
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tlbench.api.data import Array

__all__ = [
    "NEEDS",
    "SCORES",
    "Evidence",
    "h_score",
    "knn",
    "leep",
    "logme",
    "mmd",
    "nce",
    "parc",
    "proxy_a_distance",
    "shrunk_h_score",
]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What scores are computed from.

    ``features``       float [N, D], of the target's labelled examples, from the frozen source model
    ``y``              int [N], their labels
    ``probabilities``  float [N, Z], what the source model's own head says of them, rows summing to 1
    ``source``         float [M, D], features of source examples
    """

    features: Array
    y: Array
    probabilities: Array | None = None
    source: Array | None = None


def nce(probabilities_NZ: Array, y_N: Array) -> float:
    """-H(Y | Z) in nats, with Z the source model's answer (Tran, Nguyen & Hassner 2019, eq. 3); at most 0."""
    joint_CZ = np.zeros((int(y_N.max()) + 1, probabilities_NZ.shape[1]))
    np.add.at(joint_CZ, (y_N, probabilities_NZ.argmax(1)), 1 / len(y_N))
    marginal_Z = joint_CZ.sum(0)
    ratio_CZ = np.divide(joint_CZ, marginal_Z, out=np.ones_like(joint_CZ), where=joint_CZ > 0)
    return float((joint_CZ * np.log(ratio_CZ)).sum())


def leep(probabilities_NZ: Array, y_N: Array) -> float:
    """Mean log-likelihood under the expected empirical predictor (Nguyen et al. 2020, eq. 2); at most 0."""
    joint_CZ = np.stack([probabilities_NZ[y_N == c].sum(0) for c in range(int(y_N.max()) + 1)]) / len(y_N)
    marginal_Z = joint_CZ.sum(0)
    given_CZ = np.divide(joint_CZ, marginal_Z, out=np.zeros_like(joint_CZ), where=marginal_Z > 0)
    return float(np.log((given_CZ[y_N] * probabilities_NZ).sum(1)).mean())


def h_score(features_ND: Array, y_N: Array) -> float:
    """tr(cov(f)^-1 cov(E[f | y])) (Bao et al. 2019, def. 2), with the pseudo-inverse."""
    f_ND = features_ND - features_ND.mean(0)
    between_DD = _between(f_ND, y_N)
    return float(np.trace(np.linalg.pinv(f_ND.T @ f_ND / len(f_ND), rcond=1e-10, hermitian=True) @ between_DD))


def shrunk_h_score(features_ND: Array, y_N: Array) -> float:
    """The H-score with the covariance of Ledoit & Wolf (Ibrahim, Ponomareva & Mazumder 2022, eq. 5).

    With shrinkage a, the covariance of the class means is weighted by 1 - a as well.
    """
    from sklearn.covariance import ledoit_wolf

    f_ND = features_ND - features_ND.mean(0)
    covariance_DD, shrinkage = ledoit_wolf(f_ND, assume_centered=True)
    return float((1 - shrinkage) * np.trace(np.linalg.solve(covariance_DD, _between(f_ND, y_N))))


def _between(f_ND: Array, y_N: Array) -> Array:
    """Covariance [D, D] of the class means of centred features, each example with its class's."""
    classes, index_N = np.unique(y_N, return_inverse=True)
    means_CD = np.stack([f_ND[y_N == c].mean(0) for c in classes])
    g_ND = means_CD[index_N]
    found: Array = g_ND.T @ g_ND / len(g_ND)
    return found


def logme(features_ND: Array, y_N: Array, iterations: int = 1000, tolerance: float = 1e-10) -> float:
    """Log of the maximum evidence of linear models on the features, per example (You et al. 2021, eq. 2 and alg. 1).

    For each class a linear-Gaussian model of its indicator, with the precisions alpha (of the weights) and beta (of the
    noise) that maximise the evidence, by MacKay's fixed point; the mean over classes.
    """
    f_ND = np.asarray(features_ND, dtype=np.float64)
    n, d = f_ND.shape
    u_NK, singular_K, _ = np.linalg.svd(f_ND, full_matrices=False)
    eigen_K = singular_K**2
    values = []
    for c in np.unique(y_N):
        t_N = (y_N == c).astype(np.float64)
        z_K = u_NK.T @ t_N
        outside = max(float(t_N @ t_N - z_K @ z_K), 0.0)  # what no combination of features explains
        alpha, beta = 1.0, 1.0
        for _ in range(iterations):
            shrink_K = eigen_K / (eigen_K + alpha / beta)
            gamma = float(shrink_K.sum())
            weights = float((eigen_K * z_K**2 / (eigen_K + alpha / beta) ** 2).sum())
            residual = float((((1 - shrink_K) * z_K) ** 2).sum()) + outside
            before = alpha / beta
            alpha, beta = gamma / max(weights, 1e-300), (n - gamma) / max(residual, 1e-300)
            if abs(alpha / beta - before) <= tolerance * before:
                break
        shrink_K = eigen_K / (eigen_K + alpha / beta)
        weights = float((eigen_K * z_K**2 / (eigen_K + alpha / beta) ** 2).sum())
        residual = float((((1 - shrink_K) * z_K) ** 2).sum()) + outside
        log_det = float(np.log(alpha + beta * eigen_K).sum()) + (d - len(eigen_K)) * np.log(alpha)
        evidence = d * np.log(alpha) + n * np.log(beta) - log_det - beta * residual - alpha * weights
        values.append(float(evidence - n * np.log(2 * np.pi)) / (2 * n))
    return float(np.mean(values))


def parc(features_ND: Array, y_N: Array, components: int = 32) -> float:
    """100 x Spearman correlation of the distances of features and those of labels (Bolya et al. 2021, sec. 3).

    Features are first reduced by PCA. Distances are 1 - Pearson correlation, between all pairs of examples.
    """
    from scipy.stats import spearmanr

    f_ND = np.asarray(features_ND, dtype=np.float64)
    f_ND = f_ND - f_ND.mean(0)
    if components < min(f_ND.shape):
        u_NK, singular_K, _ = np.linalg.svd(f_ND, full_matrices=False)
        f_ND = u_NK[:, :components] * singular_K[:components]
    lower = np.tril_indices(len(y_N), -1)
    # Of one-hot labels the distance is 0 or one constant, which rounding must not break into ranks.
    labels = (y_N[:, None] != y_N[None])[lower]
    return float(100 * spearmanr(1 - _correlation(f_ND)[lower], labels).statistic)


def _correlation(x_ND: Array) -> Array:
    """Pearson correlations [N, N] of rows; 0 for a row that is constant."""
    centred = x_ND - x_ND.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
    found: Array = unit @ unit.T
    return found


def knn(features_ND: Array, y_N: Array, neighbours: int = 1) -> float:
    """Accuracy of k nearest neighbours, each example left out in turn; in [0, 1]."""
    from sklearn.neighbors import NearestNeighbors

    k = min(neighbours, len(y_N) - 1)
    near_NK = NearestNeighbors(n_neighbors=k).fit(features_ND).kneighbors(return_distance=False)
    votes_NC = np.stack([(y_N[near_NK] == c).sum(1) for c in range(int(y_N.max()) + 1)], 1)
    return float((votes_NC.argmax(1) == y_N).mean())


def proxy_a_distance(source_MD: Array, target_ND: Array, seed: int = 0) -> float:
    """2 (1 - 2 e), e the error of a linear classifier of source against target (Ben-David et al. 2007); in [0, 2].

    Both domains have as many examples; half of them train a linear SVM and half test it; the best C of 1e-5 .. 1e4
    counts, and an error above one half is turned round, as in Ganin et al. 2016.
    """
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(seed)
    size = min(len(source_MD), len(target_ND))
    if size < 2:
        raise ValueError("the proxy A-distance needs two examples of each domain")
    both = np.concatenate([source_MD[rng.permutation(len(source_MD))[:size]],
                           target_ND[rng.permutation(len(target_ND))[:size]]])  # fmt: skip
    truth = np.repeat([0, 1], size)
    half = np.tile(np.arange(size) < size // 2, 2)
    scaler = StandardScaler().fit(both[half])
    train, test = scaler.transform(both[half]), scaler.transform(both[~half])
    errors = []
    for strength in np.geomspace(1e-5, 1e4, 10):
        model = LinearSVC(C=strength, dual=train.shape[0] <= train.shape[1], max_iter=2000, random_state=0)
        with _quiet():
            wrong = float((model.fit(train, truth[half]).predict(test) != truth[~half]).mean())
        errors.append(min(wrong, 1 - wrong))
    return 2 * (1 - 2 * min(errors))


def mmd(source_MD: Array, target_ND: Array) -> float:
    """Squared maximum mean discrepancy, unbiased, Gaussian kernel of median width (Gretton et al. 2012, eq. 3)."""
    from scipy.spatial.distance import cdist

    both = np.concatenate([source_MD, target_ND])
    distances = cdist(both, both, "sqeuclidean")
    width = float(np.median(distances[np.triu_indices(len(both), 1)])) or 1.0
    kernel, m, n = np.exp(-distances / width), len(source_MD), len(target_ND)
    within_source = (kernel[:m, :m].sum() - m) / (m * (m - 1))
    within_target = (kernel[m:, m:].sum() - n) / (n * (n - 1))
    return float(within_source + within_target - 2 * kernel[:m, m:].mean())


class _quiet:  # noqa: N801
    """No warnings of solvers that stop before they converge: their answer is one of ten, and the best one counts."""

    def __enter__(self) -> None:
        import warnings

        self._caught: Any = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *error: object) -> None:
        self._caught.__exit__(*error)


def _probabilities(e: Evidence) -> Array:
    assert e.probabilities is not None
    return e.probabilities


def _source(e: Evidence) -> Array:
    assert e.source is not None
    return e.source


SCORES: Mapping[str, Callable[[Evidence], float]] = MappingProxyType(
    {
        "nce": lambda e: nce(_probabilities(e), e.y),
        "leep": lambda e: leep(_probabilities(e), e.y),
        "h-score": lambda e: h_score(e.features, e.y),
        "h-score-shrunk": lambda e: shrunk_h_score(e.features, e.y),
        "logme": lambda e: logme(e.features, e.y),
        "parc": lambda e: parc(e.features, e.y),
        "knn": lambda e: knn(e.features, e.y),
        "proxy-a-distance": lambda e: -proxy_a_distance(_source(e), e.features),
        "mmd": lambda e: -mmd(_source(e), e.features),
    }
)
"""Each score by name, larger is better: the two distances count negative."""

NEEDS: Mapping[str, str] = MappingProxyType(
    {"nce": "probabilities", "leep": "probabilities", "proxy-a-distance": "source", "mmd": "source"}
)
"""What a score needs beside features and labels."""
