"""Watching a run: what each kind of watcher says of the same run."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Plan, Trial
from tlbench.plan.estimate import Estimate
from tlbench.run import Outcome
from tlbench.watch import EventWatcher, LineWatcher, LiveWatcher, duration, planned, summary

NASTY = "[red]x[/] [/nope] \x1b[31m\x07\nline"


def trial(name: str, **more: Any) -> Trial:
    choice = Choice("x", "x", {})
    return Trial(None, choice, choice, Choice(name, name, {}), choice, choice, 0, **more)


def record(of: Trial, status: Status = Status.OK, reason: str = "", **more: Any) -> Record:
    return Record(of.key, status, of.to_json(), reason=reason, **more)


TRIALS = (trial("one"), trial(NASTY), trial("three"), trial("never", skip="does not fit"))
PLAN = Plan(NASTY, TRIALS, done=frozenset({TRIALS[2].key}))
END = Outcome(Path("runs/x"), {"ok": 2, "failed": 1, "skipped": 1}, 0, False)


def follow(watcher: Any) -> None:
    """One run: one trial ends well, one badly, one was done before and one was never to run."""
    watcher.begin(PLAN, Estimate(75.0, 2, 0))
    try:
        watcher.started(TRIALS[0], "slot 1")
        watcher.finished(TRIALS[0], record(TRIALS[0], clocks={"total": 2.0}))
        watcher.finished(TRIALS[3], record(TRIALS[3], Status.SKIPPED, "does not fit"))
        watcher.started(TRIALS[1], "slot 1")
        watcher.finished(TRIALS[1], record(TRIALS[1], Status.FAILED, NASTY))
        watcher.note(NASTY)
    finally:
        watcher.close()
    watcher.end(END)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (60, "1 min 00 s"), (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"), (7500, "2 h 05 min"), (90000, "25 h 00 min"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_summary_names_the_good_first_and_what_was_not_run_last() -> None:
    assert summary(dataclasses.replace(END, missing=4)) == "2 ok, 1 failed, 1 skipped, 4 not run"
    assert summary(dataclasses.replace(END, statuses={})) == "nothing to do"


@pytest.mark.parametrize(
    ("statuses", "missing", "code"),
    [
        ({"ok": 3}, 0, 0),
        ({"ok": 3, "skipped": 2}, 0, 0),
        ({"ok": 3, "failed": 1}, 0, 2),
        ({"oom": 1}, 0, 2),
        ({"timeout": 1}, 0, 2),
        ({"killed": 1}, 0, 2),
        ({"parent_failed": 1}, 0, 2),
        ({"ok": 3}, 1, 3),
        ({"ok": 3, "interrupted": 1}, 0, 3),
        ({"failed": 3, "interrupted": 1}, 2, 3),
    ],
)
def test_the_exit_code_says_how_a_run_ended(statuses: dict[str, int], missing: int, code: int) -> None:
    assert Outcome(Path(), statuses, missing, False).exit_code == code


def test_what_is_planned_is_what_will_run() -> None:
    assert planned(PLAN, Estimate(75.0, 2, 0)) == "2 trials to run, 1 done before, about 1 min 15 s"
    assert planned(PLAN, Estimate(None, 0, 2)) == "2 trials to run, 1 done before"


def test_plain_lines_count_the_trials_and_carry_no_control_characters() -> None:
    out = io.StringIO()
    follow(LineWatcher(out))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("[red]x[/] [/nope]")
    assert "2 trials to run" in lines[0]
    assert lines[1] == f"[1/2] ok {TRIALS[0].title} 2 s"
    assert lines[2].startswith("[2/2] failed [red]x[/]")
    assert lines[3].startswith("note: [red]x[/]")
    assert lines[4:] == ["2 ok, 1 failed, 1 skipped"]
    assert all(line.isprintable() for line in lines)


def test_quiet_lines_keep_to_what_went_wrong() -> None:
    out = io.StringIO()
    follow(LineWatcher(out, quiet=True))
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["[2/2]", "note:"]


def test_every_event_is_a_line_of_json() -> None:
    out = io.StringIO()
    follow(EventWatcher(out))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [e["event"] for e in events] == [
        "begin", "started", "finished", "finished", "started", "finished", "note", "end"
    ]  # fmt: skip
    assert events[0]["suite"] == NASTY  # programs get the name as it is
    assert events[0]["done"] == 1
    assert events[2]["key"] == TRIALS[0].key
    assert (events[5]["status"], events[5]["reason"]) == ("failed", NASTY)
    assert (events[-1]["exit_code"], events[-1]["folder"]) == (2, "runs/x")


def test_the_live_view_obeys_no_markup_and_lets_no_control_character_through() -> None:
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=False, color_system=None)
    follow(LiveWatcher(console))
    text = out.getvalue()
    assert text.count("[red]x[/] [/nope]") >= 4  # suite, title, reason, note
    assert "\\x1b[31m" in text
    assert not [c for c in text if c != "\n" and not c.isprintable()]
    assert "2 ok, 1 failed, 1 skipped" in text


def test_the_live_view_shows_what_each_slot_does_now() -> None:
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=False, color_system=None)
    watcher = LiveWatcher(console)
    watcher.begin(PLAN, Estimate(None, 0, 2))
    try:
        watcher.started(TRIALS[0], "cpu 0")
        watcher.started(TRIALS[1], "cpu 1")
        watcher.finished(TRIALS[0], record(TRIALS[0]))
        out.truncate(0)
        console.print(watcher._render())
    finally:
        watcher.close()
    now = out.getvalue()
    assert "cpu 1" in now
    assert "cpu 0" not in now
    assert "1/2" in now
