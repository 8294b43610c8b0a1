"""P5: the seeds of a trial trained as one stacked model, beside one after the other; equal losses of each seed.

    python -m pytest benchmarks/perf/test_p5_seeds.py       the gates
    python benchmarks/perf/test_p5_seeds.py                 the table, to results/perf/p5.md

In two ways: the calls of the training loop alone, and whole trials through the runner (`--with fuse-seeds`),
with set-up, learning curve and evaluation. Whether to fuse is decided by a short measurement of the shape on the
device, and what loses, or cannot be fused, is trained one by one: that must cost nothing either.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from beside import Matrix, in_turn, spread, write

from tlbench.api.data import Pool, Seeds, Shape
from tlbench.api.recipe import Recipe
from tlbench.api.trials import Plan
from tlbench.builtin.small_backbones import MLP, SmallCNN
from tlbench.execution.in_process import InProcess
from tlbench.execution.switches import Switches
from tlbench.execution.together import Measured
from tlbench.execution.work import HostWork
from tlbench.functional import supervised
from tlbench.models.factory import ModelFactory
from tlbench.training.checkpoint import Checkpoints
from tlbench.training.context import open_context
from tlbench.training.fused_tape import Seed
from tlbench.training.fusing import WORTH, train_as_one
from tlbench.training.stacked import Refused
from tlbench.training.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from functools import partial

    from tlbench.api.records import Record
    from tlbench.training.context import TrialContext

EXAMPLES, CLASSES, SEEDS = 2000, 10, 8
PAIRS, WHOLE_PAIRS = 5, 3


@dataclass(frozen=True)
class Case:
    """Networks of one shape; ``least`` is the gate of what the decision leads to."""

    name: str
    backbone: Any
    dims: tuple[int, ...]
    steps: int
    least: float

    @property
    def images(self) -> bool:
        return len(self.dims) == 3


CASES = (
    Case("MLP 64-64", MLP(hidden=(64,)), (64,), 1000, 2.5),
    Case("MLP 64-128-64", MLP(hidden=(128, 64)), (64,), 1000, 2.5),
    Case("MLP 64-256-128", MLP(hidden=(256, 128)), (64,), 500, 0.97),
    Case("MLP 64-512-512", MLP(hidden=(512, 512)), (64,), 100, 0.97),
    Case("MLP 64-128-64 with dropout", MLP(hidden=(128, 64), dropout=0.1), (64,), 1000, 0.97),
    Case("CNN 32²", SmallCNN(size=32, channels=3, width=8, depth=2), (3, 32, 32), 100, 0.97),
)


class Work:
    """The trainings of a case: each seed has its own weights and its own order of examples, which have much in them
    that can be learned, so that small differences do not grow.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.case = case
        x = rng.integers(0, 256, (EXAMPLES, *case.dims), np.uint8) if case.images else rng.normal(
            size=(EXAMPLES, *case.dims)
        ).astype(np.float32)  # fmt: skip
        y = (x.reshape(EXAMPLES, -1) @ rng.normal(size=(int(np.prod(case.dims)), CLASSES))).argmax(1)
        self.pool = Pool(x, y, CLASSES)
        self.decide = Measured(folder, "cpu", torch.get_num_threads())

    def fits(self, meet: Any = None) -> list[TrialContext]:
        """The seeds' fits, as a strategy does them; with ``meet`` up to where their trainings begin."""
        shape = Shape("image" if self.case.images else "features", self.case.dims)
        found = []
        for seed in range(SEEDS):
            models = ModelFactory(self.case.backbone, "net", shape, Seeds(seed), torch.device("cpu"))
            ctx = open_context(
                {"target": self.pool},
                num_classes=CLASSES,
                models=models,
                recipe=Recipe(steps=self.case.steps, batch_size=32, curve_points=5),
                start="random",
                tape=Tape(None),
                checkpoints=Checkpoints(None),
                meet=meet,
            )
            torch.manual_seed(seed)
            model = ctx.classifier()
            ctx.train(supervised(model), update=model)
            found.append(ctx)
        return found

    def one_by_one(self) -> tuple[float, Any]:
        """Seconds of processor time, and the losses [K, W]."""
        began = time.process_time()
        found = self.fits()
        return time.process_time() - began, losses(found)

    def fused(self) -> tuple[float, Any]:
        """The same where they meet, or are told to train by themselves."""
        calls: list[partial[None]] = []
        began = time.process_time()
        found = self.fits(lambda call: calls.append(call) or True)  # type: ignore[func-returns-value]
        try:
            train_as_one([Seed(call, contextlib.nullcontext) for call in calls], self.decide)
        except Refused:
            for seed, call in enumerate(calls):
                torch.manual_seed(seed)
                call()
        return time.process_time() - began, losses(found)


def losses(found: list[TrialContext]) -> Any:
    return np.array([ctx.session.tape.losses["loss"] for ctx in found], dtype=float)


SUITE = """
tlbench: 1
name: seeds
sources: [digits]
targets: [{{name: digits, shift: inverted}}]
tasks: [fine-tuning]
backbones: [{backbone}]
strategies: [fine-tune]
seeds: 8
recipe: {{steps: {steps}, batch_size: 32, curve_points: 5}}
"""


@dataclass(frozen=True)
class Whole:
    """Whole trials: 8 source models, 8 fine-tunings and 8 trainings from scratch, through the in-process executor."""

    name: str
    backbone: str
    steps: int
    least: float


WHOLE = (
    Whole("whole trials, MLP 64-128-64", "{name: mlp, hidden: [128, 64], size: 8}", 2000, 2.5),
    Whole("whole trials, CNN 8²", "{name: small-cnn, size: 8, channels: 1, width: 16, depth: 2}", 200, 0.97),
)


