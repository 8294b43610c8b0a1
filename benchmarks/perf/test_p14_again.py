"""P14: a matrix of 100,000 trials that is finished, looked at again: what `tlbench run` does before it knows so.

    python -m pytest benchmarks/perf/test_p14_again.py        that nothing is left to run, and about linear growth
    python benchmarks/perf/test_p14_again.py                  the table, to results/perf/p14.md

Reading the records, passing over those of changed data, planning, and finding all of it done. Beside it the same with
every line read by itself, as it was before equal parts were shared; both must find the same trials done.
"""

from __future__ import annotations

import gc
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.api.records import Record
from tlbench.execution.environment import cpu_name, git_state
from tlbench.plan.build import build
from tlbench.plugins import Plugins
from tlbench.results.store import RunFolder, from_line, last_of_each, to_line
from tlbench.run import of_one_content
from tlbench.suite.load import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.api.trials import Plan
    from tlbench.suite.suite import Suite

ROOT = Path(__file__).resolve().parents[2]
MOST, PAIRS = 1.0, 3
TEXT = """\
tlbench: 1
sources: [{{name: digits, shift: rotated}}]
targets: [digits]
tasks: [fine-tuning]
backbones: [mlp]
strategies: [{{name: l2-sp, alpha: [{alphas}]}}]
seeds: {seeds}
"""


def finished(folder: Path, seeds: int, plugins: Plugins) -> tuple[Suite, RunFolder]:
    """A suite of about 100 trials a seed and the folder of its run, all ended well; the records as of results/quick."""
    file = folder / "suite.yaml"
    file.write_text(TEXT.format(alphas=", ".join(str((n + 1) / 10) for n in range(100)), seeds=seeds))
    suite = load(file, plugins)
    found = (r.to_json() for r in RunFolder.open(ROOT / "results" / "quick").lines() if r.status == "ok")
    like: dict[str, Any] = next(r for r in found if r["trial"]["source"] and r["trial"]["kind"] == "trial")
    (folder / "records").mkdir()
    with (folder / "records" / "20261121T000000-000000000.jsonl").open("w") as lines:
        for trial in build(suite, plugins).trials:
            lines.write(to_line(Record.from_json({**like, "key": trial.key, "trial": trial.to_json()})))
    return suite, RunFolder.open(folder)


def again(suite: Suite, folder: RunFolder, plugins: Plugins) -> tuple[float, Plan]:
    """Seconds of processor time, and the plan with what is done."""
    gc.collect()
    began = time.process_time()
    records, _ = of_one_content(folder.records())
    plan = build(suite, plugins, records)
    return time.process_time() - began, plan


def line_by_line(suite: Suite, folder: RunFolder, plugins: Plugins) -> tuple[float, Plan]:
    """The same, with every line read by itself."""
    gc.collect()
    began = time.process_time()
    (file,) = (folder.path / "records").glob("*.jsonl")
    records, _ = of_one_content(last_of_each(map(from_line, file.read_text().splitlines())))
    plan = build(suite, plugins, records)
    return time.process_time() - began, plan


def test_nothing_is_left_of_a_finished_matrix_and_ten_times_the_trials_take_about_ten_times_as_long(
    tmp_path: Path,
) -> None:
    plugins = Plugins.discover(entry_points=False)
    times = []
    for seeds in (5, 50):
        folder = tmp_path / str(seeds)
        folder.mkdir()
        suite, run = finished(folder, seeds, plugins)
        found = [again(suite, run, plugins) for _ in range(5)]
        assert all(not [t for t in plan.todo if t.kind == "trial"] for _, plan in found)
        assert found[0][1].done == line_by_line(suite, run, plugins)[1].done
        times.append(min(seconds for seconds, _ in found))
    assert times[1] < 25 * max(times[0], 0.02)


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure and write the table with its conditions."""
    plugins = Plugins.discover(entry_points=False)
    rows = []
    for seeds in (10, 100, 1000):
        with tempfile.TemporaryDirectory() as name:
            suite, run = finished(Path(name), seeds, plugins)
            ours: list[float] = []
            theirs: list[float] = []
            for pair in range(PAIRS):
                sides = {side.__name__: side(suite, run, plugins) for side in (again, line_by_line)[:: (-1) ** pair]}
                (mine, plan), (other, its) = sides["again"], sides["line_by_line"]
                assert plan.done == its.done, "the trials done differ"
                assert not plan.todo, "something is left to run"
                ours.append(mine)
                theirs.append(other)
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            rows.append(f"| {len(plan.trials):,} | {spread(ours)} | {spread(theirs)} | {spread(ratios)} |")
            print(rows[-1], flush=True)
    state = git_state()
    commit = f"{state['commit'][:12]}{' with changes' if state['dirty'] else ''}" if state else "unknown"
    text = "\n".join(
        [
            "# P14: a finished matrix looked at again",
            "",
            "Seconds of processor time to read the records (4 kB each), plan, and find all of it done: median",
            f"(smallest to largest) of {PAIRS} pairs, A B B A. The trials done are the same.",
            "",
            "| trials | equal parts shared | line by line | ratio |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Gate at 100,000 trials: {MOST:.0f} s. The board that a run makes at its end is not in it.",
            "",
            f"{cpu_name()}, one process; Python {platform.python_version()}; commit {commit}.",
            "",
        ]
    )
    path = ROOT / "results" / "perf" / "p14.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
