"""The index: the table of a board, kept beside its records so that their text is read once.

    RUN/index/NAME.npz    one table, as plain arrays and one JSON text; nothing in it is unpickled

It is made from the text and never trusted over it: it counts only where every file of records and every plan of every
run has the name, size, inode and times (of content and of status, which no copy and no archive carries over) that it
had when it was read, and where the code that makes tables is the same. So the index that comes with somebody's
submission is never believed, and neither `tlbench verify` nor the records that a run goes on from are read from one
(only that nothing is left to do: see ``tlbench.finished``).
One that is damaged is passed over, and the next one takes its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlbench.leaderboard.compact import Keys, Texts
from tlbench.leaderboard.overlap import Overlap
from tlbench.leaderboard.pairing import Pairing
from tlbench.leaderboard.statistics import CurveGains
from tlbench.leaderboard.table import NUMBERS, Axis, Table
from tlbench.results.facts import AXES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

VERSION = 2
LEAST_BYTES = 2**23
"""Of records: fewer are read from their text as quickly."""
PARTS = ("api", "leaderboard", "results", "reports.py", "loading.py")
"""What of tlbench has a say in a table."""


@cache
def code(parts: tuple[str, ...] = PARTS) -> str:
    """Hash of the code of these parts of tlbench."""
    root, found = Path(__file__).parents[1], hashlib.blake2b(digest_size=12)
    for part in parts:
        for file in sorted((root / part).rglob("*.py")) or [root / part]:
            found.update(file.read_bytes())
    return found.hexdigest()


def stat(path: Path) -> list[int]:
    """Size, times of content and of status, and inode. Raises ``OSError``."""
    at = path.stat()
    return [at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino]


def files(folder: Path) -> dict[str, list[int]]:
    """The files of records of a run, and its plan, with their ``stat``."""
    found = {}
    for file in [*sorted((folder / "records").glob("*.jsonl")), folder / "run.json"]:
        with contextlib.suppress(OSError):
            found[file.name] = stat(file)
    return found


def size(found: Mapping[str, Sequence[int]]) -> int:
    """Bytes of these files together."""
    return sum(its[0] for its in found.values())


def digest(value: Any) -> str:
    """Hash of plain data."""
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()


def state(folders: Sequence[Path], metric: str | None) -> str:
    """What an index for these runs and this metric must have been made of; empty where the text is read as quickly."""
    found = [files(folder) for folder in folders]
    enough = sum(map(size, found)) >= LEAST_BYTES
    return digest([VERSION, code(), metric, found]) if enough else ""


def _place(folders: Sequence[Path], metric: str | None) -> Path:
    """Where it lies: beside the records of the first run, one for each combination of runs and metric."""
    asked = json.dumps([[str(folder.resolve()) for folder in folders], metric])
    return folders[0] / "index" / f"{hashlib.blake2b(asked.encode(), digest_size=8).hexdigest()}.npz"


class Unpacked(NamedTuple):
    """A table with its pairing, and what was kept with them."""

    table: Table
    pairing: Pairing
    about: Mapping[str, Any]


def read(folders: Sequence[Path], metric: str | None, wanted: str) -> Unpacked | None:
    """The table of that state, with ``notes`` on what was passed over; or nothing."""
    return unpack(_place(folders, metric), wanted)


def write(
    folders: Sequence[Path], metric: str | None, wanted: str, table: Table, pairing: Pairing, notes: Sequence[str]
) -> None:
    """Keep a table, if the runs are still in that state; a folder that cannot be written to has none."""
    if not wanted or state(folders, metric) != wanted:
        return
    pack(_place(folders, metric), table, pairing, {"state": wanted, "notes": list(notes)})


def unpack(path: Path, wanted: str) -> Unpacked | None:
    """What ``pack`` wrote, if its ``state`` is the wanted one and nothing is damaged."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            about = json.loads(kept["about"].tobytes())
            if about["state"] != wanted:
                return None
            table = _table(about, kept)
            return Unpacked(table, _pairing(table, kept), about)
    except (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zipfile.BadZipFile, MemoryError):
        return None


