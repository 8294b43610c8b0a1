"""Text: how a number looks on the board, and how a name from a suite or a plugin is made harmless."""

from __future__ import annotations

import math
import re
import unicodedata
from html import escape

NONE = "–"
MINUS = "−"


LONGEST_NAME = 120
"""Longer names are shown without their middle in tables and pages; data files keep them whole."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS = 4
"""So many accents may stand on one letter; more would be drawn over the lines above and below."""


def clean(name: object) -> str:
    """A name on one line without control, direction or other invisible characters (shown as ``\\x1b``)."""
    text = str(name)
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    marks = 0
    for c in text:
        category = unicodedata.category(c)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        out.append(f"\\x{ord(c):02x}" if category in _HIDDEN or marks > _MARKS else c)
    return "".join(out)


def bounded(name: object, most: int = LONGEST_NAME) -> str:
    """A clean name of at most ``most`` characters: a longer one loses its middle."""
    text = clean(name)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


def html(name: object) -> str:
    """A name for the text or a quoted attribute of HTML, SVG or XML."""
    return escape(clean(name), quote=True)


def markdown(name: object) -> str:
    """A name for a cell of a Markdown table: no pipe, HTML, link, emphasis, code or formula can come of it."""
    text = clean(name).strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")
    text = re.sub(r"([\\`*_{}\[\]#|~^])", r"\\\1", text)
    # At the start of a line: a list, a rule, a heading.
    text = re.sub(r"^(?=[-+=](?:[\s=-]|$))|^(\d{1,9})(?=[.)](?:\s|$))", r"\1\\", text)
    # A bare address would become a link by itself.
    return re.sub(r"(?i)\b(https?|ftp|mailto)(:)|\b(www)(\.)|(@)", _defuse, text)


def _defuse(match: re.Match[str]) -> str:
    return match[0][:-1] + {":": "&#58;", ".": "&#46;", "@": "&#64;"}[match[0][-1]]


def spreadsheet(name: object) -> str:
    """A name for a cell of a CSV file: one that a spreadsheet would take for a formula gets an apostrophe.

    So does what follows a semicolon, at which spreadsheets of many countries begin a new cell.
    """
    text = clean(name)
    return re.sub(rf"(^|;)(?=[\s\"']*[{_FORMULA}])", r"\1'", text)


_FORMULA = re.escape("=+-@|%＝＋－＠")


def number(value: float, digits: int = 1, signed: bool = False) -> str:
    """``8.4``, ``+8.4``, ``−0.3``; a value that rounds to 0 has no sign."""
    if not math.isfinite(value):
        return NONE
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def share(value: float) -> str:
    """``25 %``"""
    return NONE if not math.isfinite(value) else f"{number(100 * value, 0)} %"


def rate(value: float) -> str:
    """Examples/s to three figures: ``845``, ``12.3k``, ``1.20M``."""
    if not math.isfinite(value):
        return NONE
    for limit, unit in ((999_500, "M"), (999.5, "k")):
        if value >= limit:
            return _three(value / (1e6 if unit == "M" else 1e3)) + unit
    return _three(value)


def duration(value: float) -> str:
    """Seconds: ``0.42 s``, ``12.3 s``, ``3 min 05 s``, ``2 h 14 min``."""
    if not math.isfinite(value):
        return NONE
    if value < 99.95:
        return f"{_three(value)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(value: float) -> str:
    """Bytes: ``512 MiB``, ``1.25 GiB``."""
    if not math.isfinite(value):
        return NONE
    for unit in ("B", "KiB", "MiB"):
        if value < 999.5:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{_three(value)} GiB"


def ratio(value: float) -> str:
    """A speed-up: ``1.50×``, ``∞``, ``never``."""
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "never"
    return f"{_three(value)}×"


def _three(value: float) -> str:
    """Three figures, and no more than two decimals."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
