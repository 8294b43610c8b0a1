"""Figures of a board: gains, one strategy's matrix, learning curves, ranks, and score against cost; needs matplotlib.

Colours are those of Okabe and Ito, which people see apart whatever their colour vision; shapes say the same as colours.
Every function returns a figure that belongs to nobody: save it, or let a notebook show it.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tlbench.errors import TlbenchError
from tlbench.leaderboard.curves import curves as curves_of
from tlbench.leaderboard.inference.analysis import analyse
from tlbench.leaderboard.text import MINUS, clean, number
from tlbench.leaderboard.views.layout import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.curves import Curves
    from tlbench.leaderboard.model import Group, Row

BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#B8A900"
)  # fmt: skip
CYCLE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, YELLOW, "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1, 1.5)))
GREY, PALE, INK = "#6E6E6E", "#D9D9D9", "#222222"
DIVERGING = LinearSegmentedColormap.from_list("loss to gain", [RED, "#F6C9AE", "#FFFFFF", "#B5D3E7", BLUE])
LONGEST = 34


class Picture(Figure):
    """A figure that a notebook shows as it is, whatever its back end."""

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        self.savefig(held, format="png", dpi=144)
        return held.getvalue()


def _new(width: float, height: float) -> tuple[Picture, Axes]:
    figure = Picture(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=INK, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#AAAAAA")
    return figure, axes


def _title(axes: Axes, title: str, below: str) -> None:
    """``$`` would begin a formula."""
    axes.set_title(_plain(title), loc="left", fontsize=11, fontweight="bold", color=INK, pad=22)
    axes.annotate(_plain(below), (0, 1), (0, 8), "axes fraction", "offset points", fontsize=9, color=GREY)


def _plain(text: str) -> str:
    return clean(text).replace("$", r"\$")


def _names(labels: Sequence[str]) -> list[str]:
    return [_plain(name) for name in shorten(labels, LONGEST)]


def _scale(board: Leaderboard) -> float:
    return 100.0 if board.points else 1.0


def _unit(board: Leaderboard) -> str:
    return f"{clean(board.metric)}{' (points)' if board.points else ''}"


def _signed(value: float, _: object = None) -> str:
    return f"{value:+g}".replace("-", MINUS) if value else "0"


def _competing(group: Group) -> list[Row]:
    rows = [row for row in group.rows if not row.reference and row.cells["gain"].value is not None]
    if not rows:
        raise TlbenchError(f"{clean(group.title)}: no strategy has a gain, so there is nothing to draw")
    return rows


def gains(board: Leaderboard, group: Group) -> Picture:
    """Each row's transfer gain with its 95 % interval; behind it the gain of each pair."""
    rows, scale = _competing(group), _scale(board)
    figure, axes = _new(7.2, 1.3 + 0.34 * len(rows))
    axes.axvline(0, color=INK, linewidth=1)
    for y, row in enumerate(rows):
        cell = row.cells["gain"]
        value, low, high = (math.nan if v is None else scale * float(v) for v in (cell.value, cell.low, cell.high))
        colour, marker = {"good": (BLUE, "^"), "bad": (RED, "v")}.get(cell.tone, (GREY, "o"))
        axes.plot(scale * row.pairs.mean[row.compared], np.full(int(row.compared.sum()), y), "|", color=PALE,
                  markersize=9, markeredgewidth=1.4, zorder=1, gid=f"pairs of {row.label}")  # fmt: skip
        if math.isfinite(low):
            axes.plot([low, high], [y, y], color=colour, linewidth=2, zorder=2, solid_capstyle="butt")
        axes.plot([value], [y], marker, color=colour, markersize=7, zorder=3, gid=f"gain of {row.label}")
    axes.set_yticks(range(len(rows)), _names([row.label for row in rows]))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(FuncFormatter(_signed))
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"transfer gain, {_unit(board)}", fontsize=9, color=INK)
    _title(axes, group.title, f"▲ helps   ▼ hurts   ● undecided   | one pair;  gain over {group.against}")
    return figure


