"""Run every benchmark that this machine can, and write all tables and the summary of P1 to P19.

    python benchmarks/perf/run.py                        all, on a quiet machine
    python benchmarks/perf/run.py p1 p6                  some
    python benchmarks/perf/run.py --large /big/folder    also those that write gigabytes
    python benchmarks/perf/run.py --summary              nothing is run: the summary of the tables that are there

Each script of this folder with a `main` is a process of its own. What cannot be run here is skipped with the reason,
and its older table, where there is one, stays and keeps its commit.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from beside import RESULTS, write  # noqa: E402
from goals import FIGURES, judged, summary  # noqa: E402

LARGE = {"p12": ["{folder}"], "streaming": ["--folder", "{folder}"]}
"""Benchmarks that write gigabytes, and how they are told where."""


class Ran(NamedTuple):
    """How a script ended: ``written``, ``skipped`` or ``failed``, why, and after how many seconds."""

    name: str
    end: str
    why: str
    seconds: float


def scripts() -> dict[str, Path]:
    """Every file of this folder that is a benchmark with a table: name (``p1``, ``streaming``) -> path, in order."""
    found = {}
    for path in HERE.glob("test_*.py"):
        tree = ast.parse(path.read_text())
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            words = path.stem.removeprefix("test_")
            found[words.split("_")[0] if re.match(r"p\d+_", words) else words] = path

    def order(name: str) -> tuple[int, str]:
        number = re.match(r"p(\d+)$", name)
        return (int(number[1]) if number else 0 if name == "ceilings" else 1000, name)

    return {name: found[name] for name in sorted(found, key=order)}


def run(name: str, path: Path, large: Path | None, minutes: float) -> Ran:
    """Run one script and show what it says."""
    words: list[str] = []
    if name in LARGE:
        if large is None:
            return Ran(name, "skipped", "it writes gigabytes; --large FOLDER says where", 0.0)
        folder = large / name
        folder.mkdir(parents=True, exist_ok=True)
        words = [word.format(folder=folder) for word in LARGE[name]]
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, str(path), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=60 * minutes, cwd=HERE.parents[1],
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Ran(name, "failed", f"took longer than {minutes:g} minutes", time.monotonic() - began)
    print(done.stdout, flush=True)
    spent, lines = time.monotonic() - began, [line for line in done.stdout.splitlines() if line.strip()]
    if done.returncode:
        return Ran(name, "failed", lines[-1] if lines else f"exit code {done.returncode}", spent)
    if skipped := re.search(r"skipped: (.*)", done.stdout):
        return Ran(name, "skipped", skipped[1], spent)
    return Ran(name, "written", "", spent)


def write_summary(ran: list[Ran]) -> None:
    """results/perf/README.md: every figure of P1 to P19 with its gate, its aim and the verdict."""
    skipped = {r.name: r.why for r in ran if r.end == "skipped"}
    needs = {f.file: "needs a GPU" for f in FIGURES if f.gpu}
    verdicts = [judged(f, RESULTS, skipped.get(f.file) or needs.get(f.file, "")) for f in FIGURES]
    others = sorted(
        p.stem for p in RESULTS.glob("*.md") if p.stem != "README" and p.stem not in {f.file for f in FIGURES}
    )
    also = f"Further tables: {', '.join(f'[{name}]({name}.md)' for name in others)}." if others else ""
    words = f"""
What `python benchmarks/perf/run.py` measures: one figure a line, of several of a kind the worst, on a GPU that of the
best way. How each is measured, its spread, its check that both sides give the same, and its conditions stand in its own
table, `pN.md` (P16 to P18 in `p16.md`). The commit is that of the figure. Below is the machine of the summary. {also}
"""
    header = ("id", "what", "measured", "gate", "aim", "verdict", "commit")
    write("README", "Speed: P1 to P19", words, header, summary(verdicts))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = scripts()
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(known)} (default: all)")
    parser.add_argument("--large", type=Path, help="folder for those that write gigabytes; without it they are skipped")
    parser.add_argument("--minutes", type=float, default=60, help="most time for one script (default: 60)")
    parser.add_argument("--summary", action="store_true", help="run nothing")
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in known]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    ran: list[Ran] = []
    for name in [] if args.summary else args.names or known:
        print(f"== {name}", flush=True)
        ran.append(run(name, known[name], args.large, args.minutes))
    write_summary(ran)
    for r in ran:
        print(f"{r.name:>10}  {r.end:<8} {r.seconds:7.0f} s  {r.why}")
    return 1 if any(r.end == "failed" for r in ran) else 0


if __name__ == "__main__":
    sys.exit(main())
