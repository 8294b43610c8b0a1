"""The catalogue: which plugins there are, what they offer, and all about one of them; for people and as JSON.

Whatever a plugin says about itself is shown as text: no markup of it is obeyed and no control character reaches
the terminal.
"""

from __future__ import annotations

import inspect
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tlbench.discovery.checks import SINGULAR, printable
from tlbench.errors import PluginError, unknown
from tlbench.parameters.schema import Parameter, describe
from tlbench.parameters.text import doc_of, first_line
from tlbench.plugins import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from tlbench.plugins import Entry, Offer, Plugins

_PLURAL = {**{kind: kind for kind in KINDS}, "datasets": "data sets"}
_FACTS = ("needs", "uses", "start", "offers", "references", "needs_source", "higher_is_better", "pretrained_on")
_STATUS_STYLE = {"ok": "green", "broken": "bold red", "blocked": "yellow"}


# ---- every plugin --------------------------------------------------------------------------------


def plugins_json(plugins: Plugins) -> list[dict[str, Any]]:
    """One mapping for each plugin: name, distribution, version, origin, status, reasons, and offers by kind."""
    return [
        {
            "name": entry.name,
            "distribution": entry.distribution,
            "version": entry.version,
            "origin": entry.origin,
            "status": entry.status,
            "reasons": list(entry.reasons),
            "offers": {kind: names for kind in KINDS if (names := [n for k, n in entry.offers if k == kind])}
            | ({"columns": list(entry.columns)} if entry.columns else {}),
        }
        for entry in plugins.entries()
    ]


def plugins_table(plugins: Plugins) -> RenderableType:
    """A line for each plugin, and below it why what is missing is missing."""
    entries = plugins.entries()
    table = _table("Plugin", "From", "Status", "Offers")
    for entry in entries:
        status = Text(entry.status, style=_STATUS_STYLE[entry.status])
        table.add_row(_text(entry.name, "bold"), _text(_origin(entry)), status, _text(_counts(entry)))
    parts: list[RenderableType] = [table]
    for entry in entries:
        for reason in entry.reasons:
            style = _STATUS_STYLE[entry.status]
            parts += [_text(f"{entry.name} ({_origin(entry)}):", style), Padding(_text(reason), (0, 0, 0, 2))]
    return Group(*parts)


def _counts(entry: Entry) -> str:
    counts = Counter(kind for kind, _ in entry.offers)
    said = [f"{n} {SINGULAR[kind] if n == 1 else _PLURAL[kind]}" for kind, n in counts.items()]
    if entry.columns:
        said.append(f"{len(entry.columns)} column{'s' if len(entry.columns) > 1 else ''}")
    return ", ".join(said) or "–"


def _origin(entry: Entry | Offer) -> str:
    return f"{entry.distribution} {entry.version}".strip()


# ---- one kind ------------------------------------------------------------------------------------


def list_json(plugins: Plugins, kind: str) -> list[dict[str, Any]]:
    """One mapping for each offer of a kind, by name. Raises ``PluginError`` for an unknown kind."""
    return [_brief(offer) for _, offer in sorted(plugins.offers(kind).items())]


def list_table(plugins: Plugins, kind: str) -> RenderableType:
    """Each offer of a kind with a line of doc, its parameters with their defaults, and who brings it.

    Raises ``PluginError`` for an unknown kind.
    """
    table = _table(
        SINGULAR[kind].capitalize() if kind in SINGULAR else kind, "About, origin, and parameters with defaults"
    )
    for name, offer in sorted(plugins.offers(kind).items()):
        settings = [
            f"{p.name} (required)" if p.required else f"{p.name}={_value(p.default)}" for p in describe(offer.cls)
        ]
        about = _text(first_line(offer.cls) or "(no description)")
        said = [about + _text(f"  ({_origin(offer)})", "dim")]
        if settings:
            said.append(_text("  ".join(settings), "cyan"))
        table.add_row(_text(name, "bold"), Text("\n").join(said))
    notes = [_text(note, "yellow") for note in plugins.notes(kind)]
    return Group(table, *notes)


# ---- one name ------------------------------------------------------------------------------------


def describe_json(plugins: Plugins, name: str) -> list[dict[str, Any]]:
    """Everything about each offer of that name, whatever its kind. Raises ``PluginError`` with the nearest name."""
    return [
        {
            **_brief(offer),
            "doc": doc_of(offer.cls),
            "facts": dict(_facts(offer.cls)),
            "source": _source(offer.cls),
        }
        for offer in _find(plugins, name)
    ]


