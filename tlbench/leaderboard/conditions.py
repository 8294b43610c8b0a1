"""Conditions: with what, where and when the numbers of a board were measured, read from its records."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlbench.leaderboard.text import clean

if TYPE_CHECKING:
    from tlbench.api.records import Record

SOFTWARE = ("tlbench", "python", "torch", "timm", "numpy", "scikit-learn")
RECIPE = ("steps", "epochs", "batch_size", "optimizer", "lr", "schedule", "precision", "augmentation", "selection")


def conditions(records: Sequence[Record], metric: str, devices: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What is known of ``suite``, ``metric``, ``recipe``, ``seeds``, ``device``, ``software``, ``commit``, ``when``.

    Of trials that ended well; source trainings count for all but recipe and seeds. Texts are clean.
    """
    trials = [r for r in records if r.trial["kind"] == "trial"]
    seeds = sorted({r.trial["seed"] for r in trials})
    recipes = {repr(p): p for r in trials if (p := r.trial["recipe"]["params"])}
    shared = sum(1 for r in trials if _device(r).get("shared"))
    found = {
        "suite": _listed(r.suite for r in records),
        "metric": metric if trials else "",
        "recipe": "; ".join(map(_recipe, recipes.values())) if len(recipes) <= 3 else f"{len(recipes)} recipes",
        "seeds": _seeds(seeds),
        "device": ", ".join(devices) + (f" ({shared} of {len(trials)} trials shared theirs)" if shared else ""),
        "software": _software(records),
        "commit": _listed(_commit(r.environment.get("git")) for r in records),
        "when": _when([t for r in records for t in (r.started, r.finished) if t]),
    }
    return tuple((name, clean(said)) for name, said in found.items() if said)


def _device(record: Record) -> Mapping[str, Any]:
    return _mapping(record.environment.get("device"))


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


def _software(records: Sequence[Record]) -> str:
    """Each library with its versions, the most frequent first."""
    versions: dict[str, Counter[str]] = {name: Counter() for name in SOFTWARE}
    for record in records:
        installed = _mapping(record.environment.get("versions"))
        for name in SOFTWARE:
            if name in installed:
                versions[name][str(installed[name])] += 1
    return ", ".join(f"{n} {' and '.join(v for v, _ in c.most_common())}" for n, c in versions.items() if c)


def _commit(git: object) -> str:
    if not isinstance(git, Mapping) or not git.get("commit"):
        return ""
    return str(git["commit"])[:12] + (" with local changes" if git.get("dirty") else "")


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
