"""Plugins: discover, load safely, look up, explain.

Each plugin gets a pluggy manager of its own. So one that fails to import, misspells a hook or raises in one costs its
own offers and nothing else, and what it costs is kept with the reason. Loading is lazy: discovery imports the plugins'
(light) hook modules, and a kind's hooks run when somebody first asks for that kind.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tlbench.api.trials import Choice
from tlbench.discovery.checks import SINGULAR, column_fault
from tlbench.discovery.loading import (
    Offer,
    Plugin,
    Reason,
    block,
    builtin,
    checked,
    classes,
    guarded,
    installed,
    load,
    located,
    loose,
)
from tlbench.errors import PluginError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tlbench.api.columns import Column
    from tlbench.api.records import Record
    from tlbench.api.trials import Trial

__all__ = ["KINDS", "SINGULAR", "Entry", "Offer", "Plugins"]

KINDS = tuple(SINGULAR)


@dataclass(frozen=True)
class Entry:
    """What became of one plugin. ``broken``: something of it cannot be used, and ``reasons`` say what and why."""

    name: str
    distribution: str
    version: str
    status: Literal["ok", "broken", "blocked"]
    reasons: tuple[str, ...]
    offers: tuple[tuple[str, str], ...]
    origin: Literal["built-in", "entry point", "file"]
    columns: tuple[str, ...] = ()
    """Keys of the columns that it adds to the leaderboard."""


class Plugins:
    """The plugins at hand and what they offer. Make one with ``Plugins.discover``."""

    def __init__(self, plugins: Sequence[Plugin], spec: Mapping[str, Any]) -> None:
        self.spec = spec
        """Plain data from which another process makes the same: ``Plugins.from_spec``."""
        self._plugins = tuple(plugins)
        self._builtin = {(p.name, p.distribution) for p in plugins if p.origin == "built-in"}
        self._offers: dict[str, dict[str, Offer]] = {}
        self._rivals: dict[tuple[str, str], list[Offer]] = {}
        self._fingerprints: dict[type, str] = {}
        self._columns: dict[str, list[Column]] | None = None

    @classmethod
    def discover(cls, *, extra: Sequence[str] = (), entry_points: bool = True, blocked: Sequence[str] = ()) -> Plugins:
        """Find and load plugins: the built-in one, those of installed distributions, and ``extra``.

        ``extra``         dotted modules, ``.py`` files, or ``no:NAME`` for ``blocked``
        ``entry_points``  whether installed distributions may bring plugins
        ``blocked``       names of plugins or of distributions that are listed but not loaded

        A plugin that does not load is listed with its reason. Raises ``PluginError`` where ``extra`` names nothing
        that exists, or ``blocked`` no plugin.
        """
        wanted = [located(item) for item in extra if not item.startswith("no:")]
        unwanted = list(dict.fromkeys([*blocked, *(item[3:] for item in extra if item.startswith("no:"))]))
        found = [builtin(), *installed(), *(loose(item) for item in dict.fromkeys(wanted))]
        block(found, unwanted, entry_points)
        seen: set[int] = set()
        kept = []
        for plugin in found:
            if not plugin.blocked:
                load(plugin)
            # The same module by two ways, as an entry point and with -p, is one plugin.
            if plugin.module is None or id(plugin.module) not in seen:
                kept.append(plugin)
            seen.add(id(plugin.module))
        return cls(kept, {"extra": wanted, "entry_points": entry_points, "blocked": unwanted})

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Plugins:
        """The same plugins again, in another process."""
        return cls.discover(extra=spec["extra"], entry_points=spec["entry_points"], blocked=spec["blocked"])

    def offers(self, kind: str) -> Mapping[str, Offer]:
        """What there is of one of ``KINDS``, by name. A name that two distributions offer is here once."""
        if kind not in SINGULAR:
            raise PluginError(unknown("kind of plugin", kind, KINDS))
        if kind not in self._offers:
            self._offers[kind] = self._collected(kind)
        return types.MappingProxyType(self._offers[kind])

    def get(self, kind: str, name: str) -> Offer:
        """The offer of that name. Raises ``PluginError`` with the nearest name and why a plugin might be missing."""
        offers = self.offers(kind)
        if name not in offers:
            raise PluginError("\n".join([unknown(SINGULAR[kind], name, offers), *self.notes(kind)]))
        if rivals := self._rivals.get((kind, name)):
            all_of_them = [offers[name], *rivals]
            who = " and ".join(f"{offer.origin} (plugin {offer.plugin!r})" for offer in all_of_them)
            same = len({offer.plugin for offer in all_of_them}) < len(all_of_them)
            ways = " or ".join(f"-p no:{offer.distribution if same else offer.plugin}" for offer in all_of_them)
            raise PluginError(f"{offers[name].title} is offered by {who}. Block one of them with {ways}.")
        return offers[name]

    def problems(self, kind: str, name: str, params: Mapping[str, Any]) -> list[Any]:
        """What is wrong with parameters that may hold grids: a list of ``tlbench.parameters.schema.Problem``."""
        from tlbench.parameters.schema import Problem, expand, grid_problems

        offer = self.get(kind, name)
        found = grid_problems(offer.cls, params, of=offer.title)
        if not found and isinstance(params, Mapping):
            for point in expand(offer.cls, params) if self._inner(offer.cls, params) else []:
                for parameter, inner_kind, value in self._inner(offer.cls, point):
                    try:
                        self._plain(inner_kind, value)
                    except PluginError as error:
                        problem = Problem((parameter,), f"parameter {parameter!r} of {offer.title}: {error}")
                        found += [] if problem in found else [problem]
        return found

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of a metric is better. Raises ``PluginError`` for a name that no plugin offers."""
        return bool(getattr(self.get("metrics", metric).cls, "higher_is_better", True))

    def build(self, kind: str, name: str, params: Mapping[str, Any]) -> Any:
        """An instance. Raises ``PluginError`` for an unknown name or wrong parameters."""
        from tlbench.parameters.schema import build, nested

        offer = self.get(kind, name)
        built: dict[str, Any] = {}
        for parameter, inner_kind, value in self._inner(offer.cls, self._completed(offer, params)):
            whole = self._plain(inner_kind, value)
            inner = self.build(inner_kind, whole.pop("name"), whole)
            many = nested(offer.cls)[parameter][1]
            built[parameter] = (*built.get(parameter, ()), inner) if many else inner
        return build(offer.cls, params, of=offer.title, inner=built)

    def choice(self, kind: str, name: str, params: Mapping[str, Any], label: str | None = None) -> Choice:
        """The plugin with all its parameters; ``label`` defaults to the name. Raises ``PluginError``."""
        offer = self.get(kind, name)
        whole = self._completed(offer, params)
        inner: dict[str, list[Any]] = {}
        for parameter, inner_kind, value in self._inner(offer.cls, whole):
            inner.setdefault(parameter, []).append(self._plain(inner_kind, value))
        for parameter, values in inner.items():
            whole[parameter] = values if isinstance(whole[parameter], list) else values[0]
        return Choice(name, label or name, whole)

    def inside(self, kind: str, choice: Choice) -> Iterator[tuple[str, str]]:
        """Kind and name of every plugin that stands in a choice's parameters, however deep."""
        for _, inner_kind, value in self._inner(self.get(kind, choice.name).cls, choice.params):
            whole = self._plain(inner_kind, value)
            name = whole.pop("name")
            yield inner_kind, name
            yield from self.inside(inner_kind, Choice(name, name, whole))

    def _completed(self, offer: Offer, params: Mapping[str, Any]) -> dict[str, Any]:
        from tlbench.parameters.schema import complete

        return complete(offer.cls, params, of=offer.title)

    def _inner(self, cls: type, params: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
        """Parameter, kind and value of each plugin among the parameters."""
        from tlbench.parameters.schema import nested

        found = []
        for parameter, (kind, many) in nested(cls).items():
            value = params.get(parameter)
            values = [] if value is None else value if many and isinstance(value, list | tuple) else [value]
            found += [(parameter, kind, item) for item in values]
        return found

    def _plain(self, kind: str, value: Any) -> dict[str, Any]:
        """A plugin in a parameter in its one form: ``name`` and all parameters. Raises ``PluginError``."""
        given = {"name": value} if isinstance(value, str) else dict(value)
        name = given.pop("name", None)
        if not isinstance(name, str):
            raise PluginError(f"a {SINGULAR[kind]} written as a mapping needs 'name'")
        return {"name": name, **self.choice(kind, name, given).params}

    def instantiate(self, kind: str, choice: Choice) -> Any:
        """The instance that a choice means. Raises ``PluginError``."""
        return self.build(kind, choice.name, choice.params)

    def fingerprint(self, kind: str, name: str) -> str:
        """Hash of the offer's distribution, its version and the source of the class's module, 24 hex digits.

        A record whose fingerprint differs was made by other code. Without a source the version alone has to do.
        """
        offer = self.get(kind, name)
        if offer.cls not in self._fingerprints:
            path = getattr(sys.modules.get(offer.cls.__module__), "__file__", None)
            source = b""
            if path and path.endswith(".py"):
                with contextlib.suppress(OSError):  # a zipped distribution: its version has to do
                    source = Path(path).read_bytes()
            parts = (offer.distribution.encode(), offer.version.encode(), source)
            self._fingerprints[offer.cls] = hashlib.blake2b(b"\0".join(parts), digest_size=12).hexdigest()
        return self._fingerprints[offer.cls]

    def columns(self) -> tuple[Column, ...]:
        """The columns that plugins add to the leaderboard; one that cannot be used is left out, for a reason kept."""
        return tuple(column for its in self._columns_by_plugin().values() for column in its)

    def _columns_by_plugin(self) -> Mapping[str, Sequence[Column]]:
        if self._columns is None:
            self._columns = {}
            taken: set[str] = set()
            for plugin in self._plugins:
                for column in classes(plugin, "columns"):
                    if not taken:
                        from tlbench.leaderboard.columns import COLUMNS

                        taken.update(c.key for c in COLUMNS)
                    if fault := column_fault(column, taken):
                        plugin.reasons.append(Reason(fault, "columns"))
                        continue
                    taken.add(column.key)
                    self._columns.setdefault(plugin.title, []).append(column)
        return self._columns

    def entries(self) -> tuple[Entry, ...]:
        """Every plugin with its offers and its faults. Runs all hooks, and so imports what they import."""
        for kind in KINDS:
            self.offers(kind)
        columns = self._columns_by_plugin()
        return tuple(
            Entry(
                name=plugin.name,
                distribution=plugin.distribution,
                version=plugin.version,
                status="blocked" if plugin.blocked else "broken" if plugin.reasons else "ok",
                reasons=(plugin.blocked,) if plugin.blocked else tuple(reason.text for reason in plugin.reasons),
                offers=tuple((offer.kind, offer.name) for offer in plugin.offers),
                origin=plugin.origin,
                columns=tuple(column.key for column in columns.get(plugin.title, ())),
            )
            for plugin in self._plugins
        )

    def trial_finished(self, trial: Trial, record: Record) -> list[str]:
        """Tell every observer, each with a copy of its own. Returns a warning for each that raised."""
        warnings: list[str] = []
        for plugin in self._plugins:
            if plugin.manager is None or not plugin.manager.hook.tlbench_trial_finished.get_hookimpls():
                continue
            warn = f"plugin {plugin.title}: tlbench_trial_finished raised "
            with guarded(lambda reason, warn=warn: warnings.append(warn + reason)):  # type: ignore[misc]
                plugin.manager.hook.tlbench_trial_finished(trial=copy.deepcopy(trial), record=copy.deepcopy(record))
        return warnings

    def _collected(self, kind: str) -> dict[str, Offer]:
        offers: dict[str, Offer] = {}
        for plugin in self._plugins:
            for cls in classes(plugin, kind):
                if fault := checked(kind, cls):
                    plugin.reasons.append(Reason(fault, kind))
                    continue
                offer = Offer(kind, cls.name, cls, plugin.name, plugin.distribution, plugin.version)
                first = offers.setdefault(offer.name, offer)
                if first is offer:
                    plugin.offers.append(offer)
                    continue
                here = f"{offer.title} of {offer.origin} (plugin {offer.plugin!r})"
                there = f"{first.origin} (plugin {first.plugin!r})"
                plugin.reasons.append(Reason(f"{here} is refused: {there} already offers that name", kind))
                if first.by != offer.by and first.by not in self._builtin:
                    self._rivals.setdefault((kind, offer.name), []).append(offer)
        return offers

    def notes(self, kind: str) -> Iterator[str]:
        """Why something of that kind may be missing: plugins that were blocked or are broken, with the reason."""
        for plugin in self._plugins:
            if plugin.blocked:
                yield f"note: plugin {plugin.title} was not loaded: {plugin.blocked}"
            for reason in plugin.reasons:
                if reason.kind in (None, kind):
                    yield f"note: plugin {plugin.title}: {reason.text}"
