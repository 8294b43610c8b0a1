"""Source retention: what is still known of the source after transfer (the score on it, minus the source model's)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.api.trials import Choice

if TYPE_CHECKING:
    from tlbench.leaderboard.statistics import Floats
    from tlbench.leaderboard.view import View


def retentions(view: View) -> Floats:
    """For each record its score on the source's test examples minus that of the model trained on the source alone.

    That model is the parent that the trial started from, or else the run's source model of the same source, backbone,
    recipe and seed. NaN where the trial has no predictor for the source, where its result is not of the target alone
    (generalised zero-shot), or where there is no such model.
    """
    facts, rows = view.facts, view.rows
    out = np.full(len(rows), np.nan)
    if not len(rows):
        return out
    digests: dict[tuple[str, int], str] = {}

    def axes(row: int, source: str) -> tuple[Any, ...]:
        """What tells source models apart; theirs is the axis ``target``."""
        found = []
        for axis in (source, "backbone", "recipe"):
            at = (axis, facts.axes[axis][row])
            if at not in digests:
                digests[at] = Choice.from_json(facts.choices[axis][at[1]]).digest
            found.append(digests[at])
        return (*found, facts.seed[row])

    score = np.frombuffer(facts.numbers["on_source"], dtype=np.float64)[rows]
    known = np.flatnonzero(np.isfinite(score))
    is_model = np.array([its[0] == "source-model" for its in facts.rests])[view.rest]
    before: dict[Any, float] = {}
    for i in known[is_model[known]].tolist():
        before[view.keys[i]] = before[axes(rows[i], "target")] = float(score[i])
    if not before:
        return out
    is_trial = np.array([its[0] == "trial" for its in facts.rests])[view.rest]
    alone = np.frombuffer(facts.alone, dtype=np.int8)[rows] == 1
    for i in known[(is_trial & alone)[known]].tolist():
        if facts.axes["source"][rows[i]] < 0:
            continue
        parents = [before[key] for key in facts.rests[view.rest[i]][1] if key in before]
        old = parents[0] if parents else before.get(axes(rows[i], "source"), math.nan)
        out[i] = float(score[i]) - old
    return out
