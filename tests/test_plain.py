"""With every way of going faster switched off a run gives the same results to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from tlbench import cli
from tlbench.api.records import Record, Status
from tlbench.execution.switches import DIGITS, Switches
from tlbench.results.sameness import compare
from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUITE = """
tlbench: 1
name: both
sources: [digits, {name: digits, shift: inverted}]
targets: [digits, {name: digits, shift: inverted}, {name: digits, shift: noisy}]
tasks: [adaptation, {name: fine-tuning, labels: 5}]
backbones: [{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}]
strategies: [fine-tune, linear-probe, source-only]
metrics: [accuracy, log-loss]
seeds: 1
recipe: {steps: 12, batch_size: 16, curve_points: 3}
"""


def run(folder: Path, name: str, *words: str) -> dict[str, Record]:
    """The records of the suite run in a process of its own, as a user does it."""
    out = folder / name
    command = ["run", "suite.yaml", "--no-plugins", "--quiet", "--executor", "in-process", "--device", "cpu"]
    command += ["--out", name, "--cache", f"{name}-cache", *words]
    done = subprocess.run(
        [sys.executable, "-m", "tlbench.cli", *command], cwd=folder, capture_output=True, text=True, timeout=200
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return RunFolder(out).records()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Record], Mapping[str, Record]]:
    folder = tmp_path_factory.mktemp("plain")
    (folder / "suite.yaml").write_text(SUITE)
    return folder, run(folder, "usual"), run(folder, "plain", "--plain")


def result(record: Record) -> Any:
    """All of a record that is a result, curves and losses to the last bit; no clocks, and not whose training it was."""
    curve = {k: v for k, v in (record.curve or {}).items() if k != "seconds"}
    cost = {k: v for k, v in record.cost.items() if k != "trained_by"}
    artifact = {k: v for k, v in (record.artifact or {}).items() if k != "file"}
    return record.status, record.metrics, curve, record.losses, record.data, record.seeds, cost, artifact


def test_every_record_of_a_plain_run_is_the_same_to_the_bit(both: Any) -> None:
    _, usual, plain = both
    assert usual.keys() == plain.keys()
    assert {r.trial["strategy"]["name"] for r in usual.values()} >= {"source-only", "fine-tune", "linear-probe"}
    for key, record in usual.items():
        assert record.status in (Status.OK, Status.SKIPPED), record.reason
        assert compare(record, plain[key]).outcome == "equal", compare(record, plain[key])
        assert result(record) == result(plain[key])


def test_a_plain_run_did_share_nothing_and_keep_nothing(both: Any) -> None:
    """So that the test above compares two different ways of getting there."""
    folder, usual, plain = both
    assert sum("trained_by" in r.cost for r in usual.values()) >= 3
    assert not any("trained_by" in r.cost for r in plain.values())
    assert list((folder / "usual-cache").rglob("*.npy"))
    assert not list((folder / "plain-cache").rglob("*.npy"))
    done = [r for r in plain.values() if r.status is Status.OK]
    assert len(done) > 10
    off = {name: False for name, on in Switches().to_json().items() if on}
    assert all(r.environment["switches"] == off for r in done)
    assert not any("switches" in r.environment for r in usual.values())


def test_the_results_can_be_told_from_others(both: Any) -> None:
    _, usual, plain = both
    key, record = next((k, r) for k, r in usual.items() if r.metrics)
    moved = {name: {k: v + 1e-6 for k, v in scores.items()} for name, scores in record.metrics.items()}
    assert compare(replace(record, metrics=moved), plain[key]).outcome != "equal"


def test_plain_switches_off_whatever_there_is_to_switch() -> None:
    assert set(Switches.plain().to_json().values()) == {False}
    assert Switches().to_json().keys() == {f.name for f in fields(Switches)}
    assert not any(getattr(Switches(), name) for name in DIGITS), "what changes digits is off unless asked for"


def test_records_with_other_digits_switched_on_are_not_held_to_equal_bits(both: Any) -> None:
    _, usual, _ = both
    record = next(iter(usual.values()))
    other = replace(record, environment={**record.environment, "switches": {"compile": True}})
    assert "compile switched on for one of them" in compare(record, other).conditions
    graphs = replace(record, environment={**record.environment, "switches": {"graphs": True}})
    assert compare(record, graphs).conditions == compare(record, record).conditions


@pytest.mark.parametrize("more", [("--plain", "--with", "graphs"), ("--with", "magic")])
def test_contradictions_and_unknown_ways_are_told_in_a_line(
    more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--matrix", "quick", *more])
    assert ended.value.code == 1
    assert "error: argument" in capsys.readouterr().err


def test_ways_that_need_a_gpu_change_nothing_on_a_cpu(both: Any) -> None:
    folder, usual, _ = both
    others = run(folder, "with", "--with", "graphs", "--with", "compile")
    assert [result(others[k]) for k in usual] == [result(r) for r in usual.values()]


def test_channels_last_changes_last_digits_at_most_and_every_record_says_so(both: Any) -> None:
    folder, usual, _ = both
    others = run(folder, "last", "--with", "channels-last")
    done = [r for r in usual.values() if r.metrics]
    assert any(result(others[r.key]) != result(r) for r in done)
    for record in done:
        other = others[record.key]
        assert other.environment["switches"] == {"channels_last": True}
        found = compare(record, other)
        assert found.outcome in ("equal", "close"), found
        assert "channels_last switched on for one of them" in found.conditions
        for name, loss in (record.losses or {}).items():
            assert (other.losses or {})[name] == pytest.approx(loss, rel=1e-3)


def test_a_rerun_can_be_plain(both: Any) -> None:
    folder, _, _ = both
    words = ["verify", "usual", "--rerun", "3", "--seed", "1", "--plain", "--no-plugins", "--executor", "in-process"]
    done = subprocess.run(
        [sys.executable, "-m", "tlbench.cli", *words], cwd=folder, capture_output=True, text=True, timeout=200,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "verify-cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list((folder / "verify-cache").rglob("*.npy"))


def test_what_needs_a_gpu_is_off_without_one_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Switches(graphs=True, compile=True, channels_last=True).on("cpu") == Switches(channels_last=True)
    assert Switches(graphs=True).on("cuda:0") == Switches(graphs=True)
    suite = tmp_path / "suite.yaml"
    suite.write_text(SUITE.replace("[fine-tune, linear-probe, source-only]", "[linear-probe]"))
    words = ["run", str(suite), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache"), "--no-plugins"]
    words += ["--device", "cpu", "--executor", "in-process", "--quiet"]
    assert cli.main([*words, "--with", "graphs", "--with", "compile"]) == 0
    assert "--with graphs and compile: nothing to do without a GPU" in capsys.readouterr().out
    assert not any("switches" in r.environment for r in RunFolder(tmp_path / "run").records().values())
