"""Hugging Face data sets: from the hub or a folder that stands in for it, opened with errors that help."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlbench.data.files import content_hash, find
from tlbench.data.labels import Labels, number
from tlbench.errors import DataError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tlbench.api.data import Array
    from tlbench.api.types import Cache

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
COMMIT = re.compile(r"[0-9a-f]{40}")
NAMES_FOR = {"image": ("image", "img"), "label": ("label", "labels")}
"""What a column is called where its type does not tell."""


class Place(NamedTuple):
    """``folder`` is ``None`` for the hub itself; ``name`` is the same wherever the data lie."""

    id: str
    folder: Path | None
    name: str


def locate(id: str, cache: Cache) -> Place:
    """A path (starting with ``./``, ``../``, ``/`` or ``~``), else a folder of the data root, else the hub."""
    if id.startswith((".", "/", "~")):
        folder = find(cache, id, "hub")
        if not folder.is_dir():
            raise DataError(f"hub: {folder} is a file; give the folder that holds the data set")
        return Place(id, folder, folder.resolve().name)
    if not HUB_ID.fullmatch(id):
        raise DataError(f"hub: {id!r} is neither 'owner/name' nor a path that starts with './', '../', '/' or '~'")
    if cache.data_root is not None and (cache.data_root / id).is_dir():
        return Place(id, cache.data_root / id, id)
    return Place(id, None, id)


def folder_hash(folder: Path) -> str:
    """Hash of every file in a folder but hidden ones."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    named = ((path.relative_to(folder).as_posix(), path) for path in paths)
    return content_hash((name, path) for name, path in named if not any(p.startswith(".") for p in name.split("/")))


@contextlib.contextmanager
def scratch(cache: Cache, place: Place) -> Iterator[str | None]:
    """Where the library puts its Arrow files: its own cache for the hub, a passing folder for local data."""
    if place.folder is not None:
        try:
            folder = tempfile.TemporaryDirectory(dir=getattr(cache, "folder", None), prefix=".arrow-")
        except OSError:  # no cache folder yet, or one that cannot be written
            folder = tempfile.TemporaryDirectory(prefix="tlbench-")
        with folder as path:
            yield path
    else:
        yield None


def open_builder(place: Place, config: str | None, revision: str | None, cache_dir: str | None, cache: Cache) -> Any:
    """The library's ``DatasetBuilder``. Raises ``DataError`` saying what is missing and what there is."""
    import datasets

    datasets.disable_progress_bars()
    if place.folder is None and Path(place.id).exists():  # the library would read it instead of asking the hub
        raise DataError(f"{place.id}: is the hub meant, or the folder of this name in {Path.cwd()}? Write ./{place.id} "
                        "for a folder; for the hub, start in another folder")  # fmt: skip
    source = str(place.folder) if place.folder is not None else place.id
    try:
        builder = datasets.load_dataset_builder(source, config, revision=revision, cache_dir=cache_dir)
    except MemoryError:
        raise
    except Exception as error:  # whatever a library of many loaders raises: its words are passed on
        raise DataError(_why(place, config, revision, error, cache)) from error
    # Where the hub does not answer, the library takes whichever revision its own cache has.
    if place.folder is None and COMMIT.fullmatch(revision or "") and builder.hash != revision:
        raise DataError(f"{place.id}: revision {revision} is not in the local cache (it has {builder.hash}), "
                        "and the hub does not answer. Try again with a network")  # fmt: skip
    return builder


def prepare(builder: Any, place: Place) -> Mapping[str, Any]:
    """Split name -> ``datasets.Dataset``, downloaded where need be."""
    try:
        builder.download_and_prepare()
        splits: Mapping[str, Any] = builder.as_dataset()
    except MemoryError:
        raise
    except Exception as error:
        cause = error.__cause__ or error
        raise DataError(f"{place.id}: the data cannot be read: {type(cause).__name__}: {_first(cause)}") from error
    return splits