@contextlib.contextmanager
def trials(whole: Whole) -> Iterator[Any]:
    """(fuse?) -> (seconds of processor time, losses of every trial by its key)."""
    with tempfile.TemporaryDirectory() as folder:
        matrix = Matrix.of(Path(folder), SUITE.format(backbone=whole.backbone, steps=whole.steps))
        plan = Plan(matrix.plan.suite, tuple(t for t in matrix.plan.trials if t.strategy.name != "majority"))

        def do(fuse: bool) -> tuple[float, dict[str, Record]]:
            work = HostWork({**matrix.bench.spec, "switches": Switches(fuse_seeds=fuse).to_json()})
            began = time.process_time()
            records = {r.key: r for r in InProcess().run(plan, work)}
            return time.process_time() - began, records

        yield do


@dataclass(frozen=True)
class Measured5:
    name: str
    unit: str
    one_by_one: list[float]
    fused: list[float]
    decided: bool
    least: float
    apart: float
    """The largest relative difference of a window's loss."""

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.one_by_one, self.fused, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def row(self) -> tuple[str, ...]:
        scale, digits = (1e6, 0) if self.unit == "µs" else (1, 2)
        return (
            f"{self.name} ({self.unit})",
            spread([s * scale for s in self.one_by_one], digits),
            spread([s * scale for s in self.fused], digits),
            spread(self.ratios),
            "fused" if self.decided else "one by one",
            f"{self.least:g}{'' if self.ratio >= self.least else ': missed'}",
            f"{self.apart:.1e}",
        )


def measure(case: Case, pairs: int | None = None) -> Measured5:
    """Raises ``AssertionError`` where a seed's losses are not those that it has alone."""
    with tempfile.TemporaryDirectory() as folder:
        work = Work(case, Path(folder))
        work.fused()  # the decision is kept from here on
        found = list(in_turn(lambda _: work.one_by_one(), lambda _: work.fused(), pairs or PAIRS))
        kept = [Measured.kept(path) for path in Path(folder).iterdir()]
    alone, together = found[0][0][1], found[0][1][1]
    decided = bool(kept) and kept[0] > WORTH
    np.testing.assert_allclose(together, alone, rtol=1e-3 if decided else 0)
    apart = float(np.abs((together - alone) / alone).max())
    per_step = case.steps * SEEDS
    return Measured5(
        f"{case.name}, a step of a seed", "µs",
        [a[0] / per_step for a, _ in found], [b[0] / per_step for _, b in found], decided, case.least, apart,
    )  # fmt: skip


def measure_trials(whole: Whole, pairs: int | None = None) -> Measured5:
    """The same of whole trials; scores agree as well."""
    with trials(whole) as do:
        do(True)
        found = list(in_turn(lambda _: do(False), lambda _: do(True), pairs or WHOLE_PAIRS))
    alone, together = found[0][0][1], found[0][1][1]
    fused = [r for r in together.values() if "fused" in r.cost]
    assert len(fused) in (0, len(together))
    apart = 0.0
    for key, record in alone.items():
        assert record.losses is not None
        assert together[key].losses is not None
        a, b = (np.array(r.losses["loss"]) for r in (record, together[key]) if r.losses is not None)
        apart = max(apart, float(np.abs((a - b) / a).max()))
        for pool, metrics in record.metrics.items():
            assert together[key].metrics[pool] == pytest.approx(metrics, abs=0.01 if fused else 0)
    if not fused:
        assert apart == 0
    return Measured5(
        whole.name, "s", [a[0] for a, _ in found], [b[0] for _, b in found], bool(fused), whole.least, apart
    )


def within(measured: Any, least: float) -> None:
    found: list[Measured5] = []
    for _ in range(3):  # a neighbour on the machine can spoil one measurement, not three
        found.append(measured())
        if found[-1].ratio >= least:
            return
    raise AssertionError(f"{[m.row() for m in found]}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_seeds_are_fused_where_it_pays_and_only_there(case: Case) -> None:
    torch.set_num_threads(1)
    within(lambda: measure(case), case.least)


@pytest.mark.parametrize("whole", WHOLE, ids=lambda whole: whole.name)
def test_whole_trials_gain_what_their_training_gains(whole: Whole) -> None:
    torch.set_num_threads(1)
    within(lambda: measure_trials(whole), whole.least)


def main() -> None:
    torch.set_num_threads(1)
    rows = [measure(case).row() for case in CASES] + [measure_trials(whole).row() for whole in WHOLE]
    header = ("case", "one by one", "with fusing allowed", "ratio", "decided", "gate", "losses apart")
    write(
        "p5",
        "P5: seeds trained as one stacked model, beside one after the other",
        f"""
8 seeds, batch 32, fused AdamW; each seed has its own weights and its own order of examples. Processor time: median
(smallest to largest) of {PAIRS} neighbouring runs, A B B A (whole trials: {WHOLE_PAIRS}). With fusing it includes
comparing each seed's losses and gradients with its own before the first step; the measurement that decides is kept
from an earlier run, and fuses where it shows a gain of more than {WORTH:g} times. Whole trials
(`--with fuse-seeds`) include set-up, learning curve and evaluation. Losses apart: the largest relative difference of a
window's mean, which grows with the steps as the losses themselves become small (scores of whole trials must agree to
0.01); of trainings that are not fused it must be, and is, 0. The goal for an MLP is at least 2.5, aim 2.9; a CNN is
refused and loses nothing. The products of a wide layer cost as much stacked as one by one: what is saved is the
work around them.""",
        header,
        rows,
    )


if __name__ == "__main__":
    main()
