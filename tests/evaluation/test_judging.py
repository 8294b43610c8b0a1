"""Judging: what a metric is asked, what is left out, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tlbench.discovery.checks import class_fault
from tlbench.errors import TrialError
from tlbench.evaluation.judging import Judge, Predictions, Scored, harmonic_mean

RIGHT = SimpleNamespace(name="right", score=lambda scores, y: (scores.argmax(1) == y).mean())
WORST = SimpleNamespace(
    name="worst",
    needs=frozenset({"group"}),
    score=lambda scores, y, group: min((scores.argmax(1) == y)[group == g].mean() for g in set(group)),
)
Y = np.array([0, 0, 1, 1])
SCORES = np.eye(2, dtype=np.float32)[[0, 1, 1, 1]]


def judged(metrics: list[Any], pools: dict[str, Scored], **how: Any) -> Any:
    return Predictions(pools, **how).judged(metrics)


def test_groups_go_to_the_metrics_that_ask_for_them_and_the_others_are_left_as_they_were() -> None:
    with_groups, without = Scored(SCORES, Y, Y.copy()), Scored(SCORES, Y)
    assert judged([RIGHT, WORST], {"target": with_groups}) == {"target": {"right": 0.75, "worst": 0.5}}
    assert judged([RIGHT, WORST], {"target": without}) == {"target": {"right": 0.75}}
    both = Predictions({"target": with_groups, "source": without}, harmonic=True)
    found = both.judged([RIGHT, WORST])
    assert found == {
        "target": {"right": 0.75, "worst": 0.5},
        "source": {"right": 0.75},
        "harmonic": {"right": 0.75},
    }
    said = both.said([RIGHT, WORST])
    assert said["groups"] == {"target": {"count": 2, "smallest": 2}}
    assert said["absent"] == {"worst": "the examples of source are in no groups"}
    with pytest.raises(TrialError, match="needs groups"):
        Judge()(WORST, without)  # type: ignore[arg-type]


def test_episodes_are_judged_one_by_one_and_averaged() -> None:
    log_of_right = SimpleNamespace(name="log", score=lambda s, y: np.log((s.argmax(1) == y).mean()))
    episodes = Scored(np.stack([SCORES, np.eye(2, dtype=np.float32)[Y]]), np.stack([Y, Y]))
    assert judged([log_of_right], {"target": episodes})["target"]["log"] == pytest.approx((np.log(0.75) + 0) / 2)


def test_clusters_are_matched_on_each_pool_by_itself() -> None:
    pools = {"target": Scored(SCORES[:, ::-1], Y), "source": Scored(SCORES, Y)}
    assert {s["right"] for s in judged([RIGHT], pools, matching="clusters").values()} == {0.75}
    assert judged([RIGHT], pools)["target"]["right"] == 0.25


@pytest.mark.parametrize(
    ("value", "complaint"), [(float("nan"), "is nan"), (float("inf"), "is inf"), (np.ones(3), r"shape \[3\]")]
)
def test_what_is_no_finite_number_is_refused(value: Any, complaint: str) -> None:
    with pytest.raises(TrialError, match=complaint):
        Judge()(SimpleNamespace(name="odd", score=lambda s, y: value), Scored(SCORES, Y))  # type: ignore[arg-type]


def test_the_harmonic_mean_by_hand() -> None:
    assert harmonic_mean([0.5, 0.25]) == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    assert harmonic_mean([0.9, 0.0]) == 0.0


def test_a_plugin_with_a_need_that_there_is_not_is_refused_and_one_that_compares_is_taken() -> None:
    from tlbench.builtin.group_metrics import GroupGap
    from tlbench.builtin.model_metrics import CKA

    class Weather(GroupGap):
        """Wants more."""

        needs = frozenset({"group", "weather"})

    assert class_fault("metrics", GroupGap) is None
    assert class_fault("metrics", CKA) is None
    assert "needs 'weather'; a metric may need 'group'" in str(class_fault("metrics", dataclass(frozen=True)(Weather)))
    assert "no method 'score'" in str(class_fault("metrics", dataclass(frozen=True)(type("M", (), {"name": "m"}))))
