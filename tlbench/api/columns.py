"""Columns of the leaderboard: what one sees of a row, what it makes of it, and what it says about itself.

Dimension key:  N compared trials of the row, sorted by pair and seed  Q its pairs

Nothing here imports numpy at run time, so that ``import tlbench`` stays quick.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NONE = "–"
"""What a cell without a value shows."""


class Estimate(NamedTuple):
    """A mean with its 95 % interval; ``low`` and ``high`` are NaN where there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, eq=False)
class Pairs:
    """One line for each pair [Q]: its mean gain over the seeds, the interval, the seeds and the verdict."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    mean: Any
    low: Any
    high: Any
    seeds: Any
    verdict: tuple[str, ...]


class Standing(NamedTuple):
    """How a row stands among the rows of its group, on the cells that all of them have.

    ``rank``    mean rank over pairs, 1 is best; NaN where there is nothing to compare with
    ``iqm``     interquartile mean of its scores, higher is better
    ``pareto``  whether none other has at least its score for at most its cost; ``None`` where that cannot be said
    """

    rank: Estimate = Estimate()
    iqm: float = math.nan
    pareto: bool | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """What a column sees: one row's compared trials.

    ``labels``   ``strategy``, ``backbone``, ``task``, ``recipe``, ``selection``
    ``reference`` and ``ceiling``: whether gains are measured against this row, and whether it learned from the
                 target's own labels
    ``points``   scores lie in [0, 1] and are shown times 100
    ``higher_is_better``  whether the metric is so; where it is not, scores are negated here
    ``numbers``  name -> array [N], NaN where unknown: ``score``, ``gain``, ``reference_score``; ``jump_start``,
                 ``speed_up``, ``asymptote``, ``area_ratio``; ``retention`` (score on the source minus the source
                 model's); ``training_rate`` and ``inference_rate`` (examples/s), ``memory`` (bytes), ``time``, ``cost``
                 and ``cost_alone`` (s); ``step`` (resolution of the score), ``device`` (place in ``devices``)
    ``sizes``    seeds of each pair [Q]; ``weights`` [Q] is how many pairs of the group it stands for: a strategy
                 without a source has one result for all sources
    ``gain``     over all pairs, with its interval over sources and targets; ``here`` the same with its interval over
                 the seeds of these pairs
    ``gap`` and ``controlled``: shares of the way from source-only to target-oracle, and from a blind guess to it
    ``done`` and ``planned``: trials with a result, and all
    """

    labels: Mapping[str, str]
    reference: bool
    ceiling: bool
    points: bool
    higher_is_better: bool
    numbers: Mapping[str, Any]
    sizes: Any
    weights: Any
    devices: tuple[str, ...]
    pairs: Pairs
    gain: Estimate
    here: Estimate
    gap: Estimate
    controlled: Estimate
    standing: Standing
    done: int
    planned: int

    def mean(self, name: str) -> float:
        """The mean over pairs of the means over seeds; NaN where any trial lacks the number."""
        import numpy as np

        values = self.numbers[name]
        if not len(values):
            return math.nan
        starts = np.concatenate(([0], np.cumsum(self.sizes)[:-1]))
        return float(np.average(np.add.reduceat(values, starts) / self.sizes, weights=self.weights))

    def known(self, name: str) -> Any:
        """The numbers that there are."""
        values = self.numbers[name]
        return values[values == values]


@dataclass(frozen=True)
class Cell:
    """One cell of the board: a value and what people read.

    ``value`` is the number or name (``None``: there is none), ``text`` what people read, ``tone`` good or bad.
    ``low`` and ``high`` are the ends of the 95 % interval where there is one; ``mark`` says what is special.
    """

    value: float | str | None = None
    low: float | None = None
    high: float | None = None
    text: str = NONE
    mark: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """One column of the board.

    ``key``    its name in data files: small letters, digits and underscores
    ``title``, ``unit`` (empty for names) and ``doc``, one line on what it says
    ``higher_is_better``  which direction is better; ``None`` where neither is
    ``value``  makes a row's cell; it need not catch anything, and a value that cannot be known is ``Cell()``, never 0
    ``rank``   orders columns by importance: where there is no room, those of the highest rank go first
    ``interval``  whether its cells have ends of an interval
    """

    key: str
    title: str
    unit: str
    doc: str
    higher_is_better: bool | None
    value: Callable[[Sample], Cell]
    rank: int = 10
    interval: bool = False
    heading: str = ""
    """The title of a narrow column, where the title does not break at its spaces."""
