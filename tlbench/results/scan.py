"""Scan: the facts of all the records of a run, read by several processes where there are many.

Each reads a stretch of the files, line by line as ``RunFolder.lines`` does, and keeps columns alone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tlbench.collector import many_objects
from tlbench.results.facts import Facts, joined
from tlbench.results.reading import FAULTS, Reader, fault
from tlbench.results.taking import Taker
from tlbench.results.typed import Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_BYTES = 2**26
"""Of a process's stretch: it takes 0.2 s to start one."""

MORE = 0.08
"""Of a process's share."""
BUFFER = 2**18
"""Bytes: lines of some kB are cut from this nearly three times as quickly as from Python's usual 8 kB."""


class Stretch(NamedTuple):
    """The lines of a file that begin in these bytes."""

    file: str
    start: int
    end: int


class Problem(NamedTuple):
    """``line``: its number in its stretch; 0 where the file cannot be read."""

    stretch: int
    line: int
    why: str


class Found(NamedTuple):
    """Of some stretches: facts, lines of each, and what was passed over."""

    facts: Facts
    lines: list[int]
    problems: list[Problem]


class Unsuitable(Exception):
    """There is a record that has no facts, or no metric to look for."""


def first_metric(folders: Sequence[Path]) -> str:
    """The metric of the first learning curve. Raises ``Unsuitable`` where it does not come early."""
    reader = Reader(slim=True)
    for folder in folders:
        for file in sorted((folder / "records").glob("*.jsonl")):
            with contextlib.suppress(OSError), file.open("rb") as rows:
                for row in itertools.islice(rows, 1000):
                    with contextlib.suppress(*FAULTS):
                        if curve := reader.record(row.rstrip(b"\n")).curve:
                            return str(curve["metric"])
    raise Unsuitable("no learning curve")


def scanned(folder: Path, metric: str) -> tuple[Facts, list[str]]:
    """The facts of the records of a run in the order of writing, and what is to be said of lines passed over.

    Raises ``Unsuitable``.
    """
    parts = shared_out(sorted((folder / "records").glob("*.jsonl")), cores())
    others = [_start(part, metric) for part in parts[1:]]
    try:
        found = [_read(parts[0], metric)] if parts else []
        for part, other in zip(parts[1:], others, strict=True):
            content, _ = other.communicate()
            # From a process of our own, through its pipe: nothing that was stored is unpickled.
            answer = pickle.loads(content) if other.returncode == 0 else _read(part, metric)  # noqa: S301
            if not isinstance(answer, Found):
                raise Unsuitable(answer)
            found.append(answer)
    finally:
        for other in others:
            if other.poll() is None:
                other.kill()
                other.communicate()
    if not found:
        return Facts(metric), []
    before: dict[str, int] = {}
    said = []
    for part, its in zip(parts, found, strict=True):
        for number, (stretch, lines) in enumerate(zip(part, its.lines, strict=True)):
            for _, line, why in (p for p in its.problems if p.stretch == number):
                at = f":{before.get(stretch.file, 0) + line}" if line else ""
                said.append(f"{stretch.file}{at}: {why}")
            before[stretch.file] = before.get(stretch.file, 0) + lines
    return joined([its.facts for its in found]), said


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_out(files: Sequence[Path], most: int) -> list[list[Stretch]]:
    """Stretches of the files in their order, for as many processes as pay, of about equal bytes.

    The first process, this one, has ``MORE`` than the others, which have to start and to send what they found.
    """
    sizes = []
    for file in files:
        try:
            sizes.append(file.stat().st_size)
        except OSError:
            sizes.append(1)  # so that its reader says why
    total = sum(sizes)
    count = max(1, min(most, total // LEAST_BYTES))
    share = total / (count + MORE)
    ends = [*(round((number + MORE) * share) for number in range(1, count)), total]
    parts: list[list[Stretch]] = [[] for _ in range(count if total else 0)]
    at = number = 0
    for file, size in zip(files, sizes, strict=True):
        start = 0
        while start < size:
            end = min(size, start + ends[number] - at)
            parts[number].append(Stretch(str(file), start, end))
            at, start = at + end - start, end
            number += at >= ends[number] and number + 1 < count
    return parts


def _read(part: Sequence[Stretch], metric: str) -> Found:
    """The facts of some stretches. Raises ``Unsuitable``."""
    reader, taker = Reader(slim=True), Taker(metric)
    typed = Lines(taker, reader)
    lines: list[int] = []
    problems: list[Problem] = []
    with many_objects():
        for place, (name, start, end) in enumerate(part):
            number = 0
            try:
                with Path(name).open("rb", buffering=BUFFER) as rows:
                    at = start
                    if start:  # a line that began before is another's
                        rows.seek(start - 1)
                        at = start - 1 + len(rows.readline())
                    for row in rows:
                        if at >= end:
                            break
                        at += len(row)
                        number += 1
                        if typed.take(row) or not row.strip():
                            continue
                        try:
                            record = reader.record(row.rstrip(b"\n"))
                        except FAULTS as error:
                            problems.append(Problem(place, number, f"passed over: {fault(row, error)}"))
                            continue
                        try:
                            taker.take(record)
                        except Exception as error:
                            raise Unsuitable(str(error)) from error
            except OSError as error:
                problems.append(Problem(place, 0, f"cannot be read: {error.strerror}"))
            lines.append(number)
    return Found(taker.close(), lines, problems)


# ---- another process -----------------------------------------------------------------------------

CODE = "import json, sys; asked = json.load(sys.stdin); sys.path[:] = asked.pop('path'); "
CODE += "from tlbench.results.scan import answer; answer(**asked)"


def _start(part: Sequence[Stretch], metric: str) -> subprocess.Popen[bytes]:
    """A process that reads these."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"path": sys.path, "part": part, "metric": metric}).encode())
    process.stdin.close()
    process.stdin = None
    return process


def answer(part: Sequence[Sequence[str | int]], metric: str) -> None:
    """In that process: write what was found, or why there is nothing, to standard output."""
    try:
        found: Found | str = _read([Stretch(*its) for its in part], metric)  # type: ignore[arg-type]
    except Unsuitable as error:
        found = str(error)
    pickler = pickle.Pickler(sys.stdout.buffer, protocol=5)
    pickler.fast = True  # a million texts of which no two are one need no book of what was said before
    pickler.dump(found)
