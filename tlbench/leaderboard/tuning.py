"""Tuning: the parameter sets of one strategy as one row, chosen per pair and seed on validation examples.

Never on test, the cost of the whole grid counted, and the reference over a grid of its own.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlbench.leaderboard.compact import Texts
from tlbench.leaderboard.table import MISSING, Axis, Table

if TYPE_CHECKING:
    from tlbench.leaderboard.statistics import Ints

SUMS = ("time", "cost")


class Grid(NamedTuple):
    """The trials of one strategy name on one task, backbone and recipe, and the places of its parameter sets."""

    name: str
    trials: Ints
    sets: tuple[int, ...]


def tune(table: Table) -> tuple[Table, tuple[str, ...]]:
    """The table with one row for each strategy that has several parameter sets, and what there is to say of it.

    For each source, target and seed the set of the highest validation score at its chosen point counts, with its
    score, curve and rates; ``time``, ``cost`` and ``cost_alone`` are those of the whole grid. A cell in which a set has
    no result has none. A grid in which any trial has no validation score stays as it is, and is named with the reason.
    Gains are then against the tuned reference, where the reference is a grid.
    """
    said: list[str] = []
    labels, numbers = list(table.strategy_labels), {k: v.copy() for k, v in table.numbers.items()}
    axis = table.axes["strategy"]
    names, texts, params = list(axis.names), list(axis.labels), list(axis.params)
    strategy, name, wanted = table.codes["strategy"].copy(), table.name.copy(), table.wanted.copy()
    status, reason = table.status.astype(object), list(table.reason)
    keep = np.ones(len(table), dtype=bool)
    places: dict[str, tuple[int, int]] = {}
    sizes: dict[str, int] = {}
    for grid in grids(table):
        if why := untunable(table, grid):
            said.append(f"{grid.name} is not tuned: {why}.")
            continue
        if grid.name not in places:
            label = _free(f"{grid.name} (tuned)", labels)
            places[grid.name] = len(names), len(labels)
            labels.append(label)
            texts.append(label)
            names.append(grid.name)
            params.append({"grid": [dict(axis.params[code]) for code in grid.sets]})
        sizes[grid.name] = len(grid.sets)
        code, its_name = places[grid.name]
        is_reference = bool((table.wanted[grid.trials] < 0).any())
        if is_reference:
            here = _alike(table, int(grid.trials[0]))
            wanted[here & np.isin(table.wanted, table.name[grid.trials])] = its_name
        for cell in _cells(table, grid.trials):
            best = _best(table, cell)
            keep[cell] = False
            keep[best] = True
            strategy[best], name[best] = code, its_name
            wanted[best] = -1 if is_reference else wanted[best]
            lost = cell[table.status[cell] != "ok"]
            if len(lost) or len(cell) < len(grid.sets):
                first = lost[0] if len(lost) else best
                status[best] = status[first] if len(lost) else MISSING
                reason[best] = table.reason[first] or "a part of the grid has no result"
                for column in numbers.values():
                    column[best] = np.nan
                continue
            parents = np.max(table.numbers["cost_alone"][cell] - table.numbers["time"][cell])
            for key in SUMS:
                numbers[key][best] = table.numbers[key][cell].sum()
            numbers["cost_alone"][best] = numbers["time"][best] + parents
            numbers["memory"][best] = table.numbers["memory"][cell].max()
    if not sizes:
        return table, (*said, "No strategy has several parameter sets that validation could choose from.")
    said.insert(0, _summary(table, sizes, said))
    new = replace(
        table,
        axes={**table.axes, "strategy": Axis(tuple(texts), tuple(names), tuple(params))},
        codes={**table.codes, "strategy": strategy},
        strategy_labels=tuple(labels),
        name=name,
        wanted=wanted,
        status=status.astype(np.str_),
        reason=Texts.of(reason),
        numbers=numbers,
    )
    return _taken(new, np.flatnonzero(keep)), tuple(said)


def grids(table: Table) -> list[Grid]:
    """Strategies of one name with several parameter sets, by task, backbone and recipe."""
    names = np.array(table.axes["strategy"].names)
    found: dict[tuple[Any, ...], list[int]] = {}
    for i in np.flatnonzero(~table.source_model).tolist():
        at = (names[table.codes["strategy"][i]], *(int(table.codes[a][i]) for a in ("task", "backbone", "recipe")))
        found.setdefault(at, []).append(i)
    out = []
    for at, trials in found.items():
        its = np.array(trials, dtype=np.int64)
        sets = tuple(dict.fromkeys(table.codes["strategy"][its].tolist()))
        if len(sets) > 1 and not (table.status[its] == "skipped").all():
            out.append(Grid(str(at[0]), its, sets))
    return out


def untunable(table: Table, grid: Grid) -> str:
    """Why validation cannot choose among these sets; empty where it can."""
    ok = grid.trials[table.status[grid.trials] == "ok"]
    without = int(np.isnan(table.numbers["validation"][ok]).sum())
    rule = table.axes["recipe"].params[table.codes["recipe"][grid.trials[0]]].get("selection", "")
    if not len(ok):
        return "no trial of it has a result"
    if without and rule in ("last", "oracle"):
        return f"the rule {rule!r} keeps no validation score to choose by; use target-val or source-val"
    return f"{without} of its trials have no validation score at their chosen point" if without else ""


def _cells(table: Table, trials: Ints) -> list[Ints]:
    found: dict[tuple[int, int, int], list[int]] = {}
    for i in trials.tolist():
        at = (int(table.codes["source"][i]), int(table.codes["target"][i]), int(table.seed[i]))
        found.setdefault(at, []).append(i)
    return [np.array(cell, dtype=np.int64) for cell in found.values()]


def _best(table: Table, cell: Ints) -> int:
    """The trial of the best validation score; the first of several, and of a cell without any."""
    sign = 1.0 if table.higher_is_better else -1.0
    scores = np.where(table.status[cell] == "ok", sign * table.numbers["validation"][cell], -np.inf)
    return int(cell[int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))])


def _alike(table: Table, trial: int) -> Any:
    """Trials of the same task, backbone and recipe."""
    return np.logical_and.reduce([table.codes[a] == table.codes[a][trial] for a in ("task", "backbone", "recipe")])


def _free(label: str, taken: list[str]) -> str:
    return label if label not in taken else _free(f"{label}'", taken)


def _summary(table: Table, sizes: dict[str, int], refused: list[str]) -> str:
    grid = ", ".join(f"{name} over {n}" for name, n in sizes.items())
    text = f"Tuned on validation, per pair and seed, the whole grid's cost counted: {grid} parameter sets."
    labels = {table.strategy_labels[code] for code in set(table.wanted.tolist()) - {-1}}
    by_label = dict(zip(table.axes["strategy"].labels, table.axes["strategy"].names, strict=True))
    references = {by_label.get(label, label) for label in labels}
    for reference in sorted(references - set(sizes)):
        text += f" The reference {reference} is NOT tuned, so gains flatter the tuned rows."
    smaller = [r for r in sorted(references & set(sizes)) if sizes[r] < max(sizes.values())]
    if smaller:
        text += f" The reference's grid is smaller than the largest ({', '.join(f'{r}: {sizes[r]}' for r in smaller)})."
    return text


def _taken(table: Table, places: Ints) -> Table:
    """The table of these trials alone."""
    n = len(table)
    changed: dict[str, Any] = {}
    for field in fields(table):
        value = getattr(table, field.name)
        if field.name in ("codes", "numbers"):
            changed[field.name] = {k: v[places] for k, v in value.items()}
        elif isinstance(value, np.ndarray) and len(value) == n:
            changed[field.name] = value[places]
        elif field.name in ("reason", "keys") and len(value) == n:
            changed[field.name] = tuple(value[i] for i in places.tolist())
    return replace(table, **changed)
