"""What every reproduction prints: published, ours, the difference, a verdict, and the conditions.

    from report import Row, parse, publish

    def main() -> int:
        args = parse(__doc__)                       # --data-root DIR, --out FILE, --seeds N
        rows = [Row("C to A", published=23.70, ours=accuracy, tolerance=0.005)]
        return publish("C1: 1-NN on Office-Caltech10", rows, args, source="...", notes="...")

    if __name__ == "__main__":
        raise SystemExit(main())

``publish`` prints a Markdown table, writes it to ``--out`` with the conditions, and returns the exit code: 0 where
every row that has a tolerance is within it, else 1. A row without a tolerance is shown and not judged.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGES = ("tlbench", "torch", "numpy", "scipy", "scikit-learn")
_BEGAN = time.perf_counter()


@dataclass(frozen=True)
class Row:
    """One line: a published number, ours, and how far apart they may be. ``band`` is (low, high) instead."""

    what: str
    published: float | None
    ours: float
    tolerance: float | None = None
    band: tuple[float, float] | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """``pass``, ``fail``, or nothing where there is nothing to judge by."""
        if self.band is not None:
            return "pass" if self.band[0] <= self.ours <= self.band[1] else "fail"
        if self.published is None or self.tolerance is None:
            return ""
        return "pass" if abs(self.ours - self.published) <= self.tolerance else "fail"


def parse(
    doc: str | None, extend: Callable[[argparse.ArgumentParser], object] | None = None, *, data: bool = True
) -> argparse.Namespace:
    """The options that all reproductions share; ``extend`` adds to the parser, ``data`` says whether it needs any."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n\n")[0])
    parser.add_argument("--data-root", type=Path, required=data, help="the folder of the data sets")
    parser.add_argument("--out", type=Path, help="a Markdown file for the result and its conditions")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, where the method draws any")
    if extend is not None:
        extend(parser)
    args = parser.parse_args()
    if args.data_root is not None and not args.data_root.is_dir():
        parser.error(f"no folder {args.data_root}: give the folder of the data sets with --data-root")
    return args


def publish(
    title: str, rows: Sequence[Row], args: argparse.Namespace, *, source: str, notes: str = "", digits: int = 2
) -> int:
    """Print and write the table; 0 where nothing fails, 1 otherwise."""
    failed = [row for row in rows if row.verdict == "fail"]
    judged = [row for row in rows if row.verdict]
    verdict = f"{'FAIL' if failed else 'PASS'}: {len(judged) - len(failed)} of {len(judged)} within tolerance"
    parts = [f"# {title}", f"Published: {source}", table(rows, digits), f"**{verdict}**"]
    text = "\n\n".join([*parts, *([notes.strip()] if notes.strip() else [])]) + "\n"
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(f"{text}\n{conditions(args)}\n")
        print(f"written to {args.out}")
    return 1 if failed else 0


def table(rows: Sequence[Row], digits: int) -> str:
    """The rows as a Markdown table."""

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    lines = ["| | published | ours | difference | allowed | verdict |", "|---|---|---|---|---|---|"]
    for row in rows:
        gap = "–" if row.published is None else f"{row.ours - row.published:+.{digits}f}"
        allowed = "–" if row.tolerance is None else f"± {row.tolerance:g}"
        if row.band is not None:
            allowed = f"{row.band[0]:g} to {row.band[1]:g}"
        what = f"{row.what} ({row.note})" if row.note else row.what
        lines.append(
            f"| {what} | {number(row.published)} | {number(row.ours)} | {gap} | {allowed} | {row.verdict or '–'} |"
        )
    return "\n".join(lines)


def conditions(args: argparse.Namespace) -> str:
    """The command, the versions, the machine, the commit and the time that it took."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    names = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    said = {"data_root": "DATA"}
    options = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {said.get(name, value)}")
        for name, value in vars(args).items()
        if value is not None and value is not False
    ]
    script = Path(sys.argv[0]).name
    return "\n".join(
        [
            "## Conditions",
            "",
            f"    python benchmarks/reproduce/{script} {' '.join(options)}",
            "",
            f"* {time.strftime('%Y-%m-%d')}, commit {_commit()}, {time.perf_counter() - _BEGAN:.0f} s",
            f"* {device}, {platform.machine()}, Python {platform.python_version()}, {names}",
        ]
    )


def hub_of(data_root: Path) -> Path:
    """The folder that stands in for the hub: ``data_root`` itself, or its folder ``hub``."""
    return data_root / "hub" if (data_root / "hub").is_dir() else data_root


def _commit() -> str:
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True
        )
        changed = subprocess.run(
            ["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    return f"{found.stdout.strip() or 'unknown'}{' with changes' if changed.stdout.strip() else ''}"
