"""What people are told of a plan: counts, reasons, and how long it may take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Plan, Trial
from tlbench.plan.build import build
from tlbench.plan.estimate import Estimate, estimate
from tlbench.plan.view import plan_json, plan_table
from tlbench.suite.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlbench.plugins import Plugins

TEXT = """\
tlbench: 1
name: views
sources: [grid, {name: grid, shift: inverted, label: white}]
targets: [dots]
tasks: [labelled]
backbones: [net]
strategies: [tune, align]
seeds: 3
"""


def trial(strategy: str = "tune", target: str = "dots", backbone: str = "net", seed: int = 0, **changes: Any) -> Trial:
    def choice(name: str) -> Choice:
        return Choice(name, name)

    task, recipe = (
        choice(str(changes.pop("task", "labelled"))),
        Choice("recipe", "recipe", {"steps": changes.pop("steps", 1)}),
    )
    return Trial(None, choice(target), task, choice(strategy), choice(backbone), recipe, seed, **changes)


def took(seconds: float, status: Status = Status.OK, **what: Any) -> Record:
    one = trial(**what)
    return Record(one.key, status, one.to_json(), clocks={"total": seconds})


def plan_of(*trials: Trial) -> Plan:
    return Plan("p", trials)


def shown(plan: Plan, guess: Estimate, width: int) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(plan_table(plan, guess))
    return console.export_text()


def test_an_estimate_is_the_median_of_the_trials_most_alike_shared_by_the_workers() -> None:
    records = [took(s, seed=i) for i, s in enumerate((1.0, 3.0, 100.0))] + [
        took(50.0, steps=9),
        took(7.0, target="grid"),
    ]
    assert estimate(plan_of(trial(seed=8), trial(seed=9)), records) == Estimate(6.0, 2, 0)
    assert estimate(plan_of(trial(seed=8), trial(seed=9)), records, workers=2) == Estimate(3.0, 2, 0)
    assert estimate(plan_of(trial(target="grid", steps=4)), records) == Estimate(7.0, 1, 0)
    # on a target without any record: the median of 1, 3, 7, 50, 100
    assert estimate(plan_of(trial(target="elsewhere")), records) == Estimate(7.0, 1, 0)
    assert estimate(plan_of(trial(task="other", backbone="big")), records) == Estimate(7.0, 1, 0)


def test_a_strategy_without_records_is_guessed_from_all_and_said_to_be() -> None:
    records = [took(2.0), took(4.0, seed=1), took(9.0, seed=2)]
    assert estimate(plan_of(trial(), trial("align")), records) == Estimate(8.0, 1, 1)


def test_without_finished_trials_there_is_no_estimate() -> None:
    assert estimate(plan_of(trial()), []) == Estimate(None, 0, 1)
    assert estimate(plan_of(trial()), [took(2.0, Status.FAILED)]) == Estimate(None, 0, 1)


def test_what_is_done_or_skipped_takes_no_time() -> None:
    done = trial()
    plan = Plan("p", (done, trial(seed=1, skip="because")), frozenset({done.key}))
    assert estimate(plan, []) == Estimate(0.0, 0, 0)


@pytest.fixture
def plan(write: Callable[..., Path], plugins: Plugins) -> Plan:
    suite = load(write(TEXT), plugins)
    first = build(suite, plugins)
    zero = next(t for t in first.trials if t.strategy.name == "zero")
    record = Record(zero.key, Status.OK, zero.to_json(), metrics={"target": {"accuracy": 1.0}})
    return build(suite, plugins, {zero.key: record})


def test_the_json_counts_everything_once(plan: Plan) -> None:
    # 3 seeds of: zero, guess; tune and align on 2 sources (align is skipped); 2 source models. One zero is done.
    data = json.loads(json.dumps(plan_json(plan, Estimate(12.0, 3, 0))))
    assert data["counts"] == {"run": 5 + 6 + 6, "done": 1, "skip": 6}
    assert data["trials"] == {"run": 5 + 6, "done": 1, "skip": 6}
    assert data["source_models"] == {"run": 6, "done": 0, "skip": 0}
    assert [reason["trials"] for reason in data["skipped"]] == [6]
    assert data["skipped"][0]["reason"].startswith("strategy 'align' needs target_unlabelled")
    assert data["estimate"] == {"seconds": 12.0, "known": 3, "unknown": 0}
    assert [entry["key"] for entry in data["plan"]] == [t.key for t in plan.trials]
    assert {entry["dependents"] for entry in data["plan"] if entry["kind"] == "source-model"} == {1}


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_says_it_all_and_fits(plan: Plan, width: int) -> None:
    text = shown(plan, Estimate(300.0, 3, 2), width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    assert "views: 18 trials and 6 shared source models; 17 to run, 1 already there, 6 skipped" in words
    assert "About 5.0 minutes, from the clocks of past records; 2 are guessed from trials of other strategies." in words
    assert "labelled zero (the reference) 2 1 –" in words
    assert "guess zero 3 – –" in words
    assert "tune zero 6 – –" in words
    assert "align zero – – 6" in words
    assert "white net 3 3 3 –" in words
    assert "6 strategy 'align' needs target_unlabelled, which task 'labelled' does not offer" in words


def test_labels_that_look_like_markup_are_shown_as_they_are() -> None:
    name = "[red]x[/red] [link=file:///etc]y"
    text = shown(
        plan_of(trial(name, target="[bold]t", reference="[b]r"), trial(skip="[blink]no")), Estimate(None, 0, 1), 120
    )
    for label in (name, "[b]r", "[blink]no"):
        assert label in text
