"""Factors: what the planner must know of a suite's plugins, looked up once for each choice and not for each trial."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from tlbench.api.trials import PRETRAINED, Choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.plugins import Plugins


@dataclass(frozen=True)
class Cell:
    """A strategy under a task: what their trials have in common, whatever the pair, backbone and seed.

    ``needs_source``  whether its trials depend on the source
    ``from_source``   whether its backbone starts from the source's weights
    ``inner``         fingerprints of the plugins in its parameters
    ``missing``       why it cannot run under the task with a data set as its source; and with ``pretrained``
    """

    task: Choice
    strategy: Choice
    needs_source: bool
    from_source: bool
    missing: str | None
    missing_pretrained: str | None
    inner: tuple[str, ...] = ()


def cell(plugins: Plugins, task: Choice, strategy: Choice) -> Cell:
    """What a strategy's trials under a task have in common."""
    setting, method = plugins.instantiate("tasks", task), plugins.instantiate("strategies", strategy)
    start = getattr(method, "start", None) or setting.start
    needs = frozenset(method.needs)
    offers = frozenset(setting.offers)
    if strategy.name in setting.references:
        offers |= frozenset(getattr(setting, "withholds", frozenset()))
    weights_only = frozenset(pool for pool in offers if not _of_source(pool))
    if start == "source" and "source" not in offers:
        barred = (
            f"strategy {strategy.name!r} starts from a model of the labelled source, which task {task.name!r} lacks"
        )
        return Cell(task, strategy, True, True, barred, barred)
    if setting.needs_source:
        missing_pretrained: str | None = (
            f"task {task.name!r} needs the source's data, and the source {PRETRAINED!r} is weights without data"
        )
    else:
        missing_pretrained = _missing(strategy, needs, task, weights_only, f" with the source {PRETRAINED!r}")
    return Cell(
        task=task,
        strategy=strategy,
        needs_source=start == "source" or any(_of_source(pool) for pool in needs),
        from_source=start == "source",
        missing=_missing(strategy, needs, task, offers, ""),
        missing_pretrained=missing_pretrained,
        inner=tuple(sorted({plugins.fingerprint(*at) for at in plugins.inside("strategies", strategy)})),
    )


def _of_source(pool: str) -> bool:
    return pool.startswith("source")


def _missing(strategy: Choice, needs: frozenset[str], task: Choice, offers: frozenset[str], where: str) -> str | None:
    if needs <= offers:
        return None
    return (
        f"strategy {strategy.name!r} needs {', '.join(sorted(needs - offers))}, "
        f"which task {task.name!r} does not offer{where} (it offers {', '.join(sorted(offers)) or 'nothing'})"
    )


def references(plugins: Plugins, task: Choice, listed: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """The task's reference strategies with their defaults; under the suite's label where the suite lists them so."""
    by_digest = {choice.digest: choice for choice in listed}
    labels = {choice.label for choice in listed}
    found = []
    for name in plugins.instantiate("tasks", task).references:
        choice = plugins.choice("strategies", name, {})
        if choice.digest not in by_digest and choice.label in labels:
            # Somebody named another method so; the board must not show two rows under one name.
            choice = plugins.choice("strategies", name, {}, label=f"{name} (reference)")
        found.append(by_digest.get(choice.digest, choice))
    return tuple(found)


def no_weights(plugins: Plugins, backbone: Choice) -> str | None:
    """Why ``pretrained`` cannot be the source for this backbone, if it cannot."""
    if plugins.instantiate("backbones", backbone).pretrained_on is None:
        return f"backbone {backbone.label!r} brings no pre-trained weights, and the source is {PRETRAINED!r}"
    return None


def fingerprints(plugins: Plugins) -> Callable[..., str]:
    """A function (source or None, target, task, strategy, backbone, *more) of plugins' names -> hash of their code.

    ``more`` is whatever else must be as it was for a stored record to be current.
    """

    @cache
    def of_plugin(kind: str, name: str) -> str:
        return plugins.fingerprint(kind, name)

    @cache
    def of_names(source: str | None, target: str, task: str, strategy: str, backbone: str, *more: str) -> str:
        named = [("datasets", target), ("tasks", task), ("strategies", strategy), ("backbones", backbone)]
        if source is not None and source != PRETRAINED:
            named.append(("datasets", source))
        parts = sorted({of_plugin(kind, name) for kind, name in named})
        return hashlib.blake2b("/".join([*parts, *more]).encode(), digest_size=12).hexdigest()

    return of_names
