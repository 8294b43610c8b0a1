"""C13: CORAL's covariance gap before and after, on the two small clouds of ADAPT's documentation.

Deterministic, and without data files: the clouds are drawn by scikit-learn with a fixed seed (--data-root is not read).
"""

from __future__ import annotations

import numpy as np
from report import Row, parse, publish
from sklearn.datasets import make_classification
from sklearn.linear_model import RidgeClassifier
from tlbench_subspaces.coral import coral_map

SEED = 2
LIGHT = 1e-5
"""What ADAPT adds to the diagonal of the covariances."""


def clouds() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Source and target [100, 2] with labels: two draws of two clusters in turn, each column brought to [0, 1]."""
    state = np.random.RandomState(SEED)
    options = {"n_informative": 2, "n_redundant": 0, "n_clusters_per_class": 1, "shuffle": False, "random_state": state}
    draws = [make_classification(100, 2, **options) for _ in range(2)]
    (xs, ys), (xt, _) = [((x - x.min(0)) / (x.max(0) - x.min(0)), y) for x, y in draws]
    return xs, ys, xt, np.repeat([1, 0], 50)  # the target's classes are named the other way round


def gap(x: np.ndarray, y: np.ndarray) -> float:
    """Mean absolute difference of two covariances."""
    return float(np.abs(np.cov(x.T) - np.cov(y.T)).mean())


def main() -> int:
    args = parse(__doc__)
    xs, ys, xt, yt = clouds()
    adapted = xs @ coral_map(xs, xt, LIGHT)
    score = RidgeClassifier().fit(adapted, ys).score(xt, yt)
    return publish(
        "C13: CORAL's covariance difference before and after",
        [
            Row("covariance difference before", 0.013181, gap(xs, xt), 5.01e-7),
            Row("covariance difference after", 0.000004, gap(adapted, xt), 5.01e-7),
            Row("accuracy of a ridge classifier", 0.86, score, 0.00501),
        ],
        args,
        source="the example in the docstring of CORAL in ADAPT (github.com/adapt-python/adapt, "
        "adapt/feature_based/_coral.py). Allowed is half of the last printed digit.",
        notes="Two draws of scikit-learn's `make_classification` (100 examples, 2 features, one cluster a class, not "
        "shuffled) in turn from seed 2, the target's classes exchanged, each feature brought to [0, 1]; then "
        "`coral_map` of tlbench-subspaces with 1e-5 on the diagonals, and scikit-learn's `RidgeClassifier`.",
        digits=6,
    )


if __name__ == "__main__":
    raise SystemExit(main())
