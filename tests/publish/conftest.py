"""What the tests of publishing share: a run with private things in and beside it, a small bundle, and the hub."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.api.records import Status
from tlbench.api.trials import Trial
from tlbench.plugins import Plugins
from tlbench.publish.manifest import MANIFEST, manifest
from tlbench.publish.model import Bundle
from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "leaderboard" / "factory.py")))
HOST, HOME = "rosebud.example.internal", "/home/ada/secret-project"


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return Plugins.discover(entry_points=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two strategies on four pairs, one trial that failed in somebody's home, and all that lies beside."""
    folder = tmp_path / "my run"
    lost = make.trial("lost", "a", "c")
    reason = f"FileNotFoundError: [Errno 2] No such file: '{HOME}/mnist.npz' (see https://example.org/a/b)"
    about = {"environment": {"host": HOST, "device": "cpu A", "system": "Linux"}, "suite": "nightly"}
    times = {"started": "2026-03-01T10:00:00+00:00", "finished": "2026-03-01T10:05:00+00:00"}
    all_of = [*make.small_board(), make.record(lost, status=Status.FAILED, reason=reason)]
    records = [replace(r, **about, **times) for r in all_of]
    with RunFolder(folder).writing() as writer:
        writer.plan({"name": "nightly", "file": "nightly.yaml"}, [Trial.from_json(r.trial) for r in records])
        for record in records:
            writer.write(record)
    for name in ("weights/a.safetensors", "logs/a.log", "work/a/state", "cache/x", "notes.txt", ".netrc"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"never leaves {HOST}")
    return folder


@pytest.fixture
def bundle_of(tmp_path: Path) -> Callable[..., Bundle]:
    """A bundle of a few files with these texts."""
    count = iter(range(100))

    def build(**texts: str) -> Bundle:
        folder = tmp_path / f"bundle-{next(count)}"
        files = {name.replace("__", "/").replace("_", "."): text for name, text in texts.items()}
        files[MANIFEST] = manifest(files)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return Bundle(folder, {name: len(text.encode()) for name, text in sorted(files.items())})

    return build


@pytest.fixture
def hub() -> Iterator[Any]:
    serving = runpy.run_path(str(Path(__file__).with_name("hub_server.py")))["serving"]
    with serving() as state:
        yield state
