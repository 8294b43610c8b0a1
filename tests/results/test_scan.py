"""A table made of facts, by several processes, is that of the records to the bit, and so is what is said of faults."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlbench.api.records import Status
from tlbench.leaderboard import index
from tlbench.leaderboard.table import Table
from tlbench.loading import _from_facts, _text, loaded
from tlbench.plugins import Plugins
from tlbench.reports import board_of
from tlbench.results import scan
from tlbench.results.lines import to_line
from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.api.records import Record

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.discover()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return copied("quick", tmp_path)


def copied(name: str, to: Path) -> Path:
    shutil.copytree(RESULTS / name, to / name, ignore=shutil.ignore_patterns("leaderboard", "index"))
    return to / name


def processes(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(scan, "LEAST_BYTES", 1)
    monkeypatch.setattr(scan, "cores", lambda: count)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return bool(a == b)


def compare(runs: list[Path], plugins: Plugins) -> tuple[str, ...]:
    """Check that both ways give the same; what was noted."""
    folders = [RunFolder.open(run) for run in runs]
    text = _text(folders)
    wanted = board_of(list(text.records.values()), text.planned, plugins).table
    made = _from_facts(folders, plugins, None)
    assert made is not None
    table, notes = made
    for field in dataclasses.fields(Table):
        assert same(getattr(table, field.name), getattr(wanted, field.name)), field.name
    assert notes == text.notes
    return notes


def records_of(run: Path) -> list[Record]:
    return list(RunFolder.open(run).lines())


def write(run: Path, records: list[Record], name: str = "20990101T000000-000000000.jsonl") -> None:
    (run / "records" / name).write_text("".join(map(to_line, records)))


@pytest.mark.parametrize("name", ["quick", "everything", "mnist-usps-digits"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_table_of_a_real_run_is_the_same(
    name: str, count: int, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes(monkeypatch, count)
    compare([RESULTS / name], plugins)


def test_the_table_of_several_runs_is_the_same(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    processes(monkeypatch, 2)
    compare([RESULTS / "quick", RESULTS / "everything"], plugins)


def damaged(run: Path) -> None:
    (file,) = (run / "records").glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"status":"ok"', b'"status":"OK"')
    lines[5] = b"\n"
    lines[7] = b"no record\n"
    lines[9] = b'{"check":"' + b"0" * 24 + b'","record":[]}\n'
    file.write_bytes(b"".join(lines)[:-40])  # and the last one torn
    (run / "records" / "29990101T000000-000000000.jsonl").write_bytes(b"".join(lines[20:30]) + lines[11][:500])
    (run / "records" / "39990101T000000-000000000.jsonl").write_bytes(b"")


def repeated(run: Path) -> None:
    first, *others = records_of(run)
    failed = dataclasses.replace(first, status=Status.FAILED, reason="x", metrics={})
    other_code = dataclasses.replace(others[0], trial={**others[0].trial, "fingerprint": "other"})
    better = dataclasses.replace(others[1], clocks={"training": 1.0, "setup": 2.0})
    write(run, [failed, other_code, better, others[2], dataclasses.replace(others[3], status=Status.KILLED), others[3]])


def stale(run: Path) -> None:
    changed = []
    for record in records_of(run)[:40]:
        data = dict(record.data)
        if record.trial["target"]["label"] == "noisy" and data.get("target"):
            data["target"] = {**data["target"], "content": "f" * 32}
            changed.append(dataclasses.replace(record, data=data, finished="2999-01-01T00:00:00.000+00:00"))
    assert changed
    write(run, changed[:3])


def no_plan(run: Path) -> None:
    (run / "run.json").unlink()


def other_plan(run: Path) -> None:
    plan = json.loads((run / "run.json").read_text())
    trials = plan["trials"]
    for trial in trials:
        trial["strategy"]["label"] += " again"
    trials[4]["fingerprint"] = "other"
    (run / "run.json").write_text(json.dumps({**plan, "trials": [*trials[::-1][:-6], *trials[:3]]}))


def no_plan_to_read(run: Path) -> None:
    (run / "run.json").write_text('{"trials": [{}]}')


def odd(run: Path) -> None:
    found = []
    for i, record in enumerate(records_of(run)):
        curve = dict(record.curve or {})
        change: dict[str, Any] = [
            {"clocks": {}, "memory": {"peak_rss": None}, "throughput": None},
            {"metrics": {"target": {"accuracy": True, "other": 1}}, "curve": None},
            {"metrics": {}, "status": Status.OK},
            {"curve": {**curve, "pool": "another"} if curve else None},
            {"curve": {**curve, "scores": [None, *curve["scores"][1:]]} if curve else None},
            {"reason": 'of "its" own', "status": Status.FAILED, "data": {}},
            {"environment": {}, "suite": "", "started": "", "finished": ""},
            {"environment": {**record.environment, "device": {"name": "x", "shared": True}, "git": {"commit": "abc"}}},
            {"data": {**record.data, "pretrained_on": "noisy", "target": None, "test": {"target": {"examples": 7}}}},
        ][i % 9]  # fmt: skip
        found.append(dataclasses.replace(record, **change) if i >= 9 else record)
    write(run, found, next((run / "records").glob("*.jsonl")).name)


CHANGES = [damaged, repeated, stale, no_plan, other_plan, no_plan_to_read, odd]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["quick", "everything"])
def test_whatever_is_in_the_files_both_ways_say_the_same(
    name: str, tmp_path: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    run = copied(name, tmp_path)
    if change is stale and name != "quick":
        pytest.skip("has no noisy target")
    change(run)
    processes(monkeypatch, 3)
    notes = compare([run], plugins)
    assert len(notes) >= {damaged: 4, stale: 1, no_plan_to_read: 1}.get(change, 0)


def test_a_process_that_dies_costs_time_alone(run: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    processes(monkeypatch, 3)
    monkeypatch.setattr(scan, "CODE", "raise SystemExit(1)")
    compare([run], plugins)


def test_records_that_have_no_facts_are_read_as_a_whole(
    run: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(run, [dataclasses.replace(r, curve=None) for r in records_of(run)], next((run / "records").iterdir()).name)
    assert _from_facts([RunFolder.open(run)], plugins, None) is None
    plain = loaded([run], plugins)
    monkeypatch.setattr(index, "LEAST_BYTES", 1)
    assert loaded([run], plugins).board.to_frame().equals(plain.board.to_frame())


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_byte_is_in_one_stretch(run: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    write(run, records_of(run)[:5])
    (run / "records" / "empty.jsonl").touch()
    monkeypatch.setattr(scan, "LEAST_BYTES", 100)
    files = sorted((run / "records").glob("*.jsonl"))
    parts = scan.shared_out(files, count)
    assert len(parts) == count
    for file in files:
        mine = [s for part in parts for s in part if s.file == str(file)]
        edges = [s.start for s in mine] + [s.end for s in mine[-1:]]
        assert edges == ([0, *(s.end for s in mine)] if file.stat().st_size else [])
