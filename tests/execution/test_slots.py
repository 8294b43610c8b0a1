"""Where workers run: one for each device by default, several on one where asked, and then nobody's speed is ranked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.errors import TlbenchError
from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.in_process import InProcess
from tlbench.execution.processes import slots_of
from tlbench.execution.work import HostWork
from tlbench.plugins import Plugins
from tlbench.run import Options, Run

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
tlbench: 1
name: speed
sources: [digits]
targets: [{name: digits, shift: inverted}]
tasks: [fine-tuning]
backbones: [{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}]
strategies: [fine-tune]
seeds: 1
recipe: {steps: 12, batch_size: 16, curve_points: 3}
"""


@pytest.fixture
def _two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.mark.usefixtures("_two_gpus")
@pytest.mark.parametrize(
    ("device", "workers", "expected", "shared"),
    [
        ("cuda", None, ["cuda:0", "cuda:1"], False),
        ("cuda", 1, ["cuda:0"], False),
        ("cuda", 2, ["cuda:0", "cuda:1"], False),
        ("cuda", 5, ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"], True),
        ("cuda:1", None, ["cuda:1"], False),
        ("cuda:1", 3, ["cuda:1", "cuda:1", "cuda:1"], True),
    ],
)
def test_several_workers_on_one_gpu_share_it(device: str, workers: int | None, expected: Any, shared: bool) -> None:
    slots = slots_of({"device": device, "threads": 1}, workers)
    assert [s.device for s in slots] == expected
    assert {s.shared for s in slots} == {shared}
    assert len({s.name for s in slots}) == len(slots)
    assert all(s.cores == () for s in slots)


def test_without_a_gpu_the_device_cuda_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(TlbenchError, match="leave out --device cuda"):
        slots_of({"device": "cuda", "threads": 1}, None)


def test_more_workers_than_cores_share_them_all() -> None:
    cores = len(os.sched_getaffinity(0))
    assert {s.shared for s in slots_of({"device": "cpu", "threads": 1}, cores)} == {False}
    assert {s.shared for s in slots_of({"device": "cpu", "threads": 1}, cores + 1)} == {True}


@pytest.mark.parametrize("shared", [False, True])
def test_a_trial_on_a_shared_device_says_so_and_has_no_throughput(tmp_path: Path, shared: bool) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(SUITE)
    plugins = Plugins.discover(extra=[], entry_points=False)
    plan = Run.of(str(suite), plugins, Options(cache=tmp_path / "cache", out=tmp_path / "run", device="cpu")).plan({})
    spec = make_spec(plugins=plugins, run=tmp_path / "run", base=tmp_path, data_root=None, cache=tmp_path / "cache",
                     suite="speed", metrics=("accuracy",), device="cpu", shared=shared)  # fmt: skip
    assert Bench(spec).spec["shared"] is shared
    records = [r for r in InProcess().run(plan, HostWork(spec)) if r.trial["strategy"]["name"] == "fine-tune"]
    assert [r.status for r in records] == ["ok"]
    for record in records:
        assert record.environment["device"]["shared"] is shared
        assert (record.throughput is None) is shared
