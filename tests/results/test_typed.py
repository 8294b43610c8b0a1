"""The facts that are taken from a line by its types are those of its record, or none are taken."""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.results.facts import AXES, PLACES, SINGLE, Facts
from tlbench.results.reading import FAULTS, Reader
from tlbench.results.taking import Taker
from tlbench.results.typed import Lines

if TYPE_CHECKING:
    from collections.abc import Iterable

RESULTS = Path(__file__).resolve().parents[2] / "results"
RUNS = sorted(path.parent.name for path in RESULTS.glob("*/records"))


def lines_of(run: str) -> list[bytes]:
    files = sorted((RESULTS / run / "records").glob("*.jsonl"))
    return [line for file in files for line in file.read_bytes().splitlines(keepends=True)]


def line(body: str | bytes) -> bytes:
    """A line with the right checksum, whatever is in it."""
    content = body.encode() if isinstance(body, str) else body
    check = hashlib.blake2b(content, digest_size=12).hexdigest()
    return f'{{"check":"{check}","record":'.encode() + content + b"}\n"


def plain(facts: Facts) -> list[Any]:
    """What the facts say of each record, with values for places; NaN as a text, as it is not equal to itself."""
    columns: dict[str, list[Any]] = {name: list(getattr(facts, name)) for name in SINGLE}
    for name, listed in PLACES:
        values = getattr(facts, listed)
        columns[name] = [repr(values[place]) if place >= 0 else None for place in columns[name]]
    for axis in AXES:
        columns[axis] = [facts.choices[axis][place] if place >= 0 else None for place in facts.axes[axis]]
    columns |= {name: ["nan" if math.isnan(v) else v for v in column] for name, column in facts.numbers.items()}
    scores = iter(facts.curve_scores)
    columns["scores"] = [["nan" if math.isnan(v := next(scores)) else v for _ in range(n)] for n in facts.points]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def by_record(lines: Iterable[bytes], metric: str) -> tuple[list[Any], list[bytes]]:
    """The facts of all that are records, and these lines."""
    reader, taker, good = Reader(slim=True), Taker(metric), []
    for text in lines:
        try:
            taker.take(reader.record(text.rstrip(b"\n")))
        except FAULTS:
            continue
        good.append(text)
    return plain(taker.close()), good


def by_type(lines: Iterable[bytes], metric: str) -> tuple[list[Any], list[bytes]]:
    """The facts of all that can be taken by their types, and these lines."""
    taker = Taker(metric)
    typed = Lines(taker, Reader(slim=True))
    good = [text for text in lines if typed.take(text)]
    return plain(taker.close()), good


@pytest.mark.parametrize("run", RUNS)
def test_every_published_line_is_taken_and_says_what_its_record_says(run: str) -> None:
    lines = lines_of(run)
    for metric in {curve["metric"] for text in lines if (curve := json.loads(text)["record"]["curve"])} | {"no-such"}:
        wanted, good = by_record(lines, metric)
        found, taken = by_type(lines, metric)
        assert good == lines
        assert [text for text in lines if text not in set(taken)] == []
        assert found == wanted


VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    7,
    2**70,
    0.5,
    1e308,
    "",
    "target",
    "é",
    ',"seed":1',
    [],
    [1],
    {},
    {"a": 1},
    "ok",
)
EXTRA = ("seed", "parents", "trial", "data", "kind", "unheard-of", "pool", "validation")


def altered(value: Any, rng: random.Random) -> Any:
    """Plain data with one thing, somewhere in it, other than it was."""
    if isinstance(value, dict) and value and rng.random() < 0.95:
        key = rng.choice(list(value))
        how = rng.random()
        if how < 0.80:
            return {**value, key: altered(value[key], rng)}
        if how < 0.87:
            return {k: v for k, v in value.items() if k != key}
        if how < 0.94:
            return {rng.choice(EXTRA): rng.choice(VALUES), **value}
        return dict(reversed(value.items()))
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], altered(value[place], rng), *value[place + 1 :]]
    return rng.choice(VALUES)


def rewritten(text: bytes, rng: random.Random) -> bytes:
    """The line with one thing other than it was, in its content or in its spelling, and its checksum right."""
    record = json.loads(text)["record"]
    how = rng.random()
    if how < 0.85:
        return line(json.dumps(altered(record, rng), separators=(",", ":"), ensure_ascii=rng.random() < 0.9))
    body = json.dumps(record, separators=(",", ":"))
    place = rng.choice([i for i, c in enumerate(body) if c in ',:{}["0'])
    added = rng.choice([" ", "0", "}", "{", ",", '"seed":3,', '"a":1,', "-", ".0", "NaN", "1e999,", "\\u00e9", "\t"])
    return line(body[:place] + added + body[place + (how < 0.9) :])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("run", ["quick", "everything"])
def test_what_is_taken_of_an_altered_line_is_what_its_record_says(run: str, seed: int) -> None:
    rng = random.Random(f"{run} {seed}")
    lines = rng.sample(lines_of(run), 40)
    many = [text for text in lines for text in (text, *(rewritten(text, rng) for _ in range(6)), text)]
    by_types, taken = by_type(many, "accuracy")
    by_records, good = by_record(taken, "accuracy")
    assert good == taken, "what is no record was taken"
    assert by_types == by_records
    assert len(lines) * 2 < len(taken) < len(many)


def spelled(**trial: str) -> str:
    """A record's JSON with parts of its trial as they are given."""
    record = json.loads(lines_of("quick")[0])["record"]
    body = json.dumps(record, separators=(",", ":"))
    for name, text in trial.items():
        before = json.dumps({name: record["trial"][name]}, separators=(",", ":"))[1:-1]
        assert body.count(before) == 1
        body = body.replace(before, text)
    return body


@pytest.mark.parametrize(
    "body",
    [
        spelled(task='"task":{"name":"t","label":"t","params":{"a":0,"seed":0,"parents":[]}}'),
        spelled(seed='"seed":5,"seed":6'),
        spelled(fingerprint='"fingerprint":"0","seed":9'),
        spelled(fingerprint='"fingerprint":"0","kind":"source-model"'),
        spelled(seed='"seed":1.0'),
        spelled(seed='"seed": 3 '),
    ],
)
def test_no_spelling_of_a_trial_makes_it_another(body: str) -> None:
    first, *more = lines_of("quick")
    lines = [first, line(body), line(body.replace('"seed":0', '"seed":1')), line(body), *more[:20], line(body)]
    found, taken = by_type(lines, "accuracy")
    wanted, good = by_record(taken, "accuracy")
    assert good == taken
    assert found == wanted
    assert len(taken) >= 21


@pytest.mark.parametrize("end", [b"", b"}", b" ", b"}\r\n", b"}}\n"])
def test_a_line_with_another_end_is_not_taken(end: bytes) -> None:
    first = lines_of("quick")[0]
    found, taken = by_type([first[:-2] + end, first], "accuracy")
    assert taken == [first]
    assert len(found) == 1


@pytest.mark.parametrize("field", ["losses", "suite", "provenance"])
def test_what_is_no_text_is_found_in_a_field_that_no_board_needs_too(field: str) -> None:
    record = {**json.loads(lines_of("quick")[0])["record"], field: "BAD"}
    text = line(json.dumps(record, separators=(",", ":")).encode().replace(b'"BAD"', b'"\xff"'))
    assert by_record([text], "accuracy") == by_type([text], "accuracy") == ([], [])
