"""Versions: where runs differ in the code of a strategy, its results are told apart as ``name @ version``.

Dimension key:  R runs

A fingerprint is a hash of the code behind the names of a trial: its data sets, task, strategy and backbone. Two runs in
which equal names have unequal fingerprints were made by different code. All results of a strategy in a run are of one
version; runs that nowhere disagree about a strategy share one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tlbench.api.trials import Choice, Trial, canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tlbench.api.records import Record

_Code = dict[str, str]
"""Names that a fingerprint depends on, as one text -> fingerprint."""


def code_of(trials: Iterable[Trial]) -> dict[str, _Code]:
    """For each strategy (by digest) what code its trials were made by."""
    trials = list(trials)
    recipes = {t.key: t.recipe.digest for t in trials if t.kind == "source-model"}
    found: dict[str, _Code] = {}
    for t in trials:
        if not t.fingerprint:
            continue
        # Of a source model that is not there neither is its recipe, which counts; its key stands for it.
        inherited = [recipes.get(parent, parent) for parent in t.parents]
        source = t.source.name if t.source else None
        names = [t.kind, source, t.target.name, t.task.name, t.backbone.name, *inherited]
        found.setdefault(t.strategy.digest, {})[canonical(names)] = t.fingerprint
    return found


def classes(codes: Sequence[Mapping[str, _Code]]) -> dict[str, list[int]]:
    """For each strategy the place [R] of each run's version, -1 where the run lacks it; in the order of the runs."""
    found: dict[str, list[int]] = {}
    for strategy in dict.fromkeys(digest for code in codes for digest in code):
        known: list[_Code] = []
        places = []
        for code in codes:
            own = code.get(strategy)
            if own is None:
                places.append(-1)
                continue
            at = next((i for i, k in enumerate(known) if all(k.get(n, f) == f for n, f in own.items())), len(known))
            if at == len(known):
                known.append({})
            known[at] |= own
            places.append(at)
        found[strategy] = places
    return found


def tags(codes: Sequence[Mapping[str, _Code]], records: Sequence[Iterable[Record]]) -> list[dict[str, str]]:
    """For each run [R], strategy -> the name of its version; only for strategies of which there are several.

    The name is the version of tlbench where that tells them apart, else its commit, else a hash of the fingerprints.
    """
    told = [_stated(run) for run in records]
    found: list[dict[str, str]] = [{} for _ in codes]
    for strategy, places in classes(codes).items():
        count = max(places) + 1
        if count < 2:
            continue
        members = [[r for r, place in enumerate(places) if place == i] for i in range(count)]
        names: list[str] = []
        for what in ("version", "commit"):
            stated = [{told[r].get(strategy, {}).get(what, "") for r in runs} for runs in members]
            if all(len(s) == 1 and all(s) for s in stated) and len(set.union(*stated)) == count:
                names = [next(iter(s)) for s in stated]
                break
        if not names:
            names = [_hash({n: f for r in runs for n, f in codes[r][strategy].items()}) for runs in members]
        for r, place in enumerate(places):
            if place >= 0:
                found[r][strategy] = names[place]
    return found


def _stated(records: Iterable[Record]) -> dict[str, dict[str, str]]:
    """For each strategy the version and the commit of tlbench that most of its records name; empty: they name none."""
    versions: dict[str, Counter[str]] = {}
    commits: dict[str, Counter[str]] = {}
    for record in records:
        strategy = Choice.from_json(record.trial["strategy"]).digest
        version = str((record.environment.get("versions") or {}).get("tlbench", ""))
        git = record.environment.get("git") or {}
        versions.setdefault(strategy, Counter())[version] += 1
        commits.setdefault(strategy, Counter())["" if git.get("dirty") else str(git.get("commit", ""))[:7]] += 1
    return {s: {"version": _most(versions[s]), "commit": _most(commits[s])} for s in versions}


def _most(found: Counter[str]) -> str:
    return found.most_common(1)[0][0] if found else ""


def _hash(code: _Code) -> str:
    return hashlib.blake2b(canonical(code).encode(), digest_size=4).hexdigest()


# ---- trials under their version ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Renaming:
    """How the trials of one run are called in the merged one.

    ``versions`` strategy (digest) -> version; ``labels`` (axis, digest) -> label. ``known`` are the run's trials by
    key, to follow parents; ``by_label`` its strategies by label, to follow references.
    """

    versions: Mapping[str, str]
    labels: Mapping[tuple[str, str], str]
    known: Mapping[str, Trial]
    by_label: Mapping[str, Choice]

    def __call__(self, trial: Trial) -> Trial:
        """The same trial with its version, under the labels of the merged run; its key changes with its version."""
        reference = trial.reference
        if reference is not None and reference in self.by_label:
            reference = self._choice("strategy", self.by_label[reference]).label
        return replace(
            trial,
            source=self._choice("domain", trial.source) if trial.source else None,
            target=self._choice("domain", trial.target),
            task=self._choice("task", trial.task),
            strategy=self._choice("strategy", trial.strategy),
            backbone=self._choice("backbone", trial.backbone),
            recipe=self._choice("recipe", trial.recipe),
            parents=tuple(self(self.known[p]).key if p in self.known else p for p in trial.parents),
            reference=reference,
        )

    def _choice(self, axis: str, choice: Choice) -> Choice:
        label = self.labels.get((axis, choice.digest), choice.label)
        version = self.versions.get(choice.digest, "") if axis == "strategy" else ""
        if not version:
            return replace(choice, label=label)
        return replace(choice, label=f"{label} @ {version}", version=version)
