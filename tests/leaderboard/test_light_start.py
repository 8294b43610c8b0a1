"""A board loads no scipy.stats, whose import takes longer than the board; what replaces it is equal to the bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tlbench.leaderboard.inference.significance import ranks, without_rounding
from tlbench.leaderboard.statistics import LEVEL, student_intervals, wilson

QUICK = Path(__file__).resolve().parents[2] / "results" / "quick"


def test_a_board_loads_neither_scipy_stats_nor_pandas_nor_torch() -> None:
    code = (
        f"import sys; from tlbench.cli import main; code = main(['leaderboard', {str(QUICK)!r}]);"
        "print(code, [m for m in ('scipy.stats', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_wilson_is_that_of_scipy_to_the_bit() -> None:
    for of in range(1, 60):
        for hits in range(of + 1):
            theirs = stats.binomtest(hits, of).proportion_ci(LEVEL, method="wilson")
            ours = wilson(hits, of)
            assert (ours.low, ours.high) == (theirs.low, theirs.high)


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (10, 100), (30, 7)])
@pytest.mark.parametrize("values", [2, 20, 10**9])
def test_ranks_are_those_of_scipy(shape: tuple[int, int], values: int) -> None:
    scores = np.random.default_rng(0).integers(0, values, shape) / 7
    ours, theirs = ranks(scores), stats.rankdata(-without_rounding(scores), axis=0)
    assert np.array_equal(ours, theirs)
    assert ours.strides == theirs.strides, "the sums over pairs would end in other digits"


def test_student_intervals_are_those_of_scipy_to_the_bit() -> None:
    n = np.arange(2, 400)
    mean, deviation = np.zeros(len(n)), np.sqrt(n)  # so that the standard error is 1
    error = deviation / np.sqrt(n)
    _, high = student_intervals(mean, deviation, n, np.zeros(len(n)))
    assert np.array_equal(high, stats.t.ppf(0.5 + LEVEL / 2, n - 1) * error)
