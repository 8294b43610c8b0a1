"""The board in a terminal: read back as text at several widths."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from tlbench.leaderboard import Leaderboard, build
from tlbench.leaderboard.terminal import board_renderables

if TYPE_CHECKING:
    from types import SimpleNamespace


def render(board: Leaderboard, width: int, colour: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colour, color_system="truecolor" if colour else None)
    for renderable in board_renderables(board, width):
        console.print(renderable)
    return out.getvalue()


@pytest.fixture(scope="module")
def board(make: SimpleNamespace) -> Leaderboard:
    lost = {make.trial("mixed", "b", "d", seed).key for seed in range(3)}
    planned = [make.trial("mixed", "b", "d", seed) for seed in range(3)]
    return build([r for r in make.small_board() if r.key not in lost], planned=planned)


@pytest.mark.parametrize("width", [80, 100, 140, 240])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(board: Leaderboard, width: int) -> None:
    shown = render(board, width)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    gain = next(r for r in board.groups[0].rows if r.label == "good").cells["gain"].text
    assert gain.replace(" ", "") in shown.replace(" ", "")


@pytest.mark.parametrize("width", [80, 140])
def test_every_column_is_shown_or_named_as_left_out(board: Leaderboard, width: int) -> None:
    shown = " ".join(render(board, width).split())
    left_out = shown.partition("No room at")[2]
    heading = shown.partition("──")[0]
    for column in board.columns:
        if column.key in {"task", "backbone", "selection"}:
            continue
        words = (column.heading or column.title).split()
        assert column.title in left_out or all(word in heading for word in words), column.title


def test_more_columns_fit_a_wider_terminal(board: Leaderboard) -> None:
    counts = [render(board, width).partition("No room")[2].count(",") for width in (80, 100, 140)]
    assert counts[0] > counts[1] > counts[2]
    assert "No room" not in render(board, 300)


def test_signs_and_words_say_all_without_colour(board: Leaderboard) -> None:
    shown = render(board, 100)
    assert "−20.0 ▼" in shown
    assert "+6.0 ▲" in shown
    assert "✗" in shown, "the missing pair of the matrix"
    assert "reference" in shown
    assert "3 missing: mixed" in " ".join(shown.split())
    assert "\x1b" not in shown


def test_colour_adds_to_the_same_text(board: Leaderboard) -> None:
    import re

    coloured = render(board, 100, colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(board, 100)


def test_a_diagonal_is_marked_and_wide_matrices_come_in_blocks(make: SimpleNamespace) -> None:
    domains = [f"domain-{i:02d}" for i in range(12)]
    records = [make.reference(t, s, 0.5) for t in domains for s in range(2)]
    gains = np.random.default_rng(0).normal(0, 0.1, (12, 12))
    for i, source in enumerate(domains):
        for j, target in enumerate(domains):
            if i != j:
                records += [
                    make.record(make.trial("m", source, target, s), round(float(np.clip(0.5 + gains[i, j], 0, 1)), 3))
                    for s in range(2)
                ]
    shown = render(build(records), 80)
    assert max(map(len, shown.splitlines())) <= 80
    table = shown.partition("targets across")[2].partition("▲ helps")[0]
    assert table.count("·") == 12
    blocks = sum("domain-" in line and "▲" not in line and "·" not in line for line in table.splitlines())
    assert blocks >= 2
    assert [table.count(domain) for domain in domains] == [blocks + 1] * 12  # once across, and down in each block


def test_names_are_not_taken_for_markup_or_escapes(make: SimpleNamespace) -> None:
    records = [make.reference("[red]c[/red]", 0, 0.5)]
    records.append(make.record(make.trial("[bold]m\x1b[2J", "a", "[red]c[/red]"), 0.6))
    shown = render(build(records), 100)
    assert "[bold]m\\x1b[2J" in shown
    assert "\x1b" not in shown


def test_an_empty_board_says_so() -> None:
    assert "No trials" in render(build([]), 80)
