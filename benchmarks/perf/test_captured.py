"""Which strategies' steps can be replayed as CUDA graphs, and why the others' cannot; nothing here is timed.

    python -m pytest benchmarks/perf/test_captured.py       no more are refused than the table says
    python benchmarks/perf/test_captured.py                 the table, to results/perf/graphs.md

Every strategy that is installed trains on a small problem on the CPU. In the place of a CUDA graph stands the replay of
`tests/training/tape_replay.py`: it runs the very ops of the captured step again, with their numbers, and no Python of
the step. Each is trained again with every step plain, and scores and losses are compared to the bit.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from beside import RESULTS, write

from tlbench.errors import SkipTrial
from tlbench.plugins import Plugins
from tlbench.training.graphs import OBSERVED


class Row(NamedTuple):
    """A strategy that trains by steps: steps made and replayed, why not more, and whether both ways are alike."""

    name: str
    made: int
    replayed: int
    reasons: tuple[str, ...]
    waits: tuple[str, ...]
    alike: bool


def every() -> Any:
    """The strategies and their problems, as the tests have them."""
    path = Path(__file__).resolve().parents[2] / "tests" / "training" / "every_strategy.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[path.stem] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure() -> list[Row]:
    """Every strategy that trains by steps, and some with other parameters."""
    strategies, plugins, rows = every(), Plugins.discover(), []
    for case in strategies.cases(plugins):
        graphs, watching = strategies.Counting(), strategies.Watching()
        try:
            found = strategies.trained(case, plugins, graphs)
        except SkipTrial:
            continue
        if found.moves:
            plain = strategies.trained(case, plugins, strategies.Plain())
            strategies.trained(case, plugins, watching)
            waits = tuple(sorted(watching.waits))
            rows.append(Row(str(case), found.moves, found.replayed, found.reasons, waits, found == plain))
    return rows


def test_no_more_strategies_are_refused_than_the_table_says() -> None:
    torch.set_num_threads(1)
    table = (RESULTS / "graphs.md").read_text()
    known = {name for name, why in re.findall(r"^\| ([^|]+?) \| \d+ \| \d+ \| ([^|]*?) \|", table, re.MULTILINE) if why}
    rows = measure()
    assert all(row.alike for row in rows), [row.name for row in rows if not row.alike]
    assert {row.name for row in rows if row.reasons} <= known
    assert len(rows) > 50


def main() -> None:
    """Measure and write the table."""
    torch.set_num_threads(1)
    rows = measure()
    refused = sum(bool(row.reasons) for row in rows)
    names = {re.split(r"[ ,]", row.name)[0] for row in rows}
    counted = f"{len(names)} strategies, some with other parameters as well: of {len(rows)} cases {len(rows) - refused}"
    words = f"""
{counted} are replayed.
A training's first {OBSERVED} steps are always plain, and some strategies train several times.
Where a row has several trainings (a source's, a pre-training's, candidates') and a reason, the reason is that of one.
`to the bit` compares all scores and losses with those of plain steps. `host waits` is what, on a GPU, would make the
host wait within a plain step. On the CPU, small problems, 24 steps, in float32; whether CUDA captures these steps too,
only a GPU can tell.
"""
    header = ("strategy", "steps", "replayed", "why not", "to the bit", "host waits")
    write("graphs", "Steps replayed as CUDA graphs, strategy by strategy", words, header, [
        (row.name, str(row.made), str(row.replayed), "; ".join(row.reasons), "yes" if row.alike else "**no**",
         "; ".join(row.waits))
        for row in rows
    ])  # fmt: skip


if __name__ == "__main__":
    main()
