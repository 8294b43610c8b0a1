"""Follows: whether what a run publishes follows from its records: scores from predictions, gains from scores."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from tlbench.api.records import Status
from tlbench.api.trials import Trial, canonical
from tlbench.errors import PluginError, StoreError, TlbenchError
from tlbench.results.integrity import MOST_JSON, Fault, contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tlbench.api.data import Array
    from tlbench.api.records import Record
    from tlbench.plugins import Plugins

_CLOSE = {"rel_tol": 1e-9, "abs_tol": 1e-12}


class Found(NamedTuple):
    """What a check found: how many things it looked at, its faults, and what it could not look at and why."""

    checked: int
    faults: list[Fault]
    skipped: str = ""


# ---- scores from predictions ---------------------------------------------------------------------


def predictions(folder: Path, records: Mapping[str, Record], plugins: Plugins) -> Found:
    """Every metric computed again from the stored predictions; trials of one test set must agree about its labels."""
    from tlbench.results.predictions import read, rescored

    kept = [r for r in records.values() if r.status is Status.OK and r.predictions]
    results = sum(r.status is Status.OK for r in records.values())
    faults: list[Fault] = []
    unknown: set[str] = set()
    labels: dict[str, list[tuple[str, str]]] = {}
    for record in kept:
        where = str(folder / "predictions" / f"{record.key}.npz")
        try:
            stored = read(folder, record)
            metrics, lost = _metrics(record, plugins)
            unknown |= lost
            again = rescored(stored, metrics, record)
        except (TlbenchError, ValueError, ArithmeticError) as error:
            text = str(error).removeprefix(f"{where}: ")
            faults.append(Fault("predictions", where, text, record.key))
            continue
        for pool, scores in record.metrics.items():
            for name, value in scores.items():
                computed = again.get(pool, {}).get(name)
                if name not in unknown and (computed is None or not math.isclose(value, computed, **_CLOSE)):
                    text = f"{name} on {pool} is {value:.6g}; from its predictions it is {_number(computed)}"
                    faults.append(Fault("predictions", where, text, record.key))
        for pool, scored in stored.items():
            labels.setdefault(_test_set(record, pool), []).append((_hash(scored.y), record.key))
            size, told = scored.y.size, (record.data.get("test") or {}).get(pool)
            if scored.y.ndim == 1 and isinstance(told, int) and size != told:
                text = f"{size:,} predictions on {pool}; the record speaks of {told:,} test examples"
                faults.append(Fault("predictions", where, text, record.key))
    faults += _other_labels(folder, labels)
    said = [f"{results - len(kept)} of {results} results have none"] if len(kept) < results else []
    said += [f"unknown here: {', '.join(sorted(unknown))}"] if unknown else []
    return Found(len(kept), faults, "; ".join(said))


def _metrics(record: Record, plugins: Plugins) -> tuple[list[Any], set[str]]:
    """The metrics of a record, and the names of those that no plugin here offers."""
    names = {name for scores in record.metrics.values() for name in scores}
    known = names & set(plugins.offers("metrics"))
    return [plugins.build("metrics", name, {}) for name in sorted(known)], names - known


def _test_set(record: Record, pool: str) -> str:
    """What the labels of a test pool depend on: the domains, the task and the seed."""
    trial = Trial.from_json(record.trial)
    source = trial.source.digest if trial.source else ""
    content = [record.data.get(role, {}).get("content") for role in ("target", "source")]
    selection = trial.recipe.params.get("selection")
    return canonical([trial.kind, source, trial.target.digest, trial.task.digest, trial.seed, selection, content, pool])


def _other_labels(folder: Path, labels: Mapping[str, Sequence[tuple[str, str]]]) -> list[Fault]:
    faults = []
    for found in labels.values():
        most = Counter(digest for digest, _ in found).most_common(1)[0][0]
        text = "its test labels are not those of the other trials on the same test set"
        faults += [
            Fault("predictions", str(folder / "predictions" / f"{key}.npz"), text, key)
            for digest, key in found
            if digest != most
        ]
    return faults


def _hash(y: Array) -> str:
    return hashlib.blake2b(y.tobytes() + str(y.shape).encode(), digest_size=16).hexdigest()


# ---- references ----------------------------------------------------------------------------------


def references(trials: Iterable[Trial], plugins: Plugins) -> Found:
    """Gains must be measured against the task's own reference, with its default parameters."""
    chosen = [t for t in trials if t.kind == "trial"]
    by_label = {(t.task.digest, t.strategy.label): t.strategy for t in chosen}
    faults: dict[tuple[str, str], Fault] = {}
    unknown: set[str] = set()
    checked = 0
    for trial in chosen:
        at = (trial.task.digest, trial.strategy.digest)
        if trial.task.name not in plugins.offers("tasks"):
            unknown.add(trial.task.name)
            continue
        checked += 1
        try:
            names = plugins.instantiate("tasks", trial.task).references
            first = plugins.choice("strategies", names[0], {}) if names else None
        except (TlbenchError, ValueError, TypeError) as error:
            text = f"the task {trial.task.label} cannot be made: {str(error).splitlines()[0]}"
            faults.setdefault(at, Fault("references", "", text, trial.key))
            continue
        used = by_label.get((trial.task.digest, trial.reference)) if trial.reference is not None else None
        own = trial.strategy.name == (first.name if first else "")
        if first is None or (trial.reference is None and own):
            continue
        if used is None or (used.name, canonical(dict(used.params))) != (first.name, canonical(first.params)):
            compared = f"{trial.reference!r}" if trial.reference is not None else "nothing"
            text = f"{trial.strategy.label} is compared with {compared}; the task {trial.task.label} compares with "
            text += f"{first.label} with its default parameters"
            faults.setdefault(at, Fault("references", "", text, trial.key))
    return Found(checked, list(faults.values()), f"unknown here: {', '.join(sorted(unknown))}" if unknown else "")


