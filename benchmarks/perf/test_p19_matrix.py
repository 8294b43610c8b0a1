"""P19: a whole matrix by tlbench beside a driver that starts a process for each run.

    python -m pytest benchmarks/perf/test_p19_matrix.py [about ten minutes]     the gate
    python benchmarks/perf/test_p19_matrix.py [--seeds 3]                       the table, to results/perf/p19.md

The matrix: four domains in all twelve pairs; fine-tuning, training of the head alone, Deep CORAL, DANN and MCC with
the references from scratch, source-only and target-oracle. tlbench: `tlbench run` with one worker, from an empty
cache to the leaderboard, with learning curves of five points. The driver: `benchmarks/peers/plain_driver.py` once for
each run of the matrix, with no curve. Both draw the same initial weights, labelled examples and batches, so that each
score can be compared with its own counterpart and not only means of them: those of one seed share their initial
weights, and their mean is no better known than a single one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch
from beside import spread, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

import matrices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrices import Side

GATE = 5.0
CELL, MEAN = 0.04, 0.006
"""How far the two scores of a run may be apart, and the means of a method's."""
TUNING = ("scratch", "fine-tune", "head")


class Gaps(NamedTuple):
    """Differences of scores, tlbench less driver, of each method."""

    of: dict[str, list[float]]

    @property
    def largest(self) -> float:
        return max(abs(gap) for gaps in self.of.values() for gap in gaps)

    @property
    def mean(self) -> float:
        """The largest of a method's mean, in size."""
        return max(abs(statistics.fmean(gaps)) for gaps in self.of.values())

    def check(self) -> None:
        """Raise ``AssertionError`` where the two sides do not do the same work."""
        for method, gaps in self.of.items():
            worst, mean = max(map(abs, gaps)), statistics.fmean(gaps)
            assert worst <= CELL, f"{method}: a score is {100 * worst:.1f} points from its counterpart"
            assert abs(mean) <= MEAN, f"{method}: the mean score is {100 * mean:+.2f} points from the driver's"


def gaps(ours: Side, driver: Side) -> Gaps:
    assert ours.scores.keys() == driver.scores.keys()
    of = defaultdict(list)
    for name, score in ours.scores.items():
        of[name[0]].append(score - driver.scores[name])
    return Gaps(dict(of))


class Measured(NamedTuple):
    """Both sides of each seed; ``again`` is `tlbench run` over its finished matrix: what is not trials.

    ``layout``  tlbench once more, with the convolutions in the faster order of memory, whose last digits differ
    """

    ours: list[Side]
    driver: list[Side]
    again: list[float]
    layout: list[Side]

    @property
    def ratios(self) -> list[float]:
        return self.over(self.ours)

    def over(self, sides: list[Side]) -> list[float]:
        """How many times the processor seconds of ``sides`` the driver takes."""
        return [b.processor / a.processor for a, b in zip(sides, self.driver, strict=True)]


def measure(seeds: Sequence[int]) -> Iterator[Measured]:
    """Each seed by both, in turn, and all so far after each. Raises ``AssertionError`` where their scores differ."""
    found = Measured([], [], [], [])
    for seed in seeds:
        suite = matrices.reference_suite([seed])
        todo = matrices.jobs(suite)
        if seed % 2:
            found.driver.append(matrices.process_per_run(todo))
        first, again = matrices.tlbench(suite, again=True)
        found.ours.append(first)
        found.again.append(again.processor)
        found.layout.extend(matrices.tlbench(suite, options=["--with", "channels-last"]))
        if not seed % 2:
            found.driver.append(matrices.process_per_run(todo))
        print(f"seed {seed}: {found.driver[-1].processor:.0f} s and {first.processor:.0f} s", file=sys.stderr)
        for side in (found.ours[-1], found.layout[-1]):
            gaps(side, found.driver[-1]).check()
        yield found


def test_a_matrix_takes_a_fifth_of_what_a_process_for_each_run_takes_with_the_same_score_in_each_cell() -> None:
    (found,) = measure([0])
    ratio = statistics.median(found.ratios)
    assert ratio >= GATE, f"{ratio:.2f}, and at least {GATE} is wanted"


def test_scores_of_other_initial_weights_are_not_taken_for_the_same() -> None:
    names = {("fine-tune", "none", "noisy", 0): 0.80, ("fine-tune", "none", "rotated", 0): 0.92}
    same = matrices.Side(1.0, 1.0, names, [])
    other = matrices.Side(1.0, 1.0, {name: score - 0.0643 for name, score in names.items()}, [])
    shifted = matrices.Side(1.0, 1.0, {name: score - 0.01 for name, score in names.items()}, [])
    gaps(same, same).check()
    with pytest.raises(AssertionError, match=r"6\.4 points from its counterpart"):
        gaps(same, other).check()
    with pytest.raises(AssertionError, match="mean score is"):
        gaps(same, shifted).check()


