"""YAML, read safely: plain data, and for every value the line and the column where it stands.

What can be read is bounded in bytes, depth and values (aliases count as often as they are used), so that
no text costs more than a moment. Of YAML's tags only null, bool, int, float, str, seq and map are known.
Scalars are read as YAML 1.2 reads them (``1e-3`` is a number, ``010`` is ten, ``2024-01-01`` is text),
except that ``yes``, ``no``, ``on`` and ``off`` are booleans, as most programs that read YAML have it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from tlbench.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_VALUES = 100_000

Place = tuple[str | int, ...]
"""Where a value stands inside a document: the keys and indices that lead to it."""

_TAG = "tag:yaml.org,2002:"
_LOOKS = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"(true|yes|on|false|no|off)|(True|Yes|On|False|No|Off)|(TRUE|YES|ON|FALSE|NO|OFF)"),
    "int": re.compile(r"[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}"),
    "float": re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
}
"""How a scalar without quotes looks that is not text; the first that fits decides."""
_TRUE = frozenset({"true", "yes", "on"})
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Mark(NamedTuple):
    """A position in a file; line and column count from one. Sorts in the order of the file."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Document:
    """Plain data with the marks of all its values, and of the keys of its mappings.

    ``written`` has the text of the scalars whose text says more than their value (``no``, ``on``).
    """

    file: str
    data: Any
    values: Mapping[Place, Mark] = field(default_factory=dict)
    keys: Mapping[Place, Mark] = field(default_factory=dict)
    written: Mapping[Place, str] = field(default_factory=dict)

    def mark(self, place: Place, *, key: bool = False) -> Mark:
        """Where the value stands (or its key); for what is not there, where its nearest parent stands."""
        for end in range(len(place), -1, -1):
            prefix = place[:end]
            if (key or prefix not in self.values) and prefix in self.keys:
                return self.keys[prefix]
            if prefix in self.values:
                return self.values[prefix]
        return Mark(self.file, 1, 1)


def read(path: Path) -> Document:
    """The document in a file. Raises ``SuiteError`` with file, line and column for anything that is wrong."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SuiteError([f"{path}: there is no such file"]) from None
    except IsADirectoryError:
        raise SuiteError([f"{path}: this is a folder; a suite is one YAML file"]) from None
    except (OSError, ValueError) as error:
        raise SuiteError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    return parse(content, str(path))


def parse(content: bytes, file: str) -> Document:
    """The document in these bytes; ``file`` is its name in messages. Raises ``SuiteError``."""
    if len(content) > MAX_BYTES:
        raise SuiteError([f"{file}: larger than {MAX_BYTES:,} bytes, which no suite needs"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise SuiteError([f"{file}:{line}:{column}: not UTF-8 (byte 0x{content[error.start]:02x})"]) from None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark = Mark(file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise SuiteError([f"{mark}: the character #x{ord(text[error.position]):04x} is not allowed"]) from None
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        where = f"{file}:{at.line + 1}:{at.column + 1}" if at else file
        raise SuiteError([f"{where}: {error.problem or error.context or 'not YAML'}"]) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: \U escapes beyond Unicode, version numbers too long
        raise SuiteError([f"{file}: not YAML: {error}"]) from None
    if root is None:
        return Document(file, None)
    reading = _Reading(file)
    data = reading.plain(root, (), 0)
    if reading.problems:
        raise SuiteError([f"{mark}: {message}" for mark, message in sorted(set(reading.problems))])
    return Document(file, data, reading.values, reading.keys, reading.written)


class _Loader(yaml.SafeLoader):
    """Composes nodes and refuses depth and numbers as they grow, not after they have cost their time."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.nodes = 0

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: Any) -> str:
        """The tag of a node that none was written for."""
        if kind is yaml.SequenceNode:
            return f"{_TAG}seq"
        if kind is yaml.MappingNode:
            return f"{_TAG}map"
        plain = isinstance(implicit, tuple) and bool(implicit[0])
        looks = (name for name, form in _LOOKS.items() if plain and form.fullmatch(value or ""))
        return _TAG + next(looks, "str")

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=mark)
        self.nodes += 1
        if self.nodes > MAX_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_VALUES:,} values", problem_mark=mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Reading:
    """Turns nodes into plain data, and remembers where each value stands and what is wrong."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[Place, Mark] = {}
        self.keys: dict[Place, Mark] = {}
        self.written: dict[Place, str] = {}
        self.problems: list[tuple[Mark, str]] = []

    def plain(self, node: yaml.Node, place: Place, depth: int) -> Any:
        mark = Mark(self.file, node.start_mark.line + 1, node.start_mark.column + 1)
        # Fatal, both: going on could take for ever where aliases hold aliases, or hold themselves.
        if depth > MAX_DEPTH:
            raise SuiteError([f"{mark}: nested deeper than {MAX_DEPTH} levels"])
        if len(self.values) >= MAX_VALUES:
            raise SuiteError([f"{mark}: more than {MAX_VALUES:,} values, aliases included"])
        self.values[place] = mark
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.ScalarNode) and (kind == "str" or kind in _LOOKS):
            return self.scalar(node.value, kind, place, mark)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.plain(item, (*place, i), depth + 1) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self.mapping(node, place, depth)
        self.problems.append((mark, f"the tag {_short(node.tag)} is not allowed here"))
        return None

    def mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            at = Mark(self.file, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append((at, "a key must be plain text"))
                continue
            key = key_node.value
            if key == "<<" and key_node.style is None:
                self.problems.append((at, "merge keys (<<) are not read; repeat the values, or use 'extends'"))
            elif _CONTROL.search(key):
                self.problems.append((at, "control characters are not allowed in a key"))
            elif key in found:
                first = self.keys[(*place, key)]
                self.problems.append((at, f"{_short(key)} is there already, in line {first.line}"))
            else:
                self.keys[(*place, key)] = at
                found[key] = self.plain(value_node, (*place, key), depth + 1)
        return found

    def scalar(self, text: str, kind: str, place: Place, mark: Mark) -> Any:
        if kind != "str" and not _LOOKS[kind].fullmatch(text):
            self.problems.append((mark, f"{_short(text)} is not of the kind {kind} that its tag says"))
            return None
        if kind == "null":
            return None
        if kind == "bool":
            if text.lower() not in ("true", "false"):
                self.written[place] = text
            return text.lower() in _TRUE
        if kind == "int":
            number = int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            if not -(2**63) <= number < 2**63:
                self.problems.append((mark, f"{_short(text)} does not fit 64 bits"))
            return number
        if kind == "float":
            value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if not math.isfinite(value):
                self.problems.append((mark, f"a number must be finite, got {_short(text)}"))
            return value
        if _CONTROL.search(text):
            self.problems.append((mark, "control characters are not allowed"))
        return text


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
