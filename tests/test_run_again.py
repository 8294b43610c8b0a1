"""A run that is killed or stopped goes on: nothing lost, nothing done twice, the same scores bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tlbench.api.records import Record, Status
from tlbench.results.store import RunFolder

SUITE = """
tlbench: 1
name: again
sources: [digits, {name: digits, shift: inverted}]
targets: [{name: digits, shift: noisy}]
tasks: [{name: fine-tuning, labels: 10}, adaptation]
backbones: [{name: small-cnn, size: 8, channels: 1, width: 8, depth: 2}]
strategies: [linear-probe, {name: fine-tune, head_first: 0.3}, l2-sp]
seeds: 2
recipe: {steps: 300, batch_size: 32}
"""


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """`tlbench run`, with a checkpoint at every chance, in a process group of its own."""
    code = (
        "import sys; from tlbench import cli, run; from functools import partial;"
        "run.Options = partial(run.Options, checkpoint_seconds=0.05); sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "run",
        "--matrix",
        "again.yaml",
        "--no-plugins",
        "--json",
        "--cache",
        "cache",
        *words,
    ]
    with (folder / "stderr").open("w") as stderr:
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True)


def finish(run: subprocess.Popen[str], folder: Path, code: int) -> tuple[list[Any], str]:
    """Read the rest of the events, wait for the end and check how it ended; the events and what it complained of."""
    assert run.stdout is not None
    rest = [
        json.loads(line) for line in run.stdout
    ]  # not communicate(): lines that `events` has read ahead would be lost
    complaints = (folder / "stderr").read_text()
    assert run.wait(timeout=250) == code, complaints
    assert "Traceback" not in complaints
    return rest, complaints


def results(folder: Path) -> dict[str, Record]:
    return RunFolder.open(folder / "runs" / "again").records()


def scores(folder: Path) -> dict[str, Any]:
    """Everything of the records that must not depend on how often the run was broken."""
    return {
        key: (r.status, r.metrics, r.curve and (r.curve["steps"], r.curve["scores"]), r.losses, r.data, r.seeds)
        for key, r in results(folder).items()
    }


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "again.yaml").write_text(SUITE)
    finish(start(folder), folder, 0)
    return folder


def events(run: subprocess.Popen[str], wanted: str, count: int) -> None:
    """Read events until the wanted one came so often."""
    assert run.stdout is not None
    for line in run.stdout:
        if json.loads(line)["event"] == wanted:
            count -= 1
            if count == 0:
                return
    raise AssertionError("the run ended before it could be broken")


def wait_for_a_checkpoint(folder: Path) -> None:
    """Until a trial is in the middle of a training that it can go on with."""
    end = time.monotonic() + 60
    while not any((folder / "runs" / "again" / "work").rglob("*.safetensors")):
        assert time.monotonic() < end, "no trial wrote a checkpoint"
        time.sleep(0.005)


def test_a_run_killed_again_and_again_ends_with_the_records_of_an_unbroken_one(unbroken: Path, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(SUITE)
    for finished in (3, 8, 6):
        run = start(tmp_path)
        events(run, "finished", finished)
        wait_for_a_checkpoint(tmp_path)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    finish(start(tmp_path), tmp_path, 0)
    assert scores(tmp_path) == scores(unbroken)
    assert any(r.resumed_from for r in results(tmp_path).values()), (
        "no trial was resumed: the kills came at the wrong times"
    )
    written = Counter(r.key for r in RunFolder.open(tmp_path / "runs" / "again").lines())
    assert max(written.values()) == 1, "a trial was done twice"


def test_the_workers_of_a_killed_host_end_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(SUITE)
    run = start(tmp_path)
    events(run, "started", 2)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    threads = Path(f"/proc/{run.pid}/task").iterdir()
    children += [c for t in threads for c in (t / "children").read_text().split()]
    assert children
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(_alive(c) for c in children):
        time.sleep(0.1)
    assert not any(_alive(c) for c in children)


def _alive(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ctrl_c_stops_cleanly_says_how_to_go_on_and_the_next_run_goes_on(unbroken: Path, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(SUITE)
    run = start(tmp_path)
    events(run, "finished", 11)
    run.send_signal(signal.SIGINT)
    rest, _ = finish(run, tmp_path, 3)
    end = rest[-1]
    assert end["missing"] + end["statuses"].get("interrupted", 0) > 0
    assert any(r.status == Status.INTERRUPTED for r in results(tmp_path).values())
    finish(start(tmp_path), tmp_path, 0)
    assert scores(tmp_path) == scores(unbroken)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(SUITE)
    run = start(tmp_path)
    events(run, "finished", 2)
    run.send_signal(signal.SIGINT)
    events(run, "note", 1)
    run.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, complaints = finish(run, tmp_path, 3)
    assert time.monotonic() - began < 10
    assert "the same command goes on from there" in complaints


def test_a_finished_run_repeats_nothing(unbroken: Path) -> None:
    before = sum(1 for _ in RunFolder.open(unbroken / "runs" / "again").lines())
    rest, _ = finish(start(unbroken), unbroken, 0)
    assert not [e for e in rest if e["event"] in ("started", "finished")]
    assert sum(1 for _ in RunFolder.open(unbroken / "runs" / "again").lines()) == before


def test_the_number_of_workers_and_the_executor_change_no_score(unbroken: Path, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(SUITE.replace("seeds: 2", "seeds: 1"))
    finish(start(tmp_path, "--executor", "in-process"), tmp_path, 0)
    here, there = scores(tmp_path), scores(unbroken)
    assert here
    assert all(there[key] == value for key, value in here.items())


def test_two_runs_cannot_write_to_one_folder_at_once(tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(SUITE)
    first = start(tmp_path)
    events(first, "begin", 1)
    _, complaints = finish(start(tmp_path), tmp_path, 1)
    first.kill()
    first.wait()
    assert "another tlbench is writing to" in complaints
