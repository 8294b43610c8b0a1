"""Conditions: with what, where and when the numbers of a board were measured, read from its records."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.leaderboard.text import clean
from tlbench.leaderboard.view import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlbench.leaderboard.view import View

SOFTWARE = ("tlbench", "python", "torch", "timm", "numpy", "scikit-learn")
RECIPE = ("steps", "epochs", "batch_size", "optimizer", "lr", "schedule", "precision", "augmentation", "selection")


def conditions(view: View, metric: str, devices: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What is known of ``suite``, ``metric``, ``recipe``, ``seeds``, ``device``, ``software``, ``commit``, ``when``.

    Of trials that ended well; source trainings count for all but recipe and seeds. Texts are clean.
    """
    facts = view.facts
    ok = np.flatnonzero(view.ok)
    rows = view.rows[ok]
    is_trial = np.array([its[0] == "trial" for its in facts.rests], dtype=bool)[view.rest[ok]]
    trials = rows[is_trial]
    seeds = np.unique(np.array(facts.seed, dtype=np.int64)[trials]).tolist()
    chosen = in_order(np.array(facts.axes["recipe"], dtype=np.int64)[trials])
    recipes = {repr(p): p for place in chosen if (p := facts.choices["recipe"][place]["params"])}
    environment = np.array(facts.environment, dtype=np.int64)
    uses = Counter(environment[rows].tolist())  # in the order in which they come
    of_trials = Counter(environment[trials].tolist())
    shared = sum(n for place, n in of_trials.items() if _mapping(facts.environments[place].get("device")).get("shared"))
    every = [(facts.environments[place], count) for place, count in uses.items()]
    times = [end for column in (facts.started, facts.finished) for end in _ends(column, rows)]
    suites = in_order(np.array(facts.suite, dtype=np.int64)[rows])
    found = {
        "suite": _listed(facts.suites[place] for place in suites),
        "metric": metric if len(trials) else "",
        "recipe": "; ".join(map(_recipe, recipes.values())) if len(recipes) <= 3 else f"{len(recipes)} recipes",
        "seeds": _seeds(seeds),
        "device": ", ".join(devices) + (f" ({shared} of {len(trials)} trials shared theirs)" if shared else ""),
        "software": _software(every),
        "commit": _listed(_commit(e.get("git")) for e, _ in every),
        "when": _when(times),
    }
    return tuple((name, clean(said)) for name, said in found.items() if said)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(n for n in names if n))


def _recipe(params: Mapping[str, Any]) -> str:
    known = [(name.replace("_", " "), params[name]) for name in RECIPE if params.get(name) not in (None, "none")]
    return ", ".join(f"{name} {value}" for name, value in known)


def _seeds(seeds: Sequence[int]) -> str:
    if not seeds:
        return ""
    together = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    said = f"{seeds[0]} to {seeds[-1]}" if together else ", ".join(map(str, seeds))
    return f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({said})"


def _software(environments: Iterable[tuple[Mapping[str, Any], int]]) -> str:
    """Each library with its versions, the most frequent first."""
    versions: dict[str, Counter[str]] = {name: Counter() for name in SOFTWARE}
    for environment, count in environments:
        installed = _mapping(environment.get("versions"))
        for name in SOFTWARE:
            if name in installed:
                versions[name][str(installed[name])] += count
    return ", ".join(f"{n} {' and '.join(v for v, _ in c.most_common())}" for n, c in versions.items() if c)


def _commit(git: object) -> str:
    if not isinstance(git, Mapping) or not git.get("commit"):
        return ""
    return str(git["commit"])[:12] + (" with local changes" if git.get("dirty") else "")


def _ends(column: Sequence[str], rows: NDArray[np.int64]) -> list[str]:
    """The first and the last text of these rows, in the order of texts, but for empty ones."""
    found = list(filter(None, column if len(rows) == len(column) else [column[i] for i in rows.tolist()]))
    return [min(found), max(found)] if found else []


def _when(times: Sequence[str]) -> str:
    """The first and the last minute, in UTC where the times say so; nothing where a time cannot be read."""
    try:
        known = sorted(datetime.datetime.fromisoformat(t) for t in {min(times), max(times)}) if times else []
    except (TypeError, ValueError):
        return ""
    if not known:
        return ""
    first, last = known[0], known[-1]
    zone = " UTC" if first.utcoffset() == datetime.timedelta(0) else ""
    if first.date() == last.date():
        return f"{first:%Y-%m-%d %H:%M} to {last:%H:%M}{zone}"
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}{zone}"


def device_of(environment: Mapping[str, Any]) -> str:
    """The device fingerprint as a text for people: rates are compared only where it is the same."""
    device = environment.get("device", "")
    if isinstance(device, Mapping):
        if "fingerprint" in device:
            return str(device["fingerprint"])
        return json.dumps(dict(device), sort_keys=True, default=str)
    return str(device) or "unknown device"
