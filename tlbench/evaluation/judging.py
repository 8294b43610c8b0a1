"""Judging: from scores to a record's metrics. Without torch, so that stored scores give the same numbers.

Dimension key:  N examples  C classes  E episodes  Q queries
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlbench.errors import TrialError
from tlbench.evaluation.matching import matched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tlbench.api.data import Array
    from tlbench.api.types import Metric


class Scored(NamedTuple):
    """A scored pool: ``scores`` float32 [N, C], ``y`` int64 [N]; of episodes [E, Q, C] and [E, Q].

    The scores are as the predictor gave them, before clusters are matched to classes. ``group`` int64 [N] says which
    group each example is of, where the data set declares that.
    """

    scores: Array
    y: Array
    group: Array | None = None


class Judge(NamedTuple):
    """How one number comes from scores: the metric, after clusters are matched to classes where they must be."""

    matching: str = "labels"

    def __call__(self, metric: Metric, scored: Scored) -> float:
        """Raises ``TrialError`` where the metric gives anything but a finite number, or lacks what it needs."""
        if not applies(metric, scored):
            raise TrialError(f"the metric {metric.name} needs groups of examples, and there are none here")
        scores = matched(scored.scores, scored.y) if self.matching == "clusters" else scored.scores
        score: Any = metric.score
        value = score(scores, scored.y, scored.group) if needs_group(metric) else score(scores, scored.y)
        if np.ndim(value) != 0:
            raise TrialError(
                f"the metric {metric.name} returned an array of shape {list(np.shape(value))}; expected a number"
            )
        if not np.isfinite(value):
            raise TrialError(f"the metric {metric.name} is {value}")
        return float(value)


@dataclass(frozen=True, eq=False)
class Predictions:
    """All that a trial's metrics are computed from.

    ``matching``  ``clusters``: columns are clusters, matched to the classes one to one on each pool
    ``harmonic``  whether the harmonic mean over the pools is a score as well
    """

    pools: Mapping[str, Scored]
    matching: str = "labels"
    harmonic: bool = False

    def said(self, metrics: Iterable[Metric]) -> dict[str, Any]:
        """What a record's ``data`` says of groups: how many, the smallest, and which metrics are ``absent`` and why."""
        without = [name for name, scored in self.pools.items() if scored.group is None]
        why = f"the examples of {', '.join(without)} are in no groups"
        absent = {m.name: why for m in metrics if without and needs_group(m)}
        groups = {}
        for name, scored in self.pools.items():
            if scored.group is not None:
                sizes = np.unique(scored.group, return_counts=True)[1]
                groups[name] = {"count": len(sizes), "smallest": int(sizes.min())}
        return {**({"groups": groups} if groups else {}), **({"absent": absent} if absent else {})}

    def judged(self, metrics: Iterable[Metric]) -> dict[str, dict[str, float]]:
        """Pool -> metric -> value. A metric that needs groups is left out where a pool has none."""
        judge = Judge(self.matching)
        chosen = list(metrics)
        found = {
            name: {m.name: _value(judge, m, scored) for m in chosen if applies(m, scored)}
            for name, scored in self.pools.items()
        }
        if self.harmonic:
            common = [m.name for m in chosen if all(m.name in values for values in found.values())]
            found["harmonic"] = {name: harmonic_mean([values[name] for values in found.values()]) for name in common}
        return found


def needs_group(metric: Metric) -> bool:
    """Whether the metric takes the examples' groups as a third argument."""
    return "group" in getattr(metric, "needs", frozenset())


def applies(metric: Metric, scored: Scored) -> bool:
    """Whether the metric is one of scores, and there is all that it needs."""
    return hasattr(metric, "score") and (scored.group is not None or not needs_group(metric))


def harmonic_mean(values: list[float]) -> float:
    """n / sum(1 / v), 0 where one is not above 0; of two, 2 u s / (u + s) (Xian et al. 2018, eq. 2)."""
    return len(values) / sum(1 / v for v in values) if min(values) > 0 else 0.0


def _value(judge: Judge, metric: Metric, scored: Scored) -> float:
    if scored.y.ndim == 1:
        return judge(metric, scored)
    groups = [None] * len(scored.y) if scored.group is None else scored.group
    each = [judge(metric, Scored(*one)) for one in zip(scored.scores, scored.y, groups, strict=True)]
    return float(np.mean(each))
