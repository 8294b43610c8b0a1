"""Build a plan: a suite's trials with their references, shared parents and skips, in the order in which they run."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from tlbench.api.trials import KEY_VERSION, PRETRAINED, Choice, Plan, Trial
from tlbench.collector import many_objects
from tlbench.errors import SuiteError
from tlbench.plan.done import done_keys
from tlbench.plan.factors import Cell, cell, fingerprints, no_weights, references
from tlbench.suite.suite import SOURCE_TRAINING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tlbench.api.records import Record
    from tlbench.plugins import Plugins
    from tlbench.suite.suite import Filter, Suite


def build(
    suite: Suite,
    plugins: Plugins,
    records: Mapping[str, Record] | None = None,
    *,
    retry_failed: bool = False,
    has_artifact: Callable[[str], bool] | None = None,
    has_predictions: Callable[[str], bool] | None = None,
) -> Plan:
    """The plan of a suite; what ``records`` (by key) hold already is marked as done.

    ``retry_failed`` runs again what failed, ran out of memory or out of time. ``has_artifact`` says whether the
    weights of a source model are still there; ``has_predictions`` whether a trial's predictions are, where they are
    wanted. Raises ``SuiteError`` where the filters leave no trial, ``PluginError``
    where a plugin is missing that every plan needs.
    """
    with many_objects():
        trials = tuple(_trials(suite, plugins))
    if not trials:
        raise SuiteError([f"{suite.path}: 'include' and 'exclude' leave no trial"])
    done = done_keys(
        trials,
        records or {},
        suite.metrics,
        retry_failed=retry_failed,
        has_artifact=has_artifact,
        has_predictions=has_predictions,
    )
    return Plan(suite=suite.name, trials=trials, done=done, metrics=suite.metrics)


class Row(NamedTuple):
    """What the trials of one row of the matrix share: one trial for each seed."""

    source: Choice | None
    target: Choice
    backbone: Choice
    task: Choice
    strategy: Choice
    reference: str | None
    skip: str | None
    from_model: bool
    fingerprint: str
    factors: str
    """The part of the keys that all seeds share, as ``Trial.key`` joins it."""


def _trials(suite: Suite, plugins: Plugins) -> Iterator[Trial]:
    """Seeds outermost, so that a run that stops early is comparable already; each parent before its first dependent."""
    by_seed = any("seed" in wanted for wanted in (*suite.include, *suite.exclude))
    rows = [] if by_seed else _rows(suite, plugins, None)
    training = SourceTraining(suite, plugins)
    recipe = suite.recipe
    for seed in suite.seeds:
        keys: dict[tuple[str, str], tuple[str, ...]] = {}
        for row in _rows(suite, plugins, seed) if by_seed else rows:
            parents: tuple[str, ...] = ()
            if row.from_model and row.source is not None:
                at = (row.source.digest, row.backbone.digest)
                if at not in keys:
                    model = training.trial(row.source, row.backbone, seed)
                    keys[at] = (model.key,)
                    yield model
                parents = keys[at]
            yield keyed(row, recipe, seed, parents)


def keyed(row: Row, recipe: Choice, seed: int, parents: tuple[str, ...]) -> Trial:
    """A trial of a row with its key: the factors' digests stand in ``row.factors`` once for all seeds.

    The same as ``Trial(...)``, whose constructor and ``key`` take three times as long; a test holds them together.
    """
    text = "/".join((row.factors, recipe.digest, str(seed), *parents))
    trial = object.__new__(Trial)
    trial.__dict__.update(
        source=row.source,
        target=row.target,
        task=row.task,
        strategy=row.strategy,
        backbone=row.backbone,
        recipe=recipe,
        seed=seed,
        kind="trial",
        parents=parents,
        reference=row.reference,
        skip=row.skip,
        fingerprint=row.fingerprint,
        key=hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
    )
    return trial


class SourceTraining:
    """Makes the trials that train a backbone on its source; their plugins are asked for only where there is one."""

    def __init__(self, suite: Suite, plugins: Plugins) -> None:
        self.suite, self.plugins = suite, plugins
        self.fingerprint = fingerprints(plugins)

    def trial(self, source: Choice, backbone: Choice, seed: int) -> Trial:
        task = self.plugins.choice("tasks", SOURCE_TRAINING, {})
        strategy = self.plugins.choice("strategies", SOURCE_TRAINING, {})
        return Trial(
            source=None,
            target=source,
            task=task,
            strategy=strategy,
            backbone=backbone,
            recipe=self.suite.source_recipe,
            seed=seed,
            kind="source-model",
            fingerprint=self.fingerprint(None, source.name, task.name, strategy.name, backbone.name),
        )


# ---- rows ----------------------------------------------------------------------------------------


def _rows(suite: Suite, plugins: Plugins, seed: int | None) -> list[Row]:
    """The rows of one seed (of all seeds where no filter asks for one), grouped by what is warm together.

    Groups share source, backbone and target, those without a source first; references come first in each.
    """
    sources, targets, backbones = (
        {choice.digest: i for i, choice in enumerate(axis)} for axis in (suite.sources, suite.targets, suite.backbones)
    )
    groups: dict[tuple[int, int, int], tuple[list[Row], list[Row]]] = {}
    for row, is_reference in _unordered(suite, plugins, seed):
        place = (
            sources[row.source.digest] if row.source else -1,
            backbones[row.backbone.digest],
            targets[row.target.digest],
        )
        group = groups.setdefault(place, ([], []))
        group[0 if is_reference else 1].append(row)
    return [row for _, (first, others) in sorted(groups.items()) for row in (*first, *others)]


def _unordered(suite: Suite, plugins: Plugins, seed: int | None) -> Iterator[tuple[Row, bool]]:
    """Every row once, and whether it is one of its task's references.

    A pair brings its references with it as soon as one strategy of it is to run, so that no filter takes away
    what a gain is measured against. A row that does not depend on the source occurs once, whatever the sources.
    """
    fingerprint = fingerprints(plugins)
    # What a trial inherits from its source model, and its own key and plugins do not say.
    inherited: tuple[str, ...] = ()
    for task in suite.tasks:
        known = [cell(plugins, task, strategy) for strategy in references(plugins, task, suite.strategies)]
        listed = [cell(plugins, task, strategy) for strategy in suite.strategies]
        reference = known[0].strategy if known else None
        digests = {own.strategy.digest for own in known}
        others = [own for own in listed if own.strategy.digest not in digests]
        filtered = bool(suite.include or suite.exclude)
        for backbone in suite.backbones:
            weightless: str | None = None
            if any(source.name == PRETRAINED for source in suite.sources):
                weightless = no_weights(plugins, backbone)
            seen: set[tuple[str, str]] = set()
            for source, target in suite.pairs:
                chosen, compared = listed, others
                if filtered:
                    chosen = [own for own in listed if _wanted(suite, source, target, backbone, own, seed)]
                    compared = [own for own in chosen if own.strategy.digest not in digests]
                if any(_skip(own, source, weightless) is None for own in compared):
                    chosen = known + compared
                ends = f"{target.digest}/{task.digest}"
                for own in chosen:
                    if not own.needs_source:
                        at = (target.digest, own.strategy.digest)
                        if at in seen:
                            continue
                        seen.add(at)
                    skip = _skip(own, source, weightless)
                    from_model = own.from_source and source.name != PRETRAINED and skip is None
                    if from_model and not inherited:
                        inherited = _inherited(suite, plugins)
                    row = Row(
                        source=source if own.needs_source else None,
                        target=target,
                        backbone=backbone,
                        task=task,
                        strategy=own.strategy,
                        reference=None if reference is None or own.strategy is reference else reference.label,
                        skip=skip,
                        from_model=from_model,
                        fingerprint=fingerprint(
                            source.name if own.needs_source else None,
                            target.name,
                            task.name,
                            own.strategy.name,
                            backbone.name,
                            *own.inner,
                            *(inherited if from_model else ()),
                        ),
                        factors="/".join(
                            (
                                str(KEY_VERSION),
                                source.digest if own.needs_source else "-",
                                ends,
                                own.strategy.digest,
                                backbone.digest,
                            )
                        ),
                    )
                    yield row, own.strategy.digest in digests


def _skip(own: Cell, source: Choice, weightless: str | None) -> str | None:
    """Why a strategy cannot run on this source, if it cannot."""
    if not own.needs_source or source.name != PRETRAINED:
        return own.missing
    return own.missing_pretrained or (weightless if own.from_source else None)


def _inherited(suite: Suite, plugins: Plugins) -> tuple[str, ...]:
    code = (plugins.fingerprint(kind, SOURCE_TRAINING) for kind in ("tasks", "strategies"))
    return (suite.source_recipe.digest, *code)


def _wanted(suite: Suite, source: Choice, target: Choice, backbone: Choice, own: Cell, seed: int | None) -> bool:
    if not suite.include and not suite.exclude:
        return True
    at = {
        "source": source.label,
        "target": target.label,
        "task": own.task.label,
        "strategy": own.strategy.label,
        "backbone": backbone.label,
        "seed": seed,
    }
    included = not suite.include or any(_fits(wanted, at) for wanted in suite.include)
    return included and not any(_fits(wanted, at) for wanted in suite.exclude)


def _fits(wanted: Filter, at: Mapping[str, str | int | None]) -> bool:
    return all(at[axis] in labels for axis, labels in wanted.items())
