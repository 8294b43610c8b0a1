"""What a plugin must be: the checks behind the reasons that ``tlbench plugins`` lists."""

from __future__ import annotations

import dataclasses
import difflib
import re
import traceback
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

import pluggy

from tlbench.api import hooks
from tlbench.api.columns import Column
from tlbench.api.types import Start
from tlbench.errors import PluginError, unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

SINGULAR: Mapping[str, str] = MappingProxyType(
    {
        "strategies": "strategy",
        "backbones": "backbone",
        "datasets": "data set",
        "tasks": "task",
        "metrics": "metric",
        "executors": "executor",
        "reporters": "reporter",
    }
)
"""The kinds of plugin, with the word for one of them."""

METHOD: Mapping[str, str] = MappingProxyType(
    {
        "strategies": "fit",
        "backbones": "load",
        "datasets": "load",
        "tasks": "build",
        "metrics": "score",
        "executors": "run",
        "reporters": "report",
    }
)
"""The one method of each kind; a metric may have ``compare`` in its place."""

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "strategies": ("needs",),
        "backbones": ("pretrained_on",),
        "tasks": ("offers", "references", "start", "needs_source"),
        "metrics": ("higher_is_better",),
    }
)
"""What else a class of each kind must say about itself."""

_SETS = ("needs", "uses", "offers", "references")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")


def printable(text: str, *, keep_spaces: bool = False) -> str:
    """On one line and without control characters: what a plugin says must not steer a terminal."""
    text = text if keep_spaces else " ".join(text.split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


_OWN = (Path(__file__).parent, Path(__file__).parent.parent)
"""Folders whose frames are the host's own: the place that matters is in the plugin."""


def where(error: BaseException) -> str:
    """``ImportError: no module named 'x' (plugin.py:3)``: the line is the plugin's own, the deepest one."""
    if isinstance(error, SyntaxError) and error.filename:
        return printable(f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})")
    text = printable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    text = text if len(text) <= 300 else f"{text[:297]}..."
    frames = [
        (str(frame.f_globals.get("__name__")).partition(".")[0], Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    # The first frame that is neither ours nor machinery is the plugin's; it may go through others and come back.
    machinery = ("importlib", "_frozen_importlib", "pluggy", "contextlib")
    outside = [f for f in frames if f[0] not in machinery and f[1].parent not in _OWN]
    own = [frame for frame in outside if frame[0] == outside[0][0]]
    return f"{text} ({printable(str(own[-1][1]))}:{own[-1][2]})" if own else text


def hook_faults(manager: pluggy.PluginManager, plugin: object, name: str) -> list[str]:
    """Register ``plugin`` with a fresh manager; what is wrong with it as a whole, empty where nothing is."""
    if plugin is None:
        return ["its entry point leads to None"]
    stated = getattr(plugin, "TLBENCH_API", hooks.API_VERSION)
    if stated != hooks.API_VERSION:
        return [f"it is written for plugin API {stated!r}; this tlbench has {hooks.API_VERSION}"]
    known = [hook for hook in vars(hooks) if hook.startswith("tlbench_")]
    try:
        manager.register(plugin, name)
    except pluggy.PluginValidationError as error:
        return [" ".join(str(error).split())]
    return list(_misspelt(manager, known)) + list(_unmarked(plugin, known))


def _misspelt(manager: pluggy.PluginManager, known: list[str]) -> Iterator[str]:
    # As check_pending does, which stops at the first and names no remedy.
    for hook, caller in vars(manager.hook).items():
        if isinstance(caller, pluggy.HookCaller) and not caller.has_spec():
            close = difflib.get_close_matches(hook, known, n=1, cutoff=0.4)
            yield f"unknown hook {hook!r}. " + (
                f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
            )


def _unmarked(plugin: object, known: list[str]) -> Iterator[str]:
    for name, value in vars(plugin).items() if hasattr(plugin, "__dict__") else ():
        own = getattr(value, "__module__", None) == getattr(plugin, "__name__", "")
        if name in known and own and callable(value) and not hasattr(value, "tlbench_impl"):
            yield f"{name} is not marked with @tlbench.hookimpl"


def class_fault(kind: str, cls: Any) -> str | None:
    """Why ``cls`` cannot be a plugin of that kind, or ``None``."""
    one = SINGULAR[kind]
    if not isinstance(cls, type):
        return f"tlbench_{kind} must return classes, got {cls!r:.80}"
    name = getattr(cls, "name", None)
    settings = cls.__dict__.get("__dataclass_params__")
    if settings is None or not settings.frozen:
        return f"{one} {cls.__name__} is not decorated with @dataclass(frozen=True)"
    fields = {f.name for f in dataclasses.fields(cls)}
    for attribute in ("name", "start", *_SETS):
        if attribute in fields:
            return f"{one} {cls.__name__}: {attribute!r} became a parameter; write it as a ClassVar"
    if "label" in fields:
        return f"{one} {cls.__name__}: no parameter can be called 'label': in a suite it is the name on the board"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"{one} {cls.__name__} has no name; write name: ClassVar[str] = 'letters-digits-and-hyphens'"
    compares = kind == "metrics" and callable(getattr(cls, "compare", None))
    if not callable(getattr(cls, METHOD[kind], None)) and not compares:
        return f"{one} {name!r} ({cls.__name__}) has no method {METHOD[kind]!r}"
    for attribute in () if compares else ATTRIBUTES.get(kind, ()):
        if not hasattr(cls, attribute) and attribute not in fields:
            return f"{one} {name!r} ({cls.__name__}) does not say {attribute!r}"
    for attribute in _SETS:
        value: object = getattr(cls, attribute, frozenset())
        if not isinstance(value, (frozenset, tuple, property)):
            return f"{one} {name!r} ({cls.__name__}): {attribute!r} must be a frozenset of names, got {value!r:.80}"
    wanted: Any = getattr(cls, "needs", frozenset())
    if kind == "metrics" and not isinstance(wanted, property) and (lost := sorted(set(wanted) - {"group"})):
        return f"{one} {name!r} ({cls.__name__}) needs {lost[0]!r}; a metric may need 'group' and nothing else"
    start = getattr(cls, "start", None)
    if isinstance(start, str) and start not in get_args(Start):
        return f"{one} {name!r} ({cls.__name__}): {unknown('start', start, get_args(Start))}"
    return _parameter_fault(one, name, cls)


def column_fault(column: Any, taken: Collection[str]) -> str | None:
    """Why this cannot be a column of the leaderboard beside those of these keys, or ``None``."""
    if not isinstance(column, Column):
        return f"tlbench_columns must return tlbench.Column objects, got {column!r:.80}"
    if not isinstance(column.key, str) or not _KEY.fullmatch(column.key):
        return f"column {column.key!r:.80}: its key must be small letters, digits and underscores"
    if column.key in taken:
        return f"column {column.key!r} is refused: there is one of that key already"
    if not all(isinstance(text, str) for text in (column.title, column.unit, column.doc)) or not column.title.strip():
        return f"column {column.key!r} needs a title, a unit (may be empty) and a line of doc, as texts"
    return None if callable(column.value) else f"column {column.key!r}: 'value' is no function of a sample"


def _parameter_fault(one: str, name: str, cls: type) -> str | None:
    from tlbench.parameters.schema import check_defaults  # pydantic is heavy, and most commands need no class

    try:
        check_defaults(cls)
    except PluginError as error:
        return f"{one} {name!r} ({cls.__name__}): {error}"
    return None
