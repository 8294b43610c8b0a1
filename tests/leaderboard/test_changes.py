"""What changed between two runs: nothing for the same, and each kind of change by its name."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from tlbench.api.records import Record, Status
from tlbench.api.trials import Trial
from tlbench.leaderboard.changes import Changes, Run, changes
from tlbench.leaderboard.views.changes_view import changes_json, changes_view

if TYPE_CHECKING:
    from types import SimpleNamespace


def run(records: list[Record], planned: tuple[Trial, ...] = ()) -> Run:
    return Run({r.key: r for r in records}, planned)


def rescored(record: Record, score: float) -> Record:
    return dataclasses.replace(record, metrics={"target": {"accuracy": score}})


def shown(found: Changes, width: int = 80) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in changes_view(found, "old", "new", width):
        console.print(part)
    return out.getvalue()


def trials(make: SimpleNamespace, seeds: int = 3, pairs: int = 4) -> list[Record]:
    rng = np.random.default_rng(1)
    return [
        make.record(make.trial(name, "a", f"t{t}", s), float(rng.uniform(0.4, 0.6)), examples=1000)
        for name in ("x", "y")
        for t in range(pairs)
        for s in range(seeds)
    ]


def moved(records: list[Record], strategy: str, by: Any) -> list[Record]:
    return [
        rescored(r, r.metrics["target"]["accuracy"] + by()) if r.trial["strategy"]["label"] == strategy else r
        for r in records
    ]


def test_a_run_against_itself_has_no_changes(make: SimpleNamespace) -> None:
    records = trials(make)
    found = changes(run(records), run(records), "accuracy")
    assert not found.differ
    assert found.same == found.scored == found.matched == len(records)
    assert "Nothing but noise differs." in shown(found)


def test_a_real_change_of_one_strategy_is_found_and_the_other_is_not(make: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    before = trials(make)
    after = moved(before, "x", lambda: -0.05 + rng.normal(0, 0.001))
    found = changes(run(before), run(after), "accuracy")
    assert found.differ
    rows = {row.strategy: row for row in found.rows}
    assert rows["x"].verdict == "worse"
    assert rows["x"].change.value == pytest.approx(-0.05, abs=0.002)
    assert rows["x"].worse == 4
    assert (rows["y"].verdict, rows["y"].same) == ("", 12)
    assert {p.strategy for p in found.pairs if p.verdict} == {"x"}
    text = shown(found)
    assert "1 worse" in text
    assert "a → t0" in text


def test_noise_is_called_a_change_no_more_often_than_two_families_of_tests_at_five_percent(
    make: SimpleNamespace,
) -> None:
    before = trials(make)
    rng = np.random.default_rng(3)
    runs = 200
    alarms = 0
    for _ in range(runs):
        after = moved(moved(before, "x", lambda: rng.normal(0, 0.02)), "y", lambda: rng.normal(0, 0.02))
        alarms += changes(run(before), run(after), "accuracy").differ
    # Two families of tests (strategies, pairs), each held at 5 %: at most 10 %, and 3 standard errors of 200 runs.
    assert alarms / runs <= 0.10 + 3 * np.sqrt(0.1 * 0.9 / runs)


def test_added_and_gone_trials_are_counted_by_strategy(make: SimpleNamespace) -> None:
    records = trials(make)
    only_x = [r for r in records if r.trial["strategy"]["label"] == "x"]
    found = changes(run(only_x), run(records), "accuracy")
    assert found.added == {"y · fine-tuning 10 · small": 12}
    assert not found.gone
    assert found.differ
    back = changes(run(records), run(only_x), "accuracy")
    assert back.gone == found.added
    assert "gone" in shown(back)


def test_a_status_that_changed_is_told_with_the_reason(make: SimpleNamespace) -> None:
    records = trials(make)
    first = Trial.from_json(records[0].trial)
    failed = dataclasses.replace(records[0], status=Status.FAILED, reason="ValueError: no\ntrace", metrics={})
    found = changes(run(records), run([failed, *records[1:]]), "accuracy")
    assert found.statuses == {("ok", "failed", "x", "ValueError: no\ntrace"): 1}
    assert "ok → failed" in shown(found)
    missing = changes(run(records), run(records[1:], (first,)), "accuracy")
    assert next(iter(missing.statuses)) == ("ok", "missing", "x", "")


def test_a_changed_parameter_is_named_and_its_trials_are_still_compared(make: SimpleNamespace) -> None:
    before = trials(make)

    def other(record: Record) -> Record:
        trial = Trial.from_json(record.trial)
        trial = dataclasses.replace(trial, recipe=dataclasses.replace(trial.recipe, params={"lr": 0.3}))
        return dataclasses.replace(record, key=trial.key, trial=trial.to_json())

    found = changes(run(before), run([other(r) for r in before]), "accuracy")
    assert found.scored == len(before)
    assert ("recipe", "default", "lr", "0.1", "0.3") in found.settings
    assert not found.added
    assert not found.gone
    assert found.differ
    assert "default.lr (recipe)" in shown(found)


def test_scores_on_other_data_are_not_compared(make: SimpleNamespace) -> None:
    def on(records: list[Record], content: str) -> list[Record]:
        return [dataclasses.replace(r, data={"target": {"content": content}}) for r in records]

    before = trials(make)
    found = changes(run(on(before, "1")), run(on(moved(before, "x", lambda: 0.1), "2")), "accuracy")
    assert found.scored == 0
    assert set(found.data) == {"t0", "t1", "t2", "t3"}
    assert found.differ


def test_the_same_code_on_the_same_device_with_another_score_is_not_deterministic(make: SimpleNamespace) -> None:
    before = trials(make)
    after = [rescored(before[0], 0.123), *before[1:]]
    found = changes(run(before), run(after), "accuracy")
    assert found.drifted == 1
    assert "not deterministic" in shown(found)
    other = [dataclasses.replace(after[0], environment={"device": "B"}), *after[1:]]
    assert changes(run(before), run(other), "accuracy").drifted == 0


def test_with_one_seed_nobody_can_tell(make: SimpleNamespace) -> None:
    before = trials(make, seeds=1)
    found = changes(run(before), run(moved(before, "x", lambda: 0.1)), "accuracy")
    assert found.unseeded == 4
    assert not any(p.verdict for p in found.pairs)
    assert found.differ
    assert "one seed" in shown(found)


def test_where_less_is_better_a_smaller_score_is_better(make: SimpleNamespace) -> None:
    before = trials(make)
    rng = np.random.default_rng(0)
    after = moved(before, "x", lambda: -0.05 + rng.normal(0, 0.001))
    found = changes(run(before), run(after), "accuracy", higher_is_better=False)
    row = next(r for r in found.rows if r.strategy == "x")
    assert row.verdict == "better"
    pair = next(p for p in found.pairs if p.strategy == "x")
    assert pair.new < pair.old


def test_versions_that_differ_are_named_package_by_package(make: SimpleNamespace) -> None:
    records = trials(make)
    said = ({"software": "torch 2.1, numpy 2.0", "when": "1"}, {"software": "torch 2.2, numpy 2.0", "when": "2"})
    found = changes(run(records), run(records), "accuracy", conditions=said)
    assert found.conditions == (("torch", "2.1", "2.2"),)
    assert not found.differ  # conditions alone are no change


@pytest.mark.parametrize("width", [80, 120])
def test_the_view_fits_and_hostile_names_are_harmless(make: SimpleNamespace, width: int) -> None:
    bad = "x\x1b[2J" + "long-name-" * 12
    records = [make.record(make.trial(bad, "a", "c", s), 0.5 + 0.001 * s) for s in range(3)]
    after = [rescored(r, 0.9 + 0.002 * i) for i, r in enumerate(records)]
    text = shown(changes(run(records), run(after), "accuracy"), width)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= width


def test_json_is_plain_and_whole(make: SimpleNamespace) -> None:
    before = trials(make)
    found = changes(run(before), run(moved(before, "x", lambda: 0.01)), "accuracy")
    plain = json.loads(json.dumps(changes_json(found), allow_nan=False))
    assert plain["differ"] is found.differ
    assert len(plain["pairs"]) == 8
    assert {"change", "low", "high", "p", "verdict"} <= set(plain["pairs"][0])
