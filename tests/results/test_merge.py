"""Merge: two half-runs are the whole run; what contradicts is named and never chosen in silence."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial
from tlbench.cli import main
from tlbench.errors import StoreError
from tlbench.plugins import Plugins
from tlbench.reports import board_of
from tlbench.results.merge import merge
from tlbench.results.sameness import allowance, compare
from tlbench.results.store import RunFolder
from tlbench.results.valid import current
from tlbench.results.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.results.conftest import Forge, RunSmall
    from tlbench.leaderboard.board import Leaderboard

DROP = 0.08
PAIRS = ("source", "target", "mean", "low", "high", "verdict")
RESULTS = (
    "strategy",
    "score",
    "gain",
    "helps",
    "hurts",
    "undecided",
    "negative_rate",
    "depth",
    "worst_pair",
    "coverage",
)
"""Columns that do not depend on the clock."""


def board(folder: Path) -> Leaderboard:
    run = RunFolder.open(folder)
    planned = run.planned()
    return board_of(current(run.records(), planned), planned, Plugins.discover(entry_points=False))


def shown(folder: Path) -> Any:
    return [
        (
            group.title,
            group.sources,
            group.targets,
            group.pairs_compared,
            [
                (
                    row.label,
                    [row.cells[c] for c in RESULTS],
                    repr([np.asarray(getattr(row.pairs, part)).tolist() for part in PAIRS]),
                )
                for row in group.rows
            ],
        )
        for group in board(folder).groups
    ]


@pytest.mark.parametrize(
    "split",
    [
        [[("seeds: 2", "seeds: [0]")], [("seeds: 2", "seeds: [1]")]],
        [
            [("metrics:", "include: [{target: noisy}]\nmetrics:")],
            [("metrics:", "include: [{target: rotated}]\nmetrics:")],
        ],
    ],
    ids=["by seed", "by target"],
)
def test_two_half_runs_merged_equal_the_whole_run(
    run_small: RunSmall, whole_run: Path, tmp_path: Path, split: list[list[tuple[str, str]]]
) -> None:
    halves = [run_small(tmp_path / f"half{i}", *changes) for i, changes in enumerate(split)]
    found = merge(halves, tmp_path / "merged")
    assert found.ok
    whole, merged = RunFolder.open(whole_run), RunFolder.open(tmp_path / "merged")
    assert {t.key for t in merged.planned()} == {t.key for t in whole.planned()}
    theirs = merged.records()
    assert set(theirs) == set(whole.records())
    for key, record in whole.records().items():
        assert theirs[key].metrics == record.metrics
        assert (theirs[key].curve or {})["scores"] == (record.curve or {})["scores"]
    assert shown(tmp_path / "merged") == shown(whole_run)
    assert {p.name for p in (tmp_path / "merged" / "predictions").iterdir()} == {
        p.name for p in (whole_run / "predictions").iterdir()
    }
    models = [r for r in theirs.values() if r.trial["kind"] == "source-model"]
    assert models
    assert all(merged.has_weights(model) for model in models)
    assert verify(tmp_path / "merged", Plugins.discover(entry_points=False)).faults == ()


def test_records_are_copied_line_for_line(whole_run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(whole_run, tmp_path / "other")
    merge([whole_run, other], tmp_path / "merged")

    def lines(folder: Path) -> list[bytes]:
        return sorted(row for f in (folder / "records").glob("*.jsonl") for row in f.read_bytes().splitlines())

    assert lines(tmp_path / "merged") == lines(whole_run)


def test_equal_results_of_two_machines_are_one(whole_run: Path, run_folder: Path, tmp_path: Path, forge: Forge) -> None:
    def elsewhere(data: dict[str, Any]) -> None:
        data["environment"]["host"] = "another"
        data["clocks"]["total"] = 99.0
        data["started"] = data["finished"] = "2030-01-01T00:00:00.000+00:00"

    forge(run_folder, elsewhere)
    found = merge([whole_run, run_folder], tmp_path / "merged")
    assert found.ok
    assert found.equal == len(RunFolder.open(whole_run).records())


# ---- what contradicts ------------------------------------------------------------------------------


def lower(data: dict[str, Any]) -> None:
    """By more than a tolerance allows, as a checkout with changes has no commit to be compared by."""
    data["metrics"]["target"]["accuracy"] -= DROP


def test_different_results_of_one_trial_are_named_with_both_values_and_left_out(
    whole_run: Path, run_folder: Path, tmp_path: Path, forge: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    key = forge(run_folder, lower)
    words = ["merge", str(whole_run), str(run_folder), "--out", str(tmp_path / "merged"), "--json"]
    assert main(words) == 2
    told = json.loads(capsys.readouterr().out)
    (conflict,) = told["conflicts"]
    assert conflict["key"] == key
    assert conflict["taken"] is None
    before = RunFolder.open(whole_run).records()[key].metrics["target"]["accuracy"]
    assert [r["metrics"]["target"]["accuracy"] for r in conflict["records"]] == [before, before - DROP]
    assert [Path(r["where"]).parent.parent for r in conflict["records"]] == [whole_run, run_folder]
    assert key not in RunFolder.open(tmp_path / "merged").records()
    assert key in {t.key for t in RunFolder.open(tmp_path / "merged").planned()}


@pytest.mark.parametrize("preferred", [0, 1])
def test_the_preferred_run_s_result_is_taken_and_said(
    whole_run: Path, run_folder: Path, tmp_path: Path, forge: Forge, preferred: int
) -> None:
    key = forge(run_folder, lower)
    runs = [whole_run, run_folder]
    found = merge(runs, tmp_path / "merged", prefer=[runs[preferred]])
    assert found.ok
    assert found.conflicts[0].taken == runs[preferred]
    expected = RunFolder.open(runs[preferred]).records()[key]
    assert RunFolder.open(tmp_path / "merged").records()[key] == expected


def test_both_values_and_files_are_shown_to_people(
    whole_run: Path, run_folder: Path, tmp_path: Path, forge: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    forge(run_folder, lower)
    assert main(["merge", str(whole_run), str(run_folder), "--out", str(tmp_path / "merged")]) == 2
    out = capsys.readouterr().out.replace("\n", "").replace(" ", "")
    assert "differentresultsofonetrial" in out
    assert f"{whole_run}/records/" in out
    assert f"{run_folder}/records/" in out
    assert "--preferRUN" in out


def test_a_result_goes_before_a_failure_and_that_is_said(
    whole_run: Path, run_folder: Path, tmp_path: Path, forge: Forge
) -> None:
    def fail(data: dict[str, Any]) -> None:
        data.update(status="oom", reason="out of memory", metrics={}, curve=None, predictions=None)

    key = forge(run_folder, fail)
    found = merge([run_folder, whole_run], tmp_path / "merged")
    assert found.ok
    assert len(found.superseded) == 1
    assert found.superseded[0].startswith(key[:12])
    assert f"ok in {whole_run}, oom in {run_folder}" in found.superseded[0]
    assert RunFolder.open(tmp_path / "merged").records()[key].status == Status.OK


def test_a_damaged_line_is_named_and_not_copied(whole_run: Path, run_folder: Path, tmp_path: Path) -> None:
    (file,) = (run_folder / "records").glob("*.jsonl")
    rows = file.read_text().splitlines()
    rows[3] = rows[3].replace('"seed":', '"sead":')
    file.write_text("\n".join(rows) + "\n")
    found = merge([run_folder, whole_run], tmp_path / "merged")
    assert not found.ok
    assert found.faults[0].line.startswith(f"{file}:4: ")
    assert len(RunFolder.open(tmp_path / "merged").records()) == len(rows)


def test_weights_and_predictions_that_are_not_what_the_record_says_are_not_copied(
    run_folder: Path, tmp_path: Path
) -> None:
    weights = next((run_folder / "weights").glob("*.safetensors"))
    predictions = next((run_folder / "predictions").glob("*.npz"))
    weights.write_bytes(b"other")
    predictions.unlink()
    predictions.symlink_to("/etc/hostname")
    found = merge([run_folder], tmp_path / "merged")
    wrong = [f for f in found.faults if f.check in ("weights", "predictions")]
    assert sorted(f.where for f in wrong) == sorted([str(weights), str(predictions)])
    assert not (tmp_path / "merged" / "weights" / weights.name).exists()
    assert not (tmp_path / "merged" / "predictions" / predictions.name).is_symlink()


# ---- what is refused -------------------------------------------------------------------------------


def test_other_content_of_one_data_set_is_refused_with_both_hashes(
    whole_run: Path, run_folder: Path, tmp_path: Path, forge: Forge
) -> None:
    for file in (run_folder / "records").glob("*.jsonl"):
        file.unlink()
    shutil.copytree(whole_run / "records", run_folder / "records", dirs_exist_ok=True)

    def other(data: dict[str, Any]) -> None:
        data["data"]["target"]["content"] = "f" * 32

    def noisy(data: dict[str, Any]) -> bool:
        return data["trial"]["target"]["label"] == "noisy" and data["data"]["target"]["content"] != "f" * 32

    for _ in range(8):
        forge(run_folder, other, noisy)
    with pytest.raises(StoreError, match=r"the data set 'noisy' .* has content [0-9a-f]{32} in .* and f{32} in"):
        merge([whole_run, run_folder], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("steps: 20", "steps: 10"), "the recipe 'recipe' is not the same in .*: steps is 20 and 10"),
        (
            ("shift: noisy,", "shift: noisy, noise: 0.1,"),
            "the data set 'noisy' is not the same in .*: noise is 0.3 and 0",
        ),
        (("width: 8", "width: 4"), "the backbone 'cnn' is not the same in .*: width is 8 and 4"),
        (("metrics: [accuracy]", "metrics: [nmi]"), "scored by different metrics: accuracy in .* and nmi in"),
    ],
)
def test_another_protocol_under_the_same_names_is_refused(
    run_small: RunSmall, whole_run: Path, tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    fewer = ("metrics:", "include: [{target: noisy, strategy: fine-tune}]\nmetrics:")
    other = run_small(tmp_path / "other", fewer, ("seeds: 2", "seeds: 1"), change)
    with pytest.raises(StoreError, match=reason):
        merge([whole_run, other], tmp_path / "merged")


@pytest.mark.parametrize("words", [["RUN", "RUN"], ["RUN", "--prefer", "elsewhere"], ["nowhere"]])
def test_wrong_usage_exits_with_1(whole_run: Path, tmp_path: Path, words: list[str]) -> None:
    named = [str(whole_run) if w == "RUN" else w for w in words]
    assert main(["merge", *named, "--out", str(tmp_path / "merged")]) == 1
    assert not (tmp_path / "merged").exists()


def test_a_folder_with_something_in_it_is_not_written_over(whole_run: Path, run_folder: Path) -> None:
    with pytest.raises(StoreError, match="is there already"):
        merge([whole_run], run_folder)


# ---- versions --------------------------------------------------------------------------------------


def other_code(folder: Path, name: str, fingerprint: str, change: Callable[[dict[str, Any]], None]) -> None:
    """A run in which one strategy was other code: other fingerprints in the plan and in the records."""
    plan = json.loads((folder / "run.json").read_text())
    records = [json.loads(row)["record"] for f in (folder / "records").glob("*.jsonl") for row in f.open()]
    for trial in [*plan["trials"], *(r["trial"] for r in records)]:
        if trial["strategy"]["name"] == name:
            trial["fingerprint"] = fingerprint
    for record in records:
        if record["trial"]["strategy"]["name"] == name:
            change(record)
    (folder / "run.json").write_text(json.dumps(plan))
    shutil.rmtree(folder / "records")
    with RunFolder(folder).writing() as writer:
        for record in records:
            writer.write(Record.from_json(record))


def newer(data: dict[str, Any]) -> None:
    data["environment"]["versions"]["tlbench"] = "9.0"
    data["metrics"]["target"]["accuracy"] = 0.5


def test_results_of_different_code_are_different_rows_and_both_are_visible(
    whole_run: Path, run_folder: Path, tmp_path: Path
) -> None:
    other_code(run_folder, "fine-tune", "f" * 24, newer)
    found = merge([whole_run, run_folder], tmp_path / "merged")
    assert found.ok
    (group,) = board(tmp_path / "merged").groups
    rows = {row.label: row for row in group.rows}
    tagged = sorted(label for label in rows if label.startswith("fine-tune"))
    assert len(tagged) == 2
    version = RunFolder.open(whole_run).records().popitem()[1].environment["versions"]["tlbench"]
    assert tagged == sorted([f"fine-tune @ {version}", "fine-tune @ 9.0"])
    (before,) = board(whole_run).groups
    scores = {rows[label].cells["score"].value for label in tagged}
    assert scores == {next(r.cells["score"].value for r in before.rows if r.label == "fine-tune"), 0.5}
    assert {"linear-probe", "scratch", "majority"} < set(rows)
    assert all(rows[label].cells["gain"].value is not None for label in tagged)
    assert "fine-tune @ " in found.versions[0]


def test_a_key_of_a_version_follows_from_its_record_and_points_to_where_it_came_from(
    whole_run: Path, run_folder: Path, tmp_path: Path
) -> None:
    other_code(run_folder, "fine-tune", "f" * 24, newer)
    merge([whole_run, run_folder], tmp_path / "merged")
    originals = RunFolder.open(whole_run).records()
    tagged = [r for r in RunFolder.open(tmp_path / "merged").records().values() if r.trial["strategy"].get("version")]
    assert len(tagged) == 8
    for record in tagged:
        assert Trial.from_json(record.trial).key == record.key
        assert record.provenance is not None
        assert originals[record.provenance["merged"]["key"]].trial["strategy"]["name"] == "fine-tune"
        assert (tmp_path / "merged" / "predictions" / f"{record.key}.npz").is_file()
    found = verify(tmp_path / "merged", Plugins.discover(entry_points=False))
    assert {f.check for f in found.faults} <= {"curves", "predictions"}  # of the scores that the test invented


def test_versions_of_source_training_carry_over_to_what_starts_from_it(
    whole_run: Path, run_folder: Path, tmp_path: Path
) -> None:
    def nothing(data: dict[str, Any]) -> None:
        pass

    other_code(run_folder, "source-training", "e" * 24, nothing)
    other_code(run_folder, "linear-probe", "d" * 24, nothing)
    merge([whole_run, run_folder], tmp_path / "merged")
    records = RunFolder.open(tmp_path / "merged").records()
    probes = [r for r in records.values() if r.trial["strategy"]["name"] == "linear-probe"]
    assert len(probes) == 8
    parents = [records[p] for r in probes for p in r.trial["parents"]]
    assert all(Trial.from_json(p.trial).strategy.version for p in parents)
    assert len({p.key for p in parents}) == 4


def test_runs_that_share_no_trial_are_told_apart_by_their_code_as_well(run_small: RunSmall, tmp_path: Path) -> None:
    one = run_small(tmp_path / "one", ("seeds: 2", "seeds: [0]"))
    two = run_small(tmp_path / "two", ("seeds: 2", "seeds: [1]"))
    other_code(two, "fine-tune", "f" * 24, newer)
    merge([one, two], tmp_path / "merged")
    (group,) = board(tmp_path / "merged").groups
    assert sum(row.label.startswith("fine-tune @ ") for row in group.rows) == 2


def test_a_choice_without_a_version_has_the_digest_that_it_always_had() -> None:
    """Otherwise no stored record would be found again. Computed by hand from the algorithm of key version 1."""
    import hashlib

    expected = hashlib.blake2b(b'["a",{"k":1}]', digest_size=12).hexdigest()
    assert Choice("a", "label", {"k": 1}).digest == expected
    assert Choice("a", "label", {"k": 1}, "2").digest != expected
    assert "version" not in Choice("a", "label", {"k": 1}).to_json()
    assert Choice.from_json(Choice("a", "label", {"k": 1}, "2").to_json()) == Choice("a", "label", {"k": 1}, "2")


# ---- sameness --------------------------------------------------------------------------------------


def on(record: Record, value: float, **environment: Any) -> Record:
    return dataclasses.replace(
        record, metrics={"target": {"accuracy": value}}, environment={**record.environment, **environment}
    )


def test_on_one_machine_scores_must_be_equal_and_on_another_within_three_standard_errors(whole_run: Path) -> None:
    record = next(iter(RunFolder.open(whole_run).records().values()))
    record = dataclasses.replace(record, data={**record.data, "test": {"target": 400}})
    git = {"commit": "c", "dirty": False}
    here = on(record, 0.80, git=git)
    assert compare(here, on(record, 0.80, git=git)).outcome == "equal"
    assert compare(here, on(record, 0.81, git=git)).outcome == "different"
    versions = {**record.environment["versions"], "torch": "9"}
    # Three binomial standard errors of some .82 of 400: 3 sqrt(.82 .18 / 400) = .0576
    assert compare(here, on(record, 0.80 + 0.05, git=git, versions=versions)).outcome == "close"
    assert compare(here, on(record, 0.80 + 0.07, git=git, versions=versions)).outcome == "different"


@pytest.mark.parametrize(("own", "other", "n"), [(0.8, 0.8, 400), (1.0, 1.0, 50), (0.0, 0.01, 10_000)])
def test_the_tolerance_is_the_stated_formula(make: Any, own: float, other: float, n: int) -> None:
    record = make("a", value=own, data={"test": {"target": n}})
    p = (n * (own + other) / 2 + 1) / (n + 2)
    assert allowance(record, "target", "accuracy", other) == max(3 * math.sqrt(p * (1 - p) / n), 0.005)


def test_a_difference_in_data_seeds_or_curve_points_is_never_within_a_tolerance(make: Any) -> None:
    record = make("a", data={"target": {"content": "a"}}, seeds={"init": 1}, environment={"versions": {"torch": "1"}})
    for change in ({"data": {"target": {"content": "b"}}}, {"seeds": {"init": 2}}, {"status": Status.SKIPPED}):
        other = dataclasses.replace(record, environment={"versions": {"torch": "2"}}, **change)
        assert compare(record, other).outcome == "different"
