"""The one command that runs all: it finds every benchmark, reads every table, and judges rightly."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from beside import RESULTS
from goals import FIGURES, Figure, judged, summary
from run import HERE, LARGE, scripts

if TYPE_CHECKING:
    from pathlib import Path

TABLE = """# A table

| what | ratio | gate |
|---|---|---|
| one, small | **3.50**; 3.40 (3.0 to 4.0) | 2 |
| one, large | 1,250.5 (1,000 to 2,000) |  |
| two | – | 2 |
| count | 6 of 4 | 1 |

CPU; commit 0123456789ab with changes.
"""


def test_every_benchmark_of_the_folder_is_found_in_order_and_every_figure_has_one() -> None:
    found = scripts()
    files = {p.name for p in HERE.glob("test_*.py")}
    assert {p.name for p in found.values()} == files - {"test_run.py"}
    numbers = [int(name[1:]) for name in found if name[1:].isdigit()]
    assert numbers == sorted(numbers)
    assert set(LARGE) - {"streaming"} <= set(found)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f"{f.id}, {f.what}")
def test_every_table_that_is_there_has_its_figure(figure: Figure) -> None:
    verdict = judged(figure, RESULTS)
    if (RESULTS / f"{figure.file}.md").is_file():
        assert verdict.value is not None, verdict.word
        assert verdict.commit
    else:
        assert verdict.word == "not measured"


@pytest.mark.parametrize(
    ("row", "better", "best", "must", "aim", "value", "word"),
    [
        ("small", "high", False, 3, 3.6, 3.5, "gate reached"),
        ("small", "high", False, 3, 3.5, 3.5, "aim reached"),
        ("small", "high", False, 4, 5, 3.5, "**missed**"),
        ("small", "low", False, 4, 3, 3.5, "gate reached"),
        ("one", "high", False, 4, 5, 3.5, "**missed**"),
        ("one", "high", True, 4, 5, 1250.5, "aim reached"),
        ("one", "low", False, 4, 5, 1250.5, "**missed**"),
        ("small", "low", False, None, 3, 3.5, "aim missed"),
        ("count", "low", False, 1, 1, 1.5, "**missed**"),
        ("two", "high", False, 1, 2, None, "not found in t.md"),
        ("three", "high", False, 1, 2, None, "not found in t.md"),
    ],
)
def test_the_worst_row_counts_and_is_held_to_gate_and_aim(
    tmp_path: Path, row: str, better: str, best: bool, must: float | None, aim: float, value: float | None, word: str
) -> None:
    (tmp_path / "t.md").write_text(TABLE)
    figure = Figure("P0", "a figure", "t", row, "^ratio", better, must, aim, best=best)  # type: ignore[arg-type]
    found = judged(figure, tmp_path)
    assert (found.value, found.word, found.commit) == (value, word, "0123456")


def test_where_a_table_states_no_gate_there_is_no_verdict_on_one(tmp_path: Path) -> None:
    (tmp_path / "t.md").write_text(TABLE)
    figure = Figure("P10", "a figure", "t", "large", "^ratio", "high", 1.8, 2.7)
    assert judged(figure, tmp_path).word == "no gate on this machine"
    assert judged(replace(figure, row="small"), tmp_path).word == "aim reached"


def test_a_table_that_is_not_there_is_said_with_the_reason(tmp_path: Path) -> None:
    figure = Figure("P6", "a figure", "p6", "", "^ratio", "high", 3, 5)
    found = judged(figure, tmp_path, "torch sees no GPU")
    assert summary([found]) == [("P6", "a figure", "–", "≥ 3", "≥ 5", "not measured: torch sees no GPU", "")]


def test_names_that_are_no_benchmark_are_refused() -> None:
    done = subprocess.run([sys.executable, str(HERE / "run.py"), "p0"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "no benchmark p0; there are ceilings, p1, p2" in done.stderr
