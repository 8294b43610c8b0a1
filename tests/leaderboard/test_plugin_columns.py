"""Columns from plugins: one entry in a real plugin file, and what a broken one costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tlbench.cli import main
from tlbench.plugins import Plugins
from tlbench.reports import board_of
from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from pathlib import Path
    from types import SimpleNamespace

GOOD = '''
import tlbench

def spread(sample: tlbench.Sample) -> tlbench.Cell:
    """Largest gain minus least."""
    values = sample.numbers["gain"]
    if sample.reference:
        return tlbench.Cell()
    value = float(values.max() - values.min())
    return tlbench.Cell(value, text=f"{100 * value:.1f} wide")

@tlbench.hookimpl
def tlbench_columns():
    return [tlbench.Column("spread", "spread", "points", "largest gain minus least", False, spread)]
'''

BROKEN = """
import tlbench

def fails(sample):
    if sample.labels["strategy"] == "mixed":
        raise ValueError("cannot \\x1b[31m count")
    sample.numbers["gain"][:] = 99.0
    return tlbench.Cell(float("nan"), text="fine")

def wrong(sample):
    return 3

@tlbench.hookimpl
def tlbench_columns():
    return [
        tlbench.Column("fails", "fails", "points", "for some rows", None, fails),
        tlbench.Column("wrong", "wrong", "points", "no cell", None, wrong),
    ]
"""


def plugin(folder: Path, source: str, name: str = "more_columns") -> str:
    path = folder / f"{name}.py"
    path.write_text(source)
    return str(path)


def run_folder(make: SimpleNamespace, folder: Path) -> str:
    with RunFolder(folder).writing() as writer:
        for record in make.small_board():
            writer.write(record)
    return str(folder)


def test_one_entry_in_a_plugin_file_is_a_column_of_the_board_everywhere(
    make: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, extra = run_folder(make, tmp_path / "run"), plugin(tmp_path, GOOD)
    assert main(["leaderboard", run, "--no-plugins", "-p", extra]) == 0
    shown = capsys.readouterr().out
    assert "spread" in shown
    assert "4.0 wide" in shown  # good gains 8 to 12 points
    assert main(["leaderboard", run, "--no-plugins", "-p", extra, "--format", "csv", "--format", "json"]) == 0
    board = tmp_path / "run" / "leaderboard"
    assert "spread" in (board / "leaderboard.csv").read_text().splitlines()[0]
    assert '"spread"' in (board / "leaderboard.json").read_text()
    capsys.readouterr()
    assert main(["plugins", "--json", "--no-plugins", "-p", extra]) == 0
    (entry,) = [e for e in json.loads(capsys.readouterr().out) if e["name"] == "more_columns"]
    assert entry["status"] == "ok"
    assert entry["offers"] == {"columns": ["spread"]}
    assert main(["plugins", "--no-plugins", "-p", extra]) == 0
    assert "1 column" in capsys.readouterr().out


def test_a_broken_column_costs_its_own_cells_and_the_board_says_so(make: SimpleNamespace, tmp_path: Path) -> None:
    records = make.small_board()
    plain = board_of(records, [], Plugins.discover(entry_points=False))
    plugins = Plugins.discover(extra=[plugin(tmp_path, BROKEN)], entry_points=False)
    board = board_of(records, [], plugins)
    cells = {r.label: r.cells for r in board.groups[0].rows}
    assert cells["mixed"]["fails"].value is None
    assert "ValueError" in cells["mixed"]["fails"].mark
    assert cells["good"]["fails"].value is None  # NaN is no value
    assert cells["good"]["fails"].text == "fine"
    assert "got int" in cells["good"]["wrong"].mark
    for before in plain.groups[0].rows:
        assert {k: cells[before.label][k] for k in before.cells} == before.cells
    notes = [n.text for n in board.notes if n.kind == "column"]
    assert len(notes) == 2
    assert "fails failed in 1 rows: ValueError: cannot" in notes[0]
    assert "\x1b" not in notes[0]
    assert "wrong failed in 3 rows" in notes[1]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ('tlbench.Column("gain", "x", "", "x", None, print)', "there is one of that key already"),
        ('tlbench.Column("Bad Key", "x", "", "x", None, print)', "small letters"),
        ('tlbench.Column("x", "x", "", "x", None, 3)', "no function of a sample"),
        ('tlbench.Column("x", "", "", "x", None, print)', "needs a title"),
        ("3", "tlbench.Column objects"),
    ],
)
def test_a_column_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path, entry: str, why: str) -> None:
    source = f"import tlbench\n\n@tlbench.hookimpl\ndef tlbench_columns():\n    return [{entry}]\n"
    plugins = Plugins.discover(extra=[plugin(tmp_path, source)], entry_points=False)
    assert plugins.columns() == ()
    (found,) = [e for e in plugins.entries() if e.name == "more_columns"]
    assert found.status == "broken"
    assert why in found.reasons[0]


def test_of_two_plugins_with_one_key_the_first_has_it(tmp_path: Path) -> None:
    files = [plugin(tmp_path, GOOD, name) for name in ("one", "two")]
    plugins = Plugins.discover(extra=files, entry_points=False)
    assert [c.key for c in plugins.columns()] == ["spread"]
    assert [e.status for e in plugins.entries() if e.name in ("one", "two")] == ["ok", "broken"]


def test_a_hook_that_raises_costs_its_own_columns(make: SimpleNamespace, tmp_path: Path) -> None:
    source = "import tlbench\n\n@tlbench.hookimpl\ndef tlbench_columns():\n    raise RuntimeError('no')\n"
    plugins = Plugins.discover(extra=[plugin(tmp_path, source)], entry_points=False)
    board = board_of(make.small_board(), [], plugins)
    assert board.groups[0].rows
    (found,) = [e for e in plugins.entries() if e.name == "more_columns"]
    assert "tlbench_columns raised RuntimeError: no" in found.reasons[0]
