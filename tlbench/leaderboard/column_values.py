"""The values of the columns: each function makes one cell of a row's sample, or such a function for a name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tlbench.api.columns import Cell
from tlbench.leaderboard import text
from tlbench.leaderboard.statistics import depth as mean_loss
from tlbench.leaderboard.statistics import lower_median, wilson

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlbench.api.columns import Estimate, Sample


def label(axis: str) -> Callable[[Sample], Cell]:
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


def score(sample: Sample) -> Cell:
    sign = 1 if sample.higher_is_better else -1
    value = sign * sample.mean("score")
    return _plain(value, _in_points(sample, value, signed=False))


def gain(sample: Sample) -> Cell:
    if sample.reference:
        return Cell(text="ceiling" if sample.ceiling else "reference")
    tone = "good" if sample.gain.low > 0 else "bad" if sample.gain.high < 0 else ""
    return _with_interval(sample.gain, lambda v: _in_points(sample, v, signed=True), tone)


def gain_here(sample: Sample) -> Cell:
    value, low, high = sample.here
    if sample.reference or math.isnan(low):
        return Cell()
    tone = "good" if low > 0 else "bad" if high < 0 else ""
    return Cell(value, low, high, f"±{_in_points(sample, max(high - value, value - low), signed=False)}", tone=tone)


def relative(sample: Sample) -> Cell:
    if sample.reference or not sample.points:
        return Cell()
    error = 1 - sample.mean("reference_score")
    value = sample.gain.value / error if error > 0 else math.nan
    return _plain(value, f"{text.number(100 * value, 0, signed=True)} %")


def gap(sample: Sample) -> Cell:
    return _with_interval(sample.gap, text.share)


def controlled(sample: Sample) -> Cell:
    return _with_interval(sample.controlled, text.share)


def mean_rank(sample: Sample) -> Cell:
    return _with_interval(sample.standing.rank, lambda v: text.number(v, 1))


def iqm(sample: Sample) -> Cell:
    value = (1 if sample.higher_is_better else -1) * sample.standing.iqm
    return _plain(value, _in_points(sample, value, signed=False))


def pareto(sample: Sample) -> Cell:
    on_it = sample.standing.pareto
    return Cell() if on_it is None else Cell(float(on_it), text="yes" if on_it else "no", tone="good" if on_it else "")


def retention(sample: Sample) -> Cell:
    value = sample.mean("retention")
    lost = value < 0 if sample.higher_is_better else value > 0
    return _plain(value, _in_points(sample, value, signed=True), tone="bad" if lost else "")


def _judged(sample: Sample) -> bool:
    return not sample.reference and bool((sample.pairs.seeds > 1).any())


def verdict(which: str, tone: str) -> Callable[[Sample], Cell]:
    def value(sample: Sample) -> Cell:
        if not _judged(sample):
            return Cell()
        count = sample.pairs.verdict.count(which)
        return Cell(count, text=str(count), tone=tone if count else "")

    return value


def negative_rate(sample: Sample) -> Cell:
    if not _judged(sample):
        return Cell()
    return _with_interval(wilson(sample.pairs.verdict.count("hurts"), int((sample.pairs.seeds > 1).sum())), text.share)


def below_zero(sample: Sample) -> Cell:
    if sample.reference or not len(sample.sizes):
        return Cell()
    value = float((sample.pairs.mean < 0).mean())
    return Cell(value, text=text.share(value))


def depth(sample: Sample) -> Cell:
    if sample.reference:
        return Cell()
    value = mean_loss(sample.pairs.mean)
    return _plain(value, _in_points(sample, value, signed=True), tone="bad" if value < 0 else "")


def worst(sample: Sample) -> Cell:
    if sample.reference or not len(sample.sizes):
        return Cell()
    pairs, at = sample.pairs, int(sample.pairs.mean.argmin())
    source = pairs.source[at]
    name = text.clean(f"{source} → {pairs.target[at]}" if source else pairs.target[at])
    mean = float(pairs.mean[at])
    return Cell(name, text=f"{name} {_in_points(sample, mean, signed=True)}", tone="bad" if mean < 0 else "")


def curve(name: str) -> Callable[[Sample], Cell]:
    def value(sample: Sample) -> Cell:
        if sample.reference:
            return Cell()
        mean = sample.mean(name)
        return _plain(mean, _in_points(sample, mean, signed=True))

    return value


def speed_up(sample: Sample) -> Cell:
    if sample.reference:
        return Cell()
    value = lower_median(sample.known("speed_up"))
    return _plain(value, text.ratio(value))


def area(sample: Sample) -> Cell:
    if sample.reference:
        return Cell()
    value = sample.mean("area_ratio")
    return _plain(value, f"{text.number(100 * value, 0, signed=True)} %")


def rate(name: str) -> Callable[[Sample], Cell]:
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


def peak_memory(sample: Sample) -> Cell:
    value = float(max(sample.known("memory"), default=math.nan))
    return _plain(value, text.size(value))


def cost(name: str) -> Callable[[Sample], Cell]:
    def value(sample: Sample) -> Cell:
        mean = sample.mean(name)
        return _plain(mean, text.duration(mean))

    return value


def coverage(sample: Sample) -> Cell:
    value = sample.done / sample.planned if sample.planned else math.nan
    tone = "bad" if value < 1 else ""
    return _plain(value, f"{sample.done}/{sample.planned}", tone)
