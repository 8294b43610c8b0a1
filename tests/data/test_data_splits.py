"""Made test splits and caps: stratified, the same everywhere, and without shared memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlbench.data.splits import capped_rows, split_note, split_rows, with_test_split

labels = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array)


@given(labels, st.floats(0.05, 0.95))
def test_a_made_split_takes_every_row_once_and_its_share_of_each_class(y: np.ndarray, share: float) -> None:
    parts = split_rows(y, "name", share)
    assert sorted([*parts.train, *parts.test]) == list(range(len(y)))
    for label, n in zip(*np.unique(y, return_counts=True), strict=True):
        in_test = int((y[parts.test] == label).sum())
        assert in_test == (0 if n == 1 else min(max(round(share * n), 1), n - 1))


def test_the_split_depends_on_the_name_and_on_nothing_else() -> None:
    y = np.arange(400) % 4
    code = (
        "import sys; import numpy as np; from tlbench.data.splits import split_rows;"
        "np.random.seed(5); np.random.rand(); print(split_rows(np.arange(400) % 4, 'usps').test.tolist())"
    )
    root = str(Path(__file__).resolve().parents[2])
    other = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": root, "PYTHONHASHSEED": "7"}, capture_output=True, check=True
    )
    assert other.stdout.decode().strip() == str(split_rows(y, "usps").test.tolist())
    assert not np.array_equal(split_rows(y, "usps").test, split_rows(y, "mnist").test)


def test_the_two_splits_hold_the_rows_they_should_and_share_no_memory() -> None:
    x = np.arange(40, dtype=np.uint8).reshape(20, 1, 2, 1)
    y = np.arange(20) % 2
    made = with_test_split(x, y, "name", 0.3)
    parts = split_rows(y, "name", 0.3)
    assert np.array_equal(made.train.x, x[parts.train])
    assert np.array_equal(made.test.y, y[parts.test])
    for one, other in ((made.train.x, made.test.x), (made.train.y, made.test.y), (made.test.x, x), (made.train.y, y)):
        assert not np.shares_memory(np.asarray(one), np.asarray(other))
    assert made.note == split_note(0.3)
    assert "30 %" in made.note


@pytest.mark.parametrize("share", [0, 1, -0.1, 2])
def test_a_share_outside_nought_and_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_rows(np.zeros(4), "name", share)


@given(labels, st.integers(1, 90), st.integers(1, 90))
def test_caps_keep_each_class_in_its_share_and_nest(y: np.ndarray, one: int, other: int) -> None:
    few, many = sorted((one, other))
    rows = capped_rows(y, many, "name")
    assert len(rows) == min(many, len(y))
    assert set(capped_rows(y, few, "name")) <= set(rows)
    assert np.array_equal(rows, np.sort(rows))
    for label, n in zip(*np.unique(y, return_counts=True), strict=True):
        share = n * len(rows) / len(y)
        assert abs((y[rows] == label).sum() - share) <= len(np.unique(y)) / 2 + 0.5


def test_a_cap_under_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        capped_rows(np.zeros(3), 0, "name")
