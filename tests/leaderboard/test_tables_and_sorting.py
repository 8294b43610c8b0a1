"""Codes are ranked and matched by a table where they are few, and by sorting where they are many: alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tlbench.leaderboard import pairing, view
from tlbench.loading import loaded
from tlbench.plugins import Plugins

EVERYTHING = Path(__file__).resolve().parents[2] / "results" / "everything"


@pytest.mark.parametrize("codes", [[], [5], [3, -1, 3, 7, -1], [2**40, 0, -(2**40), 0], list(range(300, 0, -3))])
def test_ranks_are_those_of_sorting(codes: list[int]) -> None:
    code = np.array(codes, dtype=np.int64)
    assert np.array_equal(view.ranked(code), np.unique(code, return_inverse=True)[1])
    assert view.ranked(code).dtype == np.int64


def test_trials_find_the_same_references_by_a_table_and_by_sorting(monkeypatch: pytest.MonkeyPatch) -> None:
    table = loaded([EVERYTHING], Plugins.discover()).board.table
    by_table = pairing.pair(table)
    monkeypatch.setattr(pairing, "DENSE", 0)
    monkeypatch.setattr(view, "DENSE", 0)
    sorted_ = pairing.pair(table)
    for field in dataclasses.fields(pairing.Pairing):
        ours, theirs = getattr(by_table, field.name), getattr(sorted_, field.name)
        if field.name == "curve":
            assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(ours, theirs, strict=True))
        else:
            assert np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"), field.name
    assert (by_table.reference >= 0).any()
    assert (by_table.blind >= 0).any()
