"""Each part of the comparison measured, checked and written down; `run.py` starts it in the right environment."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import matrices

from tlbench.execution.environment import cpu_name, git_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matrices import Side
    from work import Job

RESULTS = Path(__file__).resolve().parents[2] / "results" / "perf"
ADAPTATION = ("source-only", "target-oracle", "deep-coral", "dann", "mcc")
MNIST_STEPS = 226
"""Two epochs of USPS's 7,291 training images in batches of 64; the field trains for 10,000 and more."""


@dataclass(frozen=True)
class Part:
    """One comparison: what each side does for a seed, and how far a score may be from its counterpart."""

    name: str
    title: str
    words: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    suite: Callable[..., str]
    sides: tuple[tuple[str, str], ...]
    """Name and script; the first sides are always tlbench and the driver."""
    data: Path | None = None
    skipped: str = ""
    same: tuple[str, ...] = ("driver", "pytorch-adapt")
    """Sides that draw the same batches as tlbench, so that each score has a counterpart."""
    cell: float = 0.05
    mean: float = 0.01


@dataclass
class Found:
    sides: dict[str, list[Side]] = field(default_factory=lambda: defaultdict(list))
    failed: dict[str, str] = field(default_factory=dict)


def parts(count: int, data: Path) -> Iterator[Part]:
    seeds = tuple(range(count))
    libraries = (("pytorch-adapt", "pytorch_adapt_side.py"), ("skada, deep", "skada_side.py"))
    yield Part("probes", "Linear probes on eight targets", PROBES, ("linear-probe",), seeds, matrices.probe_suite,
               libraries)  # fmt: skip
    yield Part("shallow", "Shallow methods on pixels, twelve pairs", SHALLOW,
               ("source-classifier", "subspace-alignment", "coral"), seeds,
               lambda _: matrices.shallow_suite(), (("skada, shallow", "skada_shallow_side.py"),), same=())  # fmt: skip
    absent = [name for name in ("ylecun/mnist", "flwrlabs/usps") if not (data / name).is_dir()]
    yield Part("mnist-usps", "DANN from MNIST to USPS, with its floor and its ceiling", MNIST.format(steps=MNIST_STEPS),
               ("source-only", "target-oracle", "dann"), seeds,
               lambda s, passes="separate": matrices.mnist_usps_suite(MNIST_STEPS, s, matrices.WIDTH, passes),
               libraries, data, f"{' and '.join(absent)} not found below --data" if absent else "")  # fmt: skip
    yield Part("matrix", "Four domains, five strategies", MATRIX, ADAPTATION, seeds, matrices.adaptation_suite,
               libraries)  # fmt: skip


def measure(part: Part) -> Found:
    """Each side for each seed, forwards and backwards in turn."""
    found = Found()
    for seed in part.seeds:
        suite = part.suite([seed])
        todo = matrices.only(matrices.jobs(suite, part.data), part.methods)
        turns = list(_sides(part, suite, todo, seed))
        for name, work in turns if seed % 2 == 0 else reversed(turns):
            if name in found.failed:
                continue
            try:
                sides = work()
            except RuntimeError as error:
                found.failed[name] = str(error).strip().splitlines()[-1]
                print(error, file=sys.stderr)
                continue
            for label, side in sides.items():
                found.sides[label].append(side)
                print(f"{part.name}, seed {seed}, {label}: {side.processor:.1f} s, wall {side.wall:.1f} s", flush=True)
    return found


def _sides(
    part: Part, suite: str, todo: Sequence[Job], seed: int
) -> Iterator[tuple[str, Callable[[], dict[str, Side]]]]:
    def ours() -> dict[str, Side]:
        first, *more = matrices.tlbench(suite, part.data, times=2 if part.data else 1)
        return {"tlbench": first, **({"tlbench, data kept": more[0]} if more else {})}

    yield "tlbench", ours
    if part.name != "shallow":
        yield "driver", lambda: {"driver": matrices.process_per_run(todo)}
    for name, script in part.sides:
        yield name, lambda n=name, s=script: {n: matrices.one_process(todo, s)}  # type: ignore[misc]
    if part.name in ("mnist-usps", "matrix"):
        joint = part.suite([seed], passes="joint")
        yield "tlbench, joint passes", lambda: {"tlbench, joint passes": matrices.tlbench(joint, part.data)[0]}


def table(part: Part, found: Found) -> list[str]:
    """Processor and wall seconds of each side, its scores, and how they fit those of tlbench."""
    ours = found.sides["tlbench"]
    header = ["", "processor s", "÷ tlbench", "outside runs", "wall s", *part.methods, "against tlbench"]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for name, sides in found.sides.items():
        ratios = [b.processor / a.processor for a, b in zip(ours, sides, strict=False)]
        inside = [sum(line.get("seconds", 0.0) for line in side.said) for side in sides]
        outside = statistics.median(side.processor - s for side, s in zip(sides, inside, strict=True))
        scores = [_percent(v for s in sides for n, v in s.scores.items() if n[0] == method) for method in part.methods]
        row = [
            name,
            _spread([side.processor for side in sides]),
            "" if name == "tlbench" else f"{statistics.median(ratios):.2f}",
            f"{outside:.1f}" if any(inside) else "",
            _spread([side.wall for side in sides]),
            *scores,
            _against(part, name, ours, sides),
        ]
        lines.append(f"| {' | '.join(row)} |")
    lines += [f"| {name} | failed: `{why}` |{' |' * (len(header) - 2)}" for name, why in found.failed.items()]
    return lines


