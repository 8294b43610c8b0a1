"""Finding and loading plugins: each in its own ``try``, each reason kept.

A plugin is found by name first and imported later; its hooks run later still. So a blocked one costs nothing, and
whatever a plugin raises on the way becomes a reason in its entry.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pluggy

from tlbench.api import hooks
from tlbench.discovery.checks import SINGULAR, class_fault, hook_faults, where
from tlbench.errors import PluginError

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator, Sequence

GROUP = "tlbench"
BUILTIN = "tlbench.builtin"


@dataclass(frozen=True)
class Offer:
    """One class that one plugin offers under one name."""

    kind: str
    name: str
    cls: type
    plugin: str
    distribution: str
    version: str

    @property
    def title(self) -> str:
        """``strategy 'l2-sp'``, as messages say it."""
        return f"{SINGULAR[self.kind]} {self.name!r}"

    @property
    def by(self) -> tuple[str, str]:
        """The plugin and its distribution, which together are unique."""
        return self.plugin, self.distribution

    @property
    def origin(self) -> str:
        """``tlbench-adaptation 0.1.0``"""
        return f"{self.distribution} {self.version}".strip()


class Reason(NamedTuple):
    text: str
    kind: str | None = None
    """Where only one kind of offers is missing."""


@dataclass
class Plugin:
    """A plugin on its way from a name to its offers."""

    name: str
    distribution: str
    version: str
    origin: Literal["built-in", "entry point", "file"]
    load: Callable[[], object]
    module: object = None
    manager: pluggy.PluginManager | None = None
    blocked: str = ""
    reasons: list[Reason] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.name!r} ({self.distribution}{' ' if self.version else ''}{self.version})"


# ---- finding -------------------------------------------------------------------------------------


def builtin() -> Plugin:
    from tlbench import __version__

    return Plugin("builtin", "tlbench", __version__, "built-in", lambda: importlib.import_module(BUILTIN))


def installed() -> list[Plugin]:
    """Entry points of the group, by distribution. Reads them one by one: one file that is no INI must not hide all."""
    found: list[Any] = []
    seen = set()
    for distribution in importlib.metadata.distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
        except (OSError, UnicodeDecodeError):  # nothing says that it would be one of ours
            continue
        if not re.search(rf"^\s*\[\s*{GROUP}\s*\]", text, re.MULTILINE):
            continue
        name = str(distribution.metadata["Name"] or "unnamed")
        version = str(distribution.metadata["Version"] or "")
        canonical = re.sub(r"[-_.]+", "-", name).lower()
        if canonical in seen:  # an older copy further down the path
            continue
        seen.add(canonical)
        try:
            points = [point for point in distribution.entry_points if point.group == GROUP]
        except Exception as error:
            broken = Plugin(name, name, version, "entry point", lambda: None)
            broken.reasons.append(Reason(f"entry_points.txt cannot be read: {where(error)}"))
            found.append(broken)
            continue
        found += [Plugin(point.name, name, version, "entry point", point.load) for point in points]
    return sorted(found, key=lambda plugin: (plugin.distribution, plugin.name))


def located(item: str) -> str:
    """A dotted module as it is, a file as its absolute path. Raises ``PluginError`` where there is no such thing."""
    if item.endswith(".py") or "/" in item:
        path = Path(item).expanduser().resolve()
        if not path.exists():
            raise PluginError(f"-p {item}: there is no such file")
        if not path.is_file() or path.suffix != ".py":
            raise PluginError(f"-p {item}: not a .py file; give a file or a dotted module")
        return str(path)
    try:
        exists = importlib.util.find_spec(item) is not None
    except ModuleNotFoundError as error:
        exists = not (error.name and f"{item}.".startswith(f"{error.name}."))
    except KeyboardInterrupt:
        raise
    except BaseException:  # its parent package raises: loading tells why
        exists = True
    if not exists:
        hint = f" Did you mean './{item}.py'?" if Path(f"{item}.py").is_file() else ""
        raise PluginError(f"-p {item}: there is no such module.{hint}")
    return item


def loose(item: str) -> Plugin:
    if not item.endswith(".py"):
        top = importlib.metadata.packages_distributions().get(item.partition(".")[0], [])
        version = importlib.metadata.version(top[0]) if top else ""
        return Plugin(item, top[0] if top else item, version, "file", lambda: importlib.import_module(item))
    path = Path(item)
    return Plugin(path.stem, path.name, "", "file", lambda: _load_file(path))


def _load_file(path: Path) -> types.ModuleType:
    digest = hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()
    name = f"tlbench_file_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def block(plugins: Sequence[Plugin], unwanted: Sequence[str], entry_points: bool) -> None:
    known = {name for plugin in plugins for name in (plugin.name, plugin.distribution)}
    for name in unwanted:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            guess = f"Did you mean 'no:{close[0]}'?" if close else f"Plugins: {', '.join(sorted(known))}."
            raise PluginError(f"-p no:{name}: there is no plugin {name!r}. {guess}")
    for plugin in plugins:
        if not entry_points and plugin.origin == "entry point":
            plugin.blocked = "blocked with --no-plugins"
        for name in {plugin.name, plugin.distribution} & set(unwanted):
            plugin.blocked = f"blocked with -p no:{name}"


# ---- loading -------------------------------------------------------------------------------------


def load(plugin: Plugin) -> None:
    """Import the plugin and check its hooks; what is wrong goes to its reasons."""
    if plugin.reasons:
        return
    with guarded(lambda reason: plugin.reasons.append(Reason(f"does not load: {reason}"))):
        module = plugin.load()
        manager = pluggy.PluginManager("tlbench")
        manager.add_hookspecs(hooks)
        if faults := hook_faults(manager, module, plugin.name):
            plugin.reasons += map(Reason, faults)
        else:
            plugin.module, plugin.manager = module, manager


def checked(kind: str, cls: Any) -> str | None:
    faults = []
    with guarded(lambda reason: faults.append(f"a class of tlbench_{kind} cannot be checked: {reason}")):
        if fault := class_fault(kind, cls):
            faults.append(fault)
    return faults[0] if faults else None


def classes(plugin: Plugin, kind: str) -> list[Any]:
    """What the plugin's hook for this kind returns; what is wrong with it goes to the plugin's reasons."""
    if plugin.manager is None:
        return []
    hook = getattr(plugin.manager.hook, f"tlbench_{kind}")
    if not hook.get_hookimpls():
        return []
    returned: list[Any] = []
    with guarded(lambda reason: plugin.reasons.append(Reason(f"tlbench_{kind} raised {reason}", kind))):
        returned = hook() or [None]  # pluggy drops None
    found: list[Any] = []
    for result in returned:
        if isinstance(result, (list, tuple)):
            found += result
        else:
            what = "columns" if kind == "columns" else "classes"
            text = f"tlbench_{kind} must return a list of {what}, got {type(result).__name__}"
            plugin.reasons.append(Reason(text, kind))
    return found


@contextlib.contextmanager
def guarded(report: Callable[[str], object]) -> Iterator[None]:
    """Around a plugin's code: whatever it raises is reported, and what it prints goes to the error stream.

    SystemExit too: a plugin must not end the program. Our own output may be JSON for another program.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        report(where(error))