# ---- gains from scores ---------------------------------------------------------------------------


def gains(folder: Path, records: Sequence[Record], planned: Sequence[Trial], plugins: Plugins) -> Found:
    """The stored ``leaderboard/leaderboard.json`` must have the scores and gains that its records give."""
    from tlbench.reports import board_of

    path = folder / "leaderboard" / "leaderboard.json"
    if not path.exists():
        return Found(0, [], "no leaderboard/leaderboard.json to compare with")
    try:
        told = json.loads(contents(path, MOST_JSON))
        stored = _numbers(told)
        differences: list[str] = []
        for common in (True, False):  # `tlbench leaderboard --all-pairs` writes there too
            board = board_of(records, planned, plugins, told["metric"], common=common)
            differences = _differences(stored, _numbers(_plain(board)))
            if not differences:
                return Found(len(stored), [])
    except PluginError as error:
        return Found(0, [], str(error).splitlines()[0])
    except StoreError as error:
        return Found(1, [Fault("gains", "", str(error))])
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        return Found(1, [Fault("gains", str(path), f"no leaderboard: {type(error).__name__}: {str(error)[:200]}")])
    return Found(len(stored), [Fault("gains", str(path), text) for text in differences])


def _plain(board: Any) -> Any:
    from tlbench.leaderboard.forms.files import to_json

    return json.loads(to_json(board))


def _numbers(data: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Scores and gains of rows, and gains and seeds of pairs, each under where it stands."""
    found: dict[tuple[str, ...], Any] = {}
    for group in data["groups"]:
        for row in group["rows"]:
            cells = row["cells"]
            names = [str(cells[axis]["value"]) for axis in ("strategy", "recipe") if axis in cells]
            at = (str(group["task"]), str(group["backbone"]), *names)
            for name in ("score", "gain"):
                found[(*at, name)] = cells[name]["value"]
            for pair in row["pairs"]:
                where = f"{pair['source']} → {pair['target']}" if pair["source"] else str(pair["target"])
                found[(*at, where, "gain")] = pair["gain"]
                found[(*at, where, "seeds")] = pair["seeds"]
    return found


def _differences(stored: Mapping[tuple[str, ...], Any], computed: Mapping[tuple[str, ...], Any]) -> list[str]:
    said = []
    for at in dict.fromkeys([*stored, *computed]):
        a, b = stored.get(at, "not there"), computed.get(at, "not there")
        numbers = isinstance(a, int | float) and isinstance(b, int | float)
        if a != b and not (numbers and math.isclose(a, b, **_CLOSE)):
            said.append(f"{' · '.join(at)} is {_number(a)}; from the records it is {_number(b)}")
    return said


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)[:80]
