"""Verify: check a run folder throughout, say what was found, and keep it beside the records.

``RUN/verification.json`` speaks of the records by a hash over all of them: a later change makes it void. It is worth
what the one is worth who made it, so whoever publishes a board makes it, and takes none that comes with a submission.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from tlbench.errors import StoreError
from tlbench.results import follows
from tlbench.results.consistency import CHECKS, faults_of
from tlbench.results.integrity import Contents, Fault, contents, digests, read
from tlbench.results.store import last_of_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tlbench.api.records import Record
    from tlbench.plugins import Plugins
    from tlbench.results.rerun import Rerun
    from tlbench.results.signatures import Signature

VERSION = 1
FILE = "verification.json"
MOST_FAILURES = 10_000
MOST_BYTES = 2**26
Status = Literal["verified", "self-reported", "failed"]

MEANING: Mapping[str, str] = {
    "folder": "nothing but files and folders, within the stated sizes, no link",
    "lines": "every record whole: checksum, JSON, version, shape, size",
    "keys": "every key is that of the trial described",
    "scores": "statuses and scores are possible",
    "curves": "learning curves ascend and end in the result",
    "predictions": "scores follow from the stored predictions",
    "references": "gains are measured against the task's reference",
    "gains": "the stored leaderboard follows from the records",
    "signatures": "signatures are of these records",
    "reruns": "a sample run again gives the same",
}
"""The checks, in their order, and what each says when it holds."""


@dataclass(frozen=True)
class Check:
    """How one check came out; ``skipped`` says what it could not look at."""

    name: str
    checked: int
    failed: int
    skipped: str = ""


@dataclass(frozen=True, eq=False)
class Verification:
    """What `tlbench verify` found. ``records`` are the sound ones that count, by key."""

    folder: Path
    hashes: tuple[str, str]
    checks: tuple[Check, ...]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    records: Mapping[str, Record] = field(repr=False)
    reruns: tuple[Rerun, ...] = ()
    sample: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""

    @property
    def status(self) -> Status:
        """``verified`` takes no fault and a sample that was run again, of which every one agreed."""
        if self.faults:
            return "failed"
        return "verified" if self.reruns and all(r.agrees for r in self.reruns) else "self-reported"

    def to_json(self) -> dict[str, Any]:
        from tlbench import __version__

        return {
            "version": VERSION,
            "status": self.status,
            "date": self.date,
            "tlbench": __version__,
            "records": self.hashes[0],
            "run": self.hashes[1],
            "results": sum(r.status == "ok" and r.trial["kind"] == "trial" for r in self.records.values()),
            "checks": [
                {"name": c.name, "checked": c.checked, "failed": c.failed, "skipped": c.skipped} for c in self.checks
            ],
            "failures": [f._asdict() for f in self.faults[:MOST_FAILURES]],
            "notes": list(self.notes),
            "sample": dict(self.sample),
            "reruns": [r.to_json() for r in self.reruns],
        }


def verify(
    path: Path,
    plugins: Plugins,
    *,
    rerun: Any = None,
    sample: Mapping[str, Any] | None = None,
    signer: Path | None = None,
) -> Verification:
    """Check the run in a folder.

    ``rerun`` takes the sound records that count and gives ``Rerun``s of some; it is asked only where nothing else is
    wrong. ``signer`` is the file of a public key by which the run must be signed. Raises ``StoreError`` where there is
    no run.
    """
    from tlbench.results.valid import current, of_one_content

    found = read(path)
    faults, checks = list(found.faults), [*_of_files(found)]
    sound, bad = [], list[Fault]()
    for line in found.lines:
        own = faults_of(line.record, line.where)
        bad += own
        if not own:
            sound.append(line.record)
    faults += bad
    checks += [Check(name, len(found.lines), len({f.where for f in bad if f.check == name})) for name in CHECKS]
    every = last_of_each(sound)
    here, changed = of_one_content(every)
    records = {r.key: r for r in current(here, found.planned)}
    notes = [*found.torn, *changed, *_notes(found, every, records)]

    def follow(name: str, came: follows.Found) -> None:
        faults.extend(came.faults)
        checks.append(Check(name, came.checked, len(came.faults), came.skipped))

    from tlbench.api.trials import Trial

    trials = found.planned or tuple(Trial.from_json(r.trial) for r in records.values())
    follow("predictions", follows.predictions(path, here, plugins))
    # What is skipped has no gain; where all of a task's trials are, its reference is not even planned.
    with_gain = [t for t in trials if t.skip is None or (t.key in records and records[t.key].status == "ok")]
    follow("references", follows.references(with_gain, plugins))
    follow("gains", follows.gains(path, list(records.values()), found.planned, plugins))
    _signatures(path, (found.records, found.run), signer, faults, checks, notes)
    reruns: tuple[Rerun, ...] = ()
    if rerun is not None:
        reruns = () if faults else tuple(rerun(records))
        failed = [Fault("reruns", "", r.text, r.key) for r in reruns if r.outcome == "different"]
        done = sum(r.outcome in ("equal", "close", "different") for r in reruns)
        why = "something is wrong already" if faults else ""
        why = why or (f"{len(reruns) - done} could not be run again" if done < len(reruns) else "")
        checks.append(Check("reruns", done, len(failed), why))
        faults += failed
        notes += [r.text for r in reruns if r.outcome == "not run"]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    hashes = (found.records, found.run)
    return Verification(
        path, hashes, tuple(checks), tuple(faults), tuple(notes), records, reruns, dict(sample or {}), date
    )


def _of_files(found: Contents) -> list[Check]:
    failed = Counter(f.check for f in found.faults)
    return [Check("folder", found.files, failed["folder"]), Check("lines", found.checked, failed["lines"])]


def _notes(found: Contents, every: Mapping[str, Record], records: Mapping[str, Record]) -> list[str]:
    said = []
    if (found.path / FILE).exists():
        said.append(f"{FILE} was there already, and was not believed")
    if stale := len(every) - len(records):
        said.append(f"{stale} records are not of the plan as it is now, and do not count")
    orphans = [r for r in records.values() if r.status == "ok" and not set(r.trial["parents"]) <= set(every)]
    if orphans:
        said.append(f"{len(orphans)} results start from source models of which there is no record")
    missing = sum(t.key not in records for t in found.planned if t.kind == "trial" and t.skip is None)
    if missing:
        said.append(f"{missing} planned trials have no record")
    if not found.planned:
        said.append("no plan (run.json), so what is missing cannot be told")
    return said


def _signatures(
    path: Path,
    hashes: tuple[str, str],
    signer: Path | None,
    faults: list[Fault],
    checks: list[Check],
    notes: list[str],
) -> None:
    from tlbench.results import signatures

    found: Sequence[Signature] = ()
    skipped = ""
    own: list[Fault] = []
    try:
        found = signatures.read(path, hashes)
        own = [Fault("signatures", str(s.file), s.fault) for s in found if s.fault]
        notes += [f"signed by {s.signer!r} with {s.fingerprint}, {s.date}" for s in found if not s.fault]
        if signer is not None:
            wanted = signatures.fingerprint(signatures.public_key(signer))
            if not any(s.fingerprint == wanted and not s.fault for s in found):
                own.append(Fault("signatures", str(path), f"no valid signature by the key {wanted} of {signer}"))
    except signatures.Unavailable as error:
        if signer is not None:
            raise
        skipped = str(error)
    faults += own
    checks.append(Check("signatures", len(found), len(own), skipped))


# ---- the file ------------------------------------------------------------------------------------


def write(found: Verification, path: Path | None = None) -> Path:
    """Keep a verification, whole or not at all. Raises ``StoreError`` where the disk does not take it."""
    from tlbench.leaderboard.forms.files import write_text

    return write_text(path or found.folder / FILE, json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n")


@dataclass(frozen=True)
class Standing:
    """How far a run may be believed: ``text`` is one line for people, ``trials`` says more of single ones, by key.

    ``verified``       nothing was wrong, and a sample that was run again gave the same
    ``self-reported``  nobody checked, or not by running anything again, or the records have changed since
    ``failed``         something did not hold
    """

    status: Status
    text: str
    trials: Mapping[str, str] = field(default_factory=dict)
    date: str = ""


def standing(folder: Path) -> Standing:
    """How far the run in a folder may be believed, from what `tlbench verify` left there. Never raises."""
    path = folder / FILE
    if not path.exists() and not path.is_symlink():
        return Standing("self-reported", "self-reported: nobody has verified this run")
    try:
        told = json.loads(contents(path, MOST_BYTES))
        if told["version"] != VERSION:
            raise ValueError(f"version {told['version']}")
        date = str(told["date"])[:10]
        if (told["records"], told["run"]) != digests(folder):
            return Standing(
                "self-reported", f"self-reported: the records have changed since they were checked ({date})"
            )
        return _standing(told, date)
    except (StoreError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Standing("self-reported", f"self-reported: {FILE} cannot be read")


def _standing(told: Mapping[str, Any], date: str) -> Standing:
    trials = {str(r["key"]): f"run again: {r['text']}" for r in told["reruns"]}
    trials |= {str(f["key"]): f"failed: {f['text']}" for f in told["failures"] if f["key"]}
    checks = [f"{c['name']} {int(c['failed'])}" for c in told["checks"] if c["failed"]]
    if told["status"] == "failed" or checks or told["failures"]:
        return Standing("failed", f"failed ({date}): {', '.join(checks)} did not hold", trials, date)
    done = Counter(str(r["outcome"]) for r in told["reruns"])
    agreed = done["equal"] + done["close"]
    if told["status"] != "verified" or not agreed or agreed < len(told["reruns"]):
        again = f"{agreed} of {len(told['reruns'])} could be run again" if told["reruns"] else "nothing was run again"
        checked = ", ".join(str(c["name"]) for c in told["checks"] if c["checked"])
        return Standing("self-reported", f"self-reported; checked {date} ({checked}), and {again}", trials, date)
    how = "all to the bit" if not done["close"] else f"{done['equal']} to the bit, {done['close']} within tolerance"
    text = f"verified {date}: {agreed} of {int(told['results'])} results run again, {how}"
    return Standing("verified", text, trials, date)
