"""Methods: what each strategy of the board is, from the catalogue where it is installed, else from the records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tlbench.errors import TlbenchError
from tlbench.site.encode import Slugs, bounded, name, prose

if TYPE_CHECKING:
    from tlbench.leaderboard.board import Leaderboard
    from tlbench.plugins import Plugins

_FACTS = ("needs", "uses", "start", "needs_source")


def method_ids(board: Leaderboard) -> dict[str, str]:
    """A slug for each strategy of the board, in order of the first row that has it."""
    slugs = Slugs()
    labels = [row.strategy for group in board.groups for row in group.rows]
    return {label: slugs.of(label) for label in dict.fromkeys([*labels, *board.table.axes["strategy"].labels])}


def methods(board: Leaderboard, plugins: Plugins, ids: dict[str, str]) -> list[dict[str, Any]]:
    """What each strategy is, with its parameters here, and the groups and rows where it stands."""
    axis = board.table.axes["strategy"]
    params = dict(zip(axis.labels, axis.params, strict=True))
    plugin = dict(zip(axis.labels, axis.names, strict=True))
    described: dict[str, dict[str, Any] | None] = {}
    out = []
    for label, slug in ids.items():
        its = plugin.get(label, label)
        if its not in described:
            described[its] = describe("strategies", its, plugins)
        known = described[its]
        rows = [
            [g, k] for g, group in enumerate(board.groups) for k, row in enumerate(group.rows) if row.strategy == label
        ]
        aside = [[g, name(why)] for g, group in enumerate(board.groups) if (why := group.inapplicable.get(label))]
        if rows or aside:
            out.append(
                {
                    "id": slug,
                    "label": name(label),
                    "plugin": name(its),
                    "params": bounded(dict(params.get(label, {}))),
                    "known": known,
                    "rows": rows,
                    "inapplicable": aside,
                }
            )
    return out


def describe(kind: str, plugin: str, plugins: Plugins) -> dict[str, Any] | None:
    """About, doc, paper, parameters and origin of a plugin; ``None`` where it is not installed, or does not load."""
    from tlbench import catalog

    if plugin not in plugins.offers(kind):
        return None
    try:
        found = next((d for d in catalog.describe_json(plugins, plugin) if d["kind"] == kind), None)
    except TlbenchError:
        return None
    if found is None:
        return None
    return {
        "about": prose(_ticks(found["about"])),
        "doc": prose(_reflowed(_ticks(found["doc"]))),
        "papers": papers(found["doc"]),
        "parameters": [
            {"name": name(p["name"]), "type": name(p["type"]), "required": bool(p["required"]),
             "default": bounded(p["default"]), "doc": prose(_ticks(p["doc"]))}
            for p in found["parameters"]
        ],
        "facts": {k: bounded(v) for k, v in found["facts"].items() if k in _FACTS},
        "origin": name(f"{found['distribution']} {found['version']}".strip()),
    }  # fmt: skip


def _reflowed(doc: str) -> str:
    """Each paragraph on one line; lists and indented text stay as they are."""
    paragraphs = [p.strip("\n") for p in re.split(r"\n\s*\n", doc)]
    kept = [p if re.search(r"^(\s+|[-*>] |`\w+`\s\s)", p, re.MULTILINE) else " ".join(p.split()) for p in paragraphs]
    return "\n\n".join(kept)


def _ticks(doc: str) -> str:
    return doc.replace("``", "`")


def papers(doc: str) -> list[str]:
    """The works that a docstring names in the usual form: ``Ganin et al. 2016``."""
    found = re.findall(
        r"[A-Z][\w'’-]+(?:(?:,| and| &| et al\.?)(?: [A-Z][\w'’-]+)?)* \(?(?:19|20)\d\d\b[a-z]?\)?", doc[:4000]
    )
    plain = (f if "(" in f else f.rstrip(")") for f in found)
    return [prose(f) for f in dict.fromkeys(plain)][:8]
