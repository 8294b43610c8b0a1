"""Whole trials of few-shot episodes in the runner, together and one by one, whose records must be the same."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from beside import in_turn, said, spread

from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.switches import Switches
from tlbench.execution.trial import run_trial
from tlbench.plugins import Plugins
from tlbench.results import predictions
from tlbench.run import Options, Run

if TYPE_CHECKING:
    from tlbench.api.records import Record


@dataclass(frozen=True)
class TrialCase:
    """A strategy on so many shots of classes of images or of features; ``least`` is the gate, where there is one.

    ``beside`` is what the loop runs, where that is another strategy than the one that takes episodes together.
    """

    strategy: str
    shots: int = 5
    data: str = "features: 512"
    least: float | None = None
    pairs: int = 5
    beside: str | None = None

    @property
    def name(self) -> str:
        backbone = "conv4 of 16 filters" if "image" in self.data else "no network"
        what = self.strategy.strip("{}").removeprefix("name: ") + (f" beside {self.beside}" if self.beside else "")
        return f"{what}; {self.shots} shot(s), {self.data}, {backbone}"


SUITE = """
tlbench: 1
name: p9
sources: [{{name: many-classes, first: 100, count: 8, {data}}}]
targets: [{{name: many-classes, {data}}}]
tasks: [{{name: few-shot, ways: 5, shots: {shots}, queries: 15, episodes: 600}}]
backbones: [{backbone}]
strategies: [{strategies}]
seeds: 1
recipe: {{steps: 20, batch_size: 32, curve_points: 1}}
metrics: [accuracy]
"""


class Trials:
    """One line of a plan with its parents done, and two benches to do it on."""

    def __init__(self, case: TrialCase, folder: Path) -> None:
        backbone = "{name: conv4, width: 16}" if "image" in case.data else "identity"
        both = ", ".join(s for s in (case.strategy, case.beside) if s)
        suite = SUITE.format(data=case.data, shots=case.shots, strategies=both, backbone=backbone)
        (folder / "suite.yaml").write_text(suite)
        extra = [str(Path(__file__).with_name("many_classes.py")), "tlbench_few_shot"]
        plugins = Plugins.discover(extra=extra, entry_points=False)
        options = Options(cache=folder / "cache", out=folder / "run", device="cpu")
        run = Run.of(str(folder / "suite.yaml"), plugins, options)
        self.folder = folder / "run"
        self.bench = partial(
            make_spec, plugins=plugins, run=self.folder, base=folder, data_root=None, cache=folder / "cache",
            suite="p9", metrics=run.suite.metrics, device="cpu",
        )  # fmt: skip
        trials = run.plan({}).trials
        for trial in trials:
            assert trial.kind == "trial" or run_trial(trial, Bench(self.bench())).status == "ok"
        found = {t.strategy.name: t for t in trials if t.kind == "trial" and t.strategy.name != "scratch"}
        beside = found.pop(case.beside) if case.beside else None
        ((_, together),) = found.items()
        self.trials = {True: together, False: beside or together}
        self.benches = {share: self._bench(share) for share in (True, False)}

    def _bench(self, share: bool, **more: bool) -> Bench:
        return Bench(self.bench(switches=Switches(episodes=share), **more))

    def timed(self, share: bool, _: int) -> tuple[float, Record]:
        began = time.process_time()
        record = run_trial(self.trials[share], self.benches[share])
        return time.process_time() - began, record

    def scores(self, share: bool) -> Any:
        """The stored scores [E, Q, W]."""
        record = run_trial(self.trials[share], self._bench(share, save_predictions=True))
        return predictions.read(self.folder, record)["target"].scores


@dataclass(frozen=True)
class MeasuredTrials:
    case: TrialCase
    together: tuple[float, ...]
    one_by_one: tuple[float, ...]
    accuracy: float
    apart: float
    """The largest difference of two scores, in units of the largest score."""

    @property
    def ratios(self) -> list[float]:
        return [b / a for a, b in zip(self.together, self.one_by_one, strict=True)]

    def row(self) -> tuple[str, ...]:
        return (
            self.case.name,
            spread([1e3 * s for s in self.together], 0),
            spread([1e3 * s for s in self.one_by_one], 0),
            spread(self.ratios, 1),
            f"{self.case.least:g}" if self.case.least else "",
            f"{100 * self.accuracy:.2f}",
            f"{self.apart:.0e}",
        )


def measure_trials(case: TrialCase, pairs: int | None = None) -> MeasuredTrials:
    """Neighbouring trials after a warm-up; raises ``AssertionError`` where records or scores are not the same."""
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(case, Path(folder))
        results = list(in_turn(partial(trials.timed, True), partial(trials.timed, False), (pairs or case.pairs) + 1))[
            1:
        ]
        ours, theirs = trials.scores(True), trials.scores(False)
    records = [record for pair in results for _, record in pair]
    apart = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    for record in records:
        assert record.status == "ok", record.reason
        if case.beside:  # solved to another tolerance
            assert abs(record.metrics["target"]["accuracy"] - records[0].metrics["target"]["accuracy"]) < 1e-3
            continue
        assert record.metrics == records[0].metrics
        assert record.data["episodes"] == records[0].data["episodes"]  # with the interval
        assert said(record)[3]["scores"] == said(records[0])[3]["scores"]
    assert apart < (1e-2 if case.beside else 1e-4), f"{case.name}: scores are {apart:.1e} apart"
    assert (ours.argmax(-1) != theirs.argmax(-1)).mean() < (2e-3 if case.beside else 1e-4)
    a, b = (tuple(pair[side][0] for pair in results) for side in (0, 1))
    return MeasuredTrials(case, a, b, records[0].metrics["target"]["accuracy"], apart)
