"""The board in a terminal: read back as text at several widths."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from tlbench.errors import TlbenchError
from tlbench.leaderboard import Leaderboard, build
from tlbench.leaderboard.views.layout import parts, shorten
from tlbench.leaderboard.views.terminal import board_renderables

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


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 240])
def test_every_column_is_shown_at_every_width(board: Leaderboard, width: int) -> None:
    (group,) = board.groups
    shown = [column for part in parts(board, group, width) for column in part.columns]
    keys = {column.key for column in shown}
    counted = {"helps", "hurts", "undecided"}  # in one cell of three counts
    assert {c.key for c in board.columns} - counted - {"task", "backbone", "selection"} <= keys
    text = " ".join(render(board, width).split())
    for column in shown:
        assert all(word in text for word in column.heading.split()), column.heading
        if column.key not in {"strategy", "worst_pair"}:  # names are folded
            assert all(" ".join(t.split()) in text for t in column.texts), column.key


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_first_table_has_gain_negative_transfer_throughput_and_coverage(board: Leaderboard, width: int) -> None:
    first = render(board, width).split("\n\n")[0]
    head, _, rows = first.partition("──")
    assert all(word in head for word in ("transfer gain", "pairs", "negative", "train", "cover"))
    mixed = next(line for line in rows.splitlines() if line.startswith("mixed"))
    row = next(r for r in board.groups[0].rows if r.label == "mixed")
    assert "1▲ 1▼ 1·" in mixed
    assert "33 %" in mixed
    assert "9/12" in mixed
    assert row.cells["gain"].text.replace(" ", "") in mixed.replace(" ", "")


def test_a_wider_terminal_needs_fewer_tables(board: Leaderboard) -> None:
    counts = [len(parts(board, board.groups[0], width)) for width in (60, 80, 140, 300)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 1


@pytest.mark.parametrize("width", [80, 120])
def test_long_labels_are_folded_and_no_line_is_too_wide(make: SimpleNamespace, width: int) -> None:
    long = {name: f"{name}(shift=inverted, angle=25.0, classes=0-4, half=first)" for name in "abcd"}
    strategy = "fine-tune(train=all, freeze_first=2, layer_decay=0.75, head_first=0.25)"
    records = [make.reference(long[t], s, 0.5 + 0.01 * s) for t in "cd" for s in range(3)]
    records += [
        make.record(make.trial(strategy, long[a], long[t], s), 0.45 + 0.02 * s)
        for a in "ab"
        for t in "cd"
        for s in range(3)
    ]
    shown = render(build(records), width)
    assert max(map(len, shown.splitlines())) <= width
    first = shown.partition("──")[2].partition("\n\n")[0]
    folded = "".join(line[:30].partition("  ")[0].strip() for line in first.splitlines()[1:])
    assert folded.replace(" ", "").startswith(strategy.replace(" ", "")) or strategy.split("(")[0] in folded
    assert "…" not in first


def test_matrices_of_all_strategies_stand_side_by_side_where_they_fit(board: Leaderboard) -> None:
    lines = render(board, 80).splitlines()
    names = next(i for i, line in enumerate(lines) if "gain by source" in line) + 1
    assert lines[names].split() == ["good", "mixed"]
    assert lines[names + 1].split() == ["c", "d", "c", "d"]
    assert lines[names + 2].split() == ["a", "+10.0", "▲", "+9.0", "▲", "+6.0", "▲", "0.0", "·"]
    assert lines[names + 3].split() == ["b", "+11.0", "▲", "+9.0", "▲", "−20.0", "▼", "✗"]


def test_of_many_strategies_the_best_and_the_worst_have_their_matrix(make: SimpleNamespace) -> None:
    records = [make.reference(t, s, 0.5) for t in "cd" for s in range(3)]
    for i in range(20):
        gains = {"c": 0.01 * i, "d": -0.01 * (i == 7)}
        records += [make.record(make.trial(f"m{i}", "a", t, s), 0.5 + gains[t]) for t in "cd" for s in range(3)]
    shown = render(build(records), 80).partition("gain by source")[2]
    assert "of 20 strategies" in shown
    names = shown.splitlines()[1].split()
    assert names[0] == "m19"
    assert "m7" in shown


def test_names_are_shortened_where_they_agree_and_stay_different() -> None:
    names = ["digits(shift=noisy, half=first)", "digits(shift=rotated, half=first)"]
    assert shorten(names, 10) == ["…noisy", "…rotated"]
    assert shorten(names, 40) == names
    assert shorten(["abcdefghijkl"], 7) == ["abc…jkl"]
    many = [f"some-domain-{i:02d}" for i in range(30)]
    assert len(set(shorten(many, 9))) == 30
    assert max(map(len, shorten(many, 9))) <= 9
    assert shorten(["same", "same"], 3) == ["s…e", "s…e"]


def test_conditions_of_the_measurement_are_said(make: SimpleNamespace) -> None:
    records = [
        dataclasses.replace(
            r,
            suite="nightly",
            environment={"device": {"fingerprint": "cpu [A]"}, "versions": {"torch": "2.13.0"}},
            started="2026-03-01T10:00:00+00:00",
            finished=f"2026-03-0{1 + i % 2}T10:05:00+00:00",
        )
        for i, r in enumerate(make.small_board())
    ]
    board = build(records)
    assert dict(board.conditions) == {
        "suite": "nightly",
        "metric": "accuracy",
        "recipe": "lr 0.1, selection last",
        "seeds": "3 seeds (0 to 2)",
        "device": "cpu [A]",
        "software": "torch 2.13.0",
        "when": "2026-03-01 to 2026-03-02 UTC",
    }
    shown = render(board, 100)
    assert "cpu [A] · 3 seeds (0 to 2) · 2026-03-01 to 2026-03-02 UTC\ntorch 2.13.0" in shown


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
    table = shown.partition("target (across)")[2].partition("▲ helps")[0]
    assert table.count("–") == 12, "the diagonal"
    blocks = sum("domain-" in line and "." not in line for line in table.splitlines())
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


def many(make: SimpleNamespace, groups: int) -> Leaderboard:
    """Tasks of which every one has a strategy that gains more and more, and one that loses."""
    records = []
    for g in range(groups):
        task = f"task-{g:02d}"
        records += [make.reference(t, s, 0.5, task=task) for t in "cd" for s in range(3)]
        records += [
            make.record(make.trial(name, "a", t, s, task=task), 0.5 + gain + 0.001 * s)
            for name, gain in (("up", 0.02 * (g + 1)), ("down", -0.1))
            for t in "cd"
            for s in range(3)
        ]
    return build(records)


def rendered(board: Leaderboard, width: int, group: str | None = None) -> str:
    out = io.StringIO()
    for renderable in board_renderables(board, width, group=group):
        Console(file=out, width=width).print(renderable)
    return out.getvalue()


def test_of_many_groups_the_overview_stands_for_the_tables(make: SimpleNamespace) -> None:
    text = rendered(many(make, 9), 80)
    assert len(text.splitlines()) < 30
    for g in range(9):
        line = next(line for line in text.splitlines() if line.startswith(f"task-{g:02d}"))
        assert "up*" in line  # clear of the other
        assert f"+{2 * (g + 1)}.1 [" in line
        assert "1▲  1▼  0·" in line
        assert line.endswith("2/2")
    assert "--group TEXT" in text
    assert "score" not in text


@pytest.mark.parametrize("asked", ["task-03", "TASK-03"])
def test_one_group_is_shown_in_full_where_it_is_asked_for(make: SimpleNamespace, asked: str) -> None:
    text = rendered(many(make, 9), 80, asked)
    assert "task-03 · small" in text
    assert "task-04" not in text
    assert "overview" not in text
    assert all(word in text for word in ("score", "worst pair", "gain by source"))
    assert rendered(many(make, 9), 80, "").count("gain by source") == 9


def test_few_groups_have_their_tables_below_the_overview(make: SimpleNamespace) -> None:
    three, two = rendered(many(make, 3), 100), rendered(many(make, 2), 100)
    assert three.startswith("overview")
    assert three.count("gain by source") == 3
    assert "overview" not in two


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_overview_fits_whatever_the_names(make: SimpleNamespace, width: int) -> None:
    records = []
    for g in range(8):
        task, strategy = f"task-{g}(" + "parameter=12345, " * 5 + ")", "strategy-" * 6
        records += [make.reference("c", s, 0.5, task=task) for s in range(3)]
        records += [make.record(make.trial(strategy, "a", "c", s, task=task), 0.6 + 0.001 * s) for s in range(3)]
    text = rendered(build(records), width)
    assert max(map(len, text.splitlines())) <= width
    assert "+10.1" in text


def test_an_unknown_group_is_answered_with_those_there_are(board: Leaderboard) -> None:
    with pytest.raises(TlbenchError, match=r"no task and backbone has 'zero'.*There are: fine-tuning 10 · small"):
        board_renderables(board, 80, group="zero")


def test_four_sources_and_targets_of_two_strategies_stand_side_by_side_at_eighty_columns(make: SimpleNamespace) -> None:
    domains = ["art_painting", "cartoon", "photo", "sketch"]
    records = [make.reference(t, s, 0.5) for t in domains for s in range(2)]
    records += [
        make.record(make.trial(m, a, t, s), 0.6 + s / 100)
        for m in ("dann", "coral") for a in domains for t in domains if a != t for s in range(2)
    ]  # fmt: skip
    text = rendered(build(records), 80).partition("gain by source")[2]
    assert text.splitlines()[1].split() == ["dann", "coral"] or text.splitlines()[1].split() == ["coral", "dann"]
    line = next(line for line in text.splitlines() if line.startswith("photo"))
    assert line.count("▲") + line.count("·") == 6
    assert line.count("–") == 2
