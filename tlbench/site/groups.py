"""Groups: each group of the board as plain data for the page, with the board's own numbers and texts.

Scores and gains are in the units that people read: points (times 100) where the board shows points.
Dimension key:  K rows  Q pairs  P points
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.leaderboard.curves import curves
from tlbench.leaderboard.forms.files import finite
from tlbench.site.encode import name, prose, rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.columns import Cell
    from tlbench.leaderboard.inference.analysis import Analysis
    from tlbench.leaderboard.model import Group, Row

VERDICTS = {"helps": "+", "hurts": "-", "undecided": "0"}


def columns(board: Leaderboard) -> list[dict[str, Any]]:
    """The columns that the page may show; the axes that a group fixes are left out."""
    return [
        {
            "key": c.key,
            "title": c.title,
            "unit": c.unit,
            "doc": c.doc,
            "better": {True: "higher", False: "lower"}.get(c.higher_is_better)
            if c.higher_is_better is not None
            else "",
            "interval": c.interval,
            "rank": c.rank,
            "numeric": bool(c.unit),
        }
        for c in board.columns
        if c.key not in {"task", "backbone"}
    ]


def places(group: Group) -> dict[tuple[str, str], int]:
    """Each pair of the group (source "" for none), in order of source and target, and its place."""
    planned = {p for row in group.rows for p in row.planned_pairs}
    sources = {label: i for i, label in enumerate(("", *group.sources))}
    targets = {label: i for i, label in enumerate(group.targets)}
    ordered = sorted(planned, key=lambda p: (sources.get(p[0], -1), targets.get(p[1], -1)))
    return {pair: i for i, pair in enumerate(ordered)}


def group_data(
    board: Leaderboard, group: Group, found: Analysis, methods: Mapping[str, str], pair_ids: Sequence[str]
) -> dict[str, Any]:
    """Rows, pairs, analysis and curves of one group. ``methods``: strategy -> its page; ``pair_ids``: slugs [Q]."""
    at = places(group)
    scale = 100.0 if board.points else 1.0
    keys = [c["key"] for c in columns(board)]
    return {
        "sources": [name(s) for s in group.sources],
        "targets": [name(t) for t in group.targets],
        "pairs": [
            [_index(group.sources, s), _index(group.targets, t), slug]
            for (s, t), slug in zip(at, pair_ids, strict=True)
        ],
        "rows": [
            {
                "label": name(row.label),
                "strategy": name(row.strategy),
                "method": methods[row.strategy],
                "reference": row.reference,
                "oracle": row.cells["selection"].mark == "oracle",
                "ceiling": row.cells["gain"].text == "ceiling",
                "cells": [_cell(row.cells[key]) for key in keys],
                **_pairs(row, at, scale),
            }
            for row in group.rows
        ],
        "analysis": _analysis(group, found, scale),
        "curves": _curves(board, group, scale),
    }


def _index(names: Sequence[str], wanted: str) -> int:
    return names.index(wanted) if wanted in names else -1


def _cell(cell: Cell) -> list[Any]:
    """Value, text, tone, mark, low, high; what is empty at the end is left out."""
    value = finite(cell.value)
    if isinstance(value, float):
        value = rounded(value, 8)
    out = [
        name(value) if isinstance(value, str) else value,
        name(cell.text),
        cell.tone,
        name(cell.mark),
        *((rounded(float(v)) if v is not None else None) for v in (cell.low, cell.high)),
    ]
    while len(out) > 2 and out[-1] in (None, ""):
        out.pop()
    return out


def _pairs(row: Row, at: Mapping[tuple[str, str], int], scale: float) -> dict[str, Any]:
    """The row's pairs as columns: place, gain, interval, seeds; ``verdict`` is one letter a pair, and ``state`` too.

    State: ``c`` compared, ``m`` measured but left out of the comparison, ``x`` planned without a result.
    """
    p = row.pairs
    measured = [at[pair] for pair in zip(p.source, p.target, strict=True)]
    missing = sorted(at[pair] for pair in row.planned_pairs if at[pair] not in set(measured))
    if row.reference:
        return {"at": measured, "missing": missing}
    return {
        "at": measured,
        "gain": [rounded(scale * v) for v in p.mean.tolist()],
        "low": [rounded(scale * v) for v in p.low.tolist()],
        "high": [rounded(scale * v) for v in p.high.tolist()],
        "seeds": p.seeds.tolist(),
        "verdict": "".join(VERDICTS[v] if n > 1 else "?" for v, n in zip(p.verdict, p.seeds.tolist(), strict=True)),
        "state": "".join("c" if c else "m" for c in row.compared.tolist()),
        "missing": missing,
    }


def _numbers(values: Iterable[float], scale: float = 1.0) -> list[float | None]:
    return [rounded(scale * float(v), 5) for v in values]


def _analysis(group: Group, found: Analysis, scale: float) -> dict[str, Any]:
    labels = [row.label for row in group.rows]
    front = sorted(found.pareto)
    test, after = found.friedman, found.posthoc
    return {
        "rows": [labels.index(label) for label in found.strategies],
        "pairs": len(found.pairs),
        "score": _numbers(found.scores.mean(axis=1), scale) if found.pairs else [],
        "ranks": [_numbers(e) for e in found.ranks],
        "iqm": [_numbers(e, scale) for e in found.iqm],
        "friedman": None if test is None else [rounded(test.statistic), rounded(test.p)],
        "difference": None if found.critical_difference is None else rounded(found.critical_difference),
        "cliques": [list(map(int, clique)) for clique in found.cliques],
        "nemenyi": None if after is None else [_numbers(row) for row in after.nemenyi],
        "wilcoxon": None if after is None else [_numbers(row) for row in after.wilcoxon],
        "wins": None if found.wins is None else found.wins.tolist(),
        "profile": None if found.profile is None else {
            "thresholds": _numbers(found.profile.thresholds, scale),
            "shares": [_numbers(row) for row in found.profile.shares],
        },
        "ratios": None if found.ratios is None else {
            "thresholds": _numbers(found.ratios.thresholds),
            "shares": [_numbers(row) for row in found.ratios.shares],
        },
        "pareto": front,
        "cost": _numbers(found.cost),
        "reasons": {part: prose(why) for part, why in found.reasons.items()},
    }  # fmt: skip


def _curves(board: Leaderboard, group: Group, scale: float) -> dict[str, Any]:
    labels = [row.label for row in group.rows]
    found = curves(board, group)
    return {
        "pairs": found.pairs,
        "band": prose(found.band),
        "share": found.by_share,
        "without": [name(label) for label in found.left_out],
        "each": [
            [
                labels.index(c.label),
                _numbers(c.steps),
                _numbers(c.mean, scale),
                _numbers(c.low, scale) if np.isfinite(c.low).any() else None,
                _numbers(c.high, scale) if np.isfinite(c.low).any() else None,
            ]
            for c in found.each
        ],
    }
