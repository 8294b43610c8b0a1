"""Ranking sources: transferability scores before any training on the target, and how right they were afterwards."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlbench.api.records import Record, Status
from tlbench.api.trials import Plan, Trial
from tlbench.errors import SuiteError
from tlbench.plan.build import build
from tlbench.plan.done import done_keys
from tlbench.plan.factors import cell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import RenderableType

    from tlbench.plugins import Plugins
    from tlbench.suite.suite import Suite

SOURCE_SCORES = "source-scores"
"""The strategy that puts the scores into a record."""


class Candidate(NamedTuple):
    """What may be transferred from: a source through a backbone, or a backbone's own weights."""

    source: str
    backbone: str

    @property
    def label(self) -> str:
        return f"{self.source} · {self.backbone}"


class Setting(NamedTuple):
    """What is transferred to."""

    target: str
    task: str

    @property
    def label(self) -> str:
        return f"{self.target} · {self.task}"


class Verdict(NamedTuple):
    """How right one score was for one setting and strategy, over ``n`` candidates.

    ``tau``     weighted Kendall correlation of score and accuracy (Vigna 2015), in [-1, 1]
    ``regret``  accuracy of the best candidate less that of the one that the score picks, in [0, 1]
    """

    score: str
    setting: Setting
    strategy: str
    n: int
    tau: float
    regret: float


