"""Scores from elsewhere: a tidy table (CSV, JSON or Parquet) as records, so that it has a board like any run.

Columns: ``strategy``, ``target`` and ``score``; ``source`` where there is one; and as wanted ``pair`` (instead of
source and target), ``seed`` (0), ``task``, ``backbone``, ``reference``, and ``test_examples``: the test set's size.
Without a task the file's name stands for one.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial
from tlbench.errors import DataError, unknown
from tlbench.leaderboard.board import from_table
from tlbench.leaderboard.table import columnar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tlbench.leaderboard.board import Leaderboard

COLUMNS = ("strategy", "source", "target", "pair", "seed", "score", "task", "backbone", "reference", "test_examples")
MOST_BYTES = 256 << 20
MOST_ROWS = 1_000_000
LONGEST = 200
"""The most characters of a name."""
STANDING = "self-reported, not measured by tlbench"
Unit = Literal["auto", "share", "points", "raw"]


class Line(NamedTuple):
    """One row of the file; ``where`` names its place for error messages."""

    where: str
    strategy: str
    source: str
    target: str
    task: str
    backbone: str
    seed: int
    score: float
    reference: str
    examples: int


@dataclass(frozen=True)
class Scores:
    """A table from elsewhere as records. ``conditions`` say where it is from; ``higher_is_better`` as it was given."""

    records: tuple[Record, ...]
    metric: str
    higher_is_better: bool
    conditions: tuple[tuple[str, str], ...]

    def board(self, *, common: bool = True) -> Leaderboard:
        """The board of these scores."""
        table = columnar(self.records, (), self.metric, self.higher_is_better)
        return from_table(replace(table, conditions=self.conditions), common=common)


def read_scores(
    path: Path,
    reference: str | None = None,
    *,
    metric: str = "score",
    higher_is_better: bool = True,
    unit: Unit = "auto",
) -> Scores:
    """The scores of a file; CSV, JSON (a list of objects, or one on each line) or Parquet by its name's end.

    ``reference`` names the strategy that gains are measured against, where the file has no column that does. ``unit``:
    ``share`` for scores in [0, 1], ``points`` for those in [0, 100], ``raw`` for any other; ``auto`` takes the first
    of these that fits (of a metric where less is better, a share or raw). Raises ``DataError`` that names file, line
    and column for what is missing, no number, out of range or there twice.
    """
    content = _content(path)
    lines = [_line(where, row, path.stem) for where, row in _rows(path, content)]
    if not lines:
        raise DataError(f"{path} has no rows below its head")
    if len(lines) > MOST_ROWS:
        raise DataError(f"{path} has {len(lines):,} rows; at most {MOST_ROWS:,} are read")
    _no_doubles(lines)
    references = _references(path, lines, reference)
    unit, scale = _scale(lines, unit, higher_is_better)
    records = tuple(_record(line, references[i], scale, metric) for i, line in enumerate(lines))
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    seeds = len({line.seed for line in lines})
    about = {
        "source": f"{path.name} (blake2b {digest}): {STANDING}",
        "metric": f"{metric}, {'higher' if higher_is_better else 'lower'} is better"
        + {"share": "", "points": ", given in points", "raw": ""}[unit],
        "seeds": f"{seeds} seed{'s' if seeds > 1 else ''} (as given)",
    }
    return Scores(records, metric, higher_is_better, tuple(about.items()))


# ---- reading -------------------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{path} has {size >> 20:,} MiB; at most {MOST_BYTES >> 20} MiB are read")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _rows(path: Path, content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with its place in the file."""
    readers = {".csv": _csv, ".json": _json, ".jsonl": _json, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: scores are read from .csv, .json, .jsonl and .parquet")
    rows = reader(path, content)
    first = next(iter(rows), None)
    if first is not None:
        _check_columns(path, list(first[1]))
        yield first
        yield from rows


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8; save it as UTF-8") from error


def _csv(path: Path, content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.reader(io.StringIO(_text(path, content), newline=""), strict=True)
    head: list[str] = []
    try:
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if not any(cell.strip() for cell in row) or (not head and row[0].startswith("#")):
                continue  # an empty line, or a remark above the head
            if not head:
                head = [name.strip() for name in row]
                _check_columns(path, head)
                continue
            if len(row) != len(head):
                raise DataError(f"{where}: {len(row)} cells, where the head has {len(head)} columns")
            yield where, dict(zip(head, row, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from error


def _json(path: Path, content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    text = _text(path, content)
    try:
        if text.lstrip().startswith("["):
            rows = [(f"{path}: record {i}", row) for i, row in enumerate(json.loads(text), 1)]
        else:
            numbered = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
            rows = []
            for number, line in numbered:
                rows.append((f"{path}:{number}", json.loads(line)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    for where, row in rows:
        if not isinstance(row, dict):
            raise DataError(f"{where}: {str(row)[:40]!r} is no object with columns")
        yield where, row


def _parquet(path: Path, content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        if file.metadata.num_rows > MOST_ROWS:
            raise DataError(f"{path} has {file.metadata.num_rows:,} rows; at most {MOST_ROWS:,} are read")
        known = [name for name in file.schema_arrow.names if name in COLUMNS]
        _check_columns(path, file.schema_arrow.names)
        rows = file.read(columns=known).to_pylist()
    except pa.ArrowException as error:
        raise DataError(f"{path}: not Parquet: {str(error).splitlines()[0]}") from error
    for i, row in enumerate(rows, 1):
        yield f"{path}: row {i}", row


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise DataError(f"{path}: column {doubled[0]!r} is there twice")
    for name in names:
        if name not in COLUMNS:
            raise DataError(f"{path}: {unknown('column', name, COLUMNS)}")
    wanted = ["strategy", "score", *(() if "pair" in names else ("target",))]
    if missing := [name for name in wanted if name not in names]:
        raise DataError(f"{path}: no column {missing[0]!r}; there must be strategy, score, and target or pair")
    if "pair" in names and {"source", "target"} & set(names):
        raise DataError(f"{path}: a column 'pair' stands for source and target; leave out one or the other")


def _line(where: str, row: Mapping[str, Any], task: str) -> Line:
    source, target = _name(where, row, "source", ""), _name(where, row, "target", "")
    if "pair" in row:
        source, target = _pair(where, _name(where, row, "pair", ""))
    if not target:
        raise DataError(f"{where}: column 'target': empty; every score is of some target")
    strategy = _name(where, row, "strategy", "")
    if not strategy:
        raise DataError(f"{where}: column 'strategy': empty; every score is of some strategy")
    return Line(
        where,
        strategy,
        source,
        target,
        _name(where, row, "task", "") or task,
        _name(where, row, "backbone", "") or "as published",
        _whole(where, row, "seed"),
        _number(where, row.get("score")),
        _name(where, row, "reference", ""),
        _whole(where, row, "test_examples"),
    )


def _name(where: str, row: Mapping[str, Any], column: str, default: str) -> str:
    value = row.get(column)
    nothing = value is None or (isinstance(value, float) and math.isnan(value))
    text = default if nothing else str(value).strip()
    if len(text) > LONGEST:
        raise DataError(f"{where}: column {column!r}: a name of {len(text)} characters; at most {LONGEST}")
    return text


def _pair(where: str, name: str) -> tuple[str, str]:
    """``A → B`` or ``A -> B`` is a source and a target; anything else a target alone."""
    parts = [part.strip() for part in re.split(r"→|->", name)]
    if len(parts) > 2 or (len(parts) == 2 and not all(parts)):
        raise DataError(f"{where}: column 'pair': {name!r} is not SOURCE -> TARGET; or give columns source and target")
    return ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def _whole(where: str, row: Mapping[str, Any], column: str) -> int:
    value = row.get(column)
    if value is None or value == "":
        return 0
    if isinstance(value, float) and math.isnan(value):
        return 0
    try:  # a column of whole numbers with a hole comes as 1.0 from elsewhere
        number = int(value) if isinstance(value, float) and value.is_integer() else int(str(value).strip())
    except ValueError:
        number = -1
    if not 0 <= number < 2**53:
        raise DataError(f"{where}: column {column!r}: {value!r} is no whole number from 0 on")
    return number


def _number(where: str, value: Any) -> float:
    try:
        score = (
            float(str(value).strip().replace("−", "-"))
            if value is not None and not isinstance(value, bool)
            else math.nan
        )
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        remedy = "a score that is not known has no row" if value in ("", None) else "write it as 0.873 or 87.3"
        raise DataError(f"{where}: column 'score': {'empty' if value in ('', None) else repr(value)}; {remedy}")
    return score


# ---- checks --------------------------------------------------------------------------------------


def _cell(line: Line) -> tuple[Any, ...]:
    return (line.strategy, line.source, line.target, line.task, line.backbone, line.seed)


def _no_doubles(lines: Sequence[Line]) -> None:
    seen: dict[tuple[Any, ...], Line] = {}
    for line in lines:
        if (first := seen.setdefault(_cell(line), line)) is not line:
            what = f"{line.strategy!r} on {line.source + ' → ' if line.source else ''}{line.target}, seed {line.seed}"
            raise DataError(
                f"{line.where}: {what} is there already ({first.where}); a column 'seed' tells repetitions apart"
            )


def _references(path: Path, lines: Sequence[Line], reference: str | None) -> list[str | None]:
    """Each line's reference; ``None`` for a reference itself."""
    known = {line.strategy for line in lines}
    if reference is not None and reference not in known:
        raise DataError(f"--reference: {unknown('strategy', reference, known)}")
    named = {line.reference for line in lines} - {""}
    if reference is None and not named:
        raise DataError(
            f"{path}: which strategy are gains measured against? Name it with --reference, or in a column 'reference'. "
            f"There are: {', '.join(sorted(known))}"
        )
    for line in lines:
        if line.reference and line.reference not in known:
            raise DataError(f"{line.where}: column 'reference': {unknown('strategy', line.reference, known)}")
    wanted = [line.reference or reference for line in lines]
    return [None if name == line.strategy else name for name, line in zip(wanted, lines, strict=True)]


def _scale(lines: Sequence[Line], unit: Unit, higher_is_better: bool) -> tuple[Unit, float]:
    """The unit in which the scores are, and what makes shares of them."""
    least, most = min(lines, key=lambda line: line.score), max(lines, key=lambda line: line.score)
    if unit == "auto":
        inside = least.score >= 0
        unit = (
            "share"
            if inside and most.score <= 1
            else "points"
            if inside and most.score <= 100 and higher_is_better
            else "raw"
        )
    limit = {"share": 1.0, "points": 100.0}.get(unit)
    if limit is not None:
        for line in (least, most):
            if not 0 <= line.score <= limit:
                raise DataError(
                    f"{line.where}: column 'score': {line.score:g} is outside [0, {limit:g}], the unit {unit!r}"
                )
    return unit, 0.01 if unit == "points" else 1.0


def _record(line: Line, reference: str | None, scale: float, metric: str) -> Record:
    def choice(label: str) -> Choice:
        return Choice(label, label, {})

    trial = Trial(
        source=choice(line.source) if line.source else None,
        target=choice(line.target),
        task=choice(line.task),
        strategy=choice(line.strategy),
        backbone=choice(line.backbone),
        recipe=choice("as published"),
        seed=line.seed,
        reference=reference,
    )
    return Record(
        key=trial.key,
        status=Status.OK,
        trial=trial.to_json(),
        metrics={"target": {metric: line.score * scale}},
        data={"test": {"target": line.examples}} if line.examples else {},
    )