def matrix(board: Leaderboard, group: Group, strategy: str) -> Picture:
    """The gain of one strategy by source (down) and target (across), on a scale that is even about 0."""
    try:
        found = board.matrix(group, strategy)
    except KeyError:
        from tlbench.errors import unknown

        raise TlbenchError(unknown("strategy", strategy, [row.label for row in group.rows])) from None
    values = _scale(board) * found.mean
    count = (len(found.sources), len(found.targets))
    figure, axes = _new(max(6.4, 2.4 + 0.82 * count[1]), 1.8 + 0.46 * count[0])
    reach = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    axes.imshow(values, cmap=DIVERGING, norm=TwoSlopeNorm(0, -(reach or 1), reach or 1), aspect="auto")
    marks = {"helps": "▲", "hurts": "▼", "undecided": "·"}
    for (i, j), value in np.ndenumerate(values):
        state = str(found.state[i, j])
        if state == "measured":
            mark = marks[str(found.verdict[i, j])] if np.isfinite(found.low[i, j]) else ""
            said = f"{number(float(value), 1 if board.points else 3, signed=True)} {mark}".strip()
        else:
            said = {"missing": "no result", "none": "–"}[state]
        ink = "white" if state == "measured" and abs(value) > 0.75 * reach else INK
        axes.text(j, i, said, ha="center", va="center", fontsize=8.5, color=ink)
    axes.set_xticks(range(count[1]), [_plain(t) for t in shorten(found.targets, 14)])
    axes.set_yticks(range(count[0]), [_plain(s) for s in shorten([s or "(no source)" for s in found.sources], 18)])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("target", fontsize=9, color=GREY)
    axes.set_ylabel("source", fontsize=9, color=GREY)
    _title(axes, strategy, f"gain over {group.against}, {_unit(board)};  ▲ helps   ▼ hurts   · undecided")
    return figure


