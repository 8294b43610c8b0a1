"""P11: planning 100,000 trials: expand, key, share, order; and how it grows from 10 trials on.

    python -m pytest benchmarks/perf/test_p11_plan.py        the gate
    python benchmarks/perf/test_p11_plan.py                  the table, to results/perf/p11.md

Beside it the same trials made one by one by their constructor, each factor's digest worked out once: what the plan
does without expanding, sharing and ordering. Both must give the same trials with the same keys.
"""

from __future__ import annotations

import gc
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tlbench.api.trials import Trial
from tlbench.execution.environment import cpu_name, git_state
from tlbench.plan.build import build
from tlbench.plugins import Plugins
from tlbench.suite.load import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.api.trials import Plan
    from tlbench.suite.suite import Suite

MOST, AIM, PAIRS = 1.0, 0.4, 7

TEXT = """\
tlbench: 1
datasets:
{local}
sources: [{sources}]
targets: [digits]
tasks: [fine-tuning]
backbones: [mlp]
strategies: [{{name: l2-sp, alpha: [{alphas}]}}]
seeds: {seeds}
"""


@dataclass(frozen=True)
class Case:
    """A matrix of about ``trials`` trials."""

    name: str
    sources: int
    alphas: int
    seeds: int

    def suite(self, plugins: Plugins) -> Suite:
        names = [f"s{i}" for i in range(self.sources)]
        text = TEXT.format(
            local="\n".join(f"  {name}: {{name: digits, shift: rotated, angle: {i}}}" for i, name in enumerate(names)),
            sources=", ".join(names),
            alphas=", ".join(str((n + 1) / 10) for n in range(self.alphas)),
            seeds=self.seeds,
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "suite.yaml"
            path.write_text(text)
            return load(path, plugins)


CASES = (
    Case("100,000 trials: 10 sources, 100 strategies, 100 seeds", 10, 100, 100),
    Case("100,000 trials: 100 sources, 1,000 strategies, 1 seed", 100, 1000, 1),
)
GROWTH = tuple(Case("", 1, 10, n) for n in (1, 10, 100, 1000, 10_000))


def planned(suite: Suite, plugins: Plugins) -> tuple[float, Plan]:
    """Seconds of processor time of a plan with all its keys."""
    gc.collect()
    began = time.process_time()
    plan = build(suite, plugins)
    keys = {trial.key for trial in plan.trials}
    seconds = time.process_time() - began
    assert len(keys) == len(plan.trials)
    return seconds, plan


def one_by_one(plan: Plan) -> float:
    """Seconds of processor time of the constructor for the same trials. Raises ``AssertionError`` if they differ."""
    gc.collect()
    began = time.process_time()
    made = [
        Trial(
            source=t.source,
            target=t.target,
            task=t.task,
            strategy=t.strategy,
            backbone=t.backbone,
            recipe=t.recipe,
            seed=t.seed,
            kind=t.kind,
            parents=t.parents,
            reference=t.reference,
            skip=t.skip,
            fingerprint=t.fingerprint,
        )
        for t in plan.trials
    ]
    keys = [trial.key for trial in made]
    seconds = time.process_time() - began
    assert keys == [trial.key for trial in plan.trials], "the keys differ"
    assert made == list(plan.trials), "the trials differ"
    return seconds


def measure(case: Case, plugins: Plugins, pairs: int = PAIRS) -> tuple[list[float], list[float], int]:
    """Pairs of neighbours after one of warm-up, the first of a pair in turn the one and the other."""
    suite = case.suite(plugins)
    _, plan = planned(suite, plugins)
    ours: list[float] = []
    theirs: list[float] = []
    for pair in range(pairs):
        if pair % 2:
            theirs.append(one_by_one(plan))
        ours.append(planned(suite, plugins)[0])
        if not pair % 2:
            theirs.append(one_by_one(plan))
    return ours, theirs, len(plan.trials)


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.discover(entry_points=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.sources}x{case.alphas}x{case.seeds}")
def test_a_hundred_thousand_trials_are_planned_within_a_second(case: Case, plugins: Plugins) -> None:
    found = []
    for _ in range(3):  # a neighbour on the machine can spoil one measurement, not three
        ours, _theirs, n = measure(case, plugins, 3)
        assert n > 99_000
        found.append(statistics.median(ours))
        if found[-1] <= MOST:
            return
    raise AssertionError(f"{found} s, and at most {MOST} is allowed")


def spread(values: Sequence[float], digits: int = 3) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def conditions() -> str:
    state = git_state()
    commit = f"{state['commit'][:12]}{' with changes' if state['dirty'] else ''}" if state else "unknown"
    return f"{cpu_name()}, one process; Python {platform.python_version()}; commit {commit}."


def growth(plugins: Plugins) -> list[str]:
    """Rows of a table: trials, seconds, microseconds a trial."""
    rows = []
    for case in GROWTH:
        suite = case.suite(plugins)
        planned(suite, plugins)
        times = [planned(suite, plugins)[0] for _ in range(5)]
        n = len(planned(suite, plugins)[1].trials)
        rows.append(f"| {n:,} | {spread(times, 4)} | {1e6 * statistics.median(times) / n:.2f} |")
    return rows


def main() -> None:
    """Measure and write the table with its conditions."""
    found = Plugins.discover(entry_points=False)
    rows = []
    for case in CASES:
        ours, theirs, n = measure(case, found)
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        timed = f"{spread(ours)} | {spread(theirs)} | {spread(ratios, 2)}"
        rows.append(f"| {case.name} ({n:,}) | {len(ours)} | {timed} | {MOST} | {AIM} |")
    text = "\n".join(
        [
            "# P11: planning 100,000 trials",
            "",
            "Seconds of processor time to expand, key, share and order (the suite is loaded before): median (smallest",
            "to largest) over n runs, beside making the same trials one by one with their constructor, A B B A, after",
            "one run of warm-up. All trials and keys are equal.",
            "",
            "| matrix | n | plan | constructor alone | ratio | gate, s | aim, s |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "How it grows (1 source, 10 strategies and a reference, 1 to 10,000 seeds; 5 runs):",
            "",
            "| trials | s | µs a trial |",
            "|---|---|---|",
            *growth(found),
            "",
            conditions(),
            "",
        ]
    )
    path = Path(__file__).resolve().parents[2] / "results" / "perf" / "p11.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
