"""View a plan: what would run, what is there already, what is skipped and why, and how long it may take."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from tlbench.api.trials import Plan, Trial
    from tlbench.plan.estimate import Estimate

_COUNTS = ("run", "done", "skip")
MOST_MODELS = 20


def state(plan: Plan, trial: Trial) -> str:
    """``skip``, ``done`` (it will not run, as a record is there or nobody needs it) or ``run``."""
    if trial.skip is not None:
        return "skip"
    return "done" if trial.key in plan.done else "run"


def plan_json(plan: Plan, estimate: Estimate) -> dict[str, Any]:
    """Plain data: counts, reasons of skips, source models with their dependents, and every trial in its order."""
    dependents = _dependents(plan)
    return {
        "suite": plan.suite,
        "metrics": list(plan.metrics),
        "counts": _counts(plan, (trial for trial in plan.trials)),
        "trials": _counts(plan, (trial for trial in plan.trials if trial.kind == "trial")),
        "source_models": _counts(plan, (trial for trial in plan.trials if trial.kind == "source-model")),
        "skipped": [{"reason": reason, "trials": n} for reason, n in _reasons(plan)],
        "estimate": {"seconds": estimate.seconds, "known": estimate.known, "unknown": estimate.unknown},
        "plan": [
            {
                "key": trial.key,
                "state": state(plan, trial),
                "title": trial.title,
                "kind": trial.kind,
                "source": trial.source.label if trial.source else None,
                "target": trial.target.label,
                "task": trial.task.label,
                "strategy": trial.strategy.label,
                "backbone": trial.backbone.label,
                "seed": trial.seed,
                "parents": list(trial.parents),
                "dependents": dependents[trial.key],
                "reference": trial.reference,
                "skip": trial.skip,
            }
            for trial in plan.trials
        ],
    }


def plan_table(plan: Plan, estimate: Estimate) -> RenderableType:
    """Tables for the terminal. Labels are shown as they are, never read as markup."""
    trials = [trial for trial in plan.trials if trial.kind == "trial"]
    models = [trial for trial in plan.trials if trial.kind == "source-model"]
    counts = _counts(plan, plan.trials)
    head = Text.assemble(
        (plan.suite, "bold"),
        f": {len(trials):,} trials and {len(models):,} shared source models;\n",
        (f"{counts['run']:,} to run", "bold"),
        f", {counts['done']:,} already there, {counts['skip']:,} skipped",
    )
    parts: list[RenderableType] = [head, Text(_duration(estimate)), Text(), _strategies(plan, trials)]
    if models:
        parts += [Text(), _models(plan, models)]
    if reasons := _reasons(plan):
        parts += [Text(), _skipped(reasons)]
    return Group(*parts)


# ---- tables --------------------------------------------------------------------------------------


def _strategies(plan: Plan, trials: list[Trial]) -> Table:
    table = Table("task", "strategy", "compared with", title="Trials", title_justify="left", box=None, pad_edge=False)
    for name in ("run", "done", "skipped"):
        table.add_column(name, justify="right")
    rows: dict[tuple[str, str, str | None], Counter[str]] = {}
    for trial in trials:
        row = rows.setdefault((trial.task.label, trial.strategy.label, trial.reference), Counter())
        row[state(plan, trial)] += 1
    tasks = list(dict.fromkeys(task for task, _, _ in rows))
    last = None
    for (task, strategy, reference), row in sorted(
        rows.items(), key=lambda item: (tasks.index(item[0][0]), item[0][2] is not None)
    ):
        shown = "" if task == last else escape(task)
        against = "[dim](the reference)[/]" if reference is None else escape(reference)
        table.add_row(shown, escape(strategy), against, *(_number(row[name]) for name in _COUNTS))
        last = task
    return table


def _models(plan: Plan, models: list[Trial]) -> Table:
    table = Table(
        "source model", "backbone", title="Shared source models", title_justify="left", box=None, pad_edge=False
    )
    for name in ("seeds", "start from it", "run", "done"):
        table.add_column(name, justify="right")
    dependents = _dependents(plan)
    rows: dict[tuple[str, str], Counter[str]] = {}
    for model in models:
        row = rows.setdefault((model.target.label, model.backbone.label), Counter())
        row["seeds"] += 1
        row["dependents"] += dependents[model.key]
        row[state(plan, model)] += 1
    for (source, backbone), row in list(rows.items())[:MOST_MODELS]:
        numbers = (_number(row[name]) for name in ("seeds", "dependents", "run", "done"))
        table.add_row(escape(source), escape(backbone), *numbers)
    if len(rows) > MOST_MODELS:
        table.add_row(f"[dim]and {len(rows) - MOST_MODELS:,} more[/]")
    return table


def _skipped(reasons: list[tuple[str, int]]) -> Table:
    table = Table(title="Skipped", title_justify="left", box=None, pad_edge=False)
    table.add_column("trials", justify="right")
    table.add_column("why", overflow="fold")
    for reason, n in reasons:
        table.add_row(f"{n:,}", escape(reason))
    return table


# ---- counting ------------------------------------------------------------------------------------


def _counts(plan: Plan, trials: Iterable[Trial]) -> dict[str, int]:
    counts = Counter(state(plan, trial) for trial in trials)
    return {name: counts[name] for name in _COUNTS}


def _reasons(plan: Plan) -> list[tuple[str, int]]:
    return Counter(trial.skip for trial in plan.trials if trial.skip is not None).most_common()


def _dependents(plan: Plan) -> Counter[str]:
    return Counter(parent for trial in plan.trials for parent in trial.parents)


def _number(n: int) -> str:
    return f"{n:,}" if n else "[dim]–[/]"


def _duration(estimate: Estimate) -> str:
    if not estimate.known and not estimate.unknown:
        return "Nothing is left to run."
    if estimate.seconds is None:
        return "No estimate of the time: there is no record of a finished trial yet."
    guessed = f"; {estimate.unknown:,} are guessed from trials of other strategies" if estimate.unknown else ""
    return f"About {_span(estimate.seconds)}, from the clocks of past records{guessed}."


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(1, round(seconds))} s"
