"""Numbers as people read them, and names that mean harm."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from tlbench.leaderboard import text


@pytest.mark.parametrize(
    ("value", "signed", "expected"),
    [(8.44, True, "+8.4"), (-0.26, True, "−0.3"), (-0.04, True, "0.0"), (0.04, True, "0.0"), (93.25, False, "93.2")],
)
def test_a_number_has_its_sign_where_it_is_not_zero(value: float, signed: bool, expected: str) -> None:
    assert text.number(value, signed=signed) == expected


def test_units_are_chosen_by_size() -> None:
    assert [text.rate(v) for v in (3.14159, 845.2, 999.7, 12_345, 1_204_000)] == [
        "3.14",
        "845",
        "1.00k",
        "12.3k",
        "1.20M",
    ]
    assert [text.duration(v) for v in (0.42, 12.34, 185, 8_040)] == ["0.42 s", "12.3 s", "3 min 05 s", "2 h 14 min"]
    assert [text.size(v) for v in (512, 512 * 2**20, 1.25 * 2**30)] == ["512 B", "512 MiB", "1.25 GiB"]
    assert [text.ratio(v) for v in (1.5, float("inf"), float("-inf"), float("nan"))] == ["1.50×", "∞", "never", "–"]


def test_control_and_direction_characters_are_shown_and_not_obeyed() -> None:
    assert text.clean("a\x1b[31mb\n\u202ec\u200b") == "a\\x1b[31mb\\x0a\\x202ec\\x200b"
    assert text.clean("fine-tuning · 10 → Zürich 数字") == "fine-tuning · 10 → Zürich 数字"


def test_markdown_names_cannot_end_a_cell_or_begin_anything() -> None:
    assert text.markdown("a|b") == "a\\|b"
    assert text.markdown("<img src=x>&amp;") == "&lt;img src=x&gt;&amp;amp;"
    assert text.markdown("[x](y) *b* `c` _d_") == "\\[x\\](y) \\*b\\* \\`c\\` \\_d\\_"
    assert text.markdown("a\\|b") == "a\\\\\\|b"
    assert "://" not in text.markdown("see https://example.org")
    assert "@" not in text.markdown("me@example.org")


@pytest.mark.parametrize(
    "name", ["- a", "+ a", "* a", "1. a", "12) a", "---", "===", "# a", "> a", "-", "    a", "<b>"]
)
def test_a_markdown_name_at_the_start_of_a_line_is_text(name: str) -> None:
    kinds = [token.type for token in MarkdownIt("commonmark").parse(f"- {text.markdown(name)}")]
    assert kinds == ["bullet_list_open", "list_item_open", "paragraph_open", "inline", "paragraph_close",
                     "list_item_close", "bullet_list_close"]  # fmt: skip


def test_dates_and_numbers_stay_as_they_are_in_markdown() -> None:
    assert [text.markdown(t) for t in ("2026-03-01", "1.5", "−3", "l2-sp")] == ["2026-03-01", "1.5", "−3", "l2-sp"]


def test_a_long_name_keeps_its_ends() -> None:
    shown = text.bounded("a" * 500 + "z" * 500, 21)
    assert (len(shown), shown[:3], shown[-3:], shown.count("…")) == (21, "aaa", "zzz", 1)
    assert text.bounded("short") == "short"


def test_accents_do_not_pile_up_over_other_lines() -> None:
    assert text.clean("e\u0301") == "e\u0301"
    assert text.clean("e" + "\u0301" * 50).count("\u0301") <= 4


def test_html_cannot_leave_a_text_or_an_attribute() -> None:
    assert text.html("<a href='x\">&") == "&lt;a href=&#x27;x&quot;&gt;&amp;"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "|cmd"])
def test_a_spreadsheet_takes_no_name_for_a_formula(name: str) -> None:
    assert text.spreadsheet(name) == "'" + name


def test_a_plain_name_stays_as_it_is_in_a_spreadsheet() -> None:
    assert text.spreadsheet("fine-tune") == "fine-tune"
