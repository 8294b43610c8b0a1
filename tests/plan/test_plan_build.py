"""The plan: which trials there are, what they share, what they are measured against, and which need not run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Plan, Trial
from tlbench.errors import SuiteError
from tlbench.plan.build import build
from tlbench.suite.load import load

if TYPE_CHECKING:
    from tlbench.plugins import Plugins

Write = Callable[..., Path]
Make = Callable[..., Plan]

HEAD = "tlbench: 1\nseeds: 2\nbackbones: [net]\n"
FINE = HEAD + "sources: [grid, {name: grid, shift: inverted, label: white}]\ntargets: [dots]\ntasks: [labelled]\n"
ADAPT = FINE.replace("[labelled]", "[unlabelled]")


@pytest.fixture
def make(write: Write, plugins: Plugins) -> Make:
    def from_text(text: str, records: dict[str, Record] | None = None, **options: Any) -> Plan:
        return build(load(write(text), plugins), plugins, records, **options)

    return from_text


def rows(plan: Plan, kind: str = "trial") -> Counter[tuple[str | None, str, str]]:
    """(source, target, strategy) -> number of trials"""
    return Counter(
        (t.source.label if t.source else None, t.target.label, t.strategy.label) for t in plan.trials if t.kind == kind
    )


def finished(trial: Trial, status: Status = Status.OK, **changes: Any) -> Record:
    record = Record(trial.key, status, trial.to_json(), metrics={"target": {"accuracy": 0.5}}, clocks={"total": 2.0})
    return replace(record, **changes)


def test_a_strategy_that_starts_from_the_source_runs_for_each_source_and_a_reference_once(make: Make) -> None:
    plan = make(FINE + "strategies: [tune]\n")
    assert rows(plan) == {
        ("grid", "dots", "tune"): 2,
        ("white", "dots", "tune"): 2,
        (None, "dots", "zero"): 2,
        (None, "dots", "guess"): 2,
    }
    assert {t.strategy.label: t.reference for t in plan.trials if t.kind == "trial"} == {
        "tune": "zero",
        "guess": "zero",
        "zero": None,
    }


def test_one_source_model_is_shared_by_all_that_start_from_it(make: Make) -> None:
    plan = make(
        FINE.replace("[labelled]", "[{name: labelled, labels: [5, 10]}]")
        + "strategies: [{name: tune, alpha: [1, 2]}]\n"
    )
    models = {t.key: t for t in plan.trials if t.kind == "source-model"}
    assert rows(plan, "source-model") == {(None, "grid", "source-training"): 2, (None, "white", "source-training"): 2}
    for trial in plan.trials:
        if trial.strategy.name == "tune":
            (parent,) = trial.parents
            assert (models[parent].target, models[parent].seed) == (trial.source, trial.seed)
            assert models[parent].backbone == trial.backbone
        else:
            assert trial.parents == ()
    assert Counter(parent for t in plan.trials for parent in t.parents) == dict.fromkeys(models, 4)


def test_a_source_model_trains_by_the_source_recipe(make: Make) -> None:
    plan = make(FINE + "strategies: [tune]\nrecipe: {steps: 7}\nsource_recipe: {steps: 70}\n")
    assert {(t.kind, t.recipe.params["steps"]) for t in plan.trials} == {("trial", 7), ("source-model", 70)}


def test_parents_come_first_and_seeds_are_outermost_and_references_lead_their_group(make: Make) -> None:
    plan = make(FINE + "strategies: [{name: tune, alpha: [1, 2]}]\n")
    places = {t.key: i for i, t in enumerate(plan.trials)}
    assert len(places) == len(plan.trials)
    assert all(places[parent] < places[t.key] for t in plan.trials for parent in t.parents)
    assert [t.seed for t in plan.trials] == sorted(t.seed for t in plan.trials)
    first = [(t.kind, t.source.label if t.source else None, t.strategy.name) for t in plan.trials if t.seed == 0]
    model = ("source-model", None, "source-training")
    assert first == [
        ("trial", None, "zero"), ("trial", None, "guess"),
        model, ("trial", "grid", "tune"), ("trial", "grid", "tune"),
        model, ("trial", "white", "tune"), ("trial", "white", "tune"),
    ]  # fmt: skip


def test_the_same_suite_gives_the_same_plan(make: Make) -> None:
    text = FINE + "strategies: [tune, {name: zero, lr: [1, 2]}]\n"
    assert make(text) == make(text)


def test_a_strategy_that_reads_the_source_depends_on_it_without_starting_from_it(make: Make) -> None:
    plan = make(ADAPT + "strategies: [align]\n")
    assert rows(plan) == {
        ("grid", "dots", "align"): 2, ("white", "dots", "align"): 2,
        ("grid", "dots", "floor"): 2, ("white", "dots", "floor"): 2,
        (None, "dots", "ceiling"): 2,
    }  # fmt: skip
    assert not rows(plan, "source-model")
    assert all(t.skip is None for t in plan.trials)  # ceiling may use the labels that the task withholds


def test_a_need_that_a_task_does_not_offer_is_skipped_with_its_reason(make: Make) -> None:
    plan = make(ADAPT + "strategies: [tune, align]\n")
    assert {t.skip for t in plan.trials if t.strategy.name == "tune"} == {
        "strategy 'tune' needs target, which task 'unlabelled' does not offer "
        "(it offers source, source_val, target_unlabelled)"
    }
    assert rows(plan)[(None, "dots", "tune")] == 2  # starts from weights here, and so is there once for all sources


def test_a_skipped_trial_brings_neither_references_nor_source_models(make: Make) -> None:
    plan = make(ADAPT + "strategies: [tune]\n")
    assert {t.strategy.name for t in plan.trials} == {"tune"}


def test_pretrained_as_the_source_needs_weights_and_a_task_without_source_data(make: Make) -> None:
    text = FINE.replace("sources: [grid,", "sources: [pretrained,").replace("[net]", "[net, big-net]")
    plan = make(text.replace("[labelled]", "[labelled, unlabelled]") + "strategies: [tune, align]\n")
    skips = {
        (t.task.name, t.strategy.name, t.backbone.name): t.skip for t in plan.trials
        if t.source is not None and t.source.label == "pretrained"
    }  # fmt: skip
    assert skips["labelled", "tune", "big-net"] is None
    assert (
        skips["labelled", "tune", "net"]
        == "backbone 'net' brings no pre-trained weights, and the source is 'pretrained'"
    )
    assert skips["labelled", "align", "big-net"] == (
        "strategy 'align' needs source, target_unlabelled, which task 'labelled' does not offer "
        "with the source 'pretrained' (it offers target)"
    )
    assert skips["unlabelled", "align", "big-net"] == (
        "task 'unlabelled' needs the source's data, and the source 'pretrained' is weights without data"
    )
    assert all(t.parents == () for t in plan.trials if t.source is not None and t.source.label == "pretrained")
    assert all(t.target.label != "pretrained" for t in plan.trials)


def test_a_reference_that_is_listed_as_it_is_keeps_its_label_and_with_other_parameters_is_a_row(make: Make) -> None:
    plan = make(FINE + "strategies: [tune, {name: zero, label: from nothing}, {name: zero, lr: 2}]\n")
    assert {(t.strategy.label, t.reference) for t in plan.trials if t.kind == "trial"} == {
        ("tune", "from nothing"),
        ("from nothing", None),
        ("zero(lr=2)", "from nothing"),
        ("guess", "from nothing"),
    }


def test_another_method_under_a_references_name_does_not_hide_it(make: Make) -> None:
    plan = make(FINE + "strategies: [{name: tune, label: zero}]\n")
    assert {(t.strategy.name, t.strategy.label, t.reference) for t in plan.trials if t.kind == "trial"} == {
        ("tune", "zero", "zero (reference)"),
        ("zero", "zero (reference)", None),
        ("guess", "guess", "zero (reference)"),
    }


def test_filters_choose_trials_and_never_take_a_needed_reference(make: Make) -> None:
    text = FINE + "strategies: [tune, {name: zero, lr: 2}]\n"
    plan = make(text + "include: [{source: white}]\nexclude: [{strategy: zero}]\n")
    assert rows(plan) == {("white", "dots", "tune"): 2, (None, "dots", "zero"): 2, (None, "dots", "guess"): 2}
    plan = make(text + "exclude: [{seed: 0, strategy: tune}, {seed: 1, source: white}]\n")
    assert [(t.strategy.name, t.source.label) for t in plan.trials if t.source] == [("tune", "grid")]


def test_filters_that_leave_nothing_are_refused(make: Make) -> None:
    with pytest.raises(SuiteError, match="leave no trial"):
        make(FINE + "strategies: [tune]\nexclude: [{target: dots}]\n")


# ---- what need not run again -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "again", "again_if_retried"),
    [
        (Status.OK, False, False),
        (Status.SKIPPED, False, False),
        (Status.FAILED, False, True),
        (Status.OOM, False, True),
        (Status.TIMEOUT, False, True),
        (Status.KILLED, True, True),
        (Status.INTERRUPTED, True, True),
        (Status.PARENT_FAILED, True, True),
    ],
)
def test_a_trial_runs_again_or_not_by_how_it_ended(
    status: Status, again: bool, again_if_retried: bool, make: Make
) -> None:
    text = FINE + "strategies: [tune]\n"
    trial = next(t for t in make(text).trials if t.strategy.name == "zero")
    records = {trial.key: finished(trial, status)}
    assert (trial in make(text, records).todo) is again
    assert (trial in make(text, records, retry_failed=True).todo) is again_if_retried


def test_a_record_of_other_code_or_without_a_metric_does_not_count(make: Make) -> None:
    text = FINE + "strategies: [tune]\n"
    trial = next(t for t in make(text).trials if t.strategy.name == "zero")
    assert trial in make(text, {trial.key: finished(replace(trial, fingerprint="old"))}).todo
    assert trial in make(text, {trial.key: finished(trial, metrics={})}).todo
    assert trial not in make(text, {trial.key: finished(trial)}).todo
    more = text + "metrics: [accuracy, recall]\n"
    assert trial in make(more, {trial.key: finished(trial)}).todo
    both = {"target": {"accuracy": 0.5, "recall": 0.5}}
    assert trial not in make(more, {trial.key: finished(trial, metrics=both)}).todo
    assert trial in make(more, {trial.key: finished(trial, metrics={**both, "source": {"accuracy": 1.0}})}).todo


def test_another_source_recipe_makes_the_records_of_its_dependents_stale(make: Make) -> None:
    text = FINE + "strategies: [tune]\n"
    records = {t.key: finished(t) for t in make(text).trials}
    assert not make(text, records).todo
    again = make(text + "source_recipe: {steps: 3}\n", records).todo
    assert Counter((t.kind, t.strategy.name) for t in again) == {
        ("source-model", "source-training"): 4,
        ("trial", "tune"): 4,
    }


def test_a_source_model_without_its_weights_runs_again_only_where_somebody_needs_them(make: Make) -> None:
    text = FINE + "strategies: [tune]\n"
    plan = make(text)
    records = {t.key: finished(t) for t in plan.trials}
    assert not make(text, records, has_artifact=lambda key: False).todo
    lost = next(t for t in plan.trials if t.strategy.name == "tune")
    del records[lost.key]
    assert make(text, records, has_artifact=lambda key: True).todo == (lost,)
    again = make(text, records, has_artifact=lambda key: False).todo
    assert [t.key for t in again] == [*lost.parents, lost.key]


def test_a_source_model_that_nobody_waits_for_does_not_run(make: Make) -> None:
    text = FINE + "strategies: [tune]\n"
    records = {t.key: finished(t) for t in make(text).trials if t.kind == "trial"}
    assert not make(text, records).todo


# ---- keys ------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
choices = st.builds(
    Choice, st.text(max_size=8), st.text(max_size=8), st.dictionaries(st.text(max_size=5), values, max_size=3)
)


@given(st.none() | choices, choices, choices, choices, choices, choices, st.integers(0, 2**63))
@settings(max_examples=150, deadline=None)
def test_a_key_can_be_computed_from_the_stored_record(
    source: Choice | None, target: Choice, task: Choice, strategy: Choice, backbone: Choice, recipe: Choice, seed: int
) -> None:
    import json

    trial = Trial(
        source, target, task, strategy, backbone, recipe, seed, parents=("p",), reference="r", fingerprint="f"
    )
    record = Record(trial.key, Status.OK, trial.to_json())
    stored = Record.from_json(json.loads(json.dumps(record.to_json())))
    assert Trial.from_json(stored.trial) == trial
    assert Trial.from_json(stored.trial).key == stored.key == trial.key
