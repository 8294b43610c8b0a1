"""The columns of the board: adding one is one entry in ``COLUMNS``.

Dimension key:  N compared trials of the row, sorted by pair  Q its pairs
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlbench.leaderboard import text
from tlbench.leaderboard.statistics import Estimate, Floats, Ints, depth, lower_median, weighted_mean, wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, eq=False)
class Pairs:
    """One line for each pair [Q]: its mean gain over the seeds, the interval, the seeds and the verdict."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    mean: Floats
    low: Floats
    high: Floats
    seeds: Ints
    verdict: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Sample:
    """What a column sees: one row's compared trials.

    ``labels``   ``strategy``, ``backbone``, ``task``, ``recipe``, ``selection``
    ``numbers``  name -> [N]: those of ``table.NUMBERS``, ``gain``, ``reference_score``, the gains of the learning curve
    ``sizes``    seeds of each pair [Q]; ``weights`` [Q] is how many pairs of the group it stands for: a
                 strategy without a source has one result for all sources
    ``gain``     over all pairs, with its interval; ``gap`` the share of the gap closed
    ``points``   scores lie in [0, 1] and are shown times 100
    """

    labels: Mapping[str, str]
    reference: bool
    ceiling: bool
    points: bool
    higher_is_better: bool
    numbers: Mapping[str, Floats]
    sizes: Ints
    weights: Floats
    devices: tuple[str, ...]
    pairs: Pairs
    gain: Estimate
    gap: Estimate
    done: int
    planned: int

    def mean(self, name: str) -> float:
        """The mean over pairs of the means over seeds; NaN where any trial lacks the number."""
        return weighted_mean(self.numbers[name], self.sizes, self.weights)

    def known(self, name: str) -> Floats:
        """The numbers that there are."""
        values = self.numbers[name]
        return values[~np.isnan(values)]


@dataclass(frozen=True)
class Cell:
    """``value`` is the number or name (``None``: there is none), ``text`` what people read, ``tone`` good or bad.

    ``low`` and ``high`` are the ends of the 95 % interval where there is one; ``mark`` says what is special.
    """

    value: float | str | None = None
    low: float | None = None
    high: float | None = None
    text: str = text.NONE
    mark: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """``rank`` orders columns by importance: where there is no room, those of the highest rank go first."""

    key: str
    title: str
    unit: str
    doc: str
    higher_is_better: bool | None
    value: Callable[[Sample], Cell]
    rank: int
    interval: bool = False
    heading: str = ""
    """The title of a narrow column, where the title does not break at its spaces."""


def _label(axis: str) -> Callable[[Sample], Cell]:
    def value(sample: Sample) -> Cell:
        name = sample.labels[axis]
        return Cell(name, text=text.clean(name) or text.NONE, mark="oracle" if name == "oracle" else "")

    return value


def _plain(value: float, shown: str, tone: str = "") -> Cell:
    return Cell() if math.isnan(value) else Cell(value, text=shown, tone=tone)


def _with_interval(estimate: Estimate, show: Callable[[float], str], tone: str = "") -> Cell:
    value, low, high = estimate
    if math.isnan(value):
        return Cell()
    if math.isnan(low):
        return Cell(value, text=show(value), tone=tone)
    return Cell(value, low, high, f"{show(value)} [{show(low)}, {show(high)}]", tone=tone)


def _in_points(sample: Sample, value: float, signed: bool) -> str:
    """Points of the metric: times 100 with one decimal for scores in [0, 1], else the metric's own numbers."""
    return text.number(100 * value if sample.points else value, 1 if sample.points else 3, signed)


def _score(sample: Sample) -> Cell:
    sign = 1 if sample.higher_is_better else -1
    value = sign * sample.mean("score")
    return _plain(value, _in_points(sample, value, signed=False))


def _gain(sample: Sample) -> Cell:
    if sample.reference:
        return Cell(text="ceiling" if sample.ceiling else "reference")
    tone = "good" if sample.gain.low > 0 else "bad" if sample.gain.high < 0 else ""
    return _with_interval(sample.gain, lambda v: _in_points(sample, v, signed=True), tone)


