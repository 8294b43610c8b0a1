"""P14: a matrix of 100,000 trials that is finished, run again: `tlbench run` over it, as a whole and inside.

    python -m pytest benchmarks/perf/test_p14_again.py        that nothing is left to run, and that no record is read
    python benchmarks/perf/test_p14_again.py                  the table, to results/perf/p14.md

Of ``Run.execute`` in a process that has everything imported: that nothing has changed, the plan, and the board.
Beside it the same with what was kept of the run taken away, so that the records are read, the plan is written and the
reports are made, as by the first run again; and the whole command in a fresh process, with its imports (torch, which
the suite's backbones need, is most of it). Board, notes and outcome must be the same.
"""

from __future__ import annotations

import gc
import io
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.api.records import Record
from tlbench.execution.environment import cpu_name, git_state
from tlbench.leaderboard import index
from tlbench.plan.build import build
from tlbench.plugins import Plugins
from tlbench.results.lines import to_line
from tlbench.results.store import RunFolder
from tlbench.run import Options, Outcome, Run
from tlbench.suite.load import load
from tlbench.watch import EventWatcher

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def prepared(suite: Suite, folder: RunFolder, plugins: Plugins) -> Run:
    """The run of a suite in its folder."""
    return Run(suite, plugins, Options(cache=folder.path / "cache", out=folder.path, device="cpu"))


def again(run: Run, *, read: bool) -> tuple[float, Outcome, str]:
    """Seconds of processor time to run it again, how it ended, and what was said; ``read``: from the records."""
    if read:
        shutil.rmtree(run.folder.path / "index", ignore_errors=True)
    said = io.StringIO()
    run = Run(run.suite, run.plugins, run.options)
    gc.collect()
    began = time.process_time()
    outcome = run.execute(EventWatcher(said))
    return time.process_time() - began, outcome, said.getvalue()


def whole(run: Run) -> tuple[float, str]:
    """Seconds of processor time of the command in a fresh process, and what it showed."""
    code = "import sys; from tlbench.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["run", "--matrix", str(run.suite.path), "--out", str(run.folder.path), "--no-plugins"]
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, done.stdout


def same(one: Outcome, other: Outcome) -> bool:
    assert one.board is not None
    assert other.board is not None
    frames = [(b.to_frame(), b.pairs_frame(), b.notes) for b in (one.board, other.board)]
    equal = frames[0][0].equals(frames[1][0]) and frames[0][1].equals(frames[1][1]) and frames[0][2] == frames[1][2]
    return equal and replace(one, board=None) == replace(other, board=None)


def test_a_finished_matrix_is_not_read_again_and_costs_far_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = Plugins.discover(entry_points=False)
    run = prepared(*finished(tmp_path, 50, plugins), plugins)
    slow, wanted, said = again(run, read=True)
    monkeypatch.setattr(RunFolder, "lines", lambda *_, **__: pytest.fail("the records were read"))
    found = [again(run, read=False) for _ in range(3)]
    assert all(same(outcome, wanted) and words == said for _, outcome, words in found)
    assert min(seconds for seconds, _, _ in found) < slow / 3


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Measure and write the table with its conditions."""
    plugins = Plugins.discover(entry_points=False)
    rows = []
    for seeds in (10, 100, 1000):
        with tempfile.TemporaryDirectory() as name:
            run = prepared(*finished(Path(name), seeds, plugins), plugins)
            index.LEAST_BYTES, least = 1, index.LEAST_BYTES  # the smallest one too, for the table
            ours: list[float] = []
            theirs: list[float] = []
            again(run, read=True)
            for pair in range(PAIRS):
                sides: dict[bool, tuple[float, Outcome, str]] = {}
                for read in (False, True)[:: (-1) ** pair]:
                    sides[read] = again(run, read=read)
                assert same(sides[False][1], sides[True][1]), "the outcomes differ"
                assert sides[False][2] == sides[True][2], "what was said differs"
                ours.append(sides[False][0])
                theirs.append(sides[True][0])
            index.LEAST_BYTES = least
            commands = []
            if seeds > 10:
                again(run, read=True)
                commands = [whole(run)[0] for _ in range(PAIRS)]
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            trials = len(run.plan({}).trials)
            command = spread(commands) if commands else ""
            rows.append(f"| {trials:,} | {spread(ours)} | {spread(theirs)} | {spread(ratios)} | {command} |")
            print(rows[-1], flush=True)
    state = git_state()
    commit = f"{state['commit'][:12]}{' with changes' if state['dirty'] else ''}" if state else "unknown"
    text = "\n".join(
        [
            "# P14: a finished matrix run again",
            "",
            "Seconds of processor time of `Run.execute`: that nothing has changed, the plan, the board; beside it",
            "the same from the records (4 kB each), with plan and reports written anew: median (smallest to largest)",
            f"of {PAIRS} pairs, A B B A. Boards, notes and outcomes are the same. *command*: `tlbench run` in a fresh",
            "process, imports and all (torch is about 1 s of it); below 8 MB of records nothing is kept.",
            "",
            "| trials | as kept | from the records | ratio | command |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Gate at 100,000 trials: {MOST:.0f} s, without the imports.",
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
