"""How a run grows with its workers: the same matrix with one worker and with one for each core, side by side.

    python -m pytest benchmarks/perf/test_workers.py        that both give the same records
    python benchmarks/perf/test_workers.py                  the table, to results/perf/workers.md; on a quiet machine

Wall time, as this is about doing things at once: from the first trial handed out to the last record, workers' starts
included. Each trial has one thread.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from beside import Matrix, in_turn, said, spread, write
from growth import into_page

from tlbench.execution.processes import WorkerProcesses
from tlbench.execution.work import HostWork

CORES = len(os.sched_getaffinity(0))
PAIRS = 3
SUITE = """
tlbench: 1
name: workers
sources: [digits]
targets: [{{name: digits, shift: rotated}}]
tasks: [{{name: fine-tuning, labels: 20}}]
backbones: [{{name: small-cnn, size: 16, channels: 1, width: 16}}]
strategies: [fine-tune]
seeds: {seeds}
recipe: {{steps: {steps}, curve_points: 4}}
"""


def seconds(folder: Path, suite: str, workers: int) -> tuple[float, dict[str, Any]]:
    """Wall time of the whole matrix, and what each record says."""
    matrix = Matrix.of(folder, suite)
    plan = replace(matrix.plan, trials=tuple(t for t in matrix.plan.trials if t.strategy.name == "scratch"))
    (folder / "run" / "logs").mkdir(parents=True)
    began = time.perf_counter()
    records = list(WorkerProcesses(workers=workers).run(plan, HostWork(matrix.bench.spec)))
    spent = time.perf_counter() - began
    assert all(record.status == "ok" for record in records), next(r.reason for r in records if r.status != "ok")
    return spent, {record.key: said(record) for record in records}


def measure(suite: str, pairs: int) -> list[tuple[float, float]]:
    """Neighbours of one worker and of one for each core. Raises ``AssertionError`` where a record differs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = []
        for number, (one, many) in enumerate(
            in_turn(
                lambda pair: seconds(folder / f"one-{pair}", suite, 1),
                lambda pair: seconds(folder / f"many-{pair}", suite, CORES),
                pairs,
            )
        ):
            assert one[1] == many[1], f"pair {number}: the records differ"
            found.append((one[0], many[0]))
        return found


@pytest.mark.skipif(CORES < 2, reason="one core has one worker")
def test_two_workers_give_the_records_of_one() -> None:
    assert len(measure(SUITE.format(seeds=3, steps=20), 1)) == 1


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for seeds, steps in ((2, 300), (8, 300), (32, 300)):
        found = measure(SUITE.format(seeds=seeds, steps=steps), PAIRS)
        one, many = zip(*found, strict=True)
        rows.append([str(seeds), spread(one), spread(many), f"**{spread([a / b for a, b in found])}**"])
    words = f"""
Seconds of wall time for a matrix of equal trials (a small CNN from scratch, 300 steps of 64, five points of the curve),
starts of workers included: median (smallest to largest) of {PAIRS} neighbouring runs, A B B A. The records are the same
to the bit. {CORES} would be the ratio without starts and with memory for all.
"""
    header = ("trials", "1 worker", f"{CORES} workers", "ratio")
    write("workers", "Workers", words, header, rows)
    table = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    into_page("Workers", "Wall seconds, of `test_workers.py`; see workers.md.\n\n" + "\n".join(table))


if __name__ == "__main__":
    main()
