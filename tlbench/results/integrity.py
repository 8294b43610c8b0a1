"""Integrity: a run folder read as if a stranger had made it; every fault has a place, a name and a reason.

Nothing outside of the folder is opened, no link is followed, nothing is unpickled, and no file or line is read beyond a
stated size.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tlbench.api.records import RECORD_VERSION, Record
from tlbench.api.trials import Trial
from tlbench.errors import StoreError
from tlbench.results.lines import checked_body, no_number
from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_FILES = 200_000
MOST_LINE = 2**22
"""Bytes of the longest line of records; those of the largest suites have some 10 thousand."""
MOST_RECORDS = 2**32
"""Bytes of all records."""
MOST_JSON = 2**29
"""Bytes of ``run.json`` and the like."""
MOST_NESTING = 32


class Fault(NamedTuple):
    """What is wrong. ``check`` is the kind of check that found it, ``where`` the file and line."""

    check: str
    where: str
    text: str
    key: str = ""

    @property
    def line(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


@dataclass(frozen=True, eq=False)
class Line:
    """One record as it stands on disk: the bytes of its line without the newline, and where."""

    record: Record
    content: bytes
    file: Path
    number: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.number}"


@dataclass(eq=False)
class Contents:
    """What could be read of a run folder: sound lines in the order of writing, the plan, and every fault.

    ``torn`` are last lines whose writer was stopped, which is no fault. ``records`` and ``run`` are the hashes of all
    record lines, whatever their order and their files, and of ``run.json``.
    """

    path: Path
    lines: list[Line] = field(default_factory=list)
    planned: tuple[Trial, ...] = ()
    suite: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    records: str = ""
    run: str = ""
    files: int = 0
    checked: int = 0
    """Lines that were looked at, sound or not."""


def read(path: Path) -> Contents:
    """Everything of a run folder. Raises ``StoreError`` where there is none."""
    if path.is_symlink() or (path / "records").is_symlink():
        raise StoreError(f"{path} or its records/ is a link; name the folder itself")
    RunFolder.open(path)
    found = Contents(path)
    _walk(found)
    hashes: list[bytes] = []
    for file in record_files(path):
        try:
            _read_lines(file, found, hashes)
        except StoreError as error:
            found.faults.append(Fault("lines", "", str(error)))
    found.records = _joined(hashes)
    _read_plan(found)
    return found


def digests(path: Path) -> tuple[str, str]:
    """The hashes of all record lines and of ``run.json``, as ``read`` gives them, without parsing."""
    hashes: list[bytes] = []
    for file in record_files(path):
        with opened(file, MOST_RECORDS) as stream:
            hashes += [_line_hash(row) for row in _rows(stream) if row.strip()]
    plan = path / "run.json"
    return _joined(hashes), content_hash(contents(plan, MOST_JSON)) if plan.exists() else ""


def content_hash(content: bytes) -> str:
    """BLAKE2b with 16 bytes, as records give it for files."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _line_hash(row: bytes) -> bytes:
    return hashlib.blake2b(row.rstrip(b"\n"), digest_size=16).digest()


def _joined(hashes: list[bytes]) -> str:
    return hashlib.blake2b(b"".join(sorted(hashes)), digest_size=32).hexdigest()


# ---- files ---------------------------------------------------------------------------------------


def record_files(path: Path) -> list[Path]:
    """The files of records, in the order of writing."""
    return sorted((path / "records").glob("*.jsonl"))


