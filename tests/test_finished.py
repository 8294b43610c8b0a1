"""A run whose trials are all done is not read again; as soon as anything is different, it is."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tlbench import finished
from tlbench.leaderboard import index
from tlbench.plugins import Plugins
from tlbench.results.lines import to_line
from tlbench.results.store import RunFolder
from tlbench.run import Options, Outcome, Run
from tlbench.watch import EventWatcher

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
tlbench: 1
name: again
sources: [digits, {name: digits, shift: inverted}]
targets: [{name: digits, shift: noisy}]
tasks: [{name: fine-tuning, labels: 10}]
backbones: [{name: small-cnn, size: 8, channels: 1, width: 4, depth: 1}]
strategies: [linear-probe, l2-sp]
seeds: 2
recipe: {steps: 20, batch_size: 32}
"""


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.discover(entry_points=False)


def execute(folder: Path, plugins: Plugins, **options: Any) -> tuple[Outcome, list[dict[str, Any]]]:
    """Run the suite there; how it ended, and what was said."""
    said = io.StringIO()
    shared = {"cache": folder.parent / "cache", "out": folder / "run", "device": "cpu", "executor": "in-process"}
    run = Run.of(str(folder / "again.yaml"), plugins, Options(**{**shared, **options}))
    outcome = run.execute(EventWatcher(said))
    return outcome, [json.loads(line) for line in said.getvalue().splitlines()]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, plugins: Plugins) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "done"
    folder.mkdir()
    (folder / "again.yaml").write_text(SUITE)
    outcome, _ = execute(folder, plugins)
    assert outcome.exit_code == 0
    assert not (folder / "run" / "index").exists(), "few records are read as quickly"
    return folder


@pytest.fixture
def run(done: Path, plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run that is done, which has been found to be so."""
    monkeypatch.setattr(index, "LEAST_BYTES", 1)
    folder = tmp_path / "done"
    shutil.copytree(done, folder)
    execute(folder, plugins)
    assert kept(folder, plugins)
    return folder


def kept(folder: Path, plugins: Plugins) -> bool:
    return finished.read(folder / "run", plugins) is not None


def lines_read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders whose records are read from now on."""
    seen: list[Path] = []
    whole = RunFolder.lines

    def lines(folder: RunFolder, *, slim: bool = False) -> Any:
        seen.append(folder.path)
        return whole(folder, slim=slim)

    monkeypatch.setattr(RunFolder, "lines", lines)
    return seen


def records_of(folder: Path) -> Path:
    return next(iter(sorted((folder / "run" / "records").glob("*.jsonl"))))


def test_a_finished_run_is_the_same_without_its_records(
    run: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {p: p.stat() for p in (run / "run").rglob("*") if p.is_file()}
    seen = lines_read(monkeypatch)
    short, said = execute(run, plugins)
    assert not seen
    assert {p: p.stat().st_mtime_ns for p in files} == {p: s.st_mtime_ns for p, s in files.items()}
    shutil.rmtree(run / "run" / "index")
    long, otherwise = execute(run, plugins)
    assert seen
    assert said == otherwise
    assert dataclasses.replace(short, board=None) == dataclasses.replace(long, board=None)
    assert short.board is not None
    assert long.board is not None
    assert short.board.to_frame().equals(long.board.to_frame())
    assert short.board.pairs_frame().equals(long.board.pairs_frame())
    assert short.board.notes == long.board.notes


def test_a_run_that_has_just_ended_is_known_to_be_finished(
    done: Path, plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "LEAST_BYTES", 1)
    folder = tmp_path / "done"
    shutil.copytree(done, folder)
    file = records_of(folder)
    whole = file.read_text().splitlines(keepends=True)
    file.write_text("".join(whole[:-2]))
    _, said = execute(folder, plugins)
    assert sum(e["event"] == "finished" for e in said) == 2
    assert kept(folder, plugins)
    seen = lines_read(monkeypatch)
    execute(folder, plugins)
    assert not seen


def _record_less(folder: Path) -> None:
    file = records_of(folder)
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def _record_more(folder: Path) -> None:
    record = list(RunFolder(folder / "run").records().values())[-1]
    with (folder / "run" / "records" / "99990101T000000-000000000.jsonl").open("w") as file:
        file.write(to_line(dataclasses.replace(record, trial={**record.trial, "fingerprint": "other"})))


def _damaged(folder: Path) -> None:
    file = records_of(folder)
    at = file.stat()
    file.write_bytes(file.read_bytes().replace(b'"status":"ok"', b'"status":"OK"', 1))
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns))


@pytest.mark.parametrize("change", [_record_less, _record_more, _damaged])
def test_a_changed_record_is_found_and_its_trial_runs_again(run: Path, plugins: Plugins, change: Any) -> None:
    change(run)
    assert not kept(run, plugins)
    _, said = execute(run, plugins)
    assert sum(e["event"] == "finished" for e in said) == 1
    assert kept(run, plugins)


@pytest.mark.parametrize(
    ("old", "new", "trials"),
    [
        ("seeds: 2", "seeds: 3", True),
        ("seeds: 2", "seeds: 1", False),
        ("l2-sp]", "{name: l2-sp, label: other}]", False),
        ("name: again", "name: b", False),
    ],
)
def test_another_plan_reads_the_records(
    run: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch, old: str, new: str, trials: bool
) -> None:
    (run / "again.yaml").write_text(SUITE.replace(old, new))
    seen = lines_read(monkeypatch)
    outcome, said = execute(run, plugins)
    assert seen
    assert any(e["event"] == "finished" for e in said) == trials
    planned = json.loads((run / "run" / "run.json").read_text())
    assert planned["suite"]["name"] == ("b" if new == "name: b" else "again")
    assert outcome.board is not None
    assert ("other" in outcome.board.to_frame()["strategy"].tolist()) == ("other" in new)


def test_a_report_that_was_changed_or_lost_is_written_again(
    run: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome, _ = execute(run, plugins)
    assert len(outcome.reports) > 2
    content = [path.read_bytes() for path in outcome.reports]
    outcome.reports[0].unlink()
    outcome.reports[1].write_text("something else")
    seen = lines_read(monkeypatch)
    again, _ = execute(run, plugins)
    assert again.reports == outcome.reports
    assert [path.read_bytes() for path in outcome.reports] == content
    assert not seen


def test_what_is_asked_beyond_the_records_is_looked_at(
    run: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = lines_read(monkeypatch)
    _, said = execute(run, plugins, save_predictions=True)
    assert seen
    assert any(e["event"] == "finished" for e in said)


def test_an_index_that_came_with_a_copy_of_the_run_is_not_believed(run: Path, plugins: Plugins, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    for file in run.rglob("*"):
        shutil.copystat(file, copy / file.relative_to(run))
    assert not kept(copy, plugins)


def test_trials_that_failed_are_tried_again_when_asked(
    run: Path, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = records_of(run)
    records = list(RunFolder(run / "run").lines())
    records[-1] = dataclasses.replace(records[-1], status=type(records[-1].status).FAILED, metrics={})
    file.write_text("".join(map(to_line, records)))
    outcome, _ = execute(run, plugins)
    assert outcome.exit_code == 2
    seen = lines_read(monkeypatch)
    again, _ = execute(run, plugins)
    assert not seen
    assert again.exit_code == 2
    assert again.statuses == outcome.statuses
    _, said = execute(run, plugins, retry_failed=True)
    assert seen
    assert sum(e["event"] == "finished" for e in said) == 1
