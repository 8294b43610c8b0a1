"""Copies: a run folder with the public part of the records that its board is made of, and nothing else.

Where nothing had to be left out, the copy has the same hashes as the run, and the signatures go along. Where something
was, they would be of other records and stay behind; what `tlbench verify` found goes along with the new hashes, as none
of what it looks at was changed and it is worth what the publisher is worth.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlbench.errors import TlbenchError
from tlbench.leaderboard.forms.files import write, write_text
from tlbench.leaderboard.text import clean
from tlbench.publish.privacy import Kept, paths_in, public, shortened
from tlbench.results import verify
from tlbench.results.integrity import MOST_JSON, contents, digests
from tlbench.results.lines import to_line
from tlbench.results.predictions import path_of
from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tlbench.api.records import Record

MOST_LINES = 16 << 20
"""Bytes of records in one file: some hosts refuse large ones."""
_FEW = 3


@dataclass(frozen=True, eq=False)
class Copied:
    """A public copy of the run in ``original``; ``same`` where both have the same hashes."""

    original: Path
    folder: Path
    keys: tuple[str, ...]
    same: bool
    notes: tuple[str, ...]

    def complete(self, folder: Path, *, predictions: bool) -> None:
        """Put the rest of the copy beside its records in the published folder: plan, verification, signatures."""
        if (self.folder / "run.json").is_file():
            write(folder / "run.json", lambda part: shutil.copyfile(self.folder / "run.json", part))
        if (self.folder / verify.FILE).is_file():
            told = json.loads((self.folder / verify.FILE).read_bytes())
            told["records"], told["run"] = digests(folder)
            write_text(folder / verify.FILE, json.dumps(told, indent=1) + "\n")
        if self.same:
            for path in sorted((self.original / "signatures").glob("*.json")):
                _take(path, folder / "signatures" / path.name)
        if predictions:
            for key in self.keys:
                path = path_of(self.original, key)
                if path.exists():
                    _take(path, folder / "predictions" / path.name)


def folder_names(runs: Sequence[Path]) -> list[str]:
    """A folder name for each run, from its own, different for each; the site has them by the same names."""
    from tlbench.site.encode import Slugs

    slugs = Slugs()
    return [slugs.of(run.resolve().name) for run in runs]


def copied(path: Path, to: Path, kept: Kept) -> Copied:
    """Make the public copy of a run. Raises ``TlbenchError`` where its keys name paths of this machine."""
    from tlbench.results.valid import current

    run = RunFolder.open(path)
    planned = run.planned()
    found = run.records()
    counted = {record.key for record in current(found, planned)}
    records = [record for key, record in sorted(found.items()) if key in counted]
    trials = [*(record.trial for record in records), *(trial.to_json() for trial in planned)]
    exposed = sorted({name for trial in trials for name in paths_in(trial)})
    if exposed and not kept.paths:
        raise TlbenchError(
            f"{path}: the trials name {len(exposed)} paths of this machine, which are part of their keys and cannot "
            f"be left out: {', '.join(map(clean, exposed[:_FEW]))}. Name the data relative to the suite or to "
            "--data-root, or publish them with --keep-paths."
        )
    name = path.resolve().name
    notes = [f"{name}: {problem}" for problem in run.problems]
    if stale := len(found) - len(records):
        notes.append(f"{name}: {stale} records of earlier code or plans are left out")
    hosts = {str(host) for record in records if (host := record.environment.get("host"))}
    if hosts and kept.hosts:
        notes.append(f"{name}: the records name their hosts: {', '.join(sorted(hosts))}")
    elif hosts:
        notes.append(f"{name}: the names of hosts are left out of its records (--keep-host keeps them)")
    _lines([public(record, kept) for record in records], to / "records")
    _plan(path / "run.json", to / "run.json", kept)
    before, after = digests(path), digests(to)
    told = _verification(path / verify.FILE, before)
    if told is not None:
        told = told if kept.paths else shortened(told)
        told |= {"records": after[0], "run": after[1], "results": sum(r.status == "ok" for r in records)}
        write_text(to / verify.FILE, json.dumps(told, indent=1) + "\n")
    if before != after and any((path / "signatures").glob("*.json")):
        notes.append(
            f"{name}: the signatures are left out, as they are of the records with what is left out here; "
            "--keep-host and --keep-paths publish what was signed"
        )
    return Copied(path, to, tuple(r.key for r in records), before == after, tuple(map(clean, notes)))


def _lines(records: Sequence[Record], folder: Path) -> None:
    """The records by key, so that the same records make the same files."""
    blocks: list[list[str]] = [[]]
    size = 0
    for line in map(to_line, records):
        if size and size + len(line) > MOST_LINES:
            blocks.append([])
            size = 0
        blocks[-1].append(line)
        size += len(line)
    for number, block in enumerate(blocks, 1):
        write_text(folder / f"{number:04d}.jsonl", "".join(block))


def _plan(path: Path, to: Path, kept: Kept) -> None:
    """The plan: as it is where nothing in it is private, else with its texts shortened."""
    try:
        content = contents(path, MOST_JSON)
        data = json.loads(content)
        public_data = data if kept.paths else {"suite": shortened(data["suite"]), "trials": data["trials"]}
    except FileNotFoundError:
        return
    except (OSError, TlbenchError, ValueError, KeyError, TypeError, RecursionError):
        return  # ``RunFolder.planned`` has said so
    same = public_data == data
    write(to, lambda part: part.write_bytes(content if same else json.dumps(public_data).encode()))


def _verification(path: Path, hashes: tuple[str, str]) -> dict[str, Any] | None:
    """What was found of the run as it is; ``None`` where nobody looked, or it has changed since."""
    try:
        told = json.loads(contents(path, verify.MOST_BYTES))
        return dict(told) if (told["records"], told["run"]) == hashes else None
    except (OSError, TlbenchError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _take(path: Path, to: Path) -> None:
    """A regular file of the run, and no link."""
    content = contents(path, verify.MOST_BYTES)
    write(to, lambda part: part.write_bytes(content))
