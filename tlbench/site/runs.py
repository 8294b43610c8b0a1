"""Runs: the records behind the board, with the place of each: copied line by line into the site, or where they lie.

Only lines that check and that the board is made of are copied: what else lies in a folder is not, nor what its links
lead to.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlbench.api.trials import Trial
from tlbench.leaderboard.forms import files
from tlbench.results.lines import from_line
from tlbench.results.verify import standing
from tlbench.site.encode import Slugs, bounded, name, prose
from tlbench.site.place import way

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench.loading import Loaded

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}\.jsonl")
LARGEST_PLAN = 64 * 2**20
"""Bytes of a run.json that is read."""


@dataclass(frozen=True)
class Shipped:
    """``where``: key -> run, file and line; ``runs`` and ``suites`` say what they are."""

    where: dict[str, list[int]]
    runs: list[dict[str, Any]]
    suites: list[dict[str, str]]


def ship(found: Loaded, out: Path, records_in: Path | None = None) -> tuple[Shipped, list[str]]:
    """Copy the lines of the board's records, and the plans; notes say what was passed over.

    With ``records_in``, the folder in which the page will be, nothing is copied: files and lines are the runs' own.
    """
    where: dict[str, list[int]] = {}
    runs: list[dict[str, Any]] = []
    suites: dict[str, dict[str, str]] = {}
    notes: list[str] = []
    slugs = Slugs()
    for number, folder in enumerate(found.folders):
        slug = slugs.of(folder.path.resolve().name)
        names: list[str] = []
        count = 0
        for file in sorted((folder.path / "records").glob("*.jsonl")):
            if file.is_symlink() or not file.is_file():
                notes.append(f"{file}: passed over: not a plain file")
                continue
            named = _FILE.fullmatch(file.name)
            if records_in and not named:
                notes.append(f"{file}: passed over: such a name is not led to")
                continue
            kept = _lines(file, found, where, [number, len(names)], copied=not records_in)
            if kept:
                safe = file.name if named else f"part-{len(names)}.jsonl"
                if not records_in:
                    files.write_text(out / "runs" / slug / "records" / safe, "".join(kept))
                names.append(safe)
                count += len(kept)
        about = _plan(folder.path)
        if about:
            if not records_in:
                plan = {"suite": about, "trials": [t.to_json() for t in folder.planned()]}
                files.write_text(out / "runs" / slug / "run.json", json.dumps(plan))
            suites.setdefault(
                str(about.get("name", "")),
                {key: prose(about.get(key) or "") for key in ("name", "description", "expect")},
            )
        stands = standing(folder.path)
        runs.append(
            {
                "name": name(folder.path.resolve().name),
                "folder": way(records_in, folder.path) if records_in else f"runs/{slug}",
                "files": names,
                "records": count,
                "status": stands.status,
                "standing": prose(stands.text),
            }
        )
    return Shipped(where, runs, list(suites.values())), notes


def _lines(
    file: Path, found: Loaded, where: dict[str, list[int]], place: list[int], *, copied: bool = True
) -> list[str]:
    """The lines of a file that the board is made of, each once; their places go into ``where``.

    A place ends with the number of the line: among those that are ``copied``, or in the file.
    """
    kept: list[str] = []
    with file.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            try:
                line = raw.decode()
                record = from_line(line)
                Trial.from_json(record.trial)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue
            mine = found.records.get(record.key)
            if mine is None or record.key in where:
                continue
            if (mine.status, mine.started, mine.finished) == (record.status, record.started, record.finished):
                kept.append(line if line.endswith("\n") else line + "\n")
                where[record.key] = [*place, len(kept) if copied else number]
    return kept


def _plan(folder: Path) -> dict[str, Any]:
    """What a run says of its suite; nothing where that cannot be read."""
    path = folder / "run.json"
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST_PLAN:
            return {}
        about = json.loads(path.read_text())["suite"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return dict(bounded(about)) if isinstance(about, dict) else {}