class Part(NamedTuple):
    name: str
    driver: float
    ours: float


def parts(m: Measured) -> list[Part]:
    """Where the processor seconds of a matrix go, means over the seeds."""
    count = len(m.driver)
    driver = {p: sum(one[p] for side in m.driver for one in side.said) / count for p in ("loading", *PARTS)}
    driver["start"] = sum(side.processor for side in m.driver) / count - sum(driver.values())
    # the worker's time is split as its own clocks say; they are of wall time, and only their shares are used
    worker = statistics.fmean(side.processor for side in m.ours) - statistics.fmean(m.again)
    clocks: dict[str, float] = defaultdict(float)
    for side in m.ours:
        for one in side.said:
            clocks["setup"] += one["total"] - one["training"] - one["evaluation"]
            clocks["source model" if one["source model"] else "training"] += one["training"]
            clocks["evaluation"] += one["evaluation"]
    share = {name: value / sum(clocks.values()) * worker for name, value in clocks.items()}
    return [
        Part("start and reading; start, plan, report", driver["start"] + driver["reading"], statistics.fmean(m.again)),
        Part("loading; start of the worker, setup of trials", driver["loading"], share["setup"]),
        *(Part(name, driver[name], share[name]) for name in PARTS[1:]),
    ]


PARTS = ("reading", "source model", "training", "evaluation")


def main() -> None:
    """Measure and write the table with its conditions, after each seed anew."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    count = parser.parse_args().seeds
    torch.set_num_threads(1)
    for m in measure(range(count)):
        report(m)


def report(m: Measured) -> None:
    rows = []
    for name, ours in (("**all, processor seconds**", m.ours), ("the same with `--with channels-last`", m.layout)):
        sides = [spread([side.processor for side in sides], 0) for sides in (m.driver, ours)]
        ratios = m.over(ours)
        rows.append([name, *sides, f"**{statistics.median(ratios):.2f}**; {spread(ratios)}"])
    split = {part.name: part for part in parts(m)}
    for name, driver, ours in split.values():
        rows.append([name, f"{driver:.1f}", f"{ours:.1f}", f"{driver / ours:.1f}"])
    trained = split["source model"].ours + split["training"].ours
    whole = [statistics.fmean(side.processor for side in sides) for sides in (m.driver, m.ours)]
    bound, start = whole[0] / trained, next(iter(split.values()))
    bare = (whole[0] - start.driver) / (whole[1] - start.ours)
    found = [gaps(a, b) for a, b in zip(m.ours, m.driver, strict=True)]
    for method in found[0].of:
        scores = [100 * statistics.fmean(v for s in sides for n, v in s.scores.items() if n[0] == method)
                  for sides in (m.driver, m.ours)]  # fmt: skip
        every = [gap for one in found for gap in one.of[method]]
        worst = 100 * max(map(abs, every))
        rows.append([f"accuracy, {method}", *(f"{v:.2f} %" for v in scores), f"{len(every)} runs, worst {worst:.1f}"])
    between = [
        abs(a.scores[name] - b.scores[(*name[:3], name[3] + 1)])
        for a, b in zip(m.ours[:-1], m.ours[1:], strict=True)
        for name in a.scores
    ]
    rms = 100 * float(np.sqrt(np.mean([gap**2 for one in found for gaps_ in one.of.values() for gap in gaps_])))
    seeds = f"{100 * float(np.sqrt(np.mean(np.square(between)))):.1f}" if between else "–"
    write(
        "p19",
        "P19: a matrix beside a process for each run",
        WORDS.format(n=len(found), rms=rms, seeds=seeds, bound=bound, bare=bare),
        HEADER,
        rows,
    )


HEADER = ["", "driver", "tlbench", "ratio (gate 5)"]
WORDS = """
Processor seconds of a whole matrix: four domains, twelve pairs, five strategies and three references, 80 runs. n =
{n} (matrices, each of another seed, in turn); median (smallest to largest), then means. tlbench with start, source
models (4 instead of 24), source-only trainings (4 instead of 12), curves of five points, majority and leaderboard;
the driver with 80 starts and no curves. Both draw the same initial weights, labelled examples and batches: the two
scores of a run differ by {rms:.2f} points (root mean square; what rounding grows to in the training), those of two
seeds by {seeds}. What the driver spends on starts (torch, the first optimiser, scikit-learn, the end of the process:
the same for a short run and a long one), loading and repeated source trainings, tlbench does once; without the first
line the ratio is {bare:.1f}. {bound:.1f} would be the ratio if tlbench did nothing but train: beyond that only a
faster step helps, as the other order of memory is for these convolutions (it changes last digits, and is off by
default; its scores pass the same check). The parts of tlbench's worker are those of its own clocks, scaled to its
processor time.
"""


if __name__ == "__main__":
    main()