def curves(
    board: Leaderboard, group: Group, pair: tuple[str, str] | None = None, strategies: Sequence[str] | None = None
) -> Picture:
    """Learning curves with their bands, on one pair or over those that all these rows have."""
    found: Curves = curves_of(board, group, strategies, pair)
    if not found.each:
        raise TlbenchError(f"{clean(group.title)}: no learning curve that all these rows have")
    scale = _scale(board)
    figure, axes = _new(8.2, max(4.2, 1.3 + 0.22 * len(found.each)))
    last = max(float(curve.steps[-1]) for curve in found.each)
    for i, curve in enumerate(found.each):
        label = _names([curve.label])[0]
        colour = GREY if curve.reference else CYCLE[i % len(CYCLE)]
        style = DASHES[(i // len(CYCLE) + i) % len(DASHES)]
        steps, mean = curve.steps, scale * curve.mean
        if len(steps) == 1:
            steps, mean = np.array([0.0, last]), np.repeat(mean, 2)
            axes.plot(steps, mean, color=colour, linewidth=1.2, linestyle=(0, (1, 3)), label=f"{label} (level)")
            continue
        if np.isfinite(curve.low).all():
            axes.fill_between(steps, scale * curve.low, scale * curve.high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(steps, mean, color=colour, linewidth=1.8, linestyle=style, label=label)
    axes.set_xlim(0, last or 1)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.set_xlabel("share of each curve's steps" if found.by_share else "steps", fontsize=9, color=INK)
    axes.set_ylabel(_unit(board), fontsize=9, color=INK)
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda i: -float(found.each[i].mean[-1]))  # as the lines end
    axes.legend([handles[i] for i in order], [names[i] for i in order], loc="upper left", bbox_to_anchor=(1.01, 1),
                frameon=False, fontsize=9)  # fmt: skip
    where = " → ".join(filter(None, pair)) if pair else f"mean over {found.pairs} pair{'s' if found.pairs != 1 else ''}"
    _title(axes, group.title, f"{where};  band: {found.band}")
    return figure


def ranks(board: Leaderboard, group: Group) -> Picture:
    """Mean ranks over pairs, best first, with 95 % intervals; a bar joins those that cannot be told apart."""
    found = analyse(board, group)
    if not found.ranks:
        raise TlbenchError(f"{clean(group.title)}: no ranks: {found.reasons.get('ranks', 'too few rows or pairs')}")
    order = sorted(range(len(found.ranks)), key=lambda k: found.ranks[k].value)
    place = {k: y for y, k in enumerate(order)}
    figure, axes = _new(7.2, 1.5 + 0.34 * len(order))
    for k, rank in enumerate(found.ranks):
        y = place[k]
        if math.isfinite(rank.low):
            axes.plot([rank.low, rank.high], [y, y], color=SKY, linewidth=2.2, solid_capstyle="butt", zorder=1)
        axes.plot([rank.value], [y], "o", color=BLUE, markersize=6.5, zorder=3, gid=f"rank of {found.strategies[k]}")
    right = max([len(order), *(r.high for r in found.ranks if math.isfinite(r.high))]) + 0.35
    bars = [c for c in found.cliques if len(c) > 1]
    for i, clique in enumerate(bars):
        ys = [place[k] for k in clique]
        axes.plot([right + 0.16 * i] * 2, [min(ys) - 0.18, max(ys) + 0.18], color=INK, linewidth=3,
                  solid_capstyle="butt", clip_on=False, gid="alike")  # fmt: skip
    axes.set_yticks(range(len(order)), _names([found.strategies[k] for k in order]))
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0.8, right + 0.16 * len(bars))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.set_xlabel("mean rank (1 is best)", fontsize=9, color=INK)
    said = [f"{len(found.pairs)} pairs"]
    if found.friedman is not None:
        p = found.friedman.p
        said.append(f"Friedman p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}")
    if found.critical_difference is not None:
        said.append(f"critical difference {found.critical_difference:.2f}")
    _title(axes, group.title, ";  ".join([*said, "a bar joins what cannot be told apart"]))
    return figure


def cost(board: Leaderboard, group: Group) -> Picture:
    """Mean score against the seconds to a result with the whole of the source's training, and the Pareto front."""
    found = analyse(board, group)
    scores = _scale(board) * found.scores.mean(axis=1) if found.scores.size else np.zeros(0)
    known = [k for k in range(len(scores)) if math.isfinite(found.cost[k]) and found.cost[k] > 0]
    if not known:
        raise TlbenchError(f"{clean(group.title)}: no costs are known, so there is nothing to draw")
    figure, axes = _new(7.2, 4.4)
    front = sorted((k for k in known if k in found.pareto), key=lambda k: float(found.cost[k]))
    if front:
        axes.plot(found.cost[front], scores[front], drawstyle="steps-post", color=BLUE, linewidth=1.2, alpha=0.5,
                  zorder=1, gid="front")  # fmt: skip
    names = _names(found.strategies)
    for k in known:
        best = k in found.pareto
        colour = BLUE if best else GREY
        axes.plot([found.cost[k]], [scores[k]], "D" if best else "o", color=colour, markersize=7, zorder=2,
                  markerfacecolor=colour if best else "white", gid=f"cost of {found.strategies[k]}")  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.18, y=0.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda v, _: ""))
    _label(axes, [(float(found.cost[k]), float(scores[k]), names[k], k in found.pareto) for k in known])
    axes.grid(color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.set_xlabel("seconds to a result, with the source's training", fontsize=9, color=INK)
    axes.set_ylabel(f"mean score, {_unit(board)}", fontsize=9, color=INK)
    _title(
        axes,
        group.title,
        "◆ on the Pareto front: none is both better and cheaper   ○ dominated (named where there is room)",
    )
    return figure


def _label(axes: Axes, points: Sequence[tuple[float, float, str, bool]]) -> None:
    """Each name beside its point, where it lies on no other name or point; what must be named is, even if it does."""
    low, high = axes.get_ylim()
    left, right = (math.log(v) for v in axes.get_xlim())

    def at(x: float, y: float) -> tuple[float, float]:
        return (math.log(x) - left) / (right - left), (y - low) / (high - low)

    taken = [(u - 0.012, u + 0.012, v - 0.02, v + 0.02) for u, v in (at(x, y) for x, y, *_ in points)]

    def box(u: float, v: float, side: str, wide: float) -> tuple[float, float, float, float]:
        begin = u - wide * {"left": 0.0, "center": 0.5, "right": 1.0}[side]
        return begin, begin + wide, v - 0.02, v + 0.02

    for x, y, name, needed in sorted(points, key=lambda p: (not p[3], -p[1])):
        u, v = at(x, y)
        spots = [(u + 0.02, v, "left"), (u - 0.02, v, "right"), (u, v + 0.045, "center"), (u, v - 0.045, "center")]
        for up in (0.04, -0.04, 0.08, -0.08):
            spots += [(u + 0.02, v + up, "left"), (u - 0.02, v + up, "right")]
        if needed:  # the line of the front runs to the right
            spots = sorted(spots, key=lambda spot: spot[2] == "left")
        boxes = [box(*spot, wide=0.0135 * len(name)) for spot in spots]
        hits = [
            sum(a < q and p < b and c < s and r < d for p, q, r, s in taken) + 5 * (a < 0 or b > 1 or c < 0 or d > 1)
            for a, b, c, d in boxes
        ]
        best = min(range(len(spots)), key=hits.__getitem__)
        if hits[best] and not needed:
            continue
        taken.append(boxes[best])
        u, v, side = spots[best]
        axes.text(u, v, name, transform=axes.transAxes, ha=side, va="center", fontsize=8.5, color=INK,
                  path_effects=[withStroke(linewidth=2.5, foreground="white")])  # fmt: skip
