"""Reading many lines with shared parts gives what reading each line as a whole gives."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tlbench.api.records import Record
from tlbench.api.trials import Trial
from tlbench.results.lines import checksum, from_line
from tlbench.results.reading import BULKY, PlainTrials, Reader, trials_of, with_trial
from tlbench.results.taking import Taker
from tlbench.results.typed import Lines

RESULTS = Path(__file__).resolve().parents[2] / "results"
RUNS = ("quick", "everything", "mnist-usps-digits")


def lines(run: str) -> list[bytes]:
    return [
        line for file in sorted((RESULTS / run / "records").glob("*.jsonl")) for line in file.read_bytes().split(b"\n")
    ]


def signed(body: str) -> bytes:
    """A line whose checksum is right, whatever is in it."""
    return f'{{"check":"{checksum(body)}","record":{body}}}'.encode()


def outcome(read: Any, line: bytes) -> Any:
    try:
        return read(line)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("run", RUNS)
def test_every_stored_record_is_read_the_same(run: str) -> None:
    reader = Reader()
    for line in filter(None, lines(run)):
        whole, shared = from_line(line.decode()), reader.record(line)
        assert shared == whole
        assert json.dumps(shared.to_json()) == json.dumps(whole.to_json())
        assert vars(shared).keys() == vars(whole).keys()


@pytest.mark.parametrize("run", RUNS)
def test_a_record_as_we_write_it_is_not_read_as_a_whole(run: str) -> None:
    reader = Reader()
    assert all(reader._record(line) for line in filter(None, lines(run)))


def test_slim_records_lack_the_bulky_parts_alone() -> None:
    line = lines("quick")[-2]
    slim, whole = Reader(slim=True).record(line), Reader().record(line)
    assert whole.losses or whole.cost
    for field in dataclasses.fields(Record):
        if field.name not in BULKY:
            assert getattr(slim, field.name) == getattr(whole, field.name)
    assert not any(getattr(slim, name) for name in BULKY)


def _bodies() -> dict[str, str]:
    body = lines("quick")[0].decode()[45:-1]
    data = json.loads(body)
    nested = {**data, "cost": {"data": 1, "seeds": 2, "environment": 3, "artifact": 4, "trial": 5, "suite": 6}}
    short = {k: v for k, v in nested.items() if k != "data"}
    text = {**data, "reason": 'says ,"data":{} and ,"suite":"x", "trial": \\ "seeds'}

    def dumped(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"))

    return {
        "the same names deeper": dumped(nested),
        "the same names deeper and one missing": dumped(short),
        "names within a text": dumped(text),
        "another order": dumped(dict(reversed(data.items()))),
        "spaces": json.dumps(data),
        "a name twice": body[:-1] + ',"suite":"another"}',
        "a name twice in a row": body.replace('"suite":', '"suite":"x","suite":', 1),
        "data twice": body.replace(',"seeds":', ',"data":{"a":1},"seeds":', 1),
        "trial twice": body.replace(',"suite":', ',"trial":{},"suite":', 1),
        "an unknown name": body[:-1] + ',"more":1}',
        "a name missing": dumped({k: v for k, v in data.items() if k != "trial"}),
        "only what must be": dumped({k: data[k] for k in ("key", "status", "trial")}),
        "another status": body.replace('"status":"ok"', '"status":"fine"', 1),
        "a later version": body.replace('"version":1', '"version":99', 1),
        "a version that is a text": body.replace('"version":1', '"version":"1"', 1),
        "not a number": body.replace('"losses":null', '"losses":NaN', 1),
        "infinite": body.replace('"losses":null', '"losses":-Infinity', 1),
        "too large a number": body.replace('"losses":null', '"losses":1e999', 1),
        "a large integer": body.replace('"losses":null', f'"losses":{10**40}', 1),
        "half a character": body.replace('"reason":""', '"reason":"\\ud800"', 1),
        "a comma too many": body.replace('"losses":null', '"losses":[1,]', 1),
        "deep": body.replace('"losses":null', '"losses":' + "[" * 300 + "]" * 300, 1),
        "too deep": body.replace('"losses":null', '"losses":' + "[" * 100_000 + "]" * 100_000, 1),
        "a list": "[]",
        "a trial without a source": body.replace('"source":null,', "", 1),
        "a trial with more": body.replace('"skip":null', '"skip":null,"more":1', 1),
        "unbalanced": body.replace('"suite":"quick"', '"suite":{"a":"quick"', 1),
        "closed early": body + "}",
    }


@pytest.mark.parametrize(("name", "body"), _bodies().items(), ids=list(_bodies()))
def test_a_line_that_is_written_otherwise_is_read_as_a_whole(name: str, body: str) -> None:
    line = signed(body)
    assert json.dumps(_plain(outcome(Reader().record, line))) == json.dumps(
        _plain(outcome(lambda b: from_line(b.decode()), line))
    ), name


@pytest.mark.parametrize(("name", "body"), _bodies().items(), ids=list(_bodies()))
def test_facts_are_taken_of_such_a_line_only_as_its_record_has_them(name: str, body: str) -> None:
    found, wanted = Taker("accuracy"), Taker("accuracy")
    if Lines(found, Reader(slim=True)).take(signed(body) + b"\n"):
        wanted.take(from_line(signed(body).decode()))
        assert repr(vars(found.close())) == repr(vars(wanted.close())), name
    assert len(found.close()) == len(wanted.close())


def _plain(found: Any) -> Any:
    return found.to_json() if isinstance(found, Record) else repr(found)


@pytest.mark.parametrize("at", [5, 20, 40, 60, 500, -1])
def test_a_damaged_line_is_none(at: int) -> None:
    line = bytearray(lines("quick")[0])
    line[at] ^= 1
    with pytest.raises(ValueError):
        Reader().record(bytes(line))


@pytest.mark.parametrize("run", RUNS)
def test_the_trials_of_a_plan_are_the_same_and_share_their_choices(run: str) -> None:
    text = (RESULTS / run / "run.json").read_bytes()
    plain = json.loads(text)["trials"]
    found, shared = trials_of(text), PlainTrials()
    assert found == tuple(Trial.from_json(t) for t in plain)
    assert [t.key for t in found] == [Trial.from_json(t).key for t in plain]
    assert [shared.of(t) for t in found] == [t.to_json() for t in found]
    assert len({id(t.target) for t in found}) == len({json.dumps(t["target"], sort_keys=True) for t in plain})


def test_a_record_under_another_trial_is_as_dataclasses_replace_makes_it() -> None:
    record = Reader().record(lines("quick")[0])
    trial = {**record.trial, "seed": 9}
    assert with_trial(record, trial) == dataclasses.replace(record, trial=trial)
    assert record.trial["seed"] != 9
