"""Loading: the board of one or more run folders, with the records behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tlbench.api.records import Record
    from tlbench.api.trials import Trial
    from tlbench.leaderboard.board import Leaderboard
    from tlbench.plugins import Plugins
    from tlbench.results.store import RunFolder


@dataclass(frozen=True, eq=False)
class Loaded:
    """The board of some run folders.

    ``records`` are those that the board is made of, by key: of the code and the data that are there now. ``planned``
    are the trials of all the runs. ``notes`` say what was passed over, and why.
    """

    board: Leaderboard
    records: Mapping[str, Record]
    planned: tuple[Trial, ...]
    folders: tuple[RunFolder, ...]
    notes: tuple[str, ...]


def loaded(
    paths: Sequence[Path], plugins: Plugins, metric: str | None = None, *, common: bool = True, tuned: bool = False
) -> Loaded:
    """The board of these run folders as one; of two records of one key the later folder's counts.

    ``metric``, ``common`` and ``tuned`` as for ``run.board_of``. Raises ``StoreError`` where a folder is no run, and
    ``TlbenchError`` where no trial has ended well.
    """
    from tlbench.results.store import RunFolder
    from tlbench.run import board_of, current, of_one_content

    folders = tuple(RunFolder.open(path) for path in paths)
    plans = [folder.planned() for folder in folders]
    records = {r.key: r for folder, plan in zip(folders, plans, strict=True) for r in current(folder.records(), plan)}
    records, changed = of_one_content(records)
    planned = {t.key: t for plan in plans for t in plan}
    if not any(r.status == "ok" for r in records.values()):
        raise TlbenchError(f"{', '.join(map(str, paths))}: no trial has ended well yet, so there is nothing to rank")
    board = board_of(list(records.values()), list(planned.values()), plugins, metric, common=common, tuned=tuned)
    problems = [problem for folder in folders for problem in folder.problems]
    return Loaded(board, records, tuple(planned.values()), folders, (*problems, *changed))
