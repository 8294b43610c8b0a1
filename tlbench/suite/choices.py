"""Choices: what a suite names, with parameters checked, grids expanded and a label that is unique on its axis."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tlbench.api.trials import PRETRAINED, Choice
from tlbench.discovery.checks import SINGULAR
from tlbench.errors import PluginError, unknown
from tlbench.parameters import schema as parameters
from tlbench.suite.suite import SOURCE_TRAINING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tlbench.plugins import Plugins
    from tlbench.suite.findings import Findings
    from tlbench.suite.yaml import Place

_RESERVED = ("name", "label")


@dataclass(frozen=True)
class Named:
    """A choice, where it was written, and all the names by which ``include`` and ``exclude`` may call it."""

    choice: Choice
    place: Place
    names: frozenset[str]


@dataclass(frozen=True)
class Local:
    """A data set with parameters that the suite gave a name of its own."""

    plugin: str
    params: Mapping[str, Any]
    place: Place
    sound: bool


@dataclass(frozen=True)
class Reader:
    """Reads the entries of a suite against the plugins at hand."""

    findings: Findings
    plugins: Plugins
    local: dict[str, Local] = field(default_factory=dict)

    def define(self, place: Place, name: str, value: Any) -> None:
        """Take up a local name of a data set: ``mnist: {name: hub, id: ylecun/mnist}``."""
        if name == PRETRAINED:
            self.findings.add(place, f"{PRETRAINED!r} is the word for a backbone's own weights as the source", key=True)
            return
        if not name.strip() or not name.isprintable():
            self.findings.add(place, "a name must be text of one line that can be printed", key=True)
            return
        entry = self._entry("datasets", place, value, plugins_only=True)
        if entry is None:
            return
        plugin, params, label = entry
        if label is not None:
            self.findings.add((*place, "label"), f"a local data set is labelled by its name, {name!r}", key=True)
        sound = self._expand("datasets", plugin, params, dict.fromkeys(params, place), place) is not None
        self.local[name] = Local(plugin, params, place, sound)

    def choices(self, kind: str, place: Place, value: Any, *, pretrained: bool = False) -> list[Named]:
        """What one entry means: a name, or a mapping with ``name``, ``label`` and parameters; several for a grid."""
        entry = self._entry(kind, place, value)
        if entry is None:
            return []
        name, params, label = entry
        if name == PRETRAINED and kind == "datasets":
            return self._pretrained(place, value, allowed=pretrained)
        plugin, where, names = name, dict.fromkeys(params, place), {name}
        shown = {} if label else dict(params)
        local = self.local.get(name) if kind == "datasets" else None
        if local:
            if not local.sound:
                return []
            plugin, names = local.plugin, {name, local.plugin}
            where = {**dict.fromkeys(local.params, local.place), **where}
            params = {**local.params, **params}
        grid = self._expand(kind, plugin, params, where, place)
        if grid is None:
            return []
        found = []
        varied = {
            key for key, values in parameters.axes(self._cls(kind, plugin), params).items() if values != [params[key]]
        }
        for point in grid:
            text = _label(label or name, {key: point[key] for key in params if key in shown or key in varied})
            try:
                choice = self.plugins.choice(kind, plugin, point, label=text)
            except PluginError as error:
                self.findings.add(place, str(error))
                return []
            found.append(Named(choice, place, frozenset({*names, text, *([label] if label else [])})))
        return found

    def metric(self, place: Place, value: Any) -> str | None:
        """The name of a metric."""
        name = self.findings.text(place, value, "a metric's name")
        return name if name is not None and self._known("metrics", name, place, set()) else None

    def scores(self, metric: str) -> bool:
        """Whether a known metric is one of scores, and so can be the first."""
        return callable(getattr(self._cls("metrics", metric), "score", None))

    def _entry(
        self, kind: str, place: Place, value: Any, *, plugins_only: bool = False
    ) -> tuple[str, dict[str, Any], str | None] | None:
        """Name, parameters and label as they were written; ``None`` where there is no name that can be used."""
        local: set[str] = {*self.local, PRETRAINED} if kind == "datasets" and not plugins_only else set()
        word = SINGULAR[kind]
        if not isinstance(value, dict):
            name = self.findings.text(place, value, f"a {word}'s name")
            return None if name is None or not self._known(kind, name, place, local) else (name, {}, None)
        if "name" not in value:
            self.findings.add(place, f"a {word} written as a mapping needs 'name': {{name: ..., parameters ...}}")
            return None
        name = self.findings.text((*place, "name"), value["name"], f"a {word}'s name")
        label = value.get("label")
        if label is not None:
            label = self.findings.text((*place, "label"), label, "a label, which is text")
        if name is None or not self._known(kind, name, (*place, "name"), local):
            return None
        return name, {key: item for key, item in value.items() if key not in _RESERVED}, label

    def _known(self, kind: str, name: str, place: Place, local: set[str]) -> bool:
        if name in local:
            return True
        try:
            self.plugins.get(kind, name)
        except PluginError as error:
            first, *notes = str(error).splitlines()
            if local and name not in self.plugins.offers(kind):
                first = unknown(SINGULAR[kind], name, {*local, *self.plugins.offers(kind)})
            self.findings.add(place, "\n  ".join([first, *notes]))
            return False
        if name == SOURCE_TRAINING and kind in ("tasks", "strategies"):
            self.findings.add(
                place, f"{name!r} is run by the planner itself, once for each source that trials start from"
            )
            return False
        return True

    def _pretrained(self, place: Place, value: Any, *, allowed: bool) -> list[Named]:
        if not allowed:
            self.findings.add(place, f"{PRETRAINED!r} (the backbone's own weights) can be a source only")
        elif isinstance(value, dict) and set(value) != {"name"}:
            self.findings.add(
                place, f"{PRETRAINED!r} (the backbone's own weights) has no parameters and no other label"
            )
        else:
            return [Named(Choice(PRETRAINED, PRETRAINED), place, frozenset({PRETRAINED}))]
        return []

    def _cls(self, kind: str, name: str) -> type:
        cls: type = self.plugins.get(kind, name).cls
        return cls

    def _expand(
        self, kind: str, name: str, params: Mapping[str, Any], where: Mapping[str, Place], entry: Place
    ) -> list[dict[str, Any]] | None:
        """The points of a grid; ``None`` where a parameter is wrong. ``where`` has the entry of each parameter."""
        cls = self._cls(kind, name)
        problems = self.plugins.problems(kind, name, params)
        for path, message in problems:
            place = (*where[str(path[0])], *path) if path and path[0] in where else entry
            self.findings.add(place, message, key=message.startswith("unknown"))
        return None if problems else parameters.expand(cls, params)


def unique(findings: Findings, word: str, found: Iterable[Named]) -> list[Named]:
    """The choices of one list, each once; noted are repeats, with both places, and labels that mean two things."""
    by_digest: dict[str, Named] = {}
    for named in found:
        first = by_digest.setdefault(named.choice.digest, named)
        if first is not named:
            same = "" if first.choice.label == named.choice.label else f" (there called {first.choice.label!r})"
            where = findings.line(first.place)
            findings.add(named.place, f"{word} {named.choice.label!r} is there already, in {where}{same}")
    kept = list(by_digest.values())
    one_meaning(findings, word, kept)
    return kept


def one_meaning(findings: Findings, word: str, found: Iterable[Named]) -> None:
    """Note labels that stand for different choices."""
    by_label: dict[str, Named] = {}
    for named in found:
        first = by_label.setdefault(named.choice.label, named)
        if first.choice.digest != named.choice.digest:
            findings.add(
                named.place,
                f"{word} label {named.choice.label!r} stands for something else in {findings.line(first.place)}; "
                "give one of the two another 'label'",
            )


def _label(name: str, params: Mapping[str, Any]) -> str:
    """``l2-sp(alpha=0.1)``"""
    return f"{name}({', '.join(_parts(params))})" if params else name


def _parts(params: Mapping[str, Any]) -> Iterator[str]:
    for key, value in params.items():
        text = _text(value)
        yield f"{key}={text if len(text) <= 40 else text[:39] + '…'}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and "name" in value:  # a strategy within a strategy
        return _label(str(value["name"]), {key: item for key, item in value.items() if key != "name"})
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
