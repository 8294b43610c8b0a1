"""Badge: the board's best gain with its interval in one line, as an SVG picture and as data for shields.io.

transfer gain of l2-sp | +2.4 [−1.7, +7.6]
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from tlbench.leaderboard.inference.leading import fair
from tlbench.leaderboard.text import bounded, clean, html

if TYPE_CHECKING:
    from tlbench.leaderboard.board import Leaderboard

LONGEST = 32
LABEL = "transfer gain"
COLOURS = {"good": "#1a7f37", "bad": "#c62a30", "": "#57606a"}
"""With white text on them at a contrast above 4.5, as the Web Content Accessibility Guidelines 2.1 ask for."""
_WIDE = {**dict.fromkeys("ijl.,:;|!'()[] ", 4.2), **dict.fromkeys("frt-", 5.0), **dict.fromkeys("mwMW@%", 10.4)}


class Badge(NamedTuple):
    """``label`` and ``message`` stand side by side, ``title`` is read out; ``tone`` is good, bad or nothing."""

    label: str
    message: str
    title: str
    tone: str


def badge(board: Leaderboard) -> Badge:
    """The best row that competes, of the group in which most pairs are compared."""
    groups = [g for g in board.groups if not g.disjoint and any(map(fair, g.rows))]
    if not groups:
        return Badge(LABEL, "no result", "transfer gain: no result", "")
    group = max(groups, key=lambda g: g.pairs_compared)
    row = next(r for r in group.rows if fair(r))
    gain = row.cells["gain"]
    name = bounded(row.label, LONGEST)
    where = f"{bounded(group.title)}, {group.pairs_compared} of {group.pairs_planned} pairs"
    unit = f"points of {bounded(board.metric)}" if board.points else bounded(board.metric)
    over = f" over {bounded(group.against)}" if group.against else ""
    title = f"Transfer gain of {bounded(row.label)}{over}: {gain.text} in {unit} ({where})"
    return Badge(f"{LABEL} of {name}", clean(gain.text), title, gain.tone if gain.low is not None else "")


def to_json(badge: Badge) -> str:
    """The badge as an endpoint of shields.io, schema version 1 (https://shields.io/badges/endpoint-badge)."""
    said = {"schemaVersion": 1, "label": badge.label, "message": badge.message, "color": COLOURS[badge.tone]}
    return json.dumps(said, indent=1) + "\n"


def to_svg(badge: Badge) -> str:
    """A picture of 20 pixels' height that names no other file and holds no script."""
    left, right = (_width(part) + 12 for part in (badge.label, badge.message))
    whole, label, message, title = left + right, *map(html, (badge.label, badge.message, badge.title))
    texts = "".join(
        f'<text x="{x:g}" y="14" textLength="{wide - 12:g}" lengthAdjust="spacingAndGlyphs">{said}</text>'
        for x, wide, said in ((left / 2, left, label), (left + right / 2, right, message))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole:g}" height="20" role="img" aria-label="{title}">'
        f"<title>{title}</title>"
        f'<clipPath id="r"><rect width="{whole:g}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#r)"><rect width="{left:g}" height="20" fill="#24292f"/>'
        f'<rect x="{left:g}" width="{right:g}" height="20" fill="{COLOURS[badge.tone]}"/></g>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g>'
        "</svg>\n"
    )


def _width(text: str) -> float:
    """About how wide the text is in Verdana of 11 pixels; the picture stretches it to just this."""
    return round(sum(_WIDE.get(c, 6.9 if c.isascii() or c in "−–…·×" else 11.0) for c in text), 1)
