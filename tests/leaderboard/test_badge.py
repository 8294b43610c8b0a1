"""The badge: read back as XML and as JSON."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from tlbench.leaderboard import build
from tlbench.leaderboard.forms.badge import COLOURS, badge, to_json, to_svg

if TYPE_CHECKING:
    from types import SimpleNamespace

SVG = "{http://www.w3.org/2000/svg}"


def test_it_shows_the_best_gain_with_its_interval_and_says_whose(make: SimpleNamespace) -> None:
    board = build(make.small_board())
    gain = board.groups[0].rows[0].cells["gain"]
    tree = ET.fromstring(to_svg(badge(board)))
    assert [e.text for e in tree.iter(f"{SVG}text")] == ["transfer gain of good", gain.text]
    assert "over scratch" in tree.get("aria-label", "")
    assert "4 of 4 pairs" in tree.findtext(f"{SVG}title", "")


def test_texts_have_room_in_their_boxes(make: SimpleNamespace) -> None:
    tree = ET.fromstring(to_svg(badge(build(make.small_board()))))
    whole = float(tree.get("width", 0))
    left, right = [r for r in tree.iter(f"{SVG}rect") if r.get("fill")]
    assert float(left.get("width", 0)) + float(right.get("width", 0)) == pytest.approx(whole)
    assert float(right.get("x", 0)) == float(left.get("width", 0))
    for box, text in zip((left, right), tree.iter(f"{SVG}text"), strict=True):
        middle = float(box.get("x", 0)) + float(box.get("width", 0)) / 2
        assert float(text.get("x", 0)) == pytest.approx(middle)
        assert float(text.get("textLength", 0)) <= float(box.get("width", 0)) - 10


def test_the_endpoint_has_what_shields_asks_for(make: SimpleNamespace) -> None:
    data = json.loads(to_json(badge(build(make.small_board()))))
    assert data.keys() == {"schemaVersion", "label", "message", "color"}
    assert data["schemaVersion"] == 1
    assert data["label"] == "transfer gain of good"


def test_the_colour_says_better_worse_or_not_known(make: SimpleNamespace) -> None:
    def colour(gains: list[float]) -> str:
        records = [make.reference("t", r, 0.5) for r in range(len(gains))]
        records += [make.record(make.trial("x", "s", "t", r), 0.5 + g) for r, g in enumerate(gains)]
        return badge(build(records)).tone

    assert colour([0.1, 0.11, 0.09]) == "good"
    assert colour([-0.1, -0.11, -0.09]) == "bad"
    assert colour([0.1, -0.1, 0.05]) == ""
    assert colour([0.3]) == ""  # one seed
    assert len(set(COLOURS.values())) == 3


def test_a_row_chosen_by_test_labels_is_not_shown_and_an_empty_board_says_so(make: SimpleNamespace) -> None:
    records = [make.reference("t", r, 0.5) for r in range(3)]
    records += [make.record(make.trial("cheat", "s", "t", r, selection="oracle"), 0.9) for r in range(3)]
    records += [make.record(make.trial("fair", "s", "t", r), 0.6) for r in range(3)]
    assert "fair" in badge(build(records)).label
    assert badge(build([])).message == "no result"
    ET.fromstring(to_svg(badge(build([]))))
