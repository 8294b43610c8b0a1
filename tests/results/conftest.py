"""Trials and records for tests of the run folder."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial


class MakeRecord(Protocol):
    def __call__(self, name: str, status: Status = ..., value: float = ..., **more: Any) -> Record: ...


def make_trial(name: str, fingerprint: str = "f1") -> Trial:
    choice = Choice("x", "x", {"k": 1})
    recipe = Choice("recipe", "recipe", {})
    return Trial(choice, choice, choice, Choice(name, name, {}), choice, recipe, 0, fingerprint=fingerprint)


@pytest.fixture
def make() -> MakeRecord:
    """A record of the strategy of that name."""

    def record(
        name: str, status: Status = Status.OK, value: float = 0.5, *, fingerprint: str = "f1", **more: Any
    ) -> Record:
        trial = make_trial(name, fingerprint)
        ok = {"metrics": {"target": {"accuracy": value}}} if status == Status.OK else {"reason": "because"}
        return Record(trial.key, status, trial.to_json(), "suite", **{**ok, **more})

    return record
