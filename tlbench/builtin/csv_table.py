"""The data set ``csv``: a table whose first line names its columns, text columns one-hot."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from tlbench.api.data import Domain, Split
from tlbench.data.scaling import Scaling, scaled, scaling_note
from tlbench.errors import DataError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from tlbench.api.data import Array
    from tlbench.api.types import Cache


@dataclass(frozen=True)
class CsvTable:
    """Examples from a text table with one line for each and the names of the columns in the first line.

    A column of numbers is a feature; any other column becomes one feature of 0 and 1 for each of its values.
    The values are those of the whole file, so that parts of it, chosen by ``where``, have the same features. The
    columns that ``where`` names say which part an example is of and are no features themselves.
    Relative paths are tried from the suite's folder, the data root and the data root's parent.
    """

    name: ClassVar[str] = "csv"

    file: str
    """The file, which may be compressed (``.gz``, ``.bz2``, ``.zip``, ``.xz``)."""
    class_column: str
    """The column with the class."""
    where: dict[str, str] = field(default_factory=dict)
    """Only the lines that have these values in these columns."""
    columns: tuple[str, ...] = ()
    """The columns that are features; all others where left out."""
    group_column: str | None = None
    """The column that says which group each example is of, for metrics over groups; no feature unless in columns."""
    separator: str = ","
    """What stands between two values; blanks after it do not count."""
    test_share: float = 0.25
    """The share of each class that is set aside for testing."""
    scaling: Scaling | tuple[Scaling, ...] = "none"
    """One step, or several in turn, such as [log1p, l2]; statistics from the training rows alone."""

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be between 0 and 1, got {self.test_share}")
        if len(self.separator) != 1:
            raise ValueError(f"separator must be one character, got {self.separator!r}")
        if self.class_column in (*self.columns, *self.where):
            raise ValueError(f"the class column {self.class_column!r} can be neither among columns nor in where")
        if self.group_column in self.where:
            raise ValueError(
                f"all examples have one value in {self.group_column!r}, which is in where: it makes no groups"
            )

    def load(self, cache: Cache) -> Domain:
        """Features float32 [N, D]. Raises ``DataError`` for a missing or wrong file and for unknown columns."""
        from tlbench.api.trials import canonical
        from tlbench.data.cache import pack, unpack
        from tlbench.data.files import content_hash, find

        path = find(cache, self.file, "csv")
        part = ", ".join(f"{column}={value}" for column, value in sorted(self.where.items()))
        title = f"{path.name}[{part}]" if part else path.name
        asked = {k: v for k, v in asdict(self).items() if k != "file"}
        key = canonical(["csv-2", content_hash([("", path)]), asked, title])

        def build() -> dict[str, Array]:
            splits, words = self._build(path, title, cache)
            axes = ("x", "y", "group") if self.group_column is not None else ("x", "y")
            named = {f"{name}/{axis}": getattr(split, axis) for name, split in splits.items() for axis in axes}
            return named | {"words": pack(words)}

        arrays = cache.arrays(key, build)
        words = unpack(arrays["words"])
        return Domain(
            name=title,
            splits={
                split: Split(arrays[f"{split}/x"], arrays[f"{split}/y"], arrays.get(f"{split}/group"))
                for split in ("train", "test")
            },
            label_names=tuple(words["label_names"]),
            group_names=tuple(words["group_names"]),
            kind="features",
            source=f"file {path.name}",
            notes=words["notes"],
        )

    def _build(self, path: Path, title: str, cache: Cache) -> tuple[dict[str, Split], dict[str, object]]:
        from tlbench.data.labels import number
        from tlbench.data.splits import split_note, split_rows

        table = _read(path, self.separator)
        own = (self.class_column, *(() if self.group_column is None else (self.group_column,)))
        for column in (*own, *self.columns, *self.where):
            if column not in table.columns:
                raise DataError(f"{path}: {unknown('column', column, list(table.columns))}")
        wanted = self.columns or tuple(c for c in table.columns if c not in own and c not in self.where)
        rows = _rows(path, table, self.where)
        x_ND, made = _features(path, table, wanted, rows, cache)
        ids, names = number({"train": table[self.class_column].to_numpy()[rows].tolist()}, str(path))
        cut, y = split_rows(ids["train"], title, self.test_share), ids["train"]
        try:
            xs = scaled({"train": x_ND[cut.train], "test": x_ND[cut.test]}, self.scaling)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        notes = f"{split_note(self.test_share)}; {made}; {scaling_note(self.scaling)}"
        splits = {"train": Split(xs["train"], y[cut.train]), "test": Split(xs["test"], y[cut.test])}
        groups: tuple[str, ...] = ()
        if self.group_column is not None:
            column = f"{path}, column {self.group_column!r}"
            found, groups = number({"train": table[self.group_column].to_numpy()[rows].tolist()}, column)
            splits = {s: replace(splits[s], group=found["train"][getattr(cut, s)]) for s in splits}
        return splits, {"label_names": names, "group_names": groups, "notes": notes}


def _read(path: Path, separator: str) -> pd.DataFrame:
    """All values as texts, an empty one as the empty text: nothing is taken for a missing value."""
    import pandas as pd

    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (ValueError, OSError, EOFError) as error:  # what pandas raises for a wrong table is a ValueError
        raise DataError(
            f"{path}: not read as a table: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from error
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    stripped: pd.DataFrame = table.apply(lambda column: column.str.strip())
    return stripped


def _rows(path: Path, table: pd.DataFrame, where: Mapping[str, str]) -> Array:
    """The numbers of the lines with these values."""
    import numpy as np

    kept = np.ones(len(table), dtype=bool)
    for column, value in where.items():
        values = table[column].to_numpy()
        if value not in values:
            raise DataError(f"{path}: {unknown(f'value of {column!r}', value, sorted(set(values.tolist())))}")
        kept &= values == value
    rows: Array = np.flatnonzero(kept)
    if not len(rows):
        raise DataError(f"{path}: no line has all of {dict(where)}")
    return rows


def _features(
    path: Path, table: pd.DataFrame, columns: tuple[str, ...], rows: Array, cache: Cache
) -> tuple[Array, str]:
    """x float32 [N, D] of these rows, columns in their order and values by alphabet, and what was done in words."""
    import numpy as np
    import pandas as pd

    parts: list[Array] = []
    one_hot = width = 0
    for column in columns:
        numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
        if np.isfinite(numbers).all():
            parts.append(numbers[rows, None].astype(np.float32))
        else:
            values, ids = np.unique(table[column].to_numpy(dtype=str), return_inverse=True)
            cache.require_memory(4 * len(rows) * (width + len(values)), f"{path}, {column!r} one-hot")
            parts.append(ids[rows, None] == np.arange(len(values)))
            one_hot += 1
        width += parts[-1].shape[1]
    if not parts:
        raise DataError(f"{path}: no column is left for features")
    x_ND: Array = np.concatenate([part.astype(np.float32) for part in parts], axis=1)
    return x_ND, f"{one_hot} of {len(columns)} columns one-hot, {width} features"
