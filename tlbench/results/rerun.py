"""Rerun: do a random sample of a run's trials again, with the source models that they start from, and compare.

What runs is the installed code, with the names and parameters that the records give; nothing of the run folder is
loaded but those. Names that no installed plugin offers are said, not guessed.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tlbench.api.records import Record, Status
from tlbench.api.trials import PRETRAINED, Plan, Trial
from tlbench.errors import PluginError, StoreError
from tlbench.results.sameness import compare
from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tlbench.plugins import Plugins

_MOST_THREADS = 256


@dataclass(frozen=True)
class Rerun:
    """How one trial came out when it was run again.

    ``equal``, ``close`` (other bits, within the tolerance), ``different``, or ``not run`` where it could not be.
    """

    key: str
    title: str
    outcome: Literal["equal", "close", "different", "not run"]
    text: str
    differences: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        return self.outcome in ("equal", "close")

    def to_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "title": self.title,
            "outcome": self.outcome,
            "text": self.text,
            "differences": list(self.differences),
            "conditions": list(self.conditions),
        }


@dataclass(frozen=True)
class Again:
    """How trials are run again. ``device`` is ``cpu`` or ``cuda``; ``threads`` default to those of the records.

    ``base`` is the folder that relative paths in data sets start at, which for the first run was the suite's.
    ``tolerance`` replaces what ``sameness`` allows for each score. ``plain`` switches every way of going faster off.
    """

    cache: Path
    base: Path
    data_root: Path | None = None
    executor: str = "workers"
    workers: int | None = None
    device: str = "cpu"
    threads: int | None = None
    timeout: float | None = None
    memory_limit: int | None = None
    tolerance: float | None = None
    plain: bool = False


def sampled(records: Mapping[str, Record], count: int, seed: int) -> list[str]:
    """The keys of ``count`` results, drawn without replacement; the same for the same records and seed."""
    results = sorted(k for k, r in records.items() if r.status is Status.OK and r.trial["kind"] == "trial")
    return sorted(random.Random(seed).sample(results, min(count, len(results))))


def rerun(
    records: Mapping[str, Record],
    keys: Sequence[str],
    plugins: Plugins,
    how: Again,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Rerun]:
    """Run these trials again in a temporary folder, and compare each with its record, in the order of ``keys``."""
    trials: dict[str, Trial] = {}
    unable: dict[str, str] = {}
    for key in keys:
        try:
            wanted = _with_parents(key, records)
            trials |= {t.key: replace(t, fingerprint=_fingerprint(t, wanted, plugins)) for t in wanted.values()}
        except (StoreError, PluginError) as error:
            unable[key] = str(error).splitlines()[0]
    ordered = sorted(trials.values(), key=lambda t: t.kind != "source-model")
    metrics = _metrics(records, list(trials), plugins)
    with tempfile.TemporaryDirectory(prefix="tlbench-verify-") as folder:
        fresh = _run(ordered, Path(folder), metrics, plugins, _like(records, keys, how), say) if ordered else {}
    for key in keys:
        trial = Trial.from_json(records[key].trial)
        if key in unable or key not in fresh:
            why = unable.get(key, "it did not end")
            yield Rerun(key, trial.title, "not run", f"{key[:12]} could not be run again: {why}")
        else:
            yield _compared(trial, records[key], _of(trial, fresh[key]), how.tolerance)


def _compared(trial: Trial, told: Record, fresh: Record, tolerance: float | None) -> Rerun:
    if fresh.status is not Status.OK:
        text = f"{trial.key[:12]} could not be run again: it ended as {fresh.status}: {fresh.reason}"
        return Rerun(trial.key, trial.title, "not run", text)
    found = compare(told, fresh, tolerance)
    said = tuple(d.text for d in found.differences)
    if found.outcome == "equal":
        text = "the same to the bit"
    elif found.outcome == "close":
        text = f"the same within the tolerance: {'; '.join(said)}"
    else:
        text = f"not the same when run again: {'; '.join(said)}"
        text += (
            "" if found.conditions or tolerance is not None else " (same code, versions and CPU: equal bits expected)"
        )
    return Rerun(trial.key, trial.title, found.outcome, text, said, found.conditions)


def _of(trial: Trial, fresh: Record) -> Record:
    return replace(fresh, trial={**fresh.trial, "reference": trial.reference})


# ---- what runs -----------------------------------------------------------------------------------


def _with_parents(key: str, records: Mapping[str, Record]) -> dict[str, Trial]:
    """A trial and all that it starts from. Raises ``StoreError`` where there is no record of one of them."""
    found: dict[str, Trial] = {}
    waiting = [key]
    while waiting:
        at = waiting.pop()
        if at in found:
            continue
        if at not in records:
            raise StoreError(f"there is no record of the source model {at} that it starts from")
        found[at] = Trial.from_json(records[at].trial)
        waiting += found[at].parents
    return found


def _fingerprint(trial: Trial, wanted: Mapping[str, Trial], plugins: Plugins) -> str:
    """The fingerprint of the code that runs here, made as the planner makes it."""
    from tlbench.plan.factors import cell, fingerprints
    from tlbench.suite.suite import SOURCE_TRAINING

    of = fingerprints(plugins)
    source = trial.source.name if trial.source is not None and trial.source.name != PRETRAINED else None
    names = (source, trial.target.name, trial.task.name, trial.strategy.name, trial.backbone.name)
    if trial.kind == "source-model":
        return of(*names)
    inherited: tuple[str, ...] = ()
    if trial.parents:
        code = (plugins.fingerprint(kind, SOURCE_TRAINING) for kind in ("tasks", "strategies"))
        inherited = (wanted[trial.parents[0]].recipe.digest, *code)
    return of(*names, *cell(plugins, trial.task, trial.strategy).inner, *inherited)


def _metrics(records: Mapping[str, Record], keys: Sequence[str], plugins: Plugins) -> tuple[str, ...]:
    """That of the learning curves first, then every other one that is known here."""
    first = [str(curve["metric"]) for k in keys if (curve := records[k].curve)]
    others = sorted({name for k in keys for scores in records[k].metrics.values() for name in scores})
    known = plugins.offers("metrics")
    return tuple(name for name in dict.fromkeys([*first[:1], *others]) if name in known)


def _like(records: Mapping[str, Record], keys: Sequence[str], how: Again) -> Again:
    """With the threads of most of the records, where nothing else was asked for."""
    devices = [d for k in keys if isinstance(d := records[k].environment.get("device"), dict)]
    found = Counter(d["threads"] for d in devices if isinstance(d.get("threads"), int))
    threads = how.threads or next((t for t, _ in found.most_common(1)), 1)
    return replace(how, threads=threads if 1 <= threads <= _MOST_THREADS else 1)


def on_gpu(records: Mapping[str, Record]) -> bool:
    """Whether most of these results are of a GPU."""
    devices = [str((r.environment.get("device") or {}).get("device", "cpu")) for r in records.values()]
    return sum(d.startswith("cuda") for d in devices) > len(devices) / 2


def _run(
    trials: Sequence[Trial],
    folder: Path,
    metrics: tuple[str, ...],
    plugins: Plugins,
    how: Again,
    say: Callable[[str], None],
) -> dict[str, Record]:
    """The records of these trials, by key, from the ordinary executor."""
    from dataclasses import fields

    from tlbench.execution.bench import make_spec
    from tlbench.execution.switches import Switches
    from tlbench.execution.work import HostWork

    spec = make_spec(
        plugins=plugins,
        run=folder,
        base=how.base,
        data_root=how.data_root,
        cache=how.cache,
        suite="verify",
        metrics=metrics,
        device=how.device,
        threads=how.threads or 1,
        memory_limit=how.memory_limit,
        switches=Switches.plain() if how.plain else Switches(),
    )
    takes = {f.name for f in fields(plugins.get("executors", how.executor).cls)}
    params = {k: v for k, v in {"workers": how.workers, "timeout": how.timeout}.items() if k in takes}
    executor = plugins.build("executors", how.executor, params)
    titles = {t.key: t.title for t in trials}
    found: dict[str, Record] = {}
    with RunFolder(folder).writing() as writer:
        for record in executor.run(Plan("verify", tuple(trials), metrics=metrics), HostWork(spec)):
            writer.write(record)
            found[record.key] = record
            say(f"{len(found)}/{len(trials)} {record.status}: {titles[record.key]}")
    return found
