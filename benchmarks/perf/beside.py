"""What several of these files need: a clock, neighbours in turn, a small matrix to run, a table with its conditions."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.environment import cpu_name, git_state
from tlbench.execution.switches import Switches
from tlbench.plugins import Plugins
from tlbench.run import Options, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tlbench.api.records import Record
    from tlbench.api.trials import Plan

RESULTS = Path(__file__).resolve().parents[2] / "results" / "perf"
DIGITS = "[digits, {name: digits, shift: inverted}, {name: digits, shift: rotated}, {name: digits, shift: noisy}]"
"""Four domains that need no download."""


def cpu_seconds() -> float:
    """Processor time of this process and of those of its children that have ended; a busy neighbour does not count."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def in_turn(first: Callable[[int], Any], second: Callable[[int], Any], count: int) -> Iterator[tuple[Any, Any]]:
    """A B B A ...: the results of neighbours."""
    for pair in range(count):
        if pair % 2:
            b = second(pair)
            yield first(pair), b
        else:
            a = first(pair)
            yield a, second(pair)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median (smallest to largest)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def write(name: str, title: str, words: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with its conditions and write it to results/perf."""
    state = git_state()
    commit = f"{state['commit'][:12]}{' with changes' if state['dirty'] else ''}" if state else "unknown"
    lines = [f"# {title}", "", words.strip(), "", f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += [
        "",
        f"{cpu_name()}, {torch.get_num_threads()} thread(s); Python {platform.python_version()}, "
        f"torch {torch.__version__}; commit {commit}.",
        "",
    ]
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines)
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


@dataclass(frozen=True)
class Matrix:
    """A suite's plan, and a bench to do its trials with, in a folder of its own."""

    run: Run
    plan: Plan
    bench: Bench

    @classmethod
    def of(cls, folder: Path, suite: str, *, share: bool = True, data_root: Path | None = None) -> Matrix:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "suite.yaml"
        path.write_text(suite)
        plugins = Plugins.discover(extra=[], entry_points=False)
        options = Options(cache=folder / "cache", out=folder / "run", device="cpu", data_root=data_root)
        run = Run.of(str(path), plugins, options)
        plan = run.plan({})
        spec = make_spec(
            plugins=plugins,
            run=folder / "run",
            base=folder,
            data_root=data_root,
            cache=folder / "cache",
            suite=run.suite.name,
            metrics=run.suite.metrics,
            device="cpu",
            switches=Switches(share=share),
        )
        return cls(run, plan, Bench(spec))


def said(record: Record) -> Any:
    """Everything of a record that a way of doing the same trial may not change."""
    curve = {k: v for k, v in (record.curve or {}).items() if k != "seconds"}
    return record.status, record.reason, record.metrics, curve, record.losses, record.data, record.seeds
