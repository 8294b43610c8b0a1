"""A run's status and one trial as people see them: numbers with units, sections, widths."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial
from tlbench.results.store import RunFolder
from tlbench.results.view import status_json, status_view, trial_view

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "[red]x[/red]\x1b[2J"


def trial(strategy: str = "tune", source: str | None = "mnist", seed: int = 0) -> Trial:
    def choice(label: str, **params: Any) -> Choice:
        return Choice(label.split("(")[0], label, params)

    return Trial(
        source=choice(source) if source else None,
        target=choice("usps"),
        task=choice("fine-tuning(labels=5)", labels=5),
        strategy=choice(strategy, lr=0.5),
        backbone=choice("small-cnn"),
        recipe=choice("recipe", steps=60),
        seed=seed,
        reference="scratch",
    )


def record(of: Trial, **changes: Any) -> Record:
    curve = {"pool": "target", "metric": "accuracy", "examples": 1450, "selected": 60}
    latency = {"p50": 0.1772, "p95": 0.2628, "n": 50}
    training = {"median": 12345.6, "q25": 12000.0, "q75": 13000.0, "windows": 9}
    whole = Record(
        key=of.key,
        status=Status.OK,
        trial=of.to_json(),
        metrics={"target": {"accuracy": 0.92347}},
        curve=curve | {"steps": [0, 30, 60], "scores": [0.1, 0.5, 0.9]},
        losses={"steps": [30, 60], "loss": [2.0, 0.25], "l2": [None, None]},
        clocks={"setup": 0.0036, "training": 0.25, "total": 154.2},
        throughput={"training": training, "inference": None, "latency_ms": latency},
        memory={"peak_rss": 512 * 2**20, "peak_allocated": None},
        cost={"steps": 60, "parameters": 94186},
        environment={
            "versions": {"torch": "2.13.0"},
            "device": {"name": "cpu"},
            "git": {"commit": "abc", "dirty": True},
        },
        started="2026-03-01T10:00:00+00:00",
        finished="2026-03-01T10:02:34+00:00",
    )
    return replace(whole, **changes)


def shown(renderable: Any, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(renderable)
    return out.getvalue()


def a_run(folder: Path, records: list[Record]) -> RunFolder:
    run = RunFolder(folder / "run")
    with run.writing() as writer:
        for one in records:
            writer.write(one)
    return RunFolder.open(folder / "run")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_trial_is_shown_with_its_numbers_units_and_sections(tmp_path: Path, width: int) -> None:
    of = trial()
    text = shown(trial_view(record(of), RunFolder(tmp_path)), width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for part in (
        of.key,
        "accuracy 0.9235",
        "curve of accuracy ▁▅█ 0.100 → 0.900, on 1,450 examples",
        "0:0.100 30:0.500 60:0.900",
        "result of step 60",
        "loss █▁ 2 → 0.25",
        "setup 3.6 ms training 0.25 s total 154 s",
        "12,346 examples/s, quartiles 12,000 and 13,000, 9 windows",
        "p50 0.177 ms, p95 0.263 ms, of 50 single examples",
        "peak rss 512 MiB",
        "parameters 94,186",
        "compared with scratch",
        "2026-03-01 10:00:00 UTC to 2026-03-01 10:02:34 UTC",
        "abc with local changes",
    ):
        assert part in words
    titles = {"result", "cost", "trial", "data", "ran"}
    found = [title for line in text.splitlines() if (title := line.strip()) in titles]
    assert found == ["result", "cost", "trial", "ran"], "a section without anything in it is left out"
    assert "l2" not in words, "a loss that was never measured"


def test_a_curve_of_one_point_is_said_to_be_one(tmp_path: Path) -> None:
    curve = {"pool": "target", "metric": "accuracy", "examples": 1450, "steps": [0], "scores": [0.25], "selected": 0}
    words = " ".join(shown(trial_view(record(trial(), curve=curve), RunFolder(tmp_path))).split())
    assert "curve of accuracy one point, 0.250 on 1,450 examples: nothing was trained" in words


def test_a_trial_that_failed_says_why_and_has_no_empty_rows(tmp_path: Path) -> None:
    failed = Record(trial().key, Status.FAILED, trial().to_json(), reason="loss is NaN at step 3")
    text = shown(trial_view(failed, RunFolder(tmp_path)))
    assert "failed: loss is NaN at step 3" in text
    assert not any(word in text for word in ("examples/s", "memory", "None"))


def test_nothing_in_a_record_steers_the_terminal(tmp_path: Path) -> None:
    bad = record(
        trial(EVIL, EVIL), status=Status.FAILED, reason=EVIL, environment={"host": EVIL, "versions": {EVIL: EVIL}}
    )
    run = a_run(tmp_path, [bad])
    for view in (trial_view(bad, run), status_view(run, trials=True)):
        text = shown(view, 200)
        assert "\x1b" not in text
        assert "[red]x[/red]\\x1b[2J" in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_status_lists_every_trial_in_a_table_for_each_task(tmp_path: Path, width: int) -> None:
    records = [record(trial(seed=s)) for s in range(2)]
    records.append(record(trial("crash", None), status=Status.OOM, reason="out of memory", metrics={}, curve=None))
    run = a_run(tmp_path, records)
    assert status_json(run)["statuses"] == {"ok": 2, "oom": 1}
    brief, full = (shown(status_view(run, trials=t), width) for t in (False, True))
    assert "oom ×1  out of memory" in brief
    assert full.splitlines().count("") >= 1
    listed = full.partition("\nfine-tuning(labels=5) · small-cnn")[2]
    assert max(map(len, listed.splitlines())) <= width
    rows = {line.split()[0]: line.split()[1:] for line in listed.splitlines() if line.strip()}
    assert rows[records[1].key[:12]] == ["ok", "0.9235", "154", "s", "1", "tune", "mnist", "usps"]
    assert rows[records[2].key[:12]] == ["oom", "–", "154", "s", "0", "crash", "–", "usps"]
