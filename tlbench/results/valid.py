"""Valid: which of a run's records count now: those of the code and of the data that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlbench.results.reading import PlainTrials, with_trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tlbench.api.records import Record
    from tlbench.api.trials import Trial


def current(records: Mapping[str, Record], planned: Sequence[Trial]) -> list[Record]:
    """The records of these trials that were made by the code that is there now, under the plan's labels.

    Stale records are passed over, not deleted. Without a plan there is nothing to compare with: all count.
    """
    if not planned:
        return list(records.values())
    found = ((trial, records[trial.key]) for trial in planned if trial.key in records)
    plain = PlainTrials()
    return [with_trial(r, plain.of(t)) for t, r in found if r.trial.get("fingerprint") == t.fingerprint]


def of_one_content(records: Mapping[str, Record]) -> tuple[dict[str, Record], list[str]]:
    """The records whose data sets have the content that they had last, and what to say of the others.

    A key says which data set is meant, not what is in it. Where its content has changed, results on the old one must
    not be compared with results on the new one: they are passed over, and their trials run again.
    """
    names: dict[int, str] = {}
    used = {record.key: list(_contents(record, names)) for record in records.values()}
    latest: dict[str, tuple[str, str]] = {}
    for record in records.values():
        for data_set, content in used[record.key]:
            latest[data_set] = max(latest.get(data_set, ("", "")), (record.finished, content))
    stale = {key for key, found in used.items() if any(latest[name][1] != content for name, content in found)}
    if not stale:
        return dict(records), []
    return {key: record for key, record in records.items() if key not in stale}, [changed_since(len(stale))]


def _contents(record: Record, names: dict[int, str]) -> Iterator[tuple[str, str]]:
    """Which data sets a record used, and the hash of what was in them; ``names`` are kept by identity of the choice."""
    for role in ("target", "source"):
        about, choice = record.data.get(role), record.trial.get(role)
        if about and choice and "content" in about:
            name = names.get(id(choice))
            if name is None:
                name = names[id(choice)] = f"{choice['name']} {choice['params']}"
            yield name, str(about["content"])


def changed_since(count: int) -> str:
    """What to say of so many records whose data have changed."""
    return f"the data of {count} stored results have changed since: these are passed over, and run again next time"
