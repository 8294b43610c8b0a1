"""How parameters read: their types, what a message says it expected, and the docs in a class's source.

Imports nothing heavy, so the catalogue and the messages may use it anywhere.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import itertools
import re
import textwrap
import types
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from tlbench.api.types import Backbone, Strategy

PLUGINS: dict[Any, str] = {Strategy: "strategies", Backbone: "backbones"}
"""Parameters of these types hold another plugin: its name, or a mapping with ``name`` and parameters."""

UNIONS = (Union, types.UnionType)
LISTS: tuple[Any, ...] = (list, tuple, set, frozenset, Sequence)

_SINGULAR: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_PLURAL: dict[Any, str] = {int: "whole numbers", float: "numbers", bool: "truth values", str: "texts"}


def bare(hint: Any) -> Any:
    """The type without the extras of ``Annotated``."""
    return bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def options(hint: Any) -> list[Any]:
    """The values of a ``Literal`` or an enumeration, also inside a union; empty for other types."""
    hint = bare(hint)
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if get_origin(hint) in UNIONS:
        return [value for part in get_args(hint) for value in options(part)]
    return [member.value for member in hint] if isinstance(hint, type) and issubclass(hint, enum.Enum) else []


def type_text(hint: Any) -> str:
    """A type as the catalogue shows it, in YAML: ``float``, ``int | null``, ``'sgd' | 'adam'``, ``list[int]``."""
    hint = bare(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if hint is None or hint is type(None):
        return "null"
    if hint is Any:
        return "any"
    if hint in PLUGINS:
        return str(hint.__name__).lower()
    if choices := (options(hint) if origin not in UNIONS else []):
        return " | ".join(repr(value) for value in choices)
    if origin in UNIONS:
        return " | ".join(type_text(part) for part in parts)
    if (origin or hint) in LISTS:
        inner = ", ".join(type_text(part) for part in parts if part is not Ellipsis)
        return f"list[{inner}]" if inner else "list"
    if origin is not None:
        return f"{origin.__name__.lower()}[{', '.join(type_text(part) for part in parts)}]"
    if dataclasses.is_dataclass(hint):
        return f"{{{', '.join(f.name for f in dataclasses.fields(hint) if f.init)}}}"
    if isinstance(hint, type) and issubclass(hint, PurePath):
        return "path"
    return getattr(hint, "__name__", str(hint))


def expected_text(hint: Any) -> str:
    """What a message says it expected: ``a number``, ``one of 'sgd', 'adam'``, ``a list of 2 numbers``."""
    hint = bare(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if hint in PLUGINS:
        return f"a {type_text(hint)}'s name, or a mapping with 'name' and parameters"
    if hint in _SINGULAR:
        return _SINGULAR[hint]
    if choices := (options(hint) if origin not in UNIONS else []):
        return f"one of {', '.join(map(repr, choices))}" if len(choices) > 1 else repr(choices[0])
    if origin in UNIONS:
        return " or ".join(expected_text(part) for part in parts)
    if (origin or hint) in LISTS:
        kinds = {bare(part) for part in parts if part is not Ellipsis}
        word = _PLURAL.get(next(iter(kinds)), "") if len(kinds) == 1 else ""
        fixed = (origin or hint) is tuple and parts and Ellipsis not in parts
        if fixed and not word:
            return f"a list of {len(parts)}: {', '.join(expected_text(part) for part in parts)}"
        count = f"{len(parts)} " if fixed else ""
        return f"a list of {count}{word}" if word else "a list"
    if (origin or hint) is dict:
        return "a mapping"
    if dataclasses.is_dataclass(hint):
        return f"a mapping with {', '.join(f.name for f in dataclasses.fields(hint) if f.init)}"
    return {"null": "null", "path": "a path"}.get(type_text(hint), type_text(hint))


def doc_of(cls: type) -> str:
    """The docstring that the author wrote, dedented; empty where there is only the one dataclasses make up."""
    text = cls.__dict__.get("__doc__") or ""
    return "" if text.startswith(f"{cls.__name__}(") else inspect.cleandoc(text)


def first_line(cls: type) -> str:
    """One line of doc."""
    return doc_of(cls).partition("\n")[0].strip()


def field_docs(cls: type) -> dict[str, str]:
    """A line for each documented field: the string under the field, or ````name``  text`` in the class docstring."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            names = {f.name for f in dataclasses.fields(base)}
            found.update(_docstring_lines(doc_of(base), names))
            found.update({name: text for name, text in _attribute_docs(base).items() if name in names})
    return found


def _attribute_docs(cls: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):  # no source at hand: a class made in a shell, say
        return {}
    body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, below in itertools.pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            found[field.target.id] = " ".join(below.value.value.split())
    return found


_ENTRY = re.compile(r"(\s*)((?:``\w+``(?:\s*,\s*)?)+)\s{2,}(\S.*)")


def _docstring_lines(text: str, names: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    current: list[str] = []
    indent = 0
    for line in text.splitlines():
        if entry := _ENTRY.fullmatch(line):
            current = [name for name in re.findall(r"\w+", entry[2]) if name in names]
            indent = len(entry[1])
            found.update(dict.fromkeys(current, entry[3].strip()))
        elif line.strip() and len(line) - len(line.lstrip()) > indent:
            found.update({name: f"{found[name]} {line.strip()}" for name in current})
        else:
            current = []
    return found
