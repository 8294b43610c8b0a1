"""Protocol: what runs must have in common for their results to stand in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tlbench.api.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tlbench.api.records import Record
    from tlbench.api.trials import Choice, Trial

MOST_REASONS = 20


class Side(NamedTuple):
    """One run as a merge sees it: the records that count, by key, and the trials that are planned."""

    path: Path
    records: Mapping[str, Record]
    trials: Sequence[Trial]


def refusals(runs: Sequence[Side]) -> list[str]:
    """Why these runs cannot be merged, each reason once; empty where they can."""
    found = dict.fromkeys([*_data(runs), *_meanings(runs), *_metrics(runs)])
    return list(found)[:MOST_REASONS]


def _data(runs: Sequence[Side]) -> Iterator[str]:
    """One data set must have one content."""
    known: dict[str, tuple[str, str]] = {}
    for run in runs:
        for record in run.records.values():
            for role in ("target", "source"):
                about, choice = record.data.get(role), record.trial.get(role)
                if not isinstance(about, Mapping) or not choice or "content" not in about:
                    continue
                name = f"{choice['name']} {dict(choice['params'])}"
                content, where = str(about["content"]), f"{run.path} (trial {record.key[:12]})"
                first, its_place = known.setdefault(name, (content, where))
                if first != content:
                    yield (
                        f"the data set {choice['label']!r} ({name[:200]}) has content {first} in {its_place} and "
                        f"{content} in {where}; results on different data cannot stand in one table"
                    )


def _meanings(runs: Sequence[Side]) -> Iterator[str]:
    """One label must have one meaning on every axis of the protocol: domains, tasks, backbones, recipes, references."""
    known: dict[tuple[str, str], tuple[Choice, Path]] = {}
    for run in runs:
        for axis, label, choice in _choices(run.trials):
            first, path = known.setdefault((axis, label), (choice, run.path))
            if first.digest != choice.digest:
                yield (
                    f"{axis} {label!r} is not the same in {path} and {run.path}: {_difference(first, choice)}; "
                    f"{_remedy(axis)}"
                )


def _remedy(axis: str) -> str:
    if "recipe" in axis or "reference" in axis:
        return "show the runs apart"
    return "give one of them another label in its suite, or show the runs apart"


def _choices(trials: Iterable[Trial]) -> Iterator[tuple[str, str, Choice]]:
    for trial in trials:
        if trial.kind == "source-model":
            yield "the source recipe", trial.recipe.label, trial.recipe
            continue
        if trial.source is not None:
            yield "the data set", trial.source.label, trial.source
        yield "the data set", trial.target.label, trial.target
        yield "the task", trial.task.label, trial.task
        yield "the backbone", trial.backbone.label, trial.backbone
        yield "the recipe", trial.recipe.label, trial.recipe
        if trial.reference is None:
            yield f"the reference of {trial.task.label},", trial.strategy.label, trial.strategy


def _difference(a: Choice, b: Choice) -> str:
    if a.name != b.name:
        return f"{a.name} and {b.name}"
    names = [n for n in dict.fromkeys([*a.params, *b.params]) if a.params.get(n, ...) != b.params.get(n, ...)]
    return ", ".join(f"{n} is {_param(a, n)} and {_param(b, n)}" for n in names[:5])


def _param(choice: Choice, name: str) -> Any:
    return repr(choice.params[name])[:60] if name in choice.params else "not there"


def _metrics(runs: Sequence[Side]) -> Iterator[str]:
    """The learning curves, by which is chosen and ranked, must be of one metric."""
    known: dict[str, Path] = {}
    for run in runs:
        for record in run.records.values():
            if record.status is Status.OK and record.curve:
                known.setdefault(str(record.curve["metric"]), run.path)
    if len(known) > 1:
        said = " and ".join(f"{metric} in {path}" for metric, path in known.items())
        yield f"the runs are scored by different metrics: {said}"
