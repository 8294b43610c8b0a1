"""Notes: what a reader must know beside the numbers: holes, failures, rules that peek, what cannot be compared."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlbench.leaderboard.columns import FAILED
from tlbench.leaderboard.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from tlbench.api.columns import Column
    from tlbench.leaderboard.model import Group, Row
    from tlbench.leaderboard.pairing import Pairing
    from tlbench.leaderboard.table import Table

WORDS = {"oom": "out of memory", "parent_failed": "without the source model they start from"}
NAMES = 8
FEW = 5
"""From fewer sources or targets the interval over them is wide."""
REASONS = 10
"""So many different reasons are listed; the rest are counted."""


class Note(NamedTuple):
    """``kind``: empty, pairs, missing, failed, skipped, unpaired, unscored, seeds, rough, oracle, devices, overlap,
    tuned or column.

    ``text`` is safe to show: names in it are clean.
    """

    kind: str
    text: str


def notes(
    table: Table, pairing: Pairing, groups: Sequence[Group], common: bool, plugins: Sequence[Column] = ()
) -> tuple[Note, ...]:
    """All notes of a board."""
    said: list[Note] = []
    if not groups:
        said.append(Note("empty", "No trials, so nothing to compare."))
    for group in groups:
        said += _compared(group, common)
    said += _inapplicable(groups)
    said += _not_ok(table, {(g.task, g.backbone, label) for g in groups for label in g.inapplicable})
    said += _ok_but(table, pairing)
    said += _precision(groups)
    rows = [row for group in groups for row in group.rows]
    if oracle := list(dict.fromkeys(row.label for row in rows if row.cells["selection"].mark == "oracle")):
        said.append(Note("oracle", f"Chosen by test labels (oracle), so not a fair result: {_names(oracle)}."))
    several = {c.mark for r in rows for k in ("training_rate", "inference_rate") if (c := r.cells[k]).mark}
    if several:
        used = clean(", ".join(name for name in table.devices))
        said.append(Note("devices", f"Several devices ({used}): rates stand apart for each and are not ranked."))
    said += _overlaps(table)
    for column in plugins:
        failed = [m.removeprefix(FAILED) for r in rows if (m := r.cells[column.key].mark).startswith(FAILED)]
        if failed:
            said.append(Note("column", f"The column {clean(column.title)} failed in {len(failed)} rows: {failed[0]}"))
    return tuple(said)


def _compared(group: Group, common: bool) -> list[Note]:
    if not group.lacking:
        if common:
            return []
        return [Note("pairs", f"{clean(group.title)}: every row over all that it has; rows may differ in their pairs.")]
    who = "; ".join(f"{clean(label)} lacks {n}" for label, n in group.lacking.items())
    where = f"{group.pairs_compared} of {group.pairs_planned} pairs"
    if group.disjoint:
        return [
            Note(
                "pairs",
                f"{clean(group.title)}: no pair and seed that all rows have, so rows are NOT comparable ({who}).",
            )
        ]
    return [
        Note("pairs", f"{clean(group.title)}: compared on the pairs and seeds that all rows have, {where} ({who}).")
    ]


def _inapplicable(groups: Sequence[Group]) -> list[Note]:
    """One note a task: the strategies that it does not suit, by what they lack there."""
    by_task: dict[str, dict[str, dict[str, None]]] = {}
    for group in groups:
        for label, reason in group.inapplicable.items():
            by_task.setdefault(group.task, {}).setdefault(_lack(reason), {})[label] = None
    return [
        Note(
            "skipped",
            f"Not applicable to {clean(task)}: "
            + "; ".join(f"{_names(list(labels))}{f' ({lack})' if lack else ''}" for lack, labels in lacks.items()),
        )
        for task, lacks in by_task.items()
    ]


def _lack(reason: str) -> str:
    """A reason in brief: of ``strategy 'x' needs target, which task 'y' does not offer (...)`` what it needs."""
    first = clean(reason.strip().splitlines()[0]) if reason.strip() else ""
    needs = re.fullmatch(r"strategy '.*?' (needs .+?), which task .*", first)
    return needs[1] if needs else first[:160]


def _not_ok(table: Table, inapplicable: Set[tuple[str, str, str]]) -> list[Note]:
    """Missing, failed and skipped trials, counted by status, reason and strategy; the most frequent first."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    axes = [(table.axes[a].labels, table.codes[a]) for a in ("task", "backbone", "strategy")]
    several = len(set(table.codes["recipe"].tolist())) > 1
    recipes, recipe = table.axes["recipe"].labels, table.codes["recipe"]
    for i in np.flatnonzero(table.status != "ok").tolist():
        task, backbone, name = (labels[codes[i]] for labels, codes in axes)
        if table.source_model[i]:
            name = "source training"
        elif table.status[i] == "skipped" and inapplicable:
            label = f"{name} · {recipes[recipe[i]]}" if several else name
            if (task, backbone, label) in inapplicable or (task, backbone, name) in inapplicable:
                continue
        counts.setdefault((str(table.status[i]), table.reason[i]), Counter())[name] += 1
    said = []
    most = sorted(counts.items(), key=lambda item: -item[1].total())
    for (status, reason), names in most[:REASONS]:
        kind = status if status in {"missing", "skipped"} else "failed"
        first = clean(reason.strip().splitlines()[0])[:160] if reason.strip() else ""
        why = f": {first}" if first else " (no record yet)" if status == "missing" else ""
        said.append(Note(kind, f"{names.total()} {WORDS.get(status, status)}: {_counted(names)}{why}"))
    rest = sum(names.total() for _, names in most[REASONS:])
    if rest:
        said.append(Note("failed", f"{rest} more trials without a result, for other reasons."))
    return said