def _against(part: Part, name: str, ours: Sequence[Side], sides: Sequence[Side]) -> str:
    """The gaps to the counterparts. Raises ``AssertionError`` where a side with the same batches has other scores."""
    if name == "tlbench":
        return ""
    gaps: dict[str, list[float]] = defaultdict(list)
    for a, b in zip(ours, sides, strict=False):
        for at, score in b.scores.items():
            if at[0] in part.methods:
                gaps[at[0]].append(score - a.scores[at])
    worst = max(abs(gap) for several in gaps.values() for gap in several)
    mean = max((statistics.fmean(several) for several in gaps.values()), key=abs)
    if name in part.same:
        assert worst <= part.cell, f"{part.name}, {name}: a score is {100 * worst:.1f} points from its counterpart"
        assert abs(mean) <= part.mean, f"{part.name}, {name}: a mean is {100 * mean:+.2f} points away"
    return f"worst run {100 * worst:.1f}, worst mean {100 * mean:+.2f}"


def _percent(values: Iterator[float]) -> str:
    kept = list(values)
    return f"{100 * statistics.fmean(kept):.1f}" if kept else ""


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Measure the parts that are asked for and write the page after each; what was measured before is kept."""
    count, data, names = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    kept = RESULTS.parents[1] / ".benchmarks" / "peers.json"
    kept.parent.mkdir(exist_ok=True)
    for part in parts(count, data):
        if part.name not in names:
            continue
        text = [f"## {part.title}", "", part.words.strip(), ""]
        if part.skipped:
            text.append(f"Skipped: {part.skipped}.")
        else:
            text += [*table(part, measure(part)), "", _conditions(part)]
        sections: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}
        sections[part.name] = "\n".join(text)
        kept.write_text(json.dumps(sections))
        page = [INTRODUCTION.strip(), *(sections[p.name] for p in parts(count, data) if p.name in sections)]
        (RESULTS / "peers.md").write_text("\n\n".join(page) + "\n")
    print((RESULTS / "peers.md").read_text())


def _conditions(part: Part) -> str:
    state = git_state()
    commit = f"{state['commit'][:12]}{' with changes' if state['dirty'] else ''}" if state else "unknown"
    names = ("torch", "pytorch-adapt", "skada", "skorch", "scikit-learn", "numpy")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"n = {len(part.seeds)}. {cpu_name()}, one thread a side, load {os.getloadavg()[2]:.1f} on {os.cpu_count()} "
        f"processors; Python {platform.python_version()}, {versions}; commit {commit}."
    )


INTRODUCTION = """
# The same work by others

`python3.11 benchmarks/peers/run.py` makes this page.

The same data, network, initial weights, batch, steps, optimiser and schedule by tlbench (`tlbench run`, one worker,
from an empty cache to the leaderboard), by a plain driver (a process for each run, Pillow, DataLoader, float32,
nothing shared), by pytorch-adapt and by skada (one process for all runs, the data turned into tensors once: kinder to
them than a process for each run). For each seed every side does all runs, forwards and backwards in turn: median
(smallest to largest) of processor seconds; wall time means little on a machine that others use. "Outside runs" is
what start and imports take. Scores are mean accuracies in per cent. Sides that let one choose the batches (driver,
pytorch-adapt) have tlbench's, and each of their scores is checked against its counterpart.
"""
PROBES = """
One source model of 210 steps, then logistic regression on frozen features of 1,347 examples with C out of seven by five
folds, for eight targets. The driver trains the source for each target again. All fit the probe by scikit-learn's
logistic regression, C by C and fold by fold, and that is most of the work: libraries gain or lose little here.
"""
SHALLOW = """
No training: a nearest neighbour behind nothing, subspace alignment (30 axes) and CORAL (Ledoit & Wolf's estimate,
which skada takes of features of unit variance). tlbench makes the two references of the task beside it, plans, starts
a worker, keeps records and makes a leaderboard; on work of a second that is most of its time, and a script is the
faster way.
"""
MNIST = """
Real images: 60,000 and 7,291 for training, 2,007 to test, at 16 x 16. {steps} steps only, for two processors; scores
are far from published ones for that reason. The driver decodes what it shows; the libraries decode everything once in
each process; tlbench decodes everything once and keeps it, and the second row is its next run. skada passes both
domains through BatchNorm together, as `passes: joint` does, and goes through its data set example by example before
each fit.
"""
MATRIX = """
Four shifts of the digits, twelve pairs; 105 steps. 44 runs for each seed, of which tlbench trains 4 x source-only
where the others train 12. The scripts here train every run; who writes one could share these too.
pytorch-adapt reads each loss back at each step and passes each example through DataLoader; skada likewise, with both
domains in one pass (`passes: joint`), its own batches, and a scan of the data set before each fit.
"""


if __name__ == "__main__":
    main()
