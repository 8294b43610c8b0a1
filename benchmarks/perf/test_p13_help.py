"""P13: `tlbench --help` beside `python -c pass`, and that it imports none of the heavy libraries.

python -m pytest benchmarks/perf/test_p13_help.py        the gates
python benchmarks/perf/test_p13_help.py                  the table, to results/perf/p13.md
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.execution.environment import cpu_name, git_state

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST, AIM, PAIRS = 0.15, 0.08, 15
HEAVY = ("torch", "timm", "numpy", "pandas")
HELP = ("-c", "import sys; from tlbench.cli import main; sys.exit(main(['--help']))")
PASS = ("-c", "pass")


def run(arguments: Sequence[str]) -> tuple[float, float, str]:
    """Wall seconds, seconds of processor time, and what was printed, of a fresh interpreter."""
    before = os.times()
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    wall = time.perf_counter() - began
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu, done.stdout


def measure(pairs: int = PAIRS) -> dict[str, list[float]]:
    """Pairs of neighbours, the first of a pair in turn the one and the other; the first pair is warm-up and dropped."""
    found: dict[str, list[float]] = {"help": [], "help cpu": [], "pass": [], "pass cpu": []}
    for pair in range(pairs + 1):
        for name, arguments in (("help", HELP), ("pass", PASS))[:: 1 if pair % 2 else -1]:
            wall, cpu, said = run(arguments)
            assert name == "pass" or "leaderboard" in said
            if pair:
                found[name].append(wall)
                found[f"{name} cpu"].append(cpu)
    return found


def imported() -> list[str]:
    """Which of the heavy libraries `tlbench --help` has imported when it ends."""
    text = "import sys; from tlbench.cli import parser; parser().format_help(); print(*sys.modules)"
    _, _, said = run(("-c", text))
    names = {name.partition(".")[0] for name in said.split()}
    return sorted(names & set(HEAVY))


def test_help_imports_none_of_the_heavy_libraries() -> None:
    assert imported() == []


def test_help_takes_no_more_processor_time_than_its_gate() -> None:
    found = []
    for _ in range(3):  # a neighbour on the machine can spoil one measurement, not three
        found.append(statistics.median(measure(5)["help cpu"]))
        if found[-1] <= MOST:
            return
    raise AssertionError(f"{found} s, and at most {MOST} is allowed")


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    """Measure and write the table with its conditions."""
    found = measure()
    beyond = [a - b for a, b in zip(found["help"], found["pass"], strict=True)]
    heavy = imported()
    state = git_state()
    commit = f"{state['commit'][:12]}{' with changes' if state['dirty'] else ''}" if state else "unknown"
    text = "\n".join(
        [
            "# P13: `tlbench --help`",
            "",
            f"Seconds in a fresh interpreter: median (smallest to largest) of {PAIRS} pairs, A B B A, after one of",
            f"warm-up. Imported of {', '.join(HEAVY)}: {', '.join(heavy) or 'none'}.",
            "",
            "| | wall | processor |",
            "|---|---|---|",
            f"| `tlbench --help` | {spread(found['help'])} | {spread(found['help cpu'])} |",
            f"| `python -c pass` | {spread(found['pass'])} | {spread(found['pass cpu'])} |",
            f"| difference | {spread(beyond)} | |",
            "",
            f"Gate {MOST} s, aim {AIM} s, both of `tlbench --help` as a whole.",
            "",
            f"{cpu_name()}, {os.cpu_count()} cores; Python {platform.python_version()}; commit {commit}.",
            "",
        ]
    )
    path = Path(__file__).resolve().parents[2] / "results" / "perf" / "p13.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
