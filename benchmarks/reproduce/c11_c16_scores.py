"""LogME against scikit-learn's evidence, and what LEEP and NCE must be for heads that know everything or nothing.

C11: LogME of the digits' pixels equals the mean of BayesianRidge's log evidence (without intercept, flat hyperpriors)
over the ten indicator columns, divided by the number of examples. C16: a perfect head gives 0, a constant one minus the
entropy of the labels, for LEEP and NCE alike.
"""

from __future__ import annotations

import numpy as np
from report import Row, parse, publish
from sklearn.datasets import load_digits
from sklearn.linear_model import BayesianRidge

from tlbench.transferability import leep, logme, nce


def main() -> int:
    args = parse(__doc__, data=False)
    x, y = load_digits(return_X_y=True)
    flat = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0, "tol": 1e-12, "max_iter": 3000}
    evidence = [
        BayesianRidge(fit_intercept=False, compute_score=True, **flat).fit(x, (y == c).astype(float)).scores_[-1]
        for c in range(10)
    ]
    share = np.bincount(y) / len(y)
    entropy = float(-(share * np.log(share)).sum())
    perfect, constant = np.eye(10)[y], np.full((len(y), 7), 1 / 7)
    rows = [
        Row(
            "LogME of the digits' pixels",
            0.270278,
            logme(x, y),
            tolerance=5e-7,
            note="published: the authors' code",
        ),
        Row("LogME, scikit-learn's evidence", float(np.mean(evidence)) / len(y), logme(x, y), tolerance=1e-9),
        Row("LEEP, perfect head", 0.0, leep(perfect, y), tolerance=1e-12),
        Row("NCE, perfect head", 0.0, nce(perfect, y), tolerance=1e-12),
        Row("LEEP, constant head (minus the entropy)", -entropy, leep(constant, y), tolerance=1e-12),
        Row("NCE, constant head (minus the entropy)", -entropy, nce(constant, y), tolerance=1e-12),
    ]
    return publish(
        "C11 and C16: LogME, LEEP and NCE",
        rows,
        args,
        source="You et al. 2021 (LogME); BayesianRidge of scikit-learn; algebra (Nguyen et al. 2020, Tran et al. 2019)",
        digits=6,
    )


if __name__ == "__main__":
    raise SystemExit(main())
