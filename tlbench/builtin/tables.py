"""The data sets ``svmlight`` and ``mat``: feature vectors from LIBSVM files and from MATLAB files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from tlbench.api.data import Domain, Split
from tlbench.data.scaling import Scaling, scaled, scaling_note
from tlbench.errors import DataError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tlbench.api.data import Array
    from tlbench.api.types import Cache

Cut: TypeAlias = Literal["share", "whole"]
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Svmlight:
    """Feature vectors from files in the svmlight (LIBSVM) format, also compressed (``.gz``, ``.bz2``).

    Relative paths are tried from the suite's folder, the data root and the data root's parent.
    """

    name: ClassVar[str] = "svmlight"

    train: str
    """The file to train on."""
    test: str | None = None
    """The file to be scored on; a stratified share of ``train`` where left out."""
    test_share: float = 0.25
    """The share of each class that is set aside for testing, where no ``test`` is given."""
    split: Cut = "share"
    """Where no ``test`` is given: ``share`` sets a test part aside; ``whole`` trains and tests on all rows alike."""
    num_features: int | None = None
    """How many features there are; the largest index in the files where left out."""
    first_index: Literal[0, 1] = 1
    """The number of the first feature: 1 as the format has it, or 0 as some files do."""
    scaling: Scaling | tuple[Scaling, ...] = "none"
    """One step, or several in turn, such as [log1p, l2]; statistics from the training rows alone."""

    def __post_init__(self) -> None:
        _check_share(self.test_share)
        if self.split == "whole" and self.test is not None:
            raise ValueError("split: whole tests on the rows of train; leave test out")

    def load(self, cache: Cache) -> Domain:
        """Features float32 [N, D]. Raises ``DataError`` for a missing or wrong file and for too little memory."""
        from tlbench.data.files import content_hash, find

        paths = {"train": find(cache, self.train, "svmlight")}
        if self.test is not None:
            paths["test"] = find(cache, self.test, "svmlight")
        asked = {k: v for k, v in asdict(self).items() if k not in ("train", "test")}

        def read() -> dict[str, tuple[Array, Array]]:
            return _read_svmlight(paths, self.num_features, self.first_index, cache)

        stamp = content_hash((split, path) for split, path in paths.items())
        share = None if self.split == "whole" else self.test_share
        return _domain(cache, paths["train"], ["svmlight-1", stamp, asked], read, share, self.scaling)


@dataclass(frozen=True)
class Mat:
    """Feature vectors from a MATLAB file: one matrix of examples by features and one vector of labels.

    Relative paths are tried from the suite's folder, the data root and the data root's parent.
    """

    name: ClassVar[str] = "mat"

    file: str
    """The ``.mat`` file (up to version 7.2)."""
    x: str = "x"
    """The variable with the features [examples, features]."""
    y: str = "y"
    """The variable with the labels."""
    cell: int | None = None
    """Which cell, counting from 0, where both variables are cell arrays."""
    test_share: float = 0.25
    """The share of each class that is set aside for testing."""
    split: Cut = "share"
    """``share`` sets a test part aside; ``whole`` trains and tests on all rows alike, as transductive protocols do."""
    scaling: Scaling | tuple[Scaling, ...] = "none"
    """One step, or several in turn, such as [row-sum, zscore]; statistics from the training rows alone."""

    def __post_init__(self) -> None:
        _check_share(self.test_share)

    def load(self, cache: Cache) -> Domain:
        """Features float32 [N, D]. Raises ``DataError`` for a missing or wrong file and for too little memory."""
        from tlbench.data.files import content_hash, find

        path = find(cache, self.file, "mat")
        asked = {k: v for k, v in asdict(self).items() if k != "file"}

        def read() -> dict[str, tuple[Array, Array]]:
            return {"train": _read_mat(path, self.x, self.y, self.cell, cache)}

        stamp = content_hash([("", path)])
        suffix = "" if self.cell is None else f"[{self.cell}]"
        share = None if self.split == "whole" else self.test_share
        return _domain(cache, path, ["mat-1", stamp, asked], read, share, self.scaling, suffix)


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise ValueError(f"test_share must be between 0 and 1, got {share}")


def _domain(
    cache: Cache,
    path: Path,
    key: list[Any],
    read: Callable[[], dict[str, tuple[Array, Array]]],
    share: float | None,
    scaling: Scaling | tuple[Scaling, ...],
    suffix: str = "",
) -> Domain:
    """Labels numbered, a test split made where there is none, features scaled; kept in the cache.

    ``share`` of each class becomes the test split; ``None`` makes all rows train and test, each in memory of its own.
    """
    from tlbench.api.trials import canonical
    from tlbench.data.cache import pack, unpack
    from tlbench.data.labels import number
    from tlbench.data.splits import split_note, split_rows

    title = path.name + suffix

    def build() -> Mapping[str, Array]:
        tables = read()
        ids, names = number({split: y.tolist() for split, (_, y) in tables.items()}, str(path))
        xs = {split: x for split, (x, _) in tables.items()}
        note = "test is a file of its own"
        if share is None:
            xs, ids = {s: xs["train"].copy() for s in SPLITS}, {s: ids["train"].copy() for s in SPLITS}
            note = "train and test are the same rows, all that there are"
        elif "test" not in tables:
            cut, x, y = split_rows(ids["train"], title, share), xs["train"], ids["train"]
            xs, ids = {"train": x[cut.train], "test": x[cut.test]}, {"train": y[cut.train], "test": y[cut.test]}
            note = split_note(share)
        try:
            xs = scaled(xs, scaling)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        words = {"label_names": names, "notes": f"{note}; {scaling_note(scaling)}"}
        return {f"{s}/x": xs[s] for s in xs} | {f"{s}/y": ids[s] for s in ids} | {"words": pack(words)}

    arrays = cache.arrays(canonical([*key, title]), build)
    words = unpack(arrays["words"])
    return Domain(
        name=title,
        splits={split: Split(arrays[f"{split}/x"], arrays[f"{split}/y"]) for split in SPLITS},
        label_names=tuple(words["label_names"]),
        kind="features",
        source=f"file {path.name}",
        notes=words["notes"],
        whole=share is None,
    )


def _read_svmlight(
    paths: Mapping[str, Path], num_features: int | None, first_index: int, cache: Cache
) -> dict[str, tuple[Array, Array]]:
    """x float32 [N, D] and y [N] of each file, with one D for all."""
    from sklearn.datasets import load_svmlight_file

    sparse = {}
    for split, path in paths.items():
        try:
            x, y = load_svmlight_file(str(path), n_features=num_features, zero_based=first_index == 0)
        except (ValueError, OSError, EOFError, OverflowError) as error:
            hint = ". It counts features from 0: say first_index: 0" if "Invalid index 0" in str(error) else ""
            raise DataError(f"{path}: not read as svmlight: {_words(error)}{hint}") from error
        if len(y) == 0:
            raise DataError(f"{path}: no examples in it")
        sparse[split] = (x, y)
    width = max(x.shape[1] for x, _ in sparse.values())
    out = {}
    for split, (x, y) in sparse.items():
        cache.require_memory(4 * x.shape[0] * width, f"{paths[split]} as a dense table of {x.shape[0]} × {width}")
        x.resize((x.shape[0], width))
        out[split] = (_finite(x.astype("float32").toarray(), paths[split]), y)
    return out


def _read_mat(path: Path, x: str, y: str, cell: int | None, cache: Cache) -> tuple[Array, Array]:
    """x float32 [N, D] and y [N] of two variables."""
    import numpy as np
    import scipy.io
    import scipy.sparse

    try:
        content = scipy.io.loadmat(path)
    except NotImplementedError as error:
        raise DataError(f"{path}: a MATLAB file of version 7.3 is not read; save it with '-v7'") from error
    except Exception as error:  # a damaged file makes the reader raise nearly anything
        raise DataError(f"{path}: not read as a MATLAB file: {_words(error)}") from error
    found = []
    for name in (x, y):
        if name not in content:
            known = [key for key in content if not key.startswith("__")]
            raise DataError(f"{path}: {unknown('variable', name, known)}")
        value = content[name]
        if getattr(getattr(value, "dtype", None), "kind", "") == "O":
            if cell is None:
                raise DataError(
                    f"{path}: {name!r} is a cell array of {value.size}; say which with cell: 0 to {value.size - 1}"
                )
            if not 0 <= cell < value.size:
                raise DataError(f"{path}: {name!r} has cells 0 to {value.size - 1}, not {cell}")
            value = value.ravel()[cell]
        elif cell is not None:
            raise DataError(f"{path}: {name!r} is no cell array; leave cell out")
        found.append(value)
    table, labels = found
    if scipy.sparse.issparse(labels):
        labels = labels.toarray()
    if labels.ndim > 1 and max(labels.shape) != labels.size:
        raise DataError(f"{path}: {y!r} is {' × '.join(map(str, labels.shape))}; labels must be one vector")
    labels = labels.ravel()
    if table.ndim != 2 or table.shape[0] != len(labels):
        shape = " × ".join(map(str, table.shape))
        raise DataError(f"{path}: {x!r} is {shape} for {len(labels)} labels; it must have one row for each label")
    cache.require_memory(4 * table.shape[0] * table.shape[1], f"{path}, {x!r}")
    try:
        dense = table.toarray() if scipy.sparse.issparse(table) else table
        return _finite(np.asarray(dense).astype(np.float32), path), labels
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {x!r} is not numeric") from error


def _finite(x: Array, path: Path) -> Array:
    import numpy as np

    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise DataError(f"{path}: row {row} has values that are not finite")
    return x


def _words(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