def _relative(sample: Sample) -> Cell:
    if sample.reference or not sample.points:
        return Cell()
    error = 1 - sample.mean("reference_score")
    value = sample.gain.value / error if error > 0 else math.nan
    return _plain(value, f"{text.number(100 * value, 0, signed=True)} %")


def _gap(sample: Sample) -> Cell:
    return _with_interval(sample.gap, text.share)


def _judged(sample: Sample) -> bool:
    return not sample.reference and bool((sample.pairs.seeds > 1).any())


def _verdict(which: str, tone: str) -> Callable[[Sample], Cell]:
    def value(sample: Sample) -> Cell:
        if not _judged(sample):
            return Cell()
        count = sample.pairs.verdict.count(which)
        return Cell(count, text=str(count), tone=tone if count else "")

    return value


def _negative_rate(sample: Sample) -> Cell:
    if not _judged(sample):
        return Cell()
    return _with_interval(wilson(sample.pairs.verdict.count("hurts"), int((sample.pairs.seeds > 1).sum())), text.share)


def _below_zero(sample: Sample) -> Cell:
    if sample.reference or not len(sample.sizes):
        return Cell()
    value = float((sample.pairs.mean < 0).mean())
    return Cell(value, text=text.share(value))


def _depth(sample: Sample) -> Cell:
    if sample.reference:
        return Cell()
    value = depth(sample.pairs.mean)
    return _plain(value, _in_points(sample, value, signed=True), tone="bad" if value < 0 else "")


def _worst(sample: Sample) -> Cell:
    if sample.reference or not len(sample.sizes):
        return Cell()
    pairs, at = sample.pairs, int(sample.pairs.mean.argmin())
    source = pairs.source[at]
    name = text.clean(f"{source} → {pairs.target[at]}" if source else pairs.target[at])
    mean = float(pairs.mean[at])
    return Cell(name, text=f"{name} {_in_points(sample, mean, signed=True)}", tone="bad" if mean < 0 else "")


def _curve(name: str) -> Callable[[Sample], Cell]:
    def value(sample: Sample) -> Cell:
        if sample.reference:
            return Cell()
        mean = sample.mean(name)
        return _plain(mean, _in_points(sample, mean, signed=True))

    return value


def _speed_up(sample: Sample) -> Cell:
    if sample.reference:
        return Cell()
    value = lower_median(sample.known("speed_up"))
    return _plain(value, text.ratio(value))


def _area(sample: Sample) -> Cell:
    if sample.reference:
        return Cell()
    value = sample.mean("area_ratio")
    return _plain(value, f"{text.number(100 * value, 0, signed=True)} %")


def _rate(name: str) -> Callable[[Sample], Cell]:
    def value(sample: Sample) -> Cell:
        rates, device = sample.numbers[name], sample.numbers["device"]
        there = ~np.isnan(rates)
        medians = {int(d): float(np.median(rates[there & (device == d)])) for d in np.unique(device[there])}
        if not medians:
            return Cell()
        if len(medians) == 1:
            median = next(iter(medians.values()))
            return Cell(median, text=text.rate(median))
        # Rates of different devices have no common median: each is shown, none is ranked.
        shown = " | ".join(text.rate(median) for median in medians.values())
        names = "; ".join(f"{sample.devices[d]}: {text.rate(median)}" for d, median in medians.items())
        return Cell(text=shown, mark=f"several devices: {names}")

    return value


def _peak_memory(sample: Sample) -> Cell:
    value = float(max(sample.known("memory"), default=math.nan))
    return _plain(value, text.size(value))


def _cost(name: str) -> Callable[[Sample], Cell]:
    def value(sample: Sample) -> Cell:
        mean = sample.mean(name)
        return _plain(mean, text.duration(mean))

    return value


