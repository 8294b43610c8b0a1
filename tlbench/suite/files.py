"""Suite files: found by path or by the name of a shipped suite, and put together with those they extend."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tlbench.errors import SuiteError
from tlbench.suite.yaml import Document, Place, read

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_SHIPPED = Path(__file__).parent / "shipped"


def shipped() -> dict[str, Path]:
    """The suites that come with tlbench: name -> file."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.yaml"))}


def find(path_or_name: str | Path) -> Path:
    """The file of a suite: a path, or the name of a shipped one. Raises ``SuiteError`` where there is neither."""
    text = str(path_or_name)
    known = shipped()
    if text in known:
        return known[text]
    path = Path(path_or_name)
    if os.path.lexists(path) or path.suffix in (".yaml", ".yml") or path.name != text:
        return path  # reading it says what is wrong with it
    close = difflib.get_close_matches(text, known, n=1)
    guess = f" Did you mean the shipped suite {close[0]!r}?" if close else ""
    raise SuiteError([f"{text}: there is no such file and no shipped suite of this name.{guess} "
                      f"Shipped: {', '.join(known) or '(none)'}."])  # fmt: skip


def read_with_bases(path: Path) -> Document:
    """The document of a suite: its top-level keys, over those of the files that it extends (the last of them on top).

    Only one level: a file that is extended may not extend others, so nothing can go round in circles.
    Raises ``SuiteError`` for a file that cannot be read, that is no mapping, or that extends in circles.
    """
    own = _read_mapping(path)
    if "extends" not in own.data:
        return own
    merged: Document | None = None
    for place, text in _bases(own):
        base = _base(own, path, place, text)
        merged = base if merged is None else _over(base, merged)
    return own if merged is None else _over(own, merged)


def _bases(own: Document) -> list[tuple[Place, str]]:
    value = own.data["extends"]
    found: list[tuple[Place, Any]] = (
        [(("extends", i), item) for i, item in enumerate(value)] if isinstance(value, list) else [(("extends",), value)]
    )
    wrong = [place for place, item in found if not isinstance(item, str) or not item]
    if wrong:
        raise SuiteError(
            [f"{own.mark(place)}: 'extends' takes the path of a suite file, or a list of them" for place in wrong]
        )
    return found


def _base(own: Document, path: Path, place: Place, text: str) -> Document:
    base = Path(os.path.normpath(path.parent / text))
    if _same(base, path):
        raise SuiteError([f"{own.mark(place)}: {text!r} is this file; a suite cannot extend itself"])
    try:
        document = _read_mapping(base)
    except SuiteError as error:
        raise SuiteError([f"{own.mark(place)}: cannot extend {text!r}:", *error.problems]) from None
    if "extends" in document.data:
        back = any(_same(base.parent / str(item), path) for _, item in _bases(document))
        why = "the two extend each other" if back else "only one level of 'extends' is read"
        raise SuiteError([f"{document.mark(('extends',), key=True)}: this file is extended by {path}: {why}"])
    return document


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _read_mapping(path: Path) -> Document:
    document = read(path)
    if not isinstance(document.data, dict):
        raise SuiteError([f"{document.mark(())}: a suite is a mapping with the keys tlbench, name, targets, ..."])
    return document


def _over(top: Document, bottom: Document) -> Document:
    """The keys of ``top``, and those of ``bottom`` that ``top`` does not have; each with its own marks."""

    def put(high: Mapping[Place, T], low: Mapping[Place, T]) -> dict[Place, T]:
        return {**{place: x for place, x in low.items() if place and place[0] not in top.data}, **high}

    return Document(
        top.file,
        {**bottom.data, **top.data},
        put(top.values, bottom.values),
        put(top.keys, bottom.keys),
        put(top.written, bottom.written),
    )
