"""Every way in which a trial can end, each for real, in worker processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tlbench.api.records import Record, Status
from tlbench.results.store import RunFolder

PLUGIN = Path(__file__).parent / "mishaps.py"


def suite(
    folder: Path, strategies: str, *, seeds: int = 1, more: str = "", targets: str = "[digits]", steps: int = 20
) -> Path:
    path = folder / "suite.yaml"
    path.write_text(
        f"""
tlbench: 1
name: mishaps
sources: [{{name: digits, shift: inverted}}]
targets: {targets}
tasks: [{{name: fine-tuning, labels: 5}}]
backbones: [{{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}}]
strategies: {strategies}
seeds: {seeds}
recipe: {{steps: {steps}, batch_size: 16, curve_points: 4}}
{more}
"""
    )
    return path


def tlbench(folder: Path, *words: str, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "tlbench.cli",
        "run",
        "--no-plugins",
        "-p",
        str(PLUGIN),
        "--cache",
        str(folder / "cache"),
    ]
    return subprocess.run([*command, *words], cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)


def by_how(folder: Path) -> dict[str, Record]:
    records = RunFolder.open(folder / "runs" / "mishaps").records().values()
    return {r.trial["strategy"]["params"].get("how", r.trial["strategy"]["name"]): r for r in records}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One matrix in which every trial but two goes wrong."""
    folder = tmp_path_factory.mktemp("mishaps")
    hows = [
        "raise",
        "exit",
        "segfault",
        "kill",
        "oom",
        "memory-error",
        "hang",
        "deaf",
        "child",
        "nan",
        "nan-scores",
        "shape",
        "nothing",
        "budget",
        "pool",
        "swallow",
    ]
    path = suite(folder, f"[{{name: mishap, how: [{', '.join(hows)}]}}, fine-tune]", more="timeout: 6")
    done = tlbench(folder, "--matrix", str(path))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ("raise", Status.FAILED, "LookupError: no such luck (mishaps.py:"),
        ("exit", Status.FAILED, "SystemExit: 3"),
        ("segfault", Status.FAILED, "crashed (SIGSEGV)"),
        ("kill", Status.KILLED, "killed from outside (SIGKILL)"),
        ("oom", Status.OOM, "out of memory"),
        ("memory-error", Status.OOM, "out of memory"),
        ("hang", Status.TIMEOUT, "longer than 6 s"),
        ("deaf", Status.TIMEOUT, "longer than 6 s"),
        ("child", Status.TIMEOUT, "longer than 6 s"),
        ("nan", Status.FAILED, "the loss term 'loss' became nan between steps 0 and 5"),
        ("nan-scores", Status.FAILED, "not finite for"),
        ("shape", Status.FAILED, "scores of shape [256, 3]; expected [B, C] = [256, 10]"),
        ("nothing", Status.FAILED, "fit() returned a NoneType"),
        ("budget", Status.FAILED, "asked for 1000000 steps of training, but 20 of 20 are left"),
        ("pool", Status.FAILED, "unknown pool 'target_val'. Did you mean 'target'?"),
        ("fine-tune", Status.OK, ""),
        ("scratch", Status.OK, ""),
    ],
)
def test_each_mishap_is_a_record_of_its_own_status_with_its_reason(
    ended: Path, how: str, status: Status, reason: str
) -> None:
    record = by_how(ended)[how]
    assert record.status == status, record.reason
    assert reason in record.reason


def test_a_trial_that_swallows_every_exception_still_ends_at_its_timeout(ended: Path) -> None:
    assert by_how(ended)["swallow"].status == Status.TIMEOUT


def test_a_trials_own_children_end_with_it(ended: Path) -> None:
    child = Path("/proc", (ended / "child.pid").read_text(), "stat")
    assert not child.exists() or child.read_text().split()[2] == "Z"  # gone, or gone and not yet collected


def test_what_a_trial_printed_and_its_traceback_are_in_its_log(ended: Path) -> None:
    run = RunFolder.open(ended / "runs" / "mishaps")
    text = run.log(by_how(ended)["raise"].key).read_text()
    assert "about to: raise" in text
    assert "LookupError: no such luck" in text
    assert "Traceback" in text


def test_failures_are_not_repeated_unless_asked_for_and_kills_are(ended: Path) -> None:
    before = {r.key: r.finished for r in RunFolder.open(ended / "runs" / "mishaps").records().values()}
    done = tlbench(ended, "--matrix", "suite.yaml", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    ran = [e["title"] for e in events if e["event"] == "finished"]
    assert len(ran) == 1
    assert "kill" in ran[0]
    assert len(before) == len(RunFolder.open(ended / "runs" / "mishaps").records())


def test_a_failed_source_model_fails_its_dependents_with_its_reason_and_nothing_else(tmp_path: Path) -> None:
    path = suite(tmp_path, "[fine-tune, l2-sp]")
    path.write_text(
        path.read_text().replace("[{name: digits, shift: inverted}]", "[unreadable, {name: digits, shift: inverted}]")
    )
    done = tlbench(tmp_path, "--matrix", str(path))
    assert done.returncode == 2
    records = list(RunFolder.open(tmp_path / "runs" / "mishaps").records().values())
    lost = [r for r in records if r.status == Status.PARENT_FAILED]
    assert {r.trial["strategy"]["name"] for r in lost} == {"fine-tune", "l2-sp"}
    assert all("row 17 of train.parquet is no image" in r.reason for r in lost)
    good = [
        r for r in records if r.status == Status.OK and r.trial["source"] and r.trial["source"]["label"] != "unreadable"
    ]
    assert len(good) == 2


def test_a_timed_out_trial_goes_on_from_its_checkpoint_when_it_is_tried_again(tmp_path: Path) -> None:
    path = suite(tmp_path, "[{name: slow, pause: 1.0}]", more="timeout: 12", steps=20)
    assert tlbench(tmp_path, "--matrix", str(path)).returncode == 2
    assert by_how(tmp_path)["slow"].status == Status.TIMEOUT
    assert tlbench(tmp_path, "--matrix", str(path), "--retry-failed", "--timeout", "60").returncode == 0
    record = by_how(tmp_path)["slow"]
    assert record.status == Status.OK
    assert record.resumed_from > 0
    assert record.cost["steps"] == 20
