"""Filters: ``include`` and ``exclude``, with every name checked and resolved to the labels that it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlbench.errors import PluginError, unknown
from tlbench.suite.suite import AXES, Filter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tlbench.plugins import Plugins
    from tlbench.suite.choices import Named
    from tlbench.suite.findings import Findings
    from tlbench.suite.yaml import Place


_KINDS = {"source": "sources", "target": "targets", "task": "tasks", "strategy": "strategies", "backbone": "backbones"}


def read_filters(
    findings: Findings,
    plugins: Plugins,
    key: str,
    value: Any,
    axes: Mapping[str, list[Named]],
    seeds: tuple[int, ...],
) -> tuple[Filter, ...]:
    """The filters under ``include`` or ``exclude``.

    A name stands for a label, or for all choices of a plugin or local data set of that name, so that
    ``strategy: l2-sp`` means a whole grid. References that the planner adds can be named too.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        findings.wrong((key,), value, "a list of mappings, as [{strategy: dann, target: usps}]")
        return ()
    names = {axis: _names(found) for axis, found in axes.items()}
    for axis, kind in _KINDS.items():
        for name in _written(findings.document.data.get(kind)):
            names[axis].setdefault(name, frozenset())  # wrong where it stands, and said to be so there
    for reference in _references(plugins, axes["task"]):
        names["strategy"].setdefault(reference, frozenset({reference}))
    filters = []
    for i, item in enumerate(value):
        if not isinstance(item, dict) or not item:
            findings.wrong((key, i), item, f"a mapping with some of {', '.join(AXES)}")
            continue
        found: dict[str, frozenset[str | int]] = {}
        for axis, wanted in item.items():
            place: Place = (key, i, axis)
            if axis == "seed":
                found[axis] = _seeds(findings, place, wanted, seeds)
            elif axis in names:
                found[axis] = _labels(findings, place, wanted, axis, names[axis])
            else:
                findings.add(place, unknown("axis", axis, AXES), key=True)
        filters.append(found)
    return tuple(filters)


def _written(value: Any) -> Iterator[str]:
    """The names and labels that a list of choices has, whether or not they could be read."""
    for item in value if isinstance(value, list) else [value]:
        for name in (item.get("name"), item.get("label")) if isinstance(item, dict) else (item,):
            if isinstance(name, str):
                yield name


def _names(found: list[Named]) -> dict[str, frozenset[str | int]]:
    names: dict[str, set[str | int]] = {}
    for named in found:
        for name in named.names:
            names.setdefault(name, set()).add(named.choice.label)
    # A label means itself, even where it is also the name of a plugin with other choices.
    return {name: frozenset(labels) for name, labels in names.items()} | {
        named.choice.label: frozenset({named.choice.label}) for named in found
    }


def _references(plugins: Plugins, tasks: list[Named]) -> set[str]:
    names: set[str] = set()
    for task in tasks:
        try:
            names.update(getattr(plugins.get("tasks", task.choice.name).cls, "references", ()))
        except PluginError:  # noted where the task is read
            continue
    return names


def _labels(
    findings: Findings, place: Place, wanted: Any, axis: str, names: Mapping[str, frozenset[str | int]]
) -> frozenset[str | int]:
    labels: frozenset[str | int] = frozenset()
    for at, item in findings.items(place, wanted, f"a {axis}'s label, or a list of them"):
        name = findings.text(at, item, f"a {axis}'s label, which is text")
        if name is None or not names:  # without names, the axis itself is wrong and said to be so
            continue
        if name in names:
            labels |= names[name]
        else:
            findings.add(at, unknown(axis, name, names))
    return labels


def _seeds(findings: Findings, place: Place, wanted: Any, seeds: tuple[int, ...]) -> frozenset[str | int]:
    kept: set[str | int] = set()
    for at, item in findings.items(place, wanted, "a seed, or a list of seeds"):
        if isinstance(item, bool) or not isinstance(item, int):
            findings.wrong(at, item, "a seed, which is a whole number")
        elif item in seeds:
            kept.add(item)
        elif seeds:
            findings.add(at, f"the seed {item} is not among the suite's: {', '.join(map(str, seeds[:20]))}")
    return frozenset(kept)
