"""Reporters: each file read back with a library that did not write it."""

from __future__ import annotations

import csv
import json
import math
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt

from tlbench.builtin.reporters import Badge, Csv, Json, Latex, Markdown, Parquet
from tlbench.errors import StoreError
from tlbench.leaderboard import Leaderboard, build

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "leaderboard" / "factory.py")))
EVIL = "=cmd|' /C calc'!A0 <b>|x"


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    return build(make.small_board())


@pytest.fixture(scope="module")
def evil() -> Leaderboard:
    steps = [0, 50, 100]
    records = [make.reference(EVIL, 0, 0.5, curve=(steps, [0.1, 0.3, 0.5]))]
    records.append(make.record(make.trial("@fast", EVIL, EVIL), 0.6, curve=(steps, [0.6, 0.6, 0.6])))
    records.append(make.record(make.trial("-slow\n|", EVIL, EVIL), 0.2, curve=(steps, [0.1, 0.2, 0.2])))
    return build(records)


def numbers(data: Any) -> list[float]:
    if isinstance(data, dict):
        return [n for v in data.values() for n in numbers(v)]
    if isinstance(data, list):
        return [n for v in data for n in numbers(v)]
    return [data] if isinstance(data, float) else []


@pytest.mark.parametrize("reporter", [Badge(), Csv(), Json(), Latex(), Markdown(), Parquet()])
def test_a_reporter_names_the_files_that_it_wrote_and_leaves_no_others(
    reporter: Any, board: Leaderboard, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "folder"
    written = list(reporter.report(board, folder))
    assert written
    assert sorted(written) == sorted(folder.iterdir())
    assert reporter.name == type(reporter).__name__.lower()


@pytest.mark.parametrize("reporter", [Badge(), Csv(), Json(), Latex(), Markdown(), Parquet()])
def test_a_folder_that_cannot_be_written_is_a_clear_error(reporter: Any, board: Leaderboard, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write .*file"):
        list(reporter.report(board, tmp_path / "file"))


@pytest.mark.parametrize("reporter", [Badge(), Csv(), Json(), Latex(), Markdown(), Parquet()])
def test_an_empty_board_can_be_reported(reporter: Any, tmp_path: Path) -> None:
    assert all(path.exists() for path in reporter.report(build([]), tmp_path))


def test_csv_has_the_numbers_of_the_board(board: Leaderboard, tmp_path: Path) -> None:
    rows_path, pairs_path = Csv().report(board, tmp_path)
    rows = pd.read_csv(rows_path).set_index("strategy")
    assert rows.loc["good", "gain"] == pytest.approx(0.0975)
    assert rows.loc["mixed", "hurts"] == 1
    pairs = pd.read_csv(pairs_path).set_index(["strategy", "source", "target"])
    assert pairs.loc[("mixed", "b", "c"), "gain"] == pytest.approx(-0.2)
    assert pairs.loc[("mixed", "b", "c"), "verdict"] == "hurts"


def test_csv_holds_no_formula_and_keeps_negative_numbers(evil: Leaderboard, tmp_path: Path) -> None:
    rows_path, pairs_path = Csv().report(evil, tmp_path)
    for path in (rows_path, pairs_path):
        with path.open(newline="", encoding="utf-8") as file:
            cells = [cell for line in csv.reader(file) for cell in line]
        harmful = [c for c in cells if c[:1] in "=+-@" and c and not _is_number(c)]
        assert harmful == []
        assert "'" + EVIL in cells or "'@fast" in cells
    assert pd.read_csv(rows_path)["gain"].min() == pytest.approx(-0.3)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_json_is_finite_and_spells_what_is_no_number(evil: Leaderboard, tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    (path,) = Json().report(evil, tmp_path)
    data = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert all(math.isfinite(n) for n in numbers(data))
    speeds = {r["cells"]["strategy"]["value"]: r["cells"]["speed_up"]["value"] for r in data["groups"][0]["rows"]}
    assert speeds == {"@fast": "inf", "-slow\n|": "never", "scratch": None}


def test_json_has_rows_pairs_and_what_the_columns_mean(board: Leaderboard, tmp_path: Path) -> None:
    (path,) = Json().report(board, tmp_path)
    data = json.loads(path.read_text(encoding="utf-8"))
    rows = {r["cells"]["strategy"]["value"]: r for r in data["groups"][0]["rows"]}
    gain = rows["good"]["cells"]["gain"]
    assert gain["value"] == pytest.approx(0.0975)
    assert gain["low"] < gain["value"] < gain["high"]
    pair = next(p for p in rows["mixed"]["pairs"] if (p["source"], p["target"]) == ("b", "c"))
    assert (pair["gain"], pair["seeds"], pair["verdict"]) == (pytest.approx(-0.2), 3, "hurts")
    assert {c["key"] for c in data["columns"]} == set(rows["good"]["cells"])
    assert rows["scratch"]["pairs"][0]["gain"] is None


def test_parquet_has_typed_columns_of_rows_and_pairs(board: Leaderboard, tmp_path: Path) -> None:
    rows_path, pairs_path = Parquet().report(board, tmp_path)
    rows, pairs = pq.read_table(rows_path), pq.read_table(pairs_path)
    kinds = {field.name: str(field.type) for field in rows.schema}
    assert (kinds["gain"], kinds["strategy"], kinds["reference"], kinds["hurts"]) == (
        "double",
        "string",
        "bool",
        "double",
    )
    assert len(pairs) == 8
    assert sorted(rows.column("strategy").to_pylist()) == ["good", "mixed", "scratch"]
    assert pairs.column("gain").to_pylist()[0] == pytest.approx(0.1)


def test_parquet_keeps_names_as_they_are(evil: Leaderboard, tmp_path: Path) -> None:
    _, pairs_path = Parquet().report(evil, tmp_path)
    assert set(pq.read_table(pairs_path).column("source").to_pylist()) == {EVIL}


def test_every_line_of_a_markdown_table_has_as_many_cells_as_its_head(evil: Leaderboard, tmp_path: Path) -> None:
    import re

    (path,) = Markdown().report(evil, tmp_path)
    content = path.read_text(encoding="utf-8")
    widths: set[int] = set()
    tables = 0
    for line in content.splitlines():
        if not line.startswith("|"):
            widths = set()
            continue
        tables += not widths
        widths.add(len(re.findall(r"(?<!\\)\|", line)))
        assert len(widths) == 1, line
    assert tables >= 4
    assert "<b>" not in content


def test_markdown_says_gain_interval_verdicts_and_notes(board: Leaderboard, tmp_path: Path) -> None:
    (path,) = Markdown().report(board, tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    good = next(line for line in lines if line.startswith("| good |"))
    assert "| **+9.7 [+" in good or "| **+9.8 [+" in good
    assert any("−20.0 ▼" in line and line.startswith("| b |") for line in lines)
    assert [n.text for n in board.notes] == [line[2:] for line in lines if line.startswith("- ")]


def test_markdown_says_what_may_be_compared_and_how_it_was_measured(tmp_path: Path) -> None:
    records = [
        replace(
            r,
            suite="nightly | <b>",
            environment={"device": "GPU *B*", "versions": {"torch": "2.13.0"}, "git": {"commit": "ab" * 20}},
            started="2026-03-01T10:00:00+00:00",
            finished="2026-03-01T10:05:00+00:00",
        )
        for r in make.small_board()
    ]
    (path,) = Markdown().report(build(records), tmp_path)
    content = path.read_text(encoding="utf-8")
    assert content.startswith("# Leaderboard of nightly \\| &lt;b&gt;\n")
    assert "Ordered by transfer gain over scratch, on 4 of 4 pairs." in content
    for line in (
        "| device | GPU \\*B\\* |",
        "| software | torch 2.13.0 |",
        "| commit | abababababab |",
        "| seeds | 3 seeds (0 to 2) |",
        "| when | 2026-03-01 10:00 to 10:05 UTC |",
        "| recipe | lr 0.1, selection last |",
    ):
        assert line in content.splitlines()


def test_markdown_tables_have_every_column_and_are_read_as_tables(board: Leaderboard, tmp_path: Path) -> None:
    (path,) = Markdown().report(board, tmp_path)
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    heads = {tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "th_open"}
    counted = {"helps", "hurts", "undecided"}  # in one cell of three counts
    in_title = {"task", "backbone", "chosen by"}
    assert {c.title for c in board.columns} - counted - in_title <= heads
    cells = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "td_open"]
    assert "1▲ 1▼ 2·" in cells
    assert "b → c −20.0" in cells
    # scratch is a reference and has no transfer of its own: its line is in the first table, in ranks and in costs
    assert cells.count("scratch") == 3
