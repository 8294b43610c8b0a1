"""Reports: the board of records with what plugins add to it, and its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tlbench.api.records import Record
    from tlbench.api.trials import Trial
    from tlbench.leaderboard.board import Leaderboard
    from tlbench.plugins import Plugins


def board_of(
    records: Sequence[Record],
    planned: Sequence[Trial],
    plugins: Plugins,
    metric: str | None = None,
    *,
    common: bool = True,
    tuned: bool = False,
) -> Leaderboard:
    """The leaderboard of these records, with the plugins' columns; ``planned`` trials without one count as missing.

    ``tuned`` makes one row of each strategy's parameter sets, as ``leaderboard.build`` does. ``metric`` defaults to the
    one that the records' learning curves are of. Raises ``PluginError`` for a name that no plugin offers.
    """
    from tlbench.leaderboard.board import build as build_board

    if metric is None:
        metric = next((str(r.curve["metric"]) for r in records if r.curve), None)
    higher = plugins.higher_is_better(metric) if metric is not None else True
    return build_board(
        records,
        planned=planned,
        metric=metric,
        common=common,
        higher_is_better=higher,
        columns=plugins.columns(),
        tuned=tuned,
    )


def write_reports(board: Leaderboard, folder: Path, plugins: Plugins, names: Sequence[str]) -> tuple[Path, ...]:
    """Write the leaderboard in the named forms."""
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(path for name in names for path in plugins.build("reporters", name, {}).report(board, folder))
