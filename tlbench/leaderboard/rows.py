"""Rows: the pairs of the whole board by array work, then every row's cells, then the groups in their order.

Dimension key:  N trials  Q pairs
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.api.columns import Pairs, Sample, Standing
from tlbench.leaderboard.cells import domains, shared_cells
from tlbench.leaderboard.columns import filled
from tlbench.leaderboard.inference.estimates import Block, estimates, gap, ranges
from tlbench.leaderboard.model import Group, Row
from tlbench.leaderboard.pairing import BLIND, CEILING, FLOOR, Pairing, joint
from tlbench.leaderboard.standing import standings
from tlbench.leaderboard.statistics import Estimate, Floats, Ints, student_intervals, verdicts
from tlbench.leaderboard.view import ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.api.columns import Column
    from tlbench.leaderboard.cells import Cells
    from tlbench.leaderboard.selection import Selection
    from tlbench.leaderboard.table import Table


def in_points(table: Table, pairing: Pairing) -> bool:
    score = table.numbers["score"][pairing.ok]
    return table.higher_is_better and bool(((score >= 0) & (score <= 1)).all())


def assemble(
    table: Table, pairing: Pairing, selected: Sequence[Selection], columns: Sequence[Column]
) -> tuple[Group, ...]:
    """Pairs of all rows by array work over the whole board, the estimates by layout, then the cells."""
    if not selected:
        return ()
    offsets = np.concatenate(([0], np.cumsum([len(s.first) for s in selected])))
    members = np.concatenate([s.members for s in selected])
    row = np.concatenate([s.row + o for s, o in zip(selected, offsets, strict=False)])
    usable = np.concatenate([s.usable for s in selected])
    compared = np.concatenate([s.compared for s in selected])
    weight = np.concatenate([s.weight for s in selected])
    source, target = table.codes["source"][members], table.codes["target"][members]
    ids = joint([source, target])
    unit = joint([row, ids])
    # A pair with compared cells is made of those alone; one without is made of what it has, and does not count.
    unit = ranked(unit)
    touched = np.bincount(unit, compared, minlength=int(unit.max()) + 1) > 0
    used = np.flatnonzero(compared | (usable & ~touched[unit]))
    used = used[np.lexsort((table.seed[members[used]], unit[used]))]
    trials = members[used]

    kept, first, at, sizes = np.unique(unit[used], return_index=True, return_inverse=True, return_counts=True)
    n = sizes.astype(np.int64)
    gain = pairing.gain[trials]
    mean = np.bincount(at, gain, minlength=len(kept)) / n
    deviation = np.sqrt(np.bincount(at, (gain - mean[at]) ** 2, minlength=len(kept)) / np.maximum(n - 1, 1))
    step = np.zeros(len(kept))
    np.maximum.at(step, at, np.nan_to_num(table.numbers["step"][trials]))
    low, high = student_intervals(mean, deviation, n, step)
    judged = verdicts(low, high)
    its_row, its_source, its_target = row[used][first], source[used][first], target[used][first]
    counts = touched[kept]
    pair_weight = np.bincount(at, weight[used], minlength=len(kept)) / n

    domain = domains(table)
    score = table.numbers["score"]
    floor_gain, whole_gap = gap(score, pairing.floor, pairing.ceiling, trials)
    over_blind, possible = gap(score, pairing.blind, pairing.maximal, trials)
    edges = np.searchsorted(its_row, np.arange(offsets[-1] + 1))
    cell_edges = np.concatenate(([0], np.cumsum(n)))
    blocks: list[Block] = []
    for r in range(int(offsets[-1])):
        units = np.arange(edges[r], edges[r + 1])
        inside = units[counts[units]]
        cells = ranges(cell_edges[inside], n[inside])
        blocks.append(
            Block(
                units,
                inside,
                cells,
                n[inside],
                pair_weight[inside],
                domain["source"][its_source[inside]],
                domain["target"][its_target[inside]],
                table.seed[trials[cells]],
                gain[cells],
                floor_gain[cells],
                whole_gap[cells],
                over_blind[cells],
                possible[cells],
            )
        )
    points = in_points(table, pairing)
    found = estimates(blocks, step, bound=1.0 if points else math.inf)
    names = [table.axes["strategy"].names[table.codes["strategy"][i]] for s in selected for i in s.first]
    gaps = [f.gap for f in found]
    _ends_of_the_gap(table, selected, gaps)

    member_rows = np.argsort(row, kind="stable")
    member_edges = np.searchsorted(row[member_rows], np.arange(offsets[-1] + 1))
    sources, targets = table.axes["source"].labels, table.axes["target"].labels
    several = bool(np.ptp(table.codes["recipe"][members]) > 0)
    groups = []
    for s, offset in zip(selected, offsets, strict=False):
        samples: list[Sample] = []
        measured: list[Pairs] = []
        planned_pairs: list[frozenset[tuple[str, str]]] = []
        for i in range(len(s.first)):
            r = int(offset) + i
            block, mine = blocks[r], member_rows[member_edges[r] : member_edges[r + 1]]

            def its_pairs(units: Ints) -> Pairs:
                return Pairs(
                    tuple(sources[c] if c >= 0 else "" for c in its_source[units]),
                    tuple(targets[c] for c in its_target[units]),
                    mean[units],
                    low[units],
                    high[units],
                    n[units],
                    tuple(str(v) for v in judged[units]),
                )

            samples.append(
                Sample(
                    labels=_labels(table, int(s.first[i]), several),
                    reference=bool(s.reference[i]),
                    ceiling=names[r] == CEILING,
                    points=points,
                    higher_is_better=table.higher_is_better,
                    numbers=_numbers(table, pairing, trials[block.cells]),
                    sizes=block.sizes,
                    weights=block.weights,
                    devices=table.devices,
                    pairs=its_pairs(block.inside),
                    gain=found[r].gain,
                    here=found[r].here,
                    gap=gaps[r],
                    controlled=_end(found[r].controlled, names[r]),
                    standing=Standing(),
                    done=int(pairing.ok[members[mine]].sum()),
                    planned=len(mine),
                )
            )
            _, each = np.unique(ids[mine], return_index=True)
            planned = zip(source[mine[each]].tolist(), target[mine[each]].tolist(), strict=True)
            planned_pairs.append(frozenset((sources[a] if a >= 0 else "", targets[b]) for a, b in planned))
            measured.append(its_pairs(block.units))
        shared = shared_cells(table, s, range(len(samples)))
        rows = [
            Row(
                strategy=sample.labels["strategy"],
                backbone=sample.labels["backbone"],
                task=sample.labels["task"],
                recipe=sample.labels["recipe"],
                selection=sample.labels["selection"],
                reference=sample.reference,
                cells=filled(columns, replace(sample, standing=standing)),
                pairs=measured[i],
                compared=counts[blocks[int(offset) + i].units],
                planned_pairs=planned_pairs[i],
            )
            for i, (sample, standing) in enumerate(zip(samples, standings(samples, shared, domain), strict=True))
        ]
        groups.append(_group(table, pairing, s, rows, shared))
    return tuple(groups)


def _end(share: Estimate, name: str) -> Estimate:
    """By definition a blind guess has none of what is possible and maximal supervision all, where it is known."""
    if name not in (*BLIND, CEILING) or np.isnan(share.value):
        return share
    return Estimate(float(name == CEILING))


def _ends_of_the_gap(table: Table, selected: Sequence[Selection], gaps: list[Estimate]) -> None:
    """By definition the floor has closed none of the gap and the ceiling all of it, where there is a gap to close."""
    offset = 0
    for s in selected:
        names = [table.axes["strategy"].names[c] for c in table.codes["strategy"][s.first]]
        recipes = table.codes["recipe"][s.first].tolist()
        known = {recipes[i] for i, name in enumerate(names) if name == FLOOR and np.isfinite(gaps[offset + i].value)}
        for i, name in enumerate(names):
            if name in (FLOOR, CEILING):
                clear = recipes[i] in known and s.usable[s.row == i].any()
                gaps[offset + i] = Estimate(float(name == CEILING)) if clear else Estimate()
        offset += len(names)


def _labels(table: Table, trial: int, several_recipes: bool) -> dict[str, str]:
    labels = {a: table.axes[a].labels[table.codes[a][trial]] for a in ("strategy", "backbone", "task", "recipe")}
    selection = table.axes["recipe"].params[table.codes["recipe"][trial]].get("selection", "")
    return {**labels, "recipe": labels["recipe"] if several_recipes else "", "selection": str(selection)}


def _numbers(table: Table, pairing: Pairing, trials: Ints) -> dict[str, Floats]:
    score, reference = table.numbers["score"], pairing.reference[trials]
    return {
        **{name: column[trials] for name, column in table.numbers.items()},
        "gain": pairing.gain[trials],
        "reference_score": np.where(reference >= 0, score[reference], np.nan),
        **{name: column[trials] for name, column in pairing.curve._asdict().items()},
        "device": table.device[trials].astype(np.float64),
    }


def _group(table: Table, pairing: Pairing, selection: Selection, rows: list[Row], shared: Cells) -> Group:
    """Rows by gain; a reference stands where its score puts it; rows without a result come last."""
    score = {id(r): value for r in rows if isinstance(value := r.cells["score"].value, float)}
    wanted = set(pairing.wanted[selection.members].tolist()) - {-1}
    main = [r for i, r in enumerate(rows) if table.name[selection.first[i]] in wanted and id(r) in score]
    zero = float(np.mean([score[id(r)] for r in main])) if main else 0.0
    sign = 1 if table.higher_is_better else -1

    def place(row: Row) -> tuple[float, str]:
        gain: Any = row.cells["gain"].value
        if gain is None:
            gain = sign * (score[id(row)] - zero) if row.reference and id(row) in score else -math.inf
        return -gain, row.label

    def labels(axis: str) -> tuple[str, ...]:
        codes = table.codes[axis][selection.members]
        _, first = np.unique(codes, return_index=True)
        return tuple(table.axes[axis].labels[c] for c in codes[np.sort(first)] if c >= 0)

    ran = np.bincount(selection.row, table.status[selection.members] != "skipped", minlength=len(rows)) > 0
    aside = {r.label: table.reason[selection.first[i]] for i, r in enumerate(rows) if not ran[i]}
    main_label = next((r.strategy for r in main), "")
    sources, targets = labels("source"), labels("target")
    if set(sources) <= set(targets):  # down and across in one order
        sources = tuple(t for t in targets if t in sources)
    lacking = {rows[r].label: n for r, n in sorted(selection.lacking.items(), key=lambda item: -item[1])}
    shown = tuple(sorted((r for r in rows if r.label not in aside), key=place))
    its_place = {id(r): i for i, r in enumerate(rows)}
    return Group(
        rows[0].task,
        rows[0].backbone,
        shown,
        sources,
        targets,
        selection.pairs_compared,
        selection.pairs_planned,
        lacking,
        selection.disjoint,
        main_label,
        aside,
        replace(shared, scores=shared.scores[[its_place[id(r)] for r in shown]]),
    )
