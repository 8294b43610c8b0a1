"""A disk that is full stops a run from outside: nothing is lost, and with room the same command goes on to its end."""

from __future__ import annotations

import resource
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
tlbench: 1
name: tiny
sources: [{name: digits, shift: inverted}]
targets: [digits]
tasks: [{name: fine-tuning, labels: 5}]
backbones: [{name: small-cnn, size: 8, channels: 1, width: WIDTH, depth: 2}]
strategies: [fine-tune, linear-probe]
seeds: 1
recipe: {steps: 20, batch_size: 16, curve_points: 4}
"""
TRIALS = 5
"""fine-tune, linear-probe, the references scratch and majority, and the source model."""
SMALL, LARGE = 4, 48
"""Widths whose weights take some 5 KB, less than a record, and some 100 KB."""
KB = 1024


def command(folder: Path, width: int, out: str, executor: str = "in-process") -> list[str]:
    (folder / "tiny.yaml").write_text(SUITE.replace("WIDTH", str(width)))
    words = f"run tiny.yaml --no-plugins --executor {executor} --cache cache --out {out} --quiet"
    return [sys.executable, "-m", "tlbench.cli", *words.split()]


def run(folder: Path, words: list[str], limit: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
    """As a user has it; no file may have more bytes than the limit: a write beyond is refused, as on a full disk."""
    return subprocess.run(
        words,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
    )


def statuses(folder: Path) -> Counter[str]:
    return Counter(str(record.status) for record in RunFolder.open(folder).records().values())


def test_a_run_whose_records_find_no_room_says_that_it_is_incomplete_and_goes_on(tmp_path: Path) -> None:
    words = command(tmp_path, SMALL, "run")
    done = run(tmp_path, words, 12 * KB)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "error: a record could not be written to run" in done.stderr
    assert "make room and run the same command again" in done.stderr
    assert "incomplete: with room on the disk, the same command goes on from here" in done.stderr
    assert "Traceback" not in done.stderr
    assert 0 < sum(statuses(tmp_path / "run").values()) < TRIALS

    assert run(tmp_path, words).returncode == 0
    assert statuses(tmp_path / "run") == {"ok": TRIALS}


@pytest.mark.parametrize("executor", ["in-process", "workers"])
def test_a_source_model_that_finds_no_room_is_no_failure_of_its_trial(tmp_path: Path, executor: str) -> None:
    """Of what needs no weights all is done; the source model is tried again, and what starts from it waits for it."""
    words = command(tmp_path, LARGE, "run", executor)
    done = run(tmp_path, words, 80 * KB)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Make room and run the same command again" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert statuses(tmp_path / "run") == {"ok": 2, "interrupted": 1}
    assert list((tmp_path / "run" / "weights").iterdir()) == []

    assert run(tmp_path, words).returncode == 0
    assert statuses(tmp_path / "run") == {"ok": TRIALS}


@pytest.mark.parametrize("size", [24, 48])
def test_a_run_on_a_file_system_that_is_full_goes_on_when_there_is_room(tmp_path: Path, size: int) -> None:
    """A file system of so many KB; what finds no room first depends on it. In a namespace, so that nothing is left."""
    own = ["unshare", "--user", "--map-root-user", "--mount"]
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size={size}k tlbench disk"
    if shutil.which("unshare") is None or run(tmp_path, [*own, "sh", "-c", mount]).returncode:
        pytest.skip("this system lets nobody mount a file system in a namespace of their own")
    words = shlex.join(command(tmp_path, SMALL, "disk/run"))
    script = (
        f"{mount}; {words}; echo code $?; mount -o remount,size=64m disk; {words}; echo code $?; cp -r disk/run kept"
    )
    done = run(tmp_path, [*own, "sh", "-c", script])
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 3", "code 0"], done.stderr
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stdout + done.stderr or "no space left on device" in done.stderr
    assert done.stderr.endswith("incomplete: with room on the disk, the same command goes on from here\n")
    assert statuses(tmp_path / "kept") == {"ok": TRIALS}