def _coverage(sample: Sample) -> Cell:
    value = sample.done / sample.planned if sample.planned else math.nan
    tone = "bad" if value < 1 else ""
    return _plain(value, f"{sample.done}/{sample.planned}", tone)


COLUMNS: tuple[Column, ...] = (
    Column("strategy", "strategy", "", "the transfer method", None, _label("strategy"), 0),
    Column("recipe", "recipe", "", "the training recipe, where the board has several", None, _label("recipe"), 0),
    Column("backbone", "backbone", "", "the network body", None, _label("backbone"), 0),
    Column("task", "task", "", "the task with its label budget", None, _label("task"), 0),
    Column(
        "selection",
        "chosen by",
        "",
        "the rule that chose the point of the curve; oracle: by test labels",
        None,
        _label("selection"),
        8,
    ),
    Column("score", "score", "points", "mean score over pairs and seeds", True, _score, 0),
    Column(
        "gain",
        "transfer gain",
        "points",
        "score minus the reference's, with its 95 % interval over pairs and seeds",
        True,
        _gain,
        0,
        interval=True,
    ),
    Column("helps", "helps", "pairs", "pairs whose interval is above 0", True, _verdict("helps", "good"), 1),
    Column("hurts", "hurts", "pairs", "pairs whose interval is below 0", False, _verdict("hurts", "bad"), 1),
    Column(
        "undecided",
        "undecided",
        "pairs",
        "pairs whose interval has 0 in it",
        None,
        _verdict("undecided", ""),
        1,
        heading="unde-\ncided",
    ),
    Column(
        "negative_rate",
        "negative transfer",
        "share",
        "share of pairs that hurt, with its Wilson interval",
        False,
        _negative_rate,
        3,
        interval=True,
    ),
    Column("below_zero", "mean below 0", "share", "share of pairs whose mean gain is below 0", False, _below_zero, 13),
    Column("depth", "depth", "points", "mean over pairs of min(gain, 0)", False, _depth, 5),
    Column("worst_pair", "worst pair", "", "the pair of the least mean gain", None, _worst, 8),
    Column("relative", "relative gain", "share", "share of the reference's error that is gone", True, _relative, 14),
    Column(
        "gap_closed",
        "gap closed",
        "share",
        "(score - source-only) / (target-oracle - source-only)",
        True,
        _gap,
        12,
        interval=True,
    ),
    Column(
        "jump_start",
        "jump-start",
        "points",
        "gain before the first step",
        True,
        _curve("jump_start"),
        5,
        heading="jump-\nstart",
    ),
    Column(
        "speed_up",
        "speed-up",
        "×",
        "the reference's steps to its final score ÷ the strategy's; median",
        True,
        _speed_up,
        4,
        heading="speed-\nup",
    ),
    Column(
        "asymptote",
        "asymptote",
        "points",
        "gain over the last fifth of the curve",
        True,
        _curve("asymptote"),
        6,
        heading="asymp-\ntote",
    ),
    Column("area_ratio", "area ratio", "share", "gain of area under the curve ÷ reference's area", True, _area, 15),
    Column("training_rate", "train ex/s", "examples/s", "training examples/s, median", True, _rate("training_rate"), 2),
    Column(
        "inference_rate", "infer ex/s", "examples/s", "inference examples/s, median", True, _rate("inference_rate"), 6
    ),
    Column("memory", "peak memory", "bytes", "largest peak memory of a trial", False, _peak_memory, 9),
    Column("time", "time per trial", "s", "mean wall time of a trial", False, _cost("time"), 7),
    Column(
        "cost",
        "cost to result",
        "s",
        "mean time with the source's training, shared by all that used it",
        False,
        _cost("cost"),
        8,
    ),
    Column(
        "cost_alone",
        "cost if alone",
        "s",
        "mean time with the whole of the source's training",
        False,
        _cost("cost_alone"),
        12,
    ),
    Column("coverage", "cover", "share", "trials with a result of those planned", True, _coverage, 1),
)
