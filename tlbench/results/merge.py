"""Merge: unite runs from many machines in one folder; what contradicts is named and never chosen in silence.

Records are copied line for line, with their checksums. Only where runs differ in a strategy's code are its records
written anew, under a key of their own (see ``versions``). What ``sameness`` calls equal or close is one result.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tlbench.api.records import Record, Status
from tlbench.api.trials import Choice, Trial
from tlbench.errors import StoreError
from tlbench.results.integrity import Contents, Fault, Line, content_hash, contents, read
from tlbench.results.lines import to_line
from tlbench.results.protocol import Side, refusals
from tlbench.results.sameness import compare
from tlbench.results.store import last_of_each
from tlbench.results.versions import Renaming, code_of, tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

MOST_FILE = 2**33
"""Bytes of the largest file of weights or predictions that is copied."""


class Candidate(NamedTuple):
    """One run's record of a trial of the merged run. ``line`` is what is written, without the newline."""

    run: Path
    where: str
    record: Record
    line: bytes
    old_key: str


class Conflict(NamedTuple):
    """Different results of one trial."""

    key: str
    title: str
    text: str
    candidates: tuple[Candidate, ...]
    taken: Path | None
    """The run that was preferred; without one the trial is left out."""


@dataclass(eq=False)
class Merged:
    """What a merge did; ``ok`` where nothing contradicts and nothing was damaged."""

    out: Path
    results: int = 0
    equal: int = 0
    close: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.faults and all(c.taken for c in self.conflicts)

    def to_json(self) -> dict[str, Any]:
        return {
            "out": str(self.out),
            "ok": self.ok,
            "results": self.results,
            "equal": self.equal,
            "close": self.close,
            "superseded": self.superseded,
            "conflicts": [
                {
                    "key": c.key,
                    "title": c.title,
                    "difference": c.text,
                    "taken": str(c.taken) if c.taken else None,
                    "records": [{"run": str(k.run), "where": k.where, **_result(k.record)} for k in c.candidates],
                }
                for c in self.conflicts
            ],
            "faults": [f._asdict() for f in self.faults],
            "versions": self.versions,
            "runs": self.runs,
            "files": self.files,
        }


@dataclass(eq=False)
class _Run:
    """One run that is merged: what of it counts."""

    contents: Contents
    lines: dict[str, Line]
    records: dict[str, Record]
    trials: list[Trial]
    rename: Renaming | None = None

    @property
    def path(self) -> Path:
        return self.contents.path


