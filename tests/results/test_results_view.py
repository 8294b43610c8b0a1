"""Looking at a run: whatever a plugin or a suite says is shown as text and steers no terminal."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from tlbench.api.records import Record, Status
from tlbench.api.trials import Trial
from tlbench.results.store import RunFolder
from tlbench.results.view import sparkline, status_json, status_view, trial_view

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

NASTY = "[red]x[/] [/nope] \x1b[31m\x1b]0;title\x07 \x08\x9b2J [link=file:///etc]y[/link]"


def shown(renderable: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=250, color_system=None).print(renderable)
    return out.getvalue()


def nasty(make: Any, status: Status) -> Record:
    record: Record = make("m", status)
    trial = Trial.from_json(record.trial)
    named = dataclasses.replace(trial.strategy, label=NASTY)
    trial = dataclasses.replace(trial, strategy=named, target=dataclasses.replace(trial.target, label=NASTY))
    curve = {"pool": "target", "metric": "accuracy", "examples": 9, "steps": [0, 1], "scores": [0.1, 0.5],
             "seconds": [0.0, 1.0], "selected": 1}  # fmt: skip
    more: dict[str, Any] = {"curve": curve} if status == Status.OK else {"reason": NASTY}
    return dataclasses.replace(
        record,
        trial=trial.to_json(),
        data={"target": {"licence": NASTY}},
        losses={"steps": [1, 2], NASTY: [2.0, None]},
        environment={"host": NASTY, "device": {"name": NASTY}},
        **more,
    )


def write(folder: Path, *records: Record) -> RunFolder:
    with RunFolder(folder).writing() as writer:
        writer.plan({"name": NASTY}, [Trial.from_json(r.trial) for r in records])
        for record in records:
            writer.write(record)
    return RunFolder.open(folder)


@pytest.mark.parametrize("status", [Status.OK, Status.FAILED])
def test_names_and_reasons_are_shown_as_text_without_control_characters(
    make: Any, tmp_path: Path, status: Status
) -> None:
    run = write(tmp_path, nasty(make, status))
    (record,) = run.records().values()
    for view in (status_view(run, trials=True), trial_view(record, run)):
        text = shown(view)
        assert "[red]x[/]" in text
        assert "[/nope]" in text
        assert "[link=file:///etc]y[/link]" in text
        assert not [c for c in text if c != "\n" and not c.isprintable()]


def test_a_status_counts_what_ended_how_and_what_is_missing(make: Any, tmp_path: Path) -> None:
    records = [make("a"), make("b"), make("c", Status.FAILED), make("d", Status.SKIPPED)]
    with RunFolder(tmp_path).writing() as writer:
        writer.plan({}, [Trial.from_json(r.trial) for r in [*records, make("e")]])
        for record in records:
            writer.write(record)
    state = status_json(RunFolder.open(tmp_path))
    json.dumps(state, allow_nan=False)
    assert state["planned"] == 5
    assert state["statuses"] == {"ok": 2, "failed": 1, "skipped": 1}
    assert state["missing"] == [make("e").key]
    assert [(e["key"], e["reason"]) for e in state["ended"]] == [(make("c").key, "because")]
    text = shown(status_view(RunFolder.open(tmp_path)))
    assert "because" in text
    assert "not run" in text


def test_one_reason_of_many_trials_is_said_once_with_their_number(make: Any, tmp_path: Path) -> None:
    run = write(tmp_path, *(make(f"m{n}", Status.FAILED) for n in range(7)))
    text = shown(status_view(run))
    assert text.count("because") == 1
    assert "×7" in text


def test_a_trial_is_shown_with_its_scores_its_curve_and_its_conditions(make: Any, tmp_path: Path) -> None:
    record = dataclasses.replace(
        nasty(make, Status.OK), clocks={"training": 1.25}, memory={"peak_rss": 3 << 20}, cost={"steps": 12}
    )
    run = write(tmp_path, record)
    text = shown(trial_view(record, run))
    assert record.key in text
    for part in ("0.5000", "▁█", "12", "3 MiB"):
        assert part in text


def test_damaged_lines_are_noted_in_the_status(make: Any, tmp_path: Path) -> None:
    write(tmp_path, make("a"))
    (file,) = (tmp_path / "records").iterdir()
    file.write_bytes(b"[red]rubbish[/]\n" + file.read_bytes())
    text = shown(status_view(RunFolder.open(tmp_path)))
    assert ":1: passed over: not a record" in text.replace("\n", "")


def test_a_sparkline_runs_from_the_smallest_to_the_largest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, -5]) == "█▁"
    assert sparkline([2.0, 2.0]) == "▁▁"