def opened(path: Path, most: int) -> IO[bytes]:
    """A regular file of at most that size, for reading. Raises ``StoreError`` for a link, a pipe and all else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = "it is a link" if path.is_symlink() else error.strerror
        raise StoreError(f"{path}: cannot be read: {why}") from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_size > most:
        os.close(descriptor)
        regular = stat.S_ISREG(about.st_mode)
        why = f"has {about.st_size:,} bytes; at most {most:,} are read" if regular else "is no regular file"
        raise StoreError(f"{path}: {why}")
    return os.fdopen(descriptor, "rb")


def contents(path: Path, most: int) -> bytes:
    """All bytes of a regular file. Raises ``StoreError`` as ``opened`` does."""
    with opened(path, most) as file:
        return file.read(most + 1)


def _walk(found: Contents) -> None:
    """Faults for links, devices, pipes and too many files."""

    def refuse(where: str, text: str) -> None:
        found.faults.append(Fault("folder", where, text))

    for folder, folders, files in os.walk(found.path, followlinks=False):
        for name in [*folders, *files]:
            entry = Path(folder) / name
            found.files += 1
            if found.files > MOST_FILES:
                refuse(str(found.path), f"has more than {MOST_FILES:,} files; the rest was not looked at")
                return
            mode = entry.lstat().st_mode
            if stat.S_ISLNK(mode):
                out = not entry.resolve().is_relative_to(found.path.resolve())
                refuse(str(entry), f"a link{' that leads out of the folder' if out else ''}; runs have none")
            elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                refuse(str(entry), "neither a file nor a folder; runs have nothing else")


# ---- lines ---------------------------------------------------------------------------------------


def _rows(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines; one that is too long comes in pieces."""
    while row := stream.readline(MOST_LINE + 1):
        yield row


def _read_lines(file: Path, found: Contents, hashes: list[bytes]) -> None:
    number, inside = 0, False
    with opened(file, MOST_RECORDS) as stream:
        for row in _rows(stream):
            number += not inside
            if row.strip():
                hashes.append(_line_hash(row))
            if inside or len(row) > MOST_LINE:
                if not inside:
                    found.checked += 1
                    text = f"a line of more than {MOST_LINE:,} bytes is no record"
                    found.faults.append(Fault("lines", f"{file}:{number}", text))
                inside = not row.endswith(b"\n")
                continue
            if not row.strip():
                continue
            found.checked += 1
            try:
                record = sound(row)
            except StoreError as error:
                where = f"{file}:{number}"
                if row.endswith(b"\n"):
                    found.faults.append(Fault("lines", where, str(error)))
                else:
                    found.torn.append(f"{where}: torn: its writer was stopped")
                continue
            found.lines.append(Line(record, row.rstrip(b"\n"), file, number))


def sound(row: bytes) -> Record:
    """The record of a line. Raises ``StoreError`` that says what is wrong with it."""
    from tlbench.results.shape import misshapen

    try:
        body = checked_body(row.decode())
        data = json.loads(body, parse_constant=no_number)
        # As we would write it no name stands twice and every number is one of JSON; anything else is looked at closely.
        if json.dumps(data, separators=(",", ":")) != body:
            data = json.loads(body, object_pairs_hook=_once)
        record = Record.from_json(data)
    except RecursionError as error:
        raise StoreError(f"nested deeper than {MOST_NESTING} levels") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(str(error)[:500]) from error
    if record.version != RECORD_VERSION:
        raise StoreError(f"a record of version {record.version!r}; this tlbench makes and checks {RECORD_VERSION}")
    _check_values({name: value for name, value in data.items() if name not in _OF_STATED_DEPTH}, 0)
    if wrong := misshapen(data):
        raise StoreError(f"not a record: {wrong}")
    return record


_OF_STATED_DEPTH = {"curve", "losses", "metrics", "clocks"}
"""Fields of which the shape says all, to the last number."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _check_values(value: Any, depth: int) -> None:
    """Raises ``StoreError`` for numbers that are not finite and for deep nesting."""
    if depth > MOST_NESTING:
        raise StoreError(f"nested deeper than {MOST_NESTING} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise StoreError("a number is not finite")
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _check_values(part, depth + 1)


# ---- the plan ------------------------------------------------------------------------------------


def _read_plan(found: Contents) -> None:
    from tlbench.results.shape import misshapen_trial

    path = found.path / "run.json"
    if not path.is_symlink() and not path.exists():
        return
    try:
        content = contents(path, MOST_JSON)
        found.run = content_hash(content)
        data = json.loads(content, parse_constant=no_number)
        _check_values(data, 0)
        for number, trial in enumerate(data["trials"], 1):
            if wrong := misshapen_trial(trial):
                raise StoreError(f"trial {number} of the plan is none: {wrong}")
        found.planned = tuple(Trial.from_json(t) for t in data["trials"])
        found.suite = dict(data["suite"])
    except StoreError as error:
        found.faults.append(Fault("folder", str(path), str(error).removeprefix(f"{path}: ")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        found.faults.append(Fault("folder", str(path), f"not a plan: {type(error).__name__}: {str(error)[:200]}"))