def _counted(names: Counter[str]) -> str:
    """``a 3, b 2``; of one name no count, of many those that lack most."""
    if len(names) == 1:
        return clean(next(iter(names)))
    shown = ", ".join(f"{clean(name)} {n}" for name, n in names.most_common(NAMES))
    return shown + (f" and {len(names) - NAMES} others" if len(names) > NAMES else "")


def _ok_but(table: Table, pairing: Pairing) -> list[Note]:
    said = []
    unscored = int(((table.status == "ok") & ~table.source_model & ~pairing.ok).sum())
    if unscored:
        said.append(
            Note("unscored", f"{unscored} trials ended well but have no finite {clean(table.metric)}; not counted.")
        )
    unpaired = int((pairing.ok & (pairing.wanted >= 0) & (pairing.reference < 0)).sum())
    if unpaired:
        said.append(
            Note("unpaired", f"{unpaired} trials have no result of their reference to compare with; not counted.")
        )
    return said


def _precision(groups: Sequence[Group]) -> list[Note]:
    said = []
    rows = [row for group in groups for row in group.rows if not row.reference and len(row.pairs.seeds)]
    single = [row for row in rows if (row.pairs.seeds == 1).all()]
    if single:
        whose = "" if len(single) == len(rows) else f" ({_names([row.label for row in single])})"
        said.append(Note("seeds", f"One seed gives no interval and no verdict{whose}."))
    elif rows and any((row.pairs.seeds == 1).any() for row in rows):
        said.append(Note("seeds", "Pairs with one seed have no verdict and stay undecided."))
    alone = [row for row in rows if row not in single and int((row.compared > 0).sum()) == 1]
    if alone:
        said.append(
            Note(
                "one pair",
                "The interval of a gain on one pair of source and target is over its seeds, and says nothing of other "
                f"pairs{'' if len(alone) == len(rows) else f' ({_names([row.label for row in alone])})'}.",
            )
        )
    few = [n for row in rows if row not in single and int(row.compared.sum()) > 1 for n in _levels(row) if n < FEW]
    if few:
        said.append(
            Note(
                "rough",
                f"The interval of a gain says what to expect on other sources and targets like these. From only "
                f"{min(few)} of a kind it cannot say much and is wide; ± here is of these pairs alone, under other "
                "seeds.",
            )
        )
    return said


def _levels(row: Row) -> tuple[int, ...]:
    """How many sources (where there are several) and targets a row was compared on."""
    on = [k for k, counts in enumerate(row.compared.tolist()) if counts]
    levels = ({row.pairs.source[k] for k in on}, {row.pairs.target[k] for k in on})
    return tuple(len(names) for names in levels if len(names) > 1)


def _overlaps(table: Table) -> list[Note]:
    """What backbones were pre-trained on and the board is about: told, and nothing is left out for it."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for o in table.overlaps:
        told.setdefault((o.backbone, o.pretrained_on, o.shared), []).append(f"{o.role} {o.data}")
    return [
        Note(
            "overlap",
            f"The backbone {clean(backbone)} was pre-trained on {clean(pretrained)}, which shares {clean(shared)} with "
            f"{_names(data)}: scores there may come from examples that it has already seen.",
        )
        for (backbone, pretrained, shared), data in told.items()
    ]


def _names(labels: Sequence[str]) -> str:
    return ", ".join(clean(label) for label in dict.fromkeys(labels))
