"""P7: several trials at once on one GPU beside one after the other; the records are the same.

    python -m pytest benchmarks/perf/test_p7_at_once.py     the gate, where there is a GPU
    python benchmarks/perf/test_p7_at_once.py               the table, to results/perf/p7.md

Several workers of the `workers` executor on one GPU, as `--device cuda:0 --workers K` starts them. Their records say
that the device was shared, and have no throughput: speed is only ranked from trials that ran alone.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from beside import DIGITS, Matrix, said, spread, write
from on_gpu import HAS_GPU, WHY_NOT, gpu_name

from tlbench.api.trials import Plan
from tlbench.execution.processes import WorkerProcesses
from tlbench.execution.work import HostWork

if TYPE_CHECKING:
    from tlbench.api.records import Record

GATE, AIM, RUNS = 1.5, 3.0, 3
AT_ONCE = (1, 2, 4, 8)
SUITE = """
tlbench: 1
name: at once
sources: [digits]
targets: {digits}
tasks: [fine-tuning]
backbones: [{{name: small-cnn, width: {width}}}]
strategies: [scratch]
seeds: {seeds}
recipe: {{steps: {steps}, curve_points: 5}}
"""


def run(folder: Path, workers: int, *, seeds: int, steps: int, width: int) -> tuple[float, dict[str, Record]]:
    """Trials a second between the first start and the last end, worker start left out; and the records."""
    matrix = Matrix.of(folder, SUITE.format(digits=DIGITS, seeds=seeds, steps=steps, width=width))
    device = "cuda:0" if HAS_GPU else "cpu"
    plan = Plan(matrix.plan.suite, tuple(t for t in matrix.plan.todo if t.strategy.name == "scratch"))
    work = HostWork({**matrix.bench.spec, "device": device})
    records = {r.key: r for r in WorkerProcesses(workers=workers).run(plan, work)}
    assert {r.status for r in records.values()} == {"ok"}, [r.reason for r in records.values()]
    shared = HAS_GPU and workers > 1
    for record in records.values():
        assert record.environment["device"]["shared"] is shared or not HAS_GPU
        assert (record.throughput is None) is shared or not HAS_GPU
    times = [(datetime.fromisoformat(r.started), datetime.fromisoformat(r.finished)) for r in records.values()]
    whole = (max(end for _, end in times) - min(begin for begin, _ in times)).total_seconds()
    return len(records) / whole, records


def measure(at_once: tuple[int, ...], runs: int, *, seeds: int = 8, steps: int = 1000, width: int = 32) -> dict[
    int, list[float]
]:  # fmt: skip
    """Trials a second for each number at once, in turn. Raises ``AssertionError`` where records differ."""
    rates: dict[int, list[float]] = {k: [] for k in at_once}
    with tempfile.TemporaryDirectory() as folder:
        expected: dict[str, Record] = {}
        for number in range(runs):
            for k in at_once if number % 2 == 0 else at_once[::-1]:
                rate, records = run(Path(folder) / f"{number}-{k}", k, seeds=seeds, steps=steps, width=width)
                rates[k].append(rate)
                expected = expected or records
                for key, record in records.items():  # a GPU may add up in another order: then scores alone
                    mine, other = (replace(r, started="", finished="") for r in (record, expected[key]))
                    assert said(mine) == said(other), f"{k} at once: {record.trial['target']['label']} differs"
    return rates


@pytest.mark.skipif(not HAS_GPU, reason=WHY_NOT)
def test_several_at_once_are_faster_by_the_gate() -> None:
    rates = measure((1, 4), 1)
    assert rates[4][0] / rates[1][0] >= GATE, rates


@pytest.mark.skipif(HAS_GPU, reason="the gate's own test runs on this machine's GPU")
def test_the_measurement_itself_runs_at_a_small_size() -> None:
    rates = measure((1, 2), 1, seeds=1, steps=4, width=4)
    assert all(rate > 0 for found in rates.values() for rate in found)


def main() -> None:
    if not HAS_GPU:
        print(f"P7 skipped: {WHY_NOT}")
        return
    torch.set_num_threads(1)
    rates = measure(AT_ONCE, RUNS)
    alone = statistics.median(rates[1])
    rows = [
        (str(k), spread(found), spread([r / alone for r in found]), f"{GATE:g}" if k == max(AT_ONCE) else "")
        for k, found in rates.items()
    ]
    words = f"""
Trials a second on one GPU ({gpu_name()}), so many at once, each in a worker process of its own, and the ratio to one by
one: median (smallest to largest) of {RUNS}. Small CNN, 1,000 steps of 64. The scores and losses of all are equal.
Without CUDA's multi-process service the processes take turns on the GPU; with it (`nvidia-cuda-mps-control -d`) they
overlap. Aim {AIM:g}.
"""
    write("p7", "P7: several trials at once on one GPU", words, ("at once", "trials/s", "ratio", "gate"), rows)


if __name__ == "__main__":
    main()
