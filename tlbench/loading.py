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
    from tlbench.leaderboard.table import Table
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

    ``metric``, ``common`` and ``tuned`` as for ``reports.board_of``. What was read is kept as an index, and read from
    there while the text stays as it is. Raises ``StoreError`` where a folder is no run, and ``TlbenchError`` where no
    trial has ended well.
    """
    from concurrent.futures import ThreadPoolExecutor

    from tlbench.collector import many_objects
    from tlbench.leaderboard import index, special
    from tlbench.leaderboard.board import from_table
    from tlbench.leaderboard.pairing import pair
    from tlbench.reports import board_of
    from tlbench.results.store import RunFolder

    folders = tuple(RunFolder.open(path) for path in paths)
    with many_objects():
        state = index.state(paths, metric)
        if state:
            special.prepare()
        kept = index.read(paths, metric, state) if state else None
        if kept is not None and kept.table.higher_is_better == plugins.higher_is_better(kept.table.metric):
            board = from_table(kept.table, kept.pairing, common=common, columns=plugins.columns(), tuned=tuned)
            return Loaded(board, folders, tuple(kept.about["notes"]))
        if state:  # many records: a board needs but some of what they say
            made = _from_facts(folders, plugins, metric)
            if made is not None:
                table, notes = made
                if not (table.status == "ok").any():
                    raise _nothing(paths)
                pairing = pair(table)
                with ThreadPoolExecutor(1) as other:  # files are written beside work on arrays
                    kept_now = other.submit(index.write, paths, metric, state, table, pairing, notes)
                    board = from_table(table, pairing, common=common, columns=plugins.columns(), tuned=tuned)
                    kept_now.result()
                return Loaded(board, folders, notes)
        text = _text(folders, slim=bool(state))
        if not any(r.status == "ok" for r in text.records.values()):
            raise _nothing(paths)
        board = board_of(list(text.records.values()), text.planned, plugins, metric, common=common, tuned=tuned)
        if not tuned:  # which makes another table
            index.write(paths, metric, state, board.table, board.pairing, text.notes)
    return Loaded(board, folders, text.notes, [] if state else [text])


def _nothing(paths: Sequence[Path]) -> TlbenchError:
    return TlbenchError(f"{', '.join(map(str, paths))}: no trial has ended well yet, so there is nothing to rank")


def _from_facts(
    folders: Sequence[RunFolder], plugins: Plugins, metric: str | None
) -> tuple[Table, tuple[str, ...]] | None:
    """The table of the records that count, and what to say of those passed over, without holding the records.

    Nothing where these are not plain enough for it; ``_text`` and ``board_of`` make the same of any.
    """
    import numpy as np

    from tlbench.leaderboard.table import of_facts
    from tlbench.results.counting import current, last_of_each, of_one_content
    from tlbench.results.facts import joined
    from tlbench.results.scan import Unsuitable, first_metric, scanned

    for folder in folders:
        folder.problems.clear()
    plans = [folder.planned() for folder in folders]
    try:
        looked_for = metric or first_metric([folder.path for folder in folders])
        found = [scanned(folder.path, looked_for) for folder in folders]
    except Unsuitable:
        return None
    for folder, (_, said) in zip(folders, found, strict=True):
        folder.problems += said
    ends = np.cumsum([0, *(len(facts) for facts, _ in found)]).tolist()
    facts = joined([facts for facts, _ in found])
    rows: dict[str, int] = {}
    for i, plan in enumerate(plans):
        its = current(facts, last_of_each(facts, range(ends[i], ends[i + 1])), plan)
        rows = rows | its if rows else its
    kept, changed = of_one_content(facts, np.fromiter(rows.values(), dtype=np.int64, count=len(rows)))
    curved = np.array(facts.curved, dtype=np.int64)[kept]
    curved = curved[curved >= 0]
    if metric is None and (not len(curved) or facts.metrics[curved[0]] != looked_for):
        return None
    planned = {t.key: t for plan in plans for t in plan}
    if planned:  # as planned, not as they came in
        place = {key: i for i, key in enumerate(planned)}
        kept = kept[np.argsort([place.get(facts.keys[row], len(place)) for row in kept.tolist()], kind="stable")]
    table = of_facts(facts, tuple(planned.values()), plugins.higher_is_better(looked_for), kept)
    problems = [problem for folder in folders for problem in folder.problems]
    return table, (*problems, *changed)


def _text(folders: Sequence[RunFolder], *, slim: bool = False) -> Text:
    """The records that count, the trials of all plans, and what to say of what was passed over.

    ``slim`` records are without what no board needs.
    """
    from tlbench.collector import many_objects
    from tlbench.results.valid import current, of_one_content

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
