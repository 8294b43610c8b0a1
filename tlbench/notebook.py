"""In a notebook: ``tlbench.load(run)`` gives the board of a run as tidy pandas frames, as a table, and as figures."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    import pandas as pd

    from tlbench.api.records import Record
    from tlbench.leaderboard.board import Leaderboard
    from tlbench.leaderboard.model import Group


def load(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]],
    metric: str | None = None,
    *,
    common: bool = True,
    entry_points: bool = True,
) -> Results:
    """The results of a run folder, or of several as one.

    ``metric`` is the score to rank by (default: the suite's first); ``common=False`` lets every row be averaged over
    all that it has. ``entry_points=False`` loads no installed plugins. Raises ``StoreError`` where a folder is no run,
    ``TlbenchError`` where no trial has ended well and ``PluginError`` for a metric that nobody offers.
    """
    from tlbench.loading import loaded
    from tlbench.plugins import Plugins

    one = isinstance(runs, str) or hasattr(runs, "__fspath__")
    paths = [Path(run) for run in cast("Sequence[str | PathLike[str]]", [runs] if one else runs)]
    if not paths:
        raise TlbenchError("name at least one run folder")
    found = loaded(paths, Plugins.discover(extra=[], entry_points=entry_points), metric, common=common)
    return Results(found.board, dict(found.records), tuple(paths), tuple(found.notes))


@dataclass(frozen=True, eq=False)
class Results:
    """The board of one or more runs, in the forms that a notebook wants.

    ``rows``    a line a strategy: every column of the board, intervals as ``_low`` and ``_high``; natural units
    ``pairs``   a line a strategy and pair: mean gain, interval, seeds, verdict
    ``trials``  a line a trial, whatever became of it: score, gain, rates, costs
    ``curves``  a line an evaluation point of each trial
    ``plot``    figures: ``gains``, ``matrix``, ``curves``, ``ranks``, ``cost``
    ``board``   the same as an object; ``records`` by key; ``notes``: what was passed over, and why
    """

    board: Leaderboard
    records: Mapping[str, Record] = field(repr=False)
    folders: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def rows(self) -> pd.DataFrame:
        return self.board.to_frame()

    @cached_property
    def pairs(self) -> pd.DataFrame:
        return self.board.pairs_frame()

    @cached_property
    def trials(self) -> pd.DataFrame:
        return self.board.trials_frame()

    @cached_property
    def curves(self) -> pd.DataFrame:
        from tlbench.leaderboard.curves import curves_frame

        return curves_frame(self.board)

    def compare(self, a: str, b: str, group: str | None = None) -> pd.DataFrame:
        """One strategy against another, a line a pair: scores, their difference with its interval, the verdict.

        The last line of each task and backbone, with no source and no target, is over all its pairs. Raises
        ``TlbenchError`` for a label that the board does not have, and where the two have nothing in common.
        """
        from tlbench.leaderboard.compare import compare, compare_frame

        return compare_frame(compare(self.board, a, b, group))

    @property
    def groups(self) -> tuple[str, ...]:
        """The titles of the board's groups: task and backbone."""
        return tuple(group.title for group in self.board.groups)

    @property
    def plot(self) -> Plots:
        """The figures; they need matplotlib, of the extra ``tlbench[plots]``."""
        return Plots(self.board)

    def __repr__(self) -> str:
        counts = f"{len(self.board.groups)} groups, {len(self.rows)} rows, {len(self.trials)} trials"
        return f"<results of {', '.join(map(str, self.folders))}: {self.board.metric}, {counts}>"

    def _repr_html_(self) -> str:
        from tlbench.leaderboard.views.layout import MAIN, shown_columns

        parts = [f"<style>{_CSS}</style>"]
        for group in self.board.groups:
            if not group.rows:
                continue
            columns = shown_columns(self.board, group, [k for k in MAIN if k != "strategy"])
            about = f"{group.pairs_compared} of {group.pairs_planned} pairs compared"
            against = f"gain over {group.against} · " if group.against else ""
            unit = f"{self.board.metric}{' × 100' if self.board.points else ''}"
            parts.append(f"<h4>{_safe(group.title)}</h4><p>{_safe(f'{unit} · {against}{about}')}</p><table><thead><tr>")
            parts += [f"<th scope='col'>{_safe(h)}</th>" for h in ("strategy", *(c.heading for c in columns))]
            parts.append("</tr></thead><tbody>")
            for i, row in enumerate(group.rows):
                parts.append(f"<tr{' class=ref' if row.reference else ''}><th scope='row'>{_safe(row.label)}</th>")
                parts += [f"<td class='{c.cells[i].tone}'>{_safe(c.texts[i])}</td>" for c in columns]
                parts.append("</tr>")
            parts.append("</tbody></table>")
        notes = [f"{note.kind}: {note.text}" for note in self.board.notes] + list(self.notes)
        if notes:
            parts.append(f"<ul>{''.join(f'<li>{_safe(note)}</li>' for note in notes)}</ul>")
        return f"<div class='tlbench'>{''.join(parts)}</div>"


def _safe(text: object) -> str:
    from tlbench.leaderboard.text import clean

    return html.escape(clean(str(text).replace("\n", " ")), quote=True)


_CSS = """
.tlbench table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0 0 1em }
.tlbench h4 { margin: 1em 0 0 } .tlbench p, .tlbench ul { margin: .1em 0 .5em; opacity: .75; font-size: 90% }
.tlbench th, .tlbench td { padding: .25em .8em .25em 0; text-align: right; white-space: pre; background: none }
.tlbench th:first-child { text-align: left } .tlbench thead th { border-bottom: 1px solid; font-weight: 600 }
.tlbench tr.ref { opacity: .6; font-style: italic }
.tlbench td.good { color: #0072b2; font-weight: 600 } .tlbench td.bad { color: #c04a00; font-weight: 600 }
"""


@dataclass(frozen=True, eq=False)
class Plots:
    """Figures of a board; ``group`` is a group's place, or a part of its title. Raises ``TlbenchError``."""

    board: Leaderboard

    def gains(self, group: int | str = 0) -> Any:
        """Each strategy's transfer gain with its interval, and its pairs."""
        return _figures().gains(self.board, self._group(group))

    def matrix(self, strategy: str, group: int | str = 0) -> Any:
        """One strategy's gain by source and target."""
        return _figures().matrix(self.board, self._group(group), strategy)

    def curves(
        self,
        pair: tuple[str, str] | None = None,
        group: int | str = 0,
        strategies: Sequence[str] | None = None,
    ) -> Any:
        """Learning curves with their bands, over all pairs or for one: a source ("" for none) and a target."""
        return _figures().curves(self.board, self._group(group), pair, strategies)

    def ranks(self, group: int | str = 0) -> Any:
        """Mean ranks with their intervals; a bar joins those that cannot be told apart."""
        return _figures().ranks(self.board, self._group(group))

    def cost(self, group: int | str = 0) -> Any:
        """Score against cost, and the Pareto front."""
        return _figures().cost(self.board, self._group(group))

    def _group(self, group: int | str) -> Group:
        from tlbench.leaderboard.views.layout import groups_named

        if isinstance(group, str):
            return groups_named(self.board, group)[0]
        if not -len(self.board.groups) <= group < len(self.board.groups):
            raise TlbenchError(f"group {group}: the board has {len(self.board.groups)}, counted from 0")
        return self.board.groups[group]


def _figures() -> Any:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise TlbenchError("figures need matplotlib: pip install 'tlbench[plots]'") from error
    from tlbench.leaderboard.views import figures

    return figures
