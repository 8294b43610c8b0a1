"""C12: the prior transfer of linear models against the numbers that the documentation of ADAPT prints.

The two problems are made from what ADAPT 0.4.4 says of its generators ``make_regression_da`` and
``make_classification_da``, draw by draw from NumPy's legacy generator with their default seeds, 0 and 2. No data set
is read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from report import Row, parse, publish
from sklearn.datasets import make_classification
from sklearn.metrics import accuracy_score, r2_score
from tlbench_tuning.linear import ridge_towards

from tlbench.builtin.l2_sp import l2_sp_penalty

EXACT = 1e-9


class Two(NamedTuple):
    """A source and a target: x [N, D], y [N]."""

    xs: np.ndarray
    ys: np.ndarray
    xt: np.ndarray
    yt: np.ndarray


def regression() -> Two:
    """A quintic on [-2, 2] and a quartic on [2, 4.5], 100 examples each, with noise of 0.2 and 0.4."""
    draw = np.random.RandomState(0)
    xs, xt = 4 * draw.uniform(size=(100, 1)) - 2, 2.5 * draw.uniform(size=(100, 1)) + 2
    ys = xs[:, 0] + 0.1 * xs[:, 0] ** 5 + 0.2 * draw.randn(100) + 1
    yt = xt[:, 0] + 0.1 * (xt[:, 0] - 2) ** 4 + 0.4 * draw.randn(100) + 1
    xs, xt = ((x - xs.mean(0)) / xs.std(0) for x in (xs, xt))  # by the source
    ys, yt = ((y - ys.mean()) / (2 * ys.std()) for y in (ys, yt))
    both = np.concatenate([xs, xt])
    xs, xt = ((x - both.mean(0)) / both.std(0) / 3 for x in (xs, xt))
    return Two(xs, ys, xt, yt)


def classification() -> Two:
    """Two problems of two features from one stream; the target is moved, and its labels are its order."""
    draw = np.random.RandomState(2)
    shape = {"n_samples": 100, "n_features": 2, "n_informative": 2, "n_redundant": 0, "n_clusters_per_class": 1}
    xs, ys = make_classification(**shape, shuffle=False, random_state=draw)
    xt, _ = make_classification(**shape, shuffle=False, random_state=draw)
    xt = xt + np.array([1.0, 0.5])
    xs, xt = ((x - x.min(0)) / np.ptp(x, axis=0) for x in (xs, xt))
    return Two(xs, ys, xt, np.repeat([1, 0], 50))


def source_weights(x: np.ndarray, y: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Ridge with a free intercept, [1 + D, 1]: the intercept first."""
    slope = ridge_towards(x - x.mean(0), (y - y.mean())[:, None], np.zeros((x.shape[1], 1)), strength)
    return np.concatenate([[y.mean() - x.mean(0) @ slope], slope])


def ones(x: np.ndarray) -> np.ndarray:
    """A column of ones first, for the intercept, which is pulled to the source's like the other weights."""
    return np.concatenate([np.ones((len(x), 1)), x], axis=1)


def l2_sp_minimum(x: np.ndarray, y: np.ndarray, start: np.ndarray, strength: float) -> np.ndarray:
    """Where gradient descent on the squared loss with the product's L2-SP penalty ends."""
    x_, y_, start_ = (torch.from_numpy(a) for a in (x, y[:, None], start))
    weight = start_.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = 0.5 * (x_ @ weight - y_).square().sum() + l2_sp_penalty([weight], [start_], [], strength, 0.0)
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach().numpy()


def main() -> int:
    args = parse(__doc__)
    d = regression()
    prior = source_weights(d.xs, d.ys)
    moved = ridge_towards(ones(d.xt[:3]), d.yt[:3, None], prior, 1.0)
    descended = l2_sp_minimum(ones(d.xt[:3]), d.yt[:3], prior, 1.0)
    c = classification()
    sign_s, sign_t = 2.0 * c.ys - 1, 2.0 * c.yt - 1
    prior_c = source_weights(c.xs, sign_s)
    moved_c, squared_c = (ridge_towards(ones(c.xt[:3]), sign_t[:3, None], prior_c, s) for s in (10.0, 100.0))

    def right(weight: np.ndarray) -> float:
        return float(accuracy_score(c.yt, (ones(c.xt) @ weight)[:, 0] > 0))

    def explained(weight: np.ndarray) -> float:
        return float(r2_score(d.yt, (ones(d.xt) @ weight)[:, 0]))

    rows = [
        Row("regression, source ridge, R²", 0.6771931378706197, explained(prior), EXACT),
        Row("regression, prior transfer from 3 examples, λ = 1, R²", 0.6454964910964297, explained(moved), EXACT),
        Row("the same by descent on the penalty of `l2-sp`, R²", 0.6454964910964297, explained(descended), 1e-6),
        Row("classification, source ridge, accuracy", 0.88, right(prior_c), EXACT),
        Row("classification, prior transfer from 3 examples, λ = 10, accuracy", 0.92, right(moved_c), EXACT),
        Row("the same with λ² in the place of λ", None, right(squared_c)),
    ]
    return publish(
        "C12: prior transfer of linear models",
        rows,
        args,
        source="docstrings of RegularTransferLR and RegularTransferLC in ADAPT 0.4.4, `parameter_based/_regular.py`",
        notes=(
            "By `ridge_towards` of `tlbench_tuning.linear`, which `prior-transfer` with `model: ridge` uses, and by "
            "`l2_sp_penalty` of `l2-sp`. ADAPT's docstrings write ‖Xβ − y‖² + λ‖β − β_S‖²; its code of that version "
            "hands λ as `damp` to SciPy's `lsqr`, which squares it. At λ = 1 both are one. At λ = 10 the printed 0.92 "
            "is that of the formula, and the code would give 0.90. Accuracies are of 100 examples, so two digits are "
            "exact."
        ),
        digits=12,
    )


if __name__ == "__main__":
    raise SystemExit(main())