def licence(place: Place) -> str:
    """What the data set's card states; ``none stated`` where it states nothing or there is no card."""
    import huggingface_hub

    try:
        if place.folder is not None:
            text = (place.folder / "README.md").read_text(encoding="utf-8")
            card = huggingface_hub.DatasetCard(text, ignore_metadata_errors=True)
        else:
            card = huggingface_hub.DatasetCard.load(place.id, ignore_metadata_errors=True)
    except (OSError, ValueError):
        return "none stated"
    stated = card.data.get("license") or "none stated"
    text = ", ".join(stated) if isinstance(stated, list) else str(stated)
    return "none stated" if text == "unknown" else text


# ---- columns -------------------------------------------------------------------------------------


def column(features: Mapping[str, Any], asked: str | None, role: str, what: str) -> str | None:
    """The column asked for; else the one of the fitting type, or of a usual name; ``None`` where there is none.

    ``role`` is ``image`` or ``label``. Raises ``DataError`` for an unknown column, or where several would do.
    """
    import datasets

    if asked is not None:
        if asked not in features:
            raise DataError(f"{what}: {unknown('column', asked, features)}")
        return asked
    kind = datasets.Image if role == "image" else datasets.ClassLabel
    fitting = [name for name, feature in features.items() if isinstance(feature, kind)]
    usual = [name for name in NAMES_FOR[role] if name in (fitting or features)]
    if usual or len(fitting) == 1:
        return (usual or fitting)[0]
    if fitting:
        raise DataError(f"{what}: which is the {role}: {', '.join(fitting)}? Say it with {role}: {fitting[0]}")
    return None


def labels(parts: Mapping[str, tuple[Any, Array]], name: str, what: str) -> Labels:
    """The labels of the rows of each split; the class names come from the column's type where it has any."""
    import datasets

    feature = next(iter(parts.values()))[0].features[name]
    values = {split: values_of(dataset, name)[rows] for split, (dataset, rows) in parts.items()}
    if not isinstance(feature, datasets.ClassLabel):
        return number({s: list(column) for s, column in values.items()}, f"{what}, column {name!r}")
    ids = {}
    for split, column in values.items():
        if any(value is None or value < 0 for value in column):
            raise DataError(
                f"{what}: split {split!r} has rows without a label (a hidden test split?); name another split"
            )
        ids[split] = column.astype(np.int64)
    return Labels(ids, tuple(feature.names))


def only_classes(
    parts: Mapping[str, tuple[Any, Array]],
    y: Mapping[str, Array],
    names: tuple[str, ...],
    classes: Sequence[str | int],
    what: str,
) -> tuple[dict[str, tuple[Any, Array]], dict[str, Array], tuple[str, ...]]:
    """The rows of these classes, their labels renumbered in the order of ``classes``, and the names of those."""
    chosen = []
    for wanted in classes:
        if str(wanted) in names:
            chosen.append(names.index(str(wanted)))
        elif isinstance(wanted, int) and 0 <= wanted < len(names):
            chosen.append(wanted)
        else:
            raise DataError(f"{what}: {unknown('class', str(wanted), names)}")
    new = np.full(len(names), -1, dtype=np.int64)
    new[chosen] = np.arange(len(chosen))
    found, labels = {}, {}
    for split, (dataset, rows) in parts.items():
        kept = new[y[split]] >= 0
        found[split], labels[split] = (dataset, rows[kept]), new[y[split][kept]]
    return found, labels, tuple(names[c] for c in chosen)


def values_of(dataset: Any, name: str) -> Array:
    """One column as an array of Python values, none of them decoded."""
    table = dataset.select_columns([name]).with_format("arrow")[:]
    out = np.empty(table.num_rows, dtype=object)
    out[:] = table[name].to_pylist()
    return out


def rows_where(dataset: Any, where: Mapping[str, str | int] | None, what: str) -> Array:
    """The rows whose columns have the given values; names or numbers for class labels."""
    import datasets

    kept = np.ones(dataset.num_rows, dtype=bool)
    for name, wanted in (where or {}).items():
        if name not in dataset.features:
            raise DataError(f"{what}: {unknown('column', name, dataset.features)}")
        values = values_of(dataset, name)
        feature = dataset.features[name]
        if isinstance(feature, datasets.ClassLabel) and isinstance(wanted, str):
            values = np.array([feature.names[v] if v is not None and v >= 0 else None for v in values], dtype=object)
        match = np.array([value == wanted for value in values], dtype=bool)
        if not match.any():
            found = {str(v) for v in values}
            if len(found) > 50:
                raise DataError(f"{what}: no row has {name} = {wanted!r}, which has {len(found)} other values")
            raise DataError(f"{what}: {unknown(f'value of column {name!r}:', wanted, found)}")
        kept &= match
    if not kept.any():
        raise DataError(f"{what}: no row fulfils all of {dict(where or {})}")
    return np.flatnonzero(kept)