def merge(paths: Sequence[Path], out: Path, prefer: Sequence[Path] = ()) -> Merged:
    """Unite the runs of these folders in ``out``, which must be empty or not be there.

    ``prefer`` names runs whose record is taken where results differ, the first of them that has one. Raises
    ``StoreError`` where a run cannot be read, where data or protocol of the runs differ, with every reason, and where
    ``out`` has something in it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out} is there already; name a folder that is not")
    if len({p.resolve() for p in paths}) < len(paths):
        raise StoreError("one run is named twice")
    chosen = [p.resolve() for p in prefer]
    if strange := [p for p in prefer if p.resolve() not in {q.resolve() for q in paths}]:
        raise StoreError(f"--prefer {strange[0]}: not one of the runs that are merged")
    found = Merged(out)
    runs = [_read(path, found) for path in paths]
    if reasons := refusals([Side(r.path, r.records, r.trials) for r in runs]):
        raise StoreError("the runs cannot be merged:\n" + "\n".join(f"- {reason}" for reason in reasons))
    _name(runs, found)
    kept = _unite(runs, chosen, found)
    _write(runs, kept, found)
    return found


def _read(path: Path, found: Merged) -> _Run:
    from tlbench.results.consistency import key_faults
    from tlbench.results.valid import current, of_one_content

    whole = read(path)
    lines: dict[int, Line] = {}
    sound = []
    for line in whole.lines:
        wrong = [Fault("keys", line.where, text, line.record.key) for text in key_faults(line.record)]
        whole.faults += wrong
        if not wrong:
            lines[id(line.record)] = line
            sound.append(line.record)
    found.faults += whole.faults
    every = last_of_each(sound)
    here, changed = of_one_content(every)
    here = {r.key: r for r in current(here, whole.planned)}
    trials = list(whole.planned) or [Trial.from_json(r.trial) for r in here.values()]
    found.runs.append(
        {
            "folder": str(path),
            "records": len(every),
            "used": len(here),
            "faults": len(whole.faults),
            "notes": [*whole.torn, *changed],
        }
    )
    return _Run(whole, {k: lines[id(every[k])] for k in here}, here, trials)


# ---- names ---------------------------------------------------------------------------------------


def _name(runs: Sequence[_Run], found: Merged) -> None:
    """One label for one choice, the first run's; different parameters or versions under one label get marks."""
    uses: dict[tuple[str, str], dict[str, None]] = {}
    labels: dict[tuple[str, str], str] = {}
    for run in runs:
        for axis, choice in _choices(run.trials):
            labels.setdefault((axis, choice.digest), choice.label)
    for (axis, digest), label in labels.items():
        uses.setdefault((axis, label), {})[digest] = None
    for (axis, label), digests in uses.items():
        if len(digests) > 1:
            labels |= {(axis, digest): f"{label} #{digest[:6]}" for digest in digests}
            found.versions.append(
                f"{axis} {label!r} stands for {len(digests)} choices of parameters; each has its mark"
            )
    marks = tags([code_of(run.trials) for run in runs], [run.records.values() for run in runs])
    names: dict[str, dict[str, list[str]]] = {}
    for run, versions in zip(runs, marks, strict=True):
        by_label = {t.strategy.label: t.strategy for t in run.trials}
        named = {s.digest: labels.get(("strategy", s.digest), s.label) for s in by_label.values()}
        run.rename = Renaming(versions, labels, {t.key: t for t in run.trials}, by_label)
        for digest, version in versions.items():
            names.setdefault(named[digest], {}).setdefault(version, []).append(str(run.path))
    for label, its in names.items():
        said = "; ".join(f"{label} @ {version} from {', '.join(where)}" for version, where in its.items())
        found.versions.append(f"different code of one strategy: {said}")


def _choices(trials: Iterable[Trial]) -> Iterator[tuple[str, Choice]]:
    for t in trials:
        yield "domain", t.target
        if t.source is not None:
            yield "domain", t.source
        if t.kind == "trial":
            for axis in ("task", "strategy", "backbone", "recipe"):
                yield axis, getattr(t, axis)


# ---- records -------------------------------------------------------------------------------------


def _unite(runs: Sequence[_Run], prefer: Sequence[Path], found: Merged) -> dict[str, Candidate]:
    """For each key of the merged run the record that counts; what contradicts is left out unless preferred."""
    offers: dict[str, list[Candidate]] = {}
    for run in runs:
        for key, record in run.records.items():
            candidate = _candidate(run, key, record)
            offers.setdefault(candidate.record.key, []).append(candidate)
    kept: dict[str, Candidate] = {}
    for key, candidates in offers.items():
        chosen = _settled(key, candidates, prefer, found)
        if chosen is not None:
            kept[key] = chosen
    found.results = sum(c.record.status is Status.OK for c in kept.values())
    return kept


def _candidate(run: _Run, key: str, record: Record) -> Candidate:
    assert run.rename is not None
    line = run.lines[key]
    trial = Trial.from_json(record.trial)
    renamed = run.rename(trial)
    if renamed.key == key:
        return Candidate(run.path, line.where, record, line.content, key)
    check = line.content[10:34].decode()
    artifact = record.artifact and {**record.artifact, "file": f"weights/{renamed.key}.safetensors"}
    provenance = {**(record.provenance or {}), "merged": {"key": key, "check": check}}
    again = replace(record, key=renamed.key, trial=renamed.to_json(), artifact=artifact, provenance=provenance)
    return Candidate(run.path, line.where, again, to_line(again).rstrip("\n").encode(), key)


