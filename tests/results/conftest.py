"""Trials and records for tests of the run folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial

if TYPE_CHECKING:
    from collections.abc import Callable


class MakeRecord(Protocol):
    def __call__(self, name: str, status: Status = ..., value: float = ..., **more: Any) -> Record: ...


def make_trial(name: str, fingerprint: str = "f1") -> Trial:
    choice = Choice("x", "x", {"k": 1})
    recipe = Choice("recipe", "recipe", {})
    return Trial(choice, choice, choice, Choice(name, name, {}), choice, recipe, 0, fingerprint=fingerprint)


@pytest.fixture
def make() -> MakeRecord:
    """A record of the strategy of that name."""

    def record(
        name: str, status: Status = Status.OK, value: float = 0.5, *, fingerprint: str = "f1", **more: Any
    ) -> Record:
        trial = make_trial(name, fingerprint)
        ok = {"metrics": {"target": {"accuracy": value}}} if status == Status.OK else {"reason": "because"}
        return Record(trial.key, status, trial.to_json(), "suite", **{**ok, **more})

    return record


# ---- real runs that change hands -------------------------------------------------------------------

SUITE = """
tlbench: 1
name: small
sources: [digits]
targets: [{name: digits, shift: noisy, label: noisy}, {name: digits, shift: rotated, label: rotated}]
tasks: [{name: fine-tuning, labels: 5}]
backbones: [{name: small-cnn, size: 8, channels: 1, width: 8, depth: 2, label: cnn}]
strategies: [linear-probe, fine-tune]
seeds: 2
recipe: {steps: 20, batch_size: 16, curve_points: 4}
metrics: [accuracy]
"""


class RunSmall(Protocol):
    def __call__(self, folder: Path, *changes: tuple[str, str]) -> Path: ...


@pytest.fixture(scope="session")
def run_small(tmp_path_factory: pytest.TempPathFactory) -> RunSmall:
    """Runs the small suite for real, with changes to its text, into a folder."""
    home = tmp_path_factory.mktemp("small")

    def run(folder: Path, *changes: tuple[str, str]) -> Path:
        from tlbench.cli import main

        text = SUITE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        suite = home / "small.yaml"
        suite.write_text(text)
        words = ["run", str(suite), "--no-plugins", "--executor", "in-process", "--quiet", "--save-predictions"]
        assert main([*words, "--out", str(folder), "--cache", str(home / "cache")]) == 0
        return folder

    return run


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for decoded data."""
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture(scope="session")
def whole_run(run_small: RunSmall, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small suite, run; read only."""
    return run_small(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def run_folder(whole_run: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


class Forge(Protocol):
    def __call__(
        self, folder: Path, change: Callable[[dict[str, Any]], object], only: Callable[[Any], bool] | None = ...
    ) -> str: ...


@pytest.fixture(scope="session")
def forge() -> Forge:
    """Changes the first record of a trial (that ``only`` is true of), with a right checksum; its key."""
    return _forge


def _forge(folder: Path, change: Callable[[dict[str, Any]], object], only: Callable[[Any], bool] | None = None) -> str:
    for file in sorted((folder / "records").glob("*.jsonl")):
        rows = file.read_text().splitlines()
        for i, row in enumerate(rows):
            data = json.loads(row)["record"]
            if data["trial"]["kind"] == "trial" and (only is None or only(data)):
                key = str(data["key"])
                change(data)
                body = json.dumps(data, separators=(",", ":"))
                check = hashlib.blake2b(body.encode(), digest_size=12).hexdigest()
                rows[i] = f'{{"check":"{check}","record":{body}}}'
                file.write_text("".join(f"{row}\n" for row in rows))
                return key
    raise AssertionError("no such record")
