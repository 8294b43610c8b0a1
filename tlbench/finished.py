"""Finished: what a run whose trials are all done leaves behind, so that the same command need not read its records.

    RUN/index/finished.npz    the table of its board, how its trials ended, what was noted, and its reports' files

It says no more than that nothing is left to do, and counts only where every file of records and ``run.json`` are the
ones that it was made of (as for ``leaderboard.index``, which says why a copied one is never believed), where the plan
is the same trial by trial, and where the code that decides is the same. As soon as one trial is to run, the records
are read from their text. Reports that are still as they were written are not written again.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tlbench.api.trials import canonical
from tlbench.collector import many_objects
from tlbench.leaderboard import index
from tlbench.plan.done import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from tlbench.api.trials import Plan, Trial
    from tlbench.leaderboard.pairing import Pairing
    from tlbench.leaderboard.table import Table
    from tlbench.plugins import Plugins

CODE = (*index.PARTS, "plan", "finished.py")
"""What of tlbench has a say in whether a trial is done, and in its board."""


class Kept(NamedTuple):
    """A board's table and pairing, count of each status, notes; and the reports' paths, none where one has changed."""

    plan: str
    table: Table
    pairing: Pairing
    statuses: Mapping[str, int]
    notes: tuple[str, ...]
    reports: tuple[Path, ...]


def plan_digest(about: Mapping[str, Any], trials: Iterable[Trial]) -> str:
    """Hash of a plan: each trial's key with all that its key does not say, and what is said about the suite."""
    kinds: dict[tuple[Any, ...], int] = {}
    texts: list[Any] = [about]
    found: list[str] = []
    for t in trials:
        # By identity: a plan's trials share their choices, which live as long as the plan does.
        kind = (id(t.source), id(t.target), id(t.task), id(t.strategy), id(t.backbone), id(t.recipe), t.kind,
                t.reference, t.skip, t.fingerprint)  # fmt: skip
        code = kinds.get(kind)
        if code is None:
            code = kinds[kind] = len(kinds)
            choices = (t.source, t.target, t.task, t.strategy, t.backbone, t.recipe)
            texts.append([[c and c.to_json() for c in choices], *kind[6:]])
        found.append(f"{t.key}{code}")
    content = canonical(texts) + "".join(found)
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _place(folder: Path) -> Path:
    return folder / "index" / "finished.npz"


def read(folder: Path, plugins: Plugins) -> Kept | None:
    """What is kept of a run, if its records are still those it was made of."""
    if not _place(folder).exists():
        return None
    wanted = index.digest([index.VERSION, index.code(CODE), index.files(folder)])
    kept = index.unpack(_place(folder), wanted)
    if kept is None:
        return None
    try:
        its = kept.about["finished"]
        reports = tuple(folder / name for name in its["reports"])
        same = its["reporters"] == _reporters(plugins) and its["reports"] == _reports(folder, reports)
        same = same and not plugins.columns()  # whose code may have changed
        return Kept(
            its["plan"], kept.table, kept.pairing, its["statuses"], tuple(its["notes"]), reports if same else ()
        )
    except (KeyError, TypeError, AttributeError):
        return None


def found(
    folder: Path, plugins: Plugins, planned: Callable[[], Plan], about: Mapping[str, Any], *, retry_failed: bool = False
) -> tuple[Plan, Kept] | None:
    """The plan, all done, and what is kept of it, where it is certain without the records that nothing is left."""
    with many_objects():
        kept = read(folder, plugins)
        if kept is None or (retry_failed and FAILED & kept.statuses.keys()):
            return None
        if kept.table.higher_is_better != plugins.higher_is_better(kept.table.metric):
            return None
        plan = planned()
        if plan_digest(about, plan.trials) != kept.plan:
            return None
        return replace(plan, done=frozenset(t.key for t in plan.trials)), kept


def write(
    folder: Path,
    files: Mapping[str, Sequence[int]],
    plan: str,
    table: Table,
    pairing: Pairing,
    *,
    statuses: Mapping[str, int],
    notes: Sequence[str],
    reports: Sequence[Path],
    plugins: Plugins,
) -> None:
    """Keep that a plan is done, as the records in ``files`` say; nothing where these have changed, or are few."""
    if index.size(files) < index.LEAST_BYTES or index.files(folder) != files:
        return
    its = {
        "plan": plan,
        "statuses": dict(statuses),
        "notes": list(notes),
        "reporters": _reporters(plugins),
        "reports": _reports(folder, reports) if all(path.is_relative_to(folder) for path in reports) else {},
    }
    wanted = index.digest([index.VERSION, index.code(CODE), files])
    index.pack(_place(folder), table, pairing, {"state": wanted, "finished": its})


def _reporters(plugins: Plugins) -> list[str]:
    """Hashes of the code of those who write reports."""
    return sorted(plugins.fingerprint("reporters", name) for name in plugins.offers("reporters"))


def _reports(folder: Path, paths: Iterable[Path]) -> dict[str, list[int]]:
    """Size, times and inode of each file that is there."""
    return {str(path.relative_to(folder)): index.stat(path) for path in paths if path.is_file()}
