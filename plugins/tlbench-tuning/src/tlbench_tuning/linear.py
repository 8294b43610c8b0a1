"""Linear models with a prior: the weights that fit the data, pulled to weights that were known before.

Dimension key:  N examples  D features  C outputs
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def ridge_towards(x_ND: Array, y_NC: Array, prior_DC: Array, strength: float) -> Array:
    """argmin ||X W - Y||^2 + strength ||W - W0||^2 = (X'X + strength I)^-1 (X'Y + strength W0), [D, C].

    The prior mean of Raina, Ng & Koller 2006 and Chelba & Acero 2004, for the squared loss. ``strength`` weighs
    against the sum over examples, not their mean.
    """
    gram_DD = x_ND.T @ x_ND + strength * np.eye(x_ND.shape[1])
    return np.linalg.solve(gram_DD, x_ND.T @ y_NC + strength * prior_DC)


def logistic_towards(x_ND: Array, y_N: Array, prior_DC: Array, strength: float) -> Array:
    """argmin sum_n CE(x_n W, y_n) + strength / 2 ||W - W0||^2, [D, C] (Chelba & Acero 2004).

    ``strength`` is 1 / sigma^2 of their Gaussian prior with mean W0, the same for all weights. A class without
    examples keeps weights near its prior's. Solved by L-BFGS.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    rows = np.arange(len(y_N))
    one_hot_NC = np.zeros((len(y_N), prior_DC.shape[1]))
    one_hot_NC[rows, y_N] = 1

    def objective(flat: Array) -> tuple[float, Array]:
        weight_DC = flat.reshape(prior_DC.shape)
        scores_NC = x_ND @ weight_DC
        log_total_N = logsumexp(scores_NC, axis=1)
        drift_DC = weight_DC - prior_DC
        value = (log_total_N - scores_NC[rows, y_N]).sum() + strength / 2 * (drift_DC**2).sum()
        slope_DC = x_ND.T @ (np.exp(scores_NC - log_total_N[:, None]) - one_hot_NC) + strength * drift_DC
        return float(value), slope_DC.ravel()

    found = minimize(objective, prior_DC.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-12})
    solved: Array = found.x.reshape(prior_DC.shape)
    return solved


def with_bias(x_ND: Array) -> Array:
    """Features with a last column of ones, so that the bias is a weight like the others, [N, D + 1]."""
    return np.concatenate([x_ND, np.ones((len(x_ND), 1))], axis=1)
