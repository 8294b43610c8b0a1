"""The data set ``awa1-lss``: animals with attributes, 40 classes to learn from and 10 to recognise unseen."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tlbench import DataError, Domain, Split
from tlbench_zero_shot.splits import stratified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tlbench import Cache

    Numbers = NDArray[Any]

FILE = "train-00000-of-00001.parquet"


@dataclass(frozen=True)
class AwA1:
    """Animals with Attributes 1 (Lampert, Nickisch & Harmeling 2009) by one of its features, with the official split.

    Bags of 2,000 local self-similarity words for the first 100 images of each of 50 animals (92 of the mole), 85
    attributes of each animal. A subset of the images and of the features: what is reached here is below what is
    published for all 30,475 images and all features.
    """

    name: ClassVar[str] = "awa1-lss"

    part: Literal["seen", "unseen", "all"] = "seen"
    """The 40 classes to learn from, the 10 others, or all 50."""
    split: int = 0
    """0 is the official split; 1 to 5 hold out ten classes in a row, as the authors' program does for validation."""
    attributes: Literal["continuous", "binary"] = "continuous"
    """How strongly an animal has an attribute, 0 to 1 (people's answers; missing ones are 0), or whether it has it."""
    features: Literal["sqrt-l1", "l1", "counts"] = "sqrt-l1"
    """Square roots of the shares of the words (then every example has length 1), the shares, or the counts."""
    test_share: float | None = None
    """Share of each class that is for testing: left out, 0.2 of the seen classes (or of all), everything of the unseen.
    1 makes every example one of both splits, for a source that is not tested on or a target that is not trained on."""
    folder: str = "tlbench/awa1-lss"
    """The folder with ``lss``, ``attributes`` and ``attribute_names``, from the data root or the suite's folder."""

    def __post_init__(self) -> None:
        if not 0 <= self.split <= 5:
            raise ValueError(f"split must be 0 to 5, got {self.split}")
        if self.test_share is not None and not 0 < self.test_share <= 1:
            raise ValueError(f"test_share must be in (0, 1], got {self.test_share}")

    def load(self, cache: Cache) -> Domain:
        """Features float32 [N, 2000]. Raises ``DataError`` where the folder or a file is not there or is damaged."""
        folder = _find(self.folder, cache)
        paths = {name: folder / name / FILE for name in ("lss", "attributes")}
        for path in paths.values():
            if not path.is_file():
                raise DataError(f"awa1-lss: {path} is missing")
        stamp = [hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in paths.values()]
        asked = {k: v for k, v in asdict(self).items() if k != "folder"}
        share = self.test_share or (1.0 if self.part == "unseen" else 0.2)

        def build() -> Mapping[str, Numbers]:
            return self._build(paths, share)

        arrays = cache.arrays(json.dumps(["awa1-lss-1", stamp, asked], sort_keys=True), build)
        if share == 1:
            cut = "train and test are the same examples, all there are"
        else:
            cut = (
                f"no test split is given: {100 * share:g} % of each class were set aside, chosen by the data set's name"
            )
        return Domain(
            name=self._title(),
            splits={s: Split(arrays[f"{s}/x"], arrays[f"{s}/y"]) for s in ("train", "test")},
            label_names=tuple(json.loads(arrays["names"].tobytes())),
            kind="features",
            source="Animals with Attributes 1 (Lampert, Nickisch & Harmeling 2009), local self-similarity features",
            notes=f"the first 100 images of each class; features {self.features}, attributes {self.attributes}; {cut}",
            class_attributes=arrays["attributes"],
            whole=share == 1,
        )

    def _title(self) -> str:
        split = "" if self.split == 0 or self.part == "all" else f"-{self.split}"
        return "awa1-lss" if self.part == "all" else f"awa1-lss-{self.part}{split}"

    def _build(self, paths: Mapping[str, Path], share: float) -> dict[str, Numbers]:
        import pyarrow
        import pyarrow.parquet

        try:
            images, animals = (pyarrow.parquet.read_table(paths[name]) for name in ("lss", "attributes"))
            names = json.loads(animals.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
            counts, labels = _rows(images, "features"), images["label"].to_numpy()
            described, role = _rows(animals, self.attributes), animals["role"].to_numpy()
        except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"awa1-lss: {paths['lss'].parent.parent} cannot be read: {error}") from error
        place = np.arange(len(role)) // 10
        unseen = role == 1 if self.split == 0 else place == self.split - 1
        wanted = {"seen": ~unseen, "unseen": unseen, "all": role >= 0}[self.part]
        classes = np.flatnonzero(wanted)
        rows = np.flatnonzero(np.isin(labels, classes))
        x, y = _scaled(counts[rows], self.features), np.searchsorted(classes, labels[rows]).astype(np.int64)
        cut = stratified(y, self._title(), share) if share < 1 else (np.arange(len(y)),) * 2
        if self.attributes == "continuous":
            described = np.clip(described, 0, None) / 100
        chosen = json.dumps([names[c] for c in classes]).encode()
        out: dict[str, Numbers] = {"attributes": described[classes], "names": np.frombuffer(chosen, dtype=np.uint8)}
        for split, kept in zip(("train", "test"), cut, strict=True):
            out |= {f"{split}/x": x[kept], f"{split}/y": y[kept]}
        return out


def _find(folder: str, cache: Cache) -> Path:
    given = Path(folder).expanduser()
    roots = [cache.base] if cache.data_root is None else [cache.data_root, cache.data_root / "hub", cache.base]
    tried = [given] if given.is_absolute() else [root / given for root in roots]
    for candidate in tried:
        if candidate.is_dir():
            return candidate
    hint = "" if cache.data_root else " A folder that holds it can be given with --data-root."
    raise DataError(f"awa1-lss: there is no folder {folder!r}; tried {', '.join(map(str, tried))}.{hint}")


def _rows(table: Any, column: str) -> Numbers:
    """A column of lists of one length as a matrix."""
    lists = table[column].combine_chunks()
    matrix: Numbers = np.asarray(lists.flatten()).reshape(len(lists), -1).astype(np.float32)
    return matrix


def _scaled(counts: Numbers, how: str) -> Numbers:
    if how == "counts":
        return counts
    shares: Numbers = counts / counts.sum(1, keepdims=True)
    return np.sqrt(shares) if how == "sqrt-l1" else shares