def raw_images(dataset: Any, rows: Array, name: str, what: str) -> Iterator[bytes | Path]:
    """The encoded images of some rows, in their order."""
    chosen = dataset.select(rows).select_columns([name]).with_format("arrow")
    row = 0
    for table in chosen.iter(batch_size=256):
        for item in table[name].to_pylist():
            data, path = (item.get("bytes"), item.get("path")) if isinstance(item, dict) else (item, None)
            if isinstance(data, bytes):
                yield data
            elif path:
                yield Path(path)
            else:
                raise DataError(f"{what}, row {row}: column {name!r} holds no image")
            row += 1


def feature_rows(dataset: Any, rows: Array, names: tuple[str, ...], cache: Cache, what: str) -> Array:
    """Numeric columns, and columns of sequences of one length, side by side: float32 [N, D]."""
    parts = []
    for name in names:
        if name not in dataset.features:
            raise DataError(f"{what}: {unknown('column', name, dataset.features)}")
        table = dataset.select(rows).select_columns([name]).with_format("arrow")[:]
        flat, width = table[name].combine_chunks(), 1
        while hasattr(flat.type, "value_type") and not hasattr(flat.type, "index_type"):  # lists, also of lists
            values = flat.flatten()
            if flat.null_count or len(flat) == 0 or len(values) % len(flat) or not _one_length(flat):
                raise DataError(f"{what}: the sequences of column {name!r} have no common length")
            width, flat = width * (len(values) // len(flat)), values
        cache.require_memory(4 * len(flat), f"{what}, column {name!r}")
        try:
            numbers = np.asarray(flat.to_numpy(zero_copy_only=False)).astype(np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"{what}: column {name!r} is not numeric ({flat.type})") from error
        if not np.isfinite(numbers).all():
            raise DataError(f"{what}: column {name!r} has values that are missing or not finite")
        parts.append(numbers.reshape(len(rows), width))
    return np.concatenate(parts, axis=1)


def _one_length(lists: Any) -> bool:
    import pyarrow.compute

    return len(pyarrow.compute.unique(pyarrow.compute.list_value_length(lists))) == 1


# ---- words ---------------------------------------------------------------------------------------


def _why(place: Place, config: str | None, revision: str | None, error: Exception, cache: Cache) -> str:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    text = str(error)
    if found := re.search(r"(?:Available|configs): (\[.*?\])", text):
        known = re.findall(r"'([^']*)'", found[1])
        if config is None:
            return f"{place.id}: it has several configurations; say which with config: {', '.join(known)}"
        return f"{place.id}: {unknown('config', config, known)}"
    if place.folder is not None:
        return f"{place.id}: {place.folder} cannot be read as a data set: {_first(error)}"
    if cache.data_root is not None:
        root = f"It is not in the data root either (no folder {cache.data_root / place.id})."
    else:
        root = "A folder with it can stand in for the hub: --data-root FOLDER, which holds owner/name."
    if isinstance(error, DatasetNotFoundError):
        at = f" at revision {revision!r}" if revision is not None else ""
        return f"{place.id}: the hub has no such data set{at}, or it is private. Check the id, or log in. {root}"
    if isinstance(error, OSError) or "ffline" in text:
        if datasets.config.HF_HUB_OFFLINE:
            return f"{place.id}: it is not in the local cache, and HF_HUB_OFFLINE=1 forbids to ask the hub. {root}"
        reason = _first(error).partition(" on the Hugging Face Hub either: ")
        return f"{place.id}: the hub cannot be reached ({reason[2] or reason[0]}). {root}"
    return f"{place.id}: {type(error).__name__}: {_first(error)}"


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