def describe_text(plugins: Plugins, name: str) -> RenderableType:
    """Everything about each offer of that name, for people. Raises ``PluginError`` with the nearest name."""
    parts: list[RenderableType] = []
    for offer in _find(plugins, name):
        if parts:
            parts.append(Text())
        parts.append(_text(offer.name, "bold") + _text(f"  {SINGULAR[offer.kind]}, from {_origin(offer)}", "dim"))
        parts.append(Padding(_text(_reflowed(doc_of(offer.cls)) or "(no description)"), (1, 0, 1, 2)))
        facts = Table.grid("", "", padding=(0, 2))
        facts.columns[1].overflow = "fold"
        for word, value in [*_facts(offer.cls), ("plugin", offer.plugin), ("source", _source(offer.cls))]:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else _said(value)
            facts.add_row(_text(word.replace("_", " "), "dim"), _text(shown or "–"))
        parts.append(Padding(facts, (0, 0, 0, 2)))
        parts += [Text(), _parameter_table(describe(offer.cls))]
    return Group(*parts)


def _find(plugins: Plugins, name: str) -> list[Offer]:
    found = [plugins.offers(kind)[name] for kind in KINDS if name in plugins.offers(kind)]
    if not found:
        known = {offer for kind in KINDS for offer in plugins.offers(kind)}
        notes = dict.fromkeys(note for kind in KINDS for note in plugins.notes(kind))
        raise PluginError("\n".join([unknown("name", name, known), *notes]))
    return found


def _parameter_table(parameters: list[Parameter]) -> RenderableType:
    if not parameters:
        return Padding(Text("It has no parameters.", style="dim"), (0, 0, 0, 2))
    table = _table("Parameter", "Type", "Default", "")
    table.columns[1].max_width = 24
    table.columns[3].ratio = 1
    for p in parameters:
        default = Text("required", style="bold") if p.required else _text(_value(p.default), "cyan")
        table.add_row(_text(p.name, "bold"), _text(p.type_text), default, _text(p.doc))
    return table


def _brief(offer: Offer) -> dict[str, Any]:
    parameters = [
        {"name": p.name, "type": p.type_text, "required": p.required, "default": p.default, "doc": p.doc}
        for p in describe(offer.cls)
    ]
    return {
        "name": offer.name,
        "kind": offer.kind,
        "about": first_line(offer.cls),
        "parameters": parameters,
        "plugin": offer.plugin,
        "distribution": offer.distribution,
        "version": offer.version,
    }


def _facts(cls: type) -> Iterator[tuple[str, Any]]:
    """What a class says about itself, as plain data; a property depends on the parameters and says nothing yet."""
    for word in _FACTS:
        value = inspect.getattr_static(cls, word, None)
        if isinstance(value, (frozenset, set)):
            yield word, sorted(map(str, value))
        elif isinstance(value, tuple):
            yield word, list(map(str, value))
        elif isinstance(value, (bool, str)):
            yield word, value


def _source(cls: type) -> str:
    """The class's file and line, or its module where there is no source."""
    try:
        return f"{inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return cls.__module__


# ---- text ----------------------------------------------------------------------------------------


def _table(*headers: str) -> Table:
    table = Table(box=None, header_style="underline", padding=(0, 2, 0, 0), pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    table.columns[0].no_wrap = True
    return table


def _text(said: str, style: str = "") -> Text:
    """Untrusted text: ``Text`` obeys no markup, and ``printable`` leaves no control characters."""
    lines = (printable(line.replace("``", "`"), keep_spaces=True) for line in said.splitlines())
    return Text("\n".join(lines), style=style)


def _reflowed(doc: str) -> str:
    """Each paragraph on one line, for the terminal to wrap; lists and indented text stay as they are."""
    paragraphs = doc.split("\n\n")
    kept = [p if re.search(r"^(\s+|[-*>] |``\w+``\s\s)", p, re.MULTILINE) else " ".join(p.split()) for p in paragraphs]
    return "\n\n".join(kept)


def _said(value: Any) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _value(default: Any) -> str:
    """A default as it would be written in a suite."""
    return default if isinstance(default, str) and default.isidentifier() else json.dumps(default, ensure_ascii=False)
