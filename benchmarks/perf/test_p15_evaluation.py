"""P15: evaluation's share of the operations of a trial under the default protocol.

    python -m pytest benchmarks/perf/test_p15_evaluation.py     the gate
    python benchmarks/perf/test_p15_evaluation.py               the table, to results/perf/p15.md

Floating-point operations as torch counts them, while the trial's clock of the training or of the evaluation runs: every
forward and backward pass, whoever asks for it. The default protocol: 500 steps of 64, a learning curve of 21 points on
at most 500 test examples, the score of the selected point on all, rates and latency. The count is exact and the same on
every machine. It depends on the size of the test split and, a little, on the network, whose first layer needs no
gradient of its input; beside it stands what the clocks say without counting.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from beside import Matrix, said, write
from torch.utils.flop_counter import FlopCounterMode

from tlbench.execution.clock import Clocks
from tlbench.execution.trial import run_trial

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITE = """
tlbench: 1
name: default-protocol
datasets:
  mnist: {{name: hub, id: ylecun/mnist}}
  usps: {{name: hub, id: flwrlabs/usps}}
sources: [{{name: digits, shift: inverted}}]
targets: [{target}]
tasks: [{{name: fine-tuning, labels: 20}}]
backbones: [{{name: small-cnn, size: {size}, channels: 1, width: {width}}}]
strategies: [scratch, majority]
metrics: [accuracy]
"""
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "hub"
CASES = {"digits": 0.10, "usps": None, "mnist": None}
"""Targets, and the gate."""


class Share(NamedTuple):
    """Operations and seconds of training and evaluation, and of how many test examples."""

    target: str
    test: int
    training: int
    evaluation: int
    clocks: dict[str, float]

    @property
    def of_operations(self) -> float:
        return self.evaluation / (self.training + self.evaluation)

    @property
    def of_seconds(self) -> float:
        return self.clocks["evaluation"] / (self.clocks["training"] + self.clocks["evaluation"])


@contextlib.contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Operations by the name of the clock that runs."""
    found: dict[str, int] = {}
    measure = Clocks.measure

    @contextlib.contextmanager
    def counting(self: Clocks, name: str) -> Iterator[None]:
        with measure(self, name), FlopCounterMode(display=False) as counter:
            yield
        found[name] = found.get(name, 0) + counter.get_total_flops()

    Clocks.measure = counting  # type: ignore[assignment,method-assign]
    try:
        yield found
    finally:
        Clocks.measure = measure  # type: ignore[method-assign]


def measure(target: str, folder: Path, data_root: Path | None, size: int = 16, width: int = 16) -> Share:
    """Count, and run again without counting for the clocks. Raises ``AssertionError`` where the records differ."""
    matrix = Matrix.of(folder, SUITE.format(target=target, size=size, width=width), data_root=data_root)
    trial = next(t for t in matrix.plan.trials if t.strategy.name == "scratch")
    matrix.bench.describe(trial.target)
    with counted() as operations:
        one = run_trial(trial, matrix.bench)
    two = run_trial(trial, matrix.bench)
    assert one.status == two.status == "ok", one.reason
    assert {**said_of(one)} == {**said_of(two)}
    return Share(target, one.data["test"]["target"], operations["training"], operations["evaluation"], two.clocks)


def said_of(record: Any) -> dict[str, Any]:
    return dict(enumerate(said(record)))


@pytest.mark.parametrize("target", CASES)
def test_evaluation_is_a_tenth_of_the_default_protocol_or_less(target: str, tmp_path: Path) -> None:
    if target != "digits" and not SHARED.is_dir():
        pytest.skip(f"needs the real data in {SHARED}, which is absent")
    torch.set_num_threads(1)
    found = measure(target, tmp_path, SHARED if SHARED.is_dir() else None)
    most = CASES[target]
    if most is not None:
        assert found.of_operations <= most
    examples = found.evaluation / found.training * 3 * 500 * 64  # of forward passes, were a step three of them
    expected = 21 * min(500, found.test) + found.test  # the curve, and the score of the result
    assert expected <= examples * 1.02
    assert examples <= expected * 1.35 + 1024 + 100  # and rates, latency; the first layer has no gradient of its input


def main() -> None:
    """Measure and write the table with its conditions."""
    torch.set_num_threads(1)
    rows = []
    for target, most in CASES.items():
        if target != "digits" and not SHARED.is_dir():
            rows.append([target, "–", f"skipped: the real data are not in {SHARED.name}", "–", "–", "–"])
            continue
        with tempfile.TemporaryDirectory() as folder:
            share = measure(target, Path(folder), SHARED if SHARED.is_dir() else None)
        rows.append([
            target, f"{share.test:,}", f"{share.training / 1e9:.2f}", f"{share.evaluation / 1e9:.2f}",
            f"**{100 * share.of_operations:.1f} %**; of the clocks {100 * share.of_seconds:.1f} %",
            "–" if most is None else f"{100 * most:.0f} %",
        ])  # fmt: skip
    write("p15", "P15: evaluation's share of a trial", WORDS, HEADER, rows)


HEADER = ["target", "test examples", "training, GFLOP", "evaluation, GFLOP", "evaluation's share", "gate"]
WORDS = """
Floating-point operations of one trial under the default protocol (500 steps of 64; 21 points of the curve on at most
500 test examples; the result on all of them; rates and latency), as torch counts them while the clock of training or of
evaluation runs, and beside it the share of the seconds on those clocks in a run without counting, whose record is
otherwise equal. The share grows with the test split, since the result is scored on all of it: 21 x 500 + N forward
passes beside 3 x 32,000. With more steps it falls in proportion.
"""


if __name__ == "__main__":
    main()
