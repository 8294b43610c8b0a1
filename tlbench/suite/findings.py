"""Findings: everything that is wrong with a suite, gathered while it is read, each with its line and column."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tlbench.errors import SuiteError

if TYPE_CHECKING:
    from tlbench.suite.yaml import Document, Mark, Place

_KINDS = {
    bool: "the boolean",
    int: "the number",
    float: "the number",
    str: "the text",
    list: "a list",
    dict: "a mapping",
}


class Findings:
    """The problems of one document. Values of the wrong kind are noted, and ``None`` comes back for them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._problems: set[tuple[Mark, str]] = set()

    def add(self, place: Place, message: str, *, key: bool = False) -> None:
        """Note a problem with the value at ``place``, or with its key."""
        written = self.document.written.get(place)
        if written and not key:
            message += f' (written {written}; where text is meant, quote it: "{written}")'
        self._problems.add((self.document.mark(place, key=key), message))

    def line(self, place: Place) -> str:
        """Where something stands, for use within a message about something else."""
        mark = self.document.mark(place)
        return f"line {mark.line}" if mark.file == self.document.file else str(mark)

    def check(self) -> None:
        """Raise ``SuiteError`` with all problems in the order of the file, if there are any."""
        if self._problems:
            raise SuiteError([f"{mark}: {message}" for mark, message in sorted(self._problems)])

    def got(self, value: Any) -> str:
        """``the boolean false``"""
        if value is None:
            return "nothing"
        if isinstance(value, (list, dict)):
            return _KINDS[type(value)]
        text = json.dumps(value, ensure_ascii=False)
        return f"{_KINDS[type(value)]} {text if len(text) <= 60 else text[:59] + '…'}"

    def wrong(self, place: Place, value: Any, expected: str) -> None:
        """Note that something else was expected at ``place``."""
        message = f"expected {expected}, got {self.got(value)}"
        if (
            isinstance(value, (int, float))
            and not self.document.written.get(place)
            and expected.endswith(("text", "name"))
        ):
            message += f"; where text is meant, quote it: {json.dumps(str(value))}"
        self.add(place, message)

    def text(self, place: Place, value: Any, expected: str = "text") -> str | None:
        """A text of one line that can be shown, not empty."""
        if not isinstance(value, str) or not value.strip():
            self.wrong(place, value, expected)
        elif not value.isprintable():
            self.add(place, f"expected {expected} of one line that can be printed")
        else:
            return value
        return None

    def items(self, place: Place, value: Any, expected: str) -> list[tuple[Place, Any]]:
        """The items of a list that is not empty; a single value counts as a list of one."""
        if isinstance(value, list):
            if not value:
                self.add(place, f"expected {expected}, got an empty list")
            return [((*place, i), item) for i, item in enumerate(value)]
        if value is None:
            self.wrong(place, value, expected)
            return []
        return [(place, value)]

    def mapping(self, place: Place, value: Any, expected: str) -> dict[str, Any]:
        """A mapping; nothing at all counts as an empty one."""
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        self.wrong(place, value, expected)
        return {}
