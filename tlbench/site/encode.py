"""Encode: untrusted values as scripts that only hand over data, bounded in size and clean of control codes."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from tlbench.leaderboard.text import clean

LONGEST = 4000
"""Characters of one text; what is longer is cut, and says so."""
MOST = 2000
"""Entries of one list or mapping."""
DEEPEST = 8
SHORT = 200
"""Characters of a name."""

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"}


def script(name: str, value: Any) -> str:
    """``tlbenchData.put('name','...')`` with the value as JSON inside a string, ASCII only.

    A parsed string and no object literal: it is faster to read, and a key such as ``__proto__`` is only a key. No
    ``<``, ``>``, ``&``, quote or line separator stands in it unescaped. NaN and infinities become ``null``.
    """
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError(f"{name!r} is no name of a chunk")
    body = json.dumps(finite(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    body = re.sub("[<>&']", lambda m: _ESCAPES[m[0]], body).replace("\\", "\\\\")
    return f"tlbenchData.put('{name}','{body}');\n"


def finite(value: Any) -> Any:
    """The same with ``None`` for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value


def rounded(value: float, digits: int = 6) -> float | None:
    """A number to six significant digits; ``None`` where it is not finite."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def name(value: object) -> str:
    """A name for people: one line, clean, at most ``SHORT`` characters."""
    said = str(value)
    said = said if said.isascii() and said.isprintable() else clean(said)
    return said if len(said) <= SHORT else said[: SHORT - 1] + "…"


def prose(value: object) -> str:
    """A text for people: lines are kept, other control codes are not; at most ``LONGEST`` characters."""
    said = "\n".join(clean(line.replace("\t", "    ")) for line in str(value)[: LONGEST + 1].splitlines())
    return said if len(said) <= LONGEST else said[:LONGEST] + " … (cut)"


def bounded(value: Any, depth: int = 0) -> Any:
    """Plain data of bounded depth, length and text."""
    if value is None or isinstance(value, bool | int | float):
        return value if not isinstance(value, int) or abs(value) < 2**53 or isinstance(value, bool) else str(value)[:80]
    if depth >= DEEPEST and isinstance(value, Mapping | list | tuple):
        return "… (too deep)"
    if isinstance(value, Mapping):
        kept = {name(k): bounded(v, depth + 1) for k, v in list(value.items())[:MOST]}
        return kept | ({"…": f"{len(value) - MOST} more"} if len(value) > MOST else {})
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        more = [f"… {len(value) - MOST} more"] if len(value) > MOST else []
        return [bounded(v, depth + 1) for v in value[:MOST]] + more
    return prose(value)


class Slugs:
    """Short names for addresses: ``fine-tuning-labels-5``; equal ones get a number."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def of(self, text: str) -> str:
        """A slug of this text that no other call gave."""
        plain = unicodedata.normalize("NFKD", text[:SHORT]).encode("ascii", "ignore").decode().lower()
        base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-") or "x"
        slug, count = base, 1
        while slug in self._used:
            count += 1
            slug = f"{base}-{count}"
        self._used.add(slug)
        return slug
