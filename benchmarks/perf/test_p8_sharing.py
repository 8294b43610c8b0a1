"""P8: what it is worth to train each source once, and that each is trained exactly once.

    python -m pytest benchmarks/perf/test_p8_sharing.py     the gates
    python benchmarks/perf/test_p8_sharing.py               the table, to results/perf/p8.md

Four domains, every pair of them, three methods that start from the source's model and the references. With sharing: the
trials of the plan, as tlbench runs them. Without: each trial by itself, as a script run for it would do it, with the
training of its source in it; the same code, process, warm data and seeds, and `share` switched off. A source is trained
for three times the steps of a target. What is compared are blocks: all that one source and seed is the source of.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from beside import DIGITS, Matrix, cpu_seconds, in_turn, said, spread, write

from tlbench.execution.sharing import for_this_run
from tlbench.execution.trial import run_trial

SUITE = """
tlbench: 1
name: four-domains
sources: {domains}
targets: {domains}
tasks: [{task}]
backbones: [{{name: small-cnn, size: 16, channels: 1, width: 16}}]
strategies: {strategies}
seeds: 2
recipe: {{steps: {steps}, curve_points: 4}}
source_recipe: {{steps: {source}}}
"""


class Case(NamedTuple):
    """A matrix; ``least`` is the gate, where there is one."""

    name: str
    task: str
    strategies: str
    source: int
    steps: int
    least: float | None

    @property
    def suite(self) -> str:
        return SUITE.format(
            domains=DIGITS, task=self.task, strategies=self.strategies, source=self.source, steps=self.steps
        )


CASES = (
    Case("fine-tune, l2-sp, linear-probe; source 3 x target", "{name: fine-tuning, labels: 20}",
         "[fine-tune, l2-sp, linear-probe]", 180, 60, 2.3),
    Case("the same; source as long as target", "{name: fine-tuning, labels: 20}",
         "[fine-tune, l2-sp, linear-probe]", 60, 60, None),
    Case("adaptation: source-only alone", "adaptation", "[source-only]", 60, 180, None),
)  # fmt: skip


class Measured(NamedTuple):
    case: Case
    alone: tuple[float, ...]
    shared: tuple[float, ...]
    trainings: int
    distinct: int
    trainings_alone: int

    @property
    def ratio(self) -> float:
        """Of the whole matrix."""
        return sum(self.alone) / sum(self.shared)

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.alone, self.shared, strict=True)]


def measure(case: Case, folder: Path) -> Measured:
    """Blocks in turn with and without sharing. Raises ``AssertionError`` where any record differs."""
    plain = Matrix.of(folder / "alone", case.suite, share=False)
    shared = Matrix.of(folder / "shared", case.suite)
    trials = {t.key: t for t in shared.plan.trials}
    own = [t for t in trials.values() if t.kind == "trial" and t.source is not None]
    if case.task == "adaptation":
        own = [t for t in own if t.strategy.name == "source-only"]
    blocks = [
        [t for t in own if t.source is not None and (t.source.digest, t.seed) == at]
        for at in dict.fromkeys((t.source.digest, t.seed) for t in own if t.source is not None)
    ]
    for choice in {t.target.digest: t.target for t in own}.values():  # decoded before the clock runs, on both sides
        for matrix in (plain, shared):
            matrix.bench.describe(choice)
    trained: Counter[str] = Counter()

    def do(matrix: Matrix, trial: Any, name: str) -> Any:
        record = run_trial(trial, matrix.bench)
        assert record.status == "ok", record.reason
        source_training = trial.kind == "source-model" or trial.strategy.name == "source-only"
        trained[name] += source_training and "trained_by" not in record.cost
        return said(record)

    def alone(index: int) -> tuple[float, dict[str, Any]]:
        began, found = cpu_seconds(), {}
        for trial in blocks[index % len(blocks)]:
            for parent in trial.parents:
                do(plain, trials[parent], "alone")
            found[trial.key] = do(plain, trial, "alone")
        return cpu_seconds() - began, found

    def together(index: int) -> tuple[float, dict[str, Any]]:
        began, found = cpu_seconds(), {}
        block = blocks[index % len(blocks)]
        for key in dict.fromkeys(key for trial in block for key in trial.parents):
            do(shared, trials[key], "shared")
        for trial in block:
            found[trial.key] = do(shared, trial, "shared")
        return cpu_seconds() - began, found

    first = blocks[0][0]  # warm-up: the first trial of a process pays for it
    for matrix in (plain, shared):
        for key in (*first.parents, first.key):
            run_trial(trials[key], matrix.bench)
    with for_this_run(shared.bench.spec):
        pairs = list(in_turn(alone, together, len(blocks)))
    assert all(a[1] == b[1] for a, b in pairs), "sharing changed a record"
    distinct = len({(t.source.digest, t.seed) for t in own if t.source is not None})
    return Measured(
        case,
        tuple(a[0] for a, _ in pairs),
        tuple(b[0] for _, b in pairs),
        trained["shared"],
        distinct,
        trained["alone"],
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_source_is_trained_once_and_that_is_worth_its_gate(case: Case, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    found = measure(case, tmp_path)
    assert found.trainings == found.distinct == 8
    assert found.trainings_alone == sum(1 for _ in found.alone) * (9 if case.task != "adaptation" else 3)
    if case.least is not None:
        assert found.ratio >= case.least, f"{found.ratio:.2f}, and at least {case.least} is wanted"


def main() -> None:
    """Measure and write the table with its conditions."""
    torch.set_num_threads(1)
    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            m = measure(case, Path(folder))
        rows.append([
            m.case.name, str(len(m.alone)), f"{m.trainings} of {m.distinct}", str(m.trainings_alone),
            spread(m.alone), spread(m.shared), f"**{m.ratio:.2f}**; {spread(m.ratios)}",
            "–" if case.least is None else str(case.least),
        ])  # fmt: skip
        print(rows[-1], file=sys.stderr)
        assert statistics.median(m.ratios) > 1
    write("p8", "P8: each source trained once", WORDS, HEADER, rows)


HEADER = ["matrix", "n", "trainings of distinct", "without", "alone, s", "shared, s", "ratio, whole; blocks", "gate"]
WORDS = """
Processor seconds of the same trials done each by itself, with the training of its source in it, and with each source
trained once: 4 domains, 12 pairs, 2 seeds. A block is all that has one source and seed, blocks A B B A; n blocks,
median (smallest to largest). Scores, curves, losses, data and seeds of all records are equal to the bit. What does not
depend on the source (scratch, majority, target-oracle) is in neither column. The ratio depends on the matrix: k methods
of cost T for a pair, a source that costs S and three targets for each give at most 3k(S + T) / (S + 3kT).
"""


if __name__ == "__main__":
    main()