def pack(path: Path, table: Table, pairing: Pairing, about: Mapping[str, Any]) -> None:
    """Write a table and plain data with a ``state``, whole or not at all; a folder that takes no file gets none."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(exist_ok=True)
        (path.parent / ".gitignore").write_text("*\n")
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **_packed(table, about), **_packed_pairing(pairing))
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


# ---- arrays --------------------------------------------------------------------------------------


def _packed(table: Table, more: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    reason = Texts.of(table.reason)
    statuses, status = np.unique(table.status, return_inverse=True)
    about = {
        **more,
        "metric": table.metric,
        "higher_is_better": table.higher_is_better,
        "axes": {name: [axis.labels, axis.names, list(axis.params)] for name, axis in table.axes.items()},
        "strategy_labels": table.strategy_labels,
        "devices": table.devices,
        "conditions": table.conditions,
        "overlaps": table.overlaps,
        "statuses": statuses.tolist(),
        "reasons": reason.distinct,
        "known": [name for name in NUMBERS if not np.isnan(table.numbers[name]).all()],
    }
    ends = np.isfinite(table.curve_steps).sum(axis=1)
    whole = np.ascontiguousarray(table.curve_steps)
    rows = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel() if whole.size else ends
    _, first, steps = np.unique(rows, return_index=True, return_inverse=True)
    return {
        **{f"codes.{axis}": table.codes[axis].astype(np.int32) for axis in AXES},
        **{f"numbers.{name}": table.numbers[name] for name in about["known"]},
        "name": table.name.astype(np.int32),
        "wanted": table.wanted.astype(np.int32),
        "source_model": table.source_model,
        "seed": table.seed,
        "status": status.astype(np.int8),
        "reason": reason.places.astype(np.int32),
        "device": table.device.astype(np.int32),
        "steps": whole[first],
        "steps.of": steps.astype(np.int32),
        "curve_scores": table.curve_scores,
        "keys": np.frombuffer(Keys.of(table.keys).content, dtype=np.uint8),
        "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
    }


def _table(about: dict[str, Any], kept: Any) -> Table:
    seed = kept["seed"]
    n = len(seed)
    unknown = np.full(n, np.nan)
    table = Table(
        metric=about["metric"],
        higher_is_better=about["higher_is_better"],
        axes={
            name: Axis(tuple(labels), tuple(names), tuple(params))
            for name, (labels, names, params) in about["axes"].items()
        },
        codes={axis: kept[f"codes.{axis}"].astype(np.int64) for axis in AXES},
        strategy_labels=tuple(about["strategy_labels"]),
        name=kept["name"].astype(np.int64),
        wanted=kept["wanted"].astype(np.int64),
        source_model=kept["source_model"],
        seed=seed,
        status=np.array(about["statuses"], dtype=np.str_)[kept["status"]],
        reason=Texts(about["reasons"], kept["reason"]),
        numbers={name: kept[f"numbers.{name}"] if name in about["known"] else unknown for name in NUMBERS},
        devices=tuple(about["devices"]),
        device=kept["device"].astype(np.int64),
        curve_steps=kept["steps"][kept["steps.of"]],
        curve_scores=kept["curve_scores"],
        conditions=tuple((name, text) for name, text in about["conditions"]),
        keys=Keys(kept["keys"].tobytes()),
        overlaps=tuple(Overlap(*found) for found in about["overlaps"]),
    )
    if any(len(column) != n for column in (table.keys, table.reason, table.status, table.curve_scores, table.device)):
        raise ValueError("columns of different lengths")
    return table


PLACES = ("wanted", "reference", "floor", "ceiling", "blind", "maximal")
"""Columns of a pairing that are places."""


def _packed_pairing(pairing: Pairing) -> dict[str, NDArray[Any]]:
    return {
        "pairing.ok": pairing.ok,
        "pairing.gain": pairing.gain,
        **{f"pairing.{name}": getattr(pairing, name).astype(np.int32) for name in PLACES},
        **{f"pairing.curve.{name}": column for name, column in pairing.curve._asdict().items()},
    }


def _pairing(table: Table, kept: Any) -> Pairing:
    places = {name: kept[f"pairing.{name}"].astype(np.int64) for name in PLACES}
    curve = CurveGains(*[kept[f"pairing.curve.{name}"] for name in CurveGains._fields])
    pairing = Pairing(ok=kept["pairing.ok"], gain=kept["pairing.gain"], curve=curve, **places)
    if any(len(column) != len(table) for column in (pairing.ok, pairing.gain, *places.values(), *curve)):
        raise ValueError("columns of different lengths")
    return pairing