def _settled(key: str, candidates: list[Candidate], prefer: Sequence[Path], found: Merged) -> Candidate | None:
    title = Trial.from_json(candidates[0].record.trial).title
    results = [c for c in candidates if c.record.status in (Status.OK, Status.SKIPPED)]
    if not results:
        return max(candidates, key=lambda c: c.record.finished)
    for other in (c for c in candidates if c not in results):
        said = (
            f"{key[:12]} {title}: {results[0].record.status} in {results[0].run}, {other.record.status} in {other.run}"
        )
        found.superseded.append(said)
    first, close = results[0], False
    for other in results[1:]:
        came = compare(first.record, other.record)
        if came.outcome == "different":
            text = "; ".join(d.text for d in came.differences)
            taken = next((c for p in prefer for c in results if c.run.resolve() == p), None)
            found.conflicts.append(Conflict(key, title, text, tuple(results), taken.run if taken else None))
            return taken
        if came.outcome == "close":
            text = "; ".join(d.text for d in came.differences)
            found.close.append(
                f"{key[:12]} {title}: {text} in {first.run} and {other.run}; that of {first.run} is kept"
            )
            close = True
    found.equal += len(results) > 1 and not close
    # Of equal results the one with most to it: rescored, or with its predictions.
    return max(results, key=lambda c: (not close and _worth(c.record), -results.index(c)))


def _worth(record: Record) -> int:
    return 2 * sum(map(len, record.metrics.values())) + (record.predictions is not None)


def _result(record: Record) -> dict[str, Any]:
    return {"status": str(record.status), "metrics": dict(record.metrics), "finished": record.finished}


# ---- the folder ----------------------------------------------------------------------------------


def _write(runs: Sequence[_Run], kept: Mapping[str, Candidate], found: Merged) -> None:
    out = found.out.with_name(f".{found.out.name}.{os.getpid()}.part")
    try:
        (out / "records").mkdir(parents=True)
        for number, run in enumerate(runs):
            own = [c for c in kept.values() if c.run == run.path]
            if own:
                name = f"{number:04d}-{content_hash(str(run.contents.records).encode())[:8]}.jsonl"
                (out / "records" / name).write_bytes(b"".join(c.line + b"\n" for c in own))
            for candidate in own:
                _copy_files(candidate, out, found)
        plan = {"suite": _suite(runs), "trials": [t.to_json() for t in _plan(runs, kept)]}
        (out / "run.json").write_text(json.dumps(plan, allow_nan=False))
        out.replace(found.out)
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise StoreError(f"cannot write {found.out}: {error.strerror}") from error


def _plan(runs: Sequence[_Run], kept: Mapping[str, Candidate]) -> list[Trial]:
    """The union of the plans, seed by seed as a planner does it, with source models before what starts from them."""
    union: dict[str, Trial] = {}
    for run in runs:
        assert run.rename is not None
        for trial in map(run.rename, run.trials):
            candidate = kept.get(trial.key)
            if trial.key not in union or (candidate is not None and candidate.run == run.path):
                union[trial.key] = trial
    return sorted(union.values(), key=lambda t: t.seed)


def _suite(runs: Sequence[_Run]) -> dict[str, Any]:
    suites = [run.contents.suite for run in runs]

    def joined(name: str) -> str:
        return " + ".join(dict.fromkeys(str(s[name]) for s in suites if s.get(name)))

    metrics = dict.fromkeys(str(m) for s in suites for m in s.get("metrics") or ())
    merged = [{"folder": run.path.resolve().name, "records": run.contents.records} for run in runs]
    texts = {name: joined(name) for name in ("name", "file", "description", "expect")}
    return {**texts, "metrics": list(metrics), "merged": merged}


def _copy_files(candidate: Candidate, out: Path, found: Merged) -> None:
    """Weights and predictions that the record speaks of, where they are there and what it says."""
    files = (
        ("weights", "safetensors", candidate.record.artifact),
        ("predictions", "npz", candidate.record.predictions),
    )
    for folder, suffix, about in files:
        source = candidate.run / folder / f"{candidate.old_key}.{suffix}"
        if not about or not (source.exists() or source.is_symlink()) or source.parent.is_symlink():
            continue
        try:
            content = contents(source, MOST_FILE)
        except StoreError as error:
            found.faults.append(Fault(folder, str(source), str(error).removeprefix(f"{source}: "), candidate.old_key))
            continue
        if content_hash(content) != about["blake2b"]:
            text = "not what the record speaks of: its hash is another one; not copied"
            found.faults.append(Fault(folder, str(source), text, candidate.old_key))
            continue
        (out / folder).mkdir(exist_ok=True)
        (out / folder / f"{candidate.record.key}.{suffix}").write_bytes(content)
        found.files[folder] = found.files.get(folder, 0) + 1