@dataclass(frozen=True, eq=False)
class Ranking:
    """The scores [candidate] of each setting, means over seeds, and the accuracies that were reached, where known."""

    scores: Mapping[Setting, Mapping[Candidate, Mapping[str, float]]]
    reached: Mapping[Setting, Mapping[str, Mapping[Candidate, float]]] = field(default_factory=dict)
    missing: Sequence[str] = ()

    def names(self) -> list[str]:
        """The scores that some candidate has, in their usual order."""
        from tlbench.transferability import SCORES

        known = {name for found in self.scores.values() for one in found.values() for name in one}
        return [name for name in SCORES if name in known]

    def verdicts(self) -> list[Verdict]:
        """Each score against each strategy's accuracies, where two candidates or more have both."""
        from scipy.stats import weightedtau

        found = []
        for setting, by_strategy in self.reached.items():
            for strategy, accuracy in by_strategy.items():
                for name in self.names():
                    both = [c for c, s in self.scores.get(setting, {}).items() if name in s and c in accuracy]
                    if len(both) < 2:
                        continue
                    x = np.array([self.scores[setting][c][name] for c in both])
                    y = np.array([accuracy[c] for c in both])
                    tau = float(weightedtau(x, y).statistic)
                    regret = float(y.max() - y[int(x.argmax())])
                    found.append(Verdict(name, setting, strategy, len(both), tau, regret))
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data: every setting with its candidates, best first by the first score, and the verdicts."""
        return {
            "settings": [
                {
                    **setting._asdict(),
                    "candidates": [
                        {
                            **c._asdict(),
                            "scores": dict(found[c]),
                            "reached": {s: a[c] for s, a in self.reached.get(setting, {}).items() if c in a},
                        }
                        for c in ordered(found, self.names())
                    ],
                }
                for setting, found in self.scores.items()
            ],
            "verdicts": [
                {**v._asdict(), "setting": v.setting._asdict(), "tau": _finite(v.tau)} for v in self.verdicts()
            ],
            "missing": list(self.missing),
        }


def ordered(found: Mapping[Candidate, Mapping[str, float]], names: Sequence[str]) -> list[Candidate]:
    """Candidates, the best first: by their mean rank over all scores that each of them has."""
    common = [n for n in names if all(n in scores for scores in found.values())]
    ranks = dict.fromkeys(found, 0.0)
    for name in common:
        for place, candidate in enumerate(sorted(found, key=lambda c: -found[c][name])):
            ranks[candidate] += place
    return sorted(found, key=lambda c: (ranks[c], c))


def ranking_plan(
    suite: Suite, plugins: Plugins, records: Mapping[str, Record], has_artifact: Callable[[str], bool]
) -> Plan:
    """The source models of a suite and a trial of scores for each source, target, task, backbone and seed.

    Raises ``SuiteError`` where no task of the suite has a labelled target to score on.
    """
    scores = plugins.choice("strategies", SOURCE_SCORES, {})
    whole = build(replace(suite, strategies=(scores,), include=(), exclude=()), plugins)
    own = cell(plugins, suite.tasks[0], scores)
    wanted = [
        replace(t, kind="ranking") if t.kind == "trial" else t
        for t in whole.trials
        if (t.strategy.name == SOURCE_SCORES and t.source is not None) or t.kind == "source-model"
    ]
    if not any(t.kind == "ranking" and t.skip is None for t in wanted):
        reasons = sorted({t.skip for t in wanted if t.skip} or {own.missing or ""})
        raise SuiteError([f"{suite.path}: there is nothing to rank{': ' if reasons else ''}{'; '.join(reasons)}"])
    done = done_keys(tuple(wanted), records, (), retry_failed=True, has_artifact=has_artifact)
    return Plan(f"{suite.name} (sources)", tuple(wanted), done, suite.metrics)


def collect(plan: Plan, records: Mapping[str, Record], matrix: Sequence[Trial], metric: str) -> Ranking:
    """What the records say: of the plan's scores, and of the matrix's trials that have been run."""
    scores: dict[Setting, dict[Candidate, dict[str, list[float]]]] = {}
    missing = []
    for trial in plan.trials:
        if trial.kind != "ranking" or trial.source is None:
            continue
        setting, candidate = _place(trial)
        record = records.get(trial.key)
        if record is None or record.status != Status.OK:
            reason = record.reason if record is not None else trial.skip or "not run"
            missing.append(f"{candidate.label} → {setting.label}: {reason}")
            continue
        cells = scores.setdefault(setting, {}).setdefault(candidate, defaultdict(list))
        for name, value in record.data.get("reported", {}).items():
            cells[name].append(float(value))
    reached: dict[Setting, dict[str, dict[Candidate, list[float]]]] = {}
    for trial in matrix:
        record = records.get(trial.key)
        if trial.kind != "trial" or trial.source is None or trial.reference is None:
            continue
        if record is None or record.status != Status.OK or record.scored is None:
            continue
        value = record.metrics[record.scored].get(metric)
        if value is not None:
            setting, candidate = _place(trial)
            by_strategy = reached.setdefault(setting, {}).setdefault(trial.strategy.label, {})
            by_strategy.setdefault(candidate, []).append(float(value))
    return Ranking(
        {
            s: {c: {n: float(np.mean(v)) for n, v in cells.items()} for c, cells in by.items()}
            for s, by in scores.items()
        },
        {s: {n: {c: float(np.mean(v)) for c, v in at.items()} for n, at in by.items()} for s, by in reached.items()},
        tuple(missing),
    )


def ranking_view(ranking: Ranking, width: int) -> RenderableType:
    """Tables for people: the candidates of each setting, and how right each score was; ``width`` in characters."""
    from rich.console import Console, Group
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    names, parts = ranking.names(), list[Any]()
    paper = Console(width=1000)
    for setting in ranking.scores:
        tables = [_table(ranking, setting, names, across=across) for across in ("scores", "sources")]
        fits = Measurement.get(paper, paper.options, tables[0]).maximum <= width
        parts += [tables[0] if fits else tables[1], Text()]
    if verdicts := ranking.verdicts():
        table = Table(title="how right each score was", title_justify="left", title_style="bold", box=None)
        for column in ("score", "weighted Kendall τ", "regret (points)", "settings × strategies"):
            table.add_column(column, justify="left" if column == "score" else "right")
        for name in names:
            mine = [v for v in verdicts if v.score == name]
            taus = [v.tau for v in mine if np.isfinite(v.tau)]
            if mine:
                tau = f"{np.mean(taus):+.2f}" if taus else "–"
                table.add_row(name, tau, f"{100 * np.mean([v.regret for v in mine]):.1f}", str(len(mine)))
        parts += [table, Text()]
    else:
        parts.append(Text("No trial of the matrix has run yet, so nothing says how right the scores are.", "dim"))
    parts += [Text.assemble(("no score  ", "yellow"), line) for line in ranking.missing]
    return Group(*parts)


def _table(ranking: Ranking, setting: Setting, names: Sequence[str], *, across: str) -> Any:
    """One setting's candidates, the best first: a row for each and the scores across, or a column for each."""
    from rich.table import Table
    from rich.text import Text

    found, by_strategy = ranking.scores[setting], ranking.reached.get(setting, {})
    places, several = ordered(found, names), len({c.backbone for c in found}) > 1
    labels = [f"{i} {c.label if several else c.source}" for i, c in enumerate(places, 1)]
    best = {n: max((s[n] for s in found.values() if n in s), default=None) for n in names}
    lines: dict[str, list[Any]] = {n: [_cell(found[c].get(n), best[n]) for c in places] for n in names}
    for strategy in sorted(by_strategy):
        reached = by_strategy[strategy]
        lines[f"reached by {strategy}"] = [f"{100 * reached[c]:.1f}" if c in reached else "–" for c in places]
    table = Table(title=f"sources for {setting.label}", title_justify="left", title_style="bold", box=None)
    heads, rows = (list(lines), labels) if across == "scores" else (labels, list(lines))
    table.add_column("")
    for head in heads:
        table.add_column(Text(head), justify="right", overflow="fold")
    for i, row in enumerate(rows):
        table.add_row(Text(row), *(lines[row] if across == "sources" else [line[i] for line in lines.values()]))
    return table


def _cell(value: float | None, best: float | None) -> Any:
    from rich.text import Text

    if value is None:
        return "–"
    return Text(f"{value:.3g}", "bold" if value == best else "")


def _place(trial: Trial) -> tuple[Setting, Candidate]:
    assert trial.source is not None
    return Setting(trial.target.label, trial.task.label), Candidate(trial.source.label, trial.backbone.label)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
