"""Loading: the board of one or more run folders, with the records behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tlbench.api.records import Record
    from tlbench.api.trials import Trial
    from tlbench.leaderboard.board import Leaderboard
    from tlbench.plugins import Plugins
    from tlbench.results.store import RunFolder


class Text(NamedTuple):
    """What the files of some runs say."""

    records: Mapping[str, Record]
    planned: tuple[Trial, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Loaded:
    """The board of some run folders.

    ``notes`` say what was passed over, and why. ``records`` and ``planned`` are read from the text when they are first
    asked for, where the board came from an index.
    """

    board: Leaderboard
    folders: tuple[RunFolder, ...]
    notes: tuple[str, ...]
    _text: list[Text] = field(default_factory=list, repr=False)

    @property
    def records(self) -> Mapping[str, Record]:
        """Those that the board is made of, by key: of the code and the data that are there now."""
        return self._read().records

    @property
    def planned(self) -> tuple[Trial, ...]:
        """The trials of all the runs."""
        return self._read().planned

    def _read(self) -> Text:
        if not self._text:
            self._text.append(_text(self.folders))
        return self._text[0]


def loaded(
    paths: Sequence[Path], plugins: Plugins, metric: str | None = None, *, common: bool = True, tuned: bool = False
) -> Loaded:
    """The board of these run folders as one; of two records of one key the later folder's counts.

    ``metric``, ``common`` and ``tuned`` as for ``run.board_of``. What was read is kept as an index, and read from there
    while the text stays as it is. Raises ``StoreError`` where a folder is no run, and ``TlbenchError`` where no trial
    has ended well.
    """
    from tlbench.collector import many_objects
    from tlbench.leaderboard import index
    from tlbench.leaderboard.board import from_table
    from tlbench.results.store import RunFolder
    from tlbench.run import board_of, higher_is_better

    folders = tuple(RunFolder.open(path) for path in paths)
    with many_objects():
        state = index.state(paths, metric)
        kept = index.read(paths, metric, state) if state else None
        if kept is not None and kept[0].higher_is_better == higher_is_better(plugins, kept[0].metric):
            board = from_table(kept[0], common=common, columns=plugins.columns(), tuned=tuned)
            return Loaded(board, folders, kept[1])
        # An index is for many records: a board needs but some of what they say.
        text = _text(folders, slim=bool(state))
        if not any(r.status == "ok" for r in text.records.values()):
            named = ", ".join(map(str, paths))
            raise TlbenchError(f"{named}: no trial has ended well yet, so there is nothing to rank")
        board = board_of(list(text.records.values()), text.planned, plugins, metric, common=common, tuned=tuned)
        if not tuned:  # which makes another table
            index.write(paths, metric, state, board.table, text.notes)
    return Loaded(board, folders, text.notes, [] if state else [text])


def _text(folders: Sequence[RunFolder], *, slim: bool = False) -> Text:
    """The records that count, the trials of all plans, and what to say of what was passed over.

    ``slim`` records are without what no board needs.
    """
    from tlbench.collector import many_objects
    from tlbench.run import current, of_one_content

    with many_objects():
        for folder in folders:
            folder.problems.clear()
        plans = [folder.planned() for folder in folders]
        records = {
            r.key: r
            for folder, plan in zip(folders, plans, strict=True)
            for r in current(folder.records(slim=slim), plan)
        }
        records, changed = of_one_content(records)
        planned = {t.key: t for plan in plans for t in plan}
    problems = [problem for folder in folders for problem in folder.problems]
    return Text(records, tuple(planned.values()), (*problems, *changed))
