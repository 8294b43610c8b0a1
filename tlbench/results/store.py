"""The run folder: append-only records, weights of source models, logs and checkpoints.

    RUN/
      run.json            the suite and the plan's trials, for `status` and coverage
      records/*.jsonl     one file for each writer, one line for each record, each line with its own checksum
      weights/KEY.safetensors   source models
      predictions/KEY.npz       test scores, where asked for
      logs/KEY.log        what a trial printed
      work/KEY/           checkpoints of trials that are not finished
      work/shared/        ends of trainings that several trials have alike, while the run goes on
      leaderboard/        the reports

Merging two machines is a union of ``records/``. A torn last line (a writer was killed) is passed over; any
other line that does not check is reported and passed over. Later lines replace earlier ones of the same key.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tlbench.api.records import Record, Status
from tlbench.collector import many_objects
from tlbench.errors import StoreError
from tlbench.results.lines import to_line
from tlbench.results.reading import FAULTS, Reader, fault, trials_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from tlbench.api.trials import Trial

_KEY = re.compile(r"[0-9a-f]{32}")


def check_key(key: str) -> str:
    """The key, if it is one; keys become file names, so nothing else may pass. Raises ``StoreError``."""
    if not _KEY.fullmatch(key):
        raise StoreError(f"{key!r} is not a trial's key: 32 hexadecimal digits")
    return key


def last_of_each(lines: Iterable[Record]) -> dict[str, Record]:
    """The last record of each key; an ``ok`` one is never replaced by one of the same code that is not."""
    found: dict[str, Record] = {}
    for record in lines:
        before = found.get(record.key)
        same_code = before is not None and before.trial.get("fingerprint") == record.trial.get("fingerprint")
        if before is not None and same_code and before.status == Status.OK and record.status != Status.OK:
            continue
        found[record.key] = record
    return found


@dataclass
class RunFolder:
    """A run on disk. Reading needs no lock; ``writing()`` admits one writer on this machine at a time."""

    path: Path
    problems: list[str] = field(default_factory=list)
    """Lines that were passed over, and why."""

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that exists. Raises ``StoreError`` where there is none."""
        if not (path / "records").is_dir():
            raise StoreError(f"{path} is no run folder: it has no records/. `tlbench run --out {path}` makes one.")
        return cls(path)

    # ---- reading ---------------------------------------------------------------------------------

    def lines(self, *, slim: bool = False) -> Iterator[Record]:
        """Every record in the order of writing, equal parts shared; damaged lines go to ``problems``.

        ``slim`` ones are without what no board needs, as ``reading.Reader`` says.
        """
        reader = Reader(slim=slim)
        for file in sorted((self.path / "records").glob("*.jsonl")):
            try:
                with file.open("rb") as rows:
                    for number, row in enumerate(rows, 1):
                        if not row.strip():
                            continue
                        try:
                            yield reader.record(row.rstrip(b"\n"))
                        except FAULTS as error:
                            self.problems.append(f"{file}:{number}: passed over: {fault(row, error)}")
            except OSError as error:
                self.problems.append(f"{file}: cannot be read: {error.strerror}")

    def records(self, *, slim: bool = False) -> dict[str, Record]:
        """The last record of each key; an ``ok`` one is never replaced by one that is not; ``slim`` as there."""
        with many_objects():
            return last_of_each(self.lines(slim=slim))

    def find(self, prefix: str) -> Record:
        """The record whose key begins so. Raises ``StoreError`` where none or several do."""
        matches = [r for k, r in self.records().items() if k.startswith(prefix)]
        if len(matches) == 1:
            return matches[0]
        if not matches:
            raise StoreError(
                f"{self.path} has no record whose key begins with {prefix!r}; "
                f"`tlbench status {self.path} --trials` lists them"
            )
        listed = ", ".join(r.key[:12] for r in matches[:5])
        raise StoreError(f"{len(matches)} keys begin with {prefix!r} ({listed}, ...); give more digits")

    def planned(self) -> tuple[Trial, ...]:
        """The trials of the last plan of this run; empty where there is none."""
        try:
            return trials_of((self.path / "run.json").read_bytes())
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.problems.append(f"{self.path / 'run.json'}: passed over: {error}")
            return ()

    def weights(self, key: str) -> Path:
        """Where a source model's weights are kept."""
        return self.path / "weights" / f"{check_key(key)}.safetensors"

    def has_weights(self, record: Record) -> bool:
        """Whether the weights that a source model's record speaks of are there, and are the same to the bit."""
        try:
            content = self.weights(record.key).read_bytes()
        except OSError:
            return False
        return hashlib.blake2b(content, digest_size=16).hexdigest() == (record.artifact or {}).get("blake2b")

    def log(self, key: str) -> Path:
        """Where what a trial printed is kept."""
        return self.path / "logs" / f"{check_key(key)}.log"

    def work(self, key: str) -> Path:
        """Where a trial's checkpoints are kept while it is not finished."""
        return self.path / "work" / check_key(key)

    # ---- writing ---------------------------------------------------------------------------------

    def writing(self) -> Writer:
        """A writer for this process. Raises ``StoreError`` where another one writes here, or nobody can."""
        return Writer(self.path)


class Writer:
    """Appends records to a file of its own; each is on disk when ``write`` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = 0
        try:
            for name in ("records", "weights", "logs", "work"):
                (path / name).mkdir(parents=True, exist_ok=True)
            self._lock = (path / ".lock").open("a+")
        except OSError as error:
            raise StoreError(f"the run folder {path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StoreError(f"another tlbench is writing to {path}; wait for it, or give another --out") from error
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._lock.close()

    def write(self, record: Record) -> None:
        """Append one record, whole. Raises ``StoreError`` where the disk does not take it; nothing is lost."""
        line = to_line(record).encode()
        try:
            if self._file is None:
                name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{time.time_ns() % 10**9:09d}.jsonl"
                self._file = (self._path / "records" / name).open("ab", buffering=0)
            end = os.fstat(self._file.fileno()).st_size
            try:
                written = self._file.write(line)
                if written != len(line):
                    raise OSError(28, "no space left on device")
                os.fsync(self._file.fileno())
                self._bytes += written
            except OSError:
                os.ftruncate(self._file.fileno(), end)  # no half a line before the next one
                raise
        except OSError as error:
            raise StoreError(
                f"a record could not be written to {self._path}: {error.strerror}. What was written before is safe; "
                "make room and run the same command again."
            ) from error

    @property
    def own(self) -> dict[str, int]:
        """The name of the file that was written to, with the bytes that were written; empty where nothing was."""
        return {} if self._file is None else {Path(self._file.name).name: self._bytes}

    def plan(self, suite: Mapping[str, Any], trials: Sequence[Trial]) -> None:
        """Keep what was planned, for `status` and for the board's coverage."""
        data = {"suite": dict(suite), "trials": [t.to_json() for t in trials]}
        partial = self._path / "run.json.partial"
        try:
            partial.write_text(json.dumps(data, allow_nan=False))
            partial.replace(self._path / "run.json")
        except OSError as error:
            raise StoreError(f"the run folder {self._path} cannot be written: {error.strerror}") from error
