"""The bundle: everything that is published, in a folder of its own, made from the public part of the records alone.

    index.html, assets/, data/   the site
    downloads/                   the reports: Markdown, LaTeX, CSV, JSON, Parquet, the badge; trials.parquet
    runs/NAME/                   run.json and the records: `tlbench leaderboard runs/NAME` reads them as any run
    README.md                    the card, on the hub
    tlbench-published.json       which files these are

Only what is written here leaves: weights, checkpoints, logs, caches and locks never do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlbench.errors import TlbenchError
from tlbench.leaderboard.forms.files import write, write_parquet, write_text
from tlbench.leaderboard.text import clean
from tlbench.loading import loaded
from tlbench.publish.cards import data_card, space_card
from tlbench.publish.copies import copied, folder_names
from tlbench.publish.manifest import MANIFEST, manifest
from tlbench.publish.model import Bundle
from tlbench.publish.privacy import NOTHING, Kept

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tlbench.plugins import Plugins


def gather(
    runs: Sequence[Path],
    work: Path,
    plugins: Plugins,
    *,
    card: str = "",
    metric: str | None = None,
    title: str = "",
    kept: Kept = NOTHING,
    predictions: bool = False,
    license: str = "",
) -> Bundle:
    """Make the bundle of these runs below ``work``, an empty folder.

    ``card`` is ``dataset``, ``space`` or nothing; ``license`` the hub's name of the one that the card states;
    ``predictions``: with the stored test scores. The same runs make the same bytes. Raises ``StoreError`` where a
    folder is no run, and ``TlbenchError`` where nothing ended well, or where a trial's parameters name a path of this
    machine and ``kept`` does not say so.
    """
    from tlbench.site import build

    names = folder_names(runs)
    copies = [copied(run, work / "runs" / name, kept) for run, name in zip(runs, names, strict=True)]
    try:
        found = loaded([copy.folder for copy in copies], plugins, metric)
    except TlbenchError as error:  # of the copies, which nobody knows of
        raise TlbenchError(str(error).replace(f"{work / 'runs'}/", "")) from error
    folder = work / "bundle"
    site = build(found, plugins, folder, title=title)
    said = [note.replace(f"{work}/", "") for note in (*found.notes, *site.notes)]
    frame = found.board.trials_frame()
    write(folder / "downloads" / "trials.parquet", lambda part: write_parquet(frame, part))
    for copy, name in zip(copies, names, strict=True):
        copy.complete(folder / "runs" / name, predictions=predictions)
    if card:
        about = (data_card if card == "dataset" else space_card)(found.board, license)
        write_text(folder / "README.md", about)
    files = {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    path = write_text(folder / MANIFEST, manifest(files))
    files[MANIFEST] = path.stat().st_size
    notes = [*(note for copy in copies for note in copy.notes), *map(clean, said)]
    return Bundle(folder, dict(sorted(files.items())), tuple(dict.fromkeys(notes)))
