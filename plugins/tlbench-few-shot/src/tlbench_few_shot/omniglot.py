"""The data set ``omniglot``: handwritten characters of many alphabets, and the 20 runs of one-shot classification.

Dimension key:  N images  C characters  S side
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tlbench import DataError, Domain, Split

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tlbench import Cache

DRAWERS = 20


@dataclass(frozen=True)
class Omniglot:
    """Omniglot in part: the authors' two small background sets and their 20 one-shot runs (Lake et al. 2015).

    ``small1`` and ``small2`` have 136 and 156 characters of 5 alphabets each (Greek and Latin are in both), drawn
    once by each of 20 people; the split is by people. ``oneshot`` has 20 runs of 20 characters of one alphabet that
    is in no background set: the training drawing of a character is the train split, its test drawing the test split.
    So a run is one episode of 20 ways, 1 shot and 1 query of the task few-shot with ``within_groups``.
    Images are turned so that ink is light on black ground, as in MNIST.
    """

    name: ClassVar[str] = "omniglot"

    set: Literal["small1", "small2", "oneshot"] = "small1"
    """A background set, or the runs."""
    size: int = 28
    """Side of the images; the drawings have 105 and are reduced with antialiasing."""
    test_drawers: int = 5
    """Of a background set: how many of the 20 drawings of each character are the test split."""
    id: str = "brendenlake/omniglot-small"
    """Where the images are: a folder ``owner/name`` of the data root, or else of the Hugging Face hub."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")
        if not 1 <= self.test_drawers < DRAWERS:
            raise ValueError(f"test_drawers must be from 1 to {DRAWERS - 1}, got {self.test_drawers}")

    def load(self, cache: Cache) -> Domain:
        """Images uint8 [N, 1, S, S]; ``groups`` [C] is the alphabet or the run of each character.

        Raises ``DataError`` where the images are neither in the data root nor on the hub.
        """
        folder = cache.data_root / self.id if cache.data_root is not None else None
        with tempfile.TemporaryDirectory(prefix="tlbench-") as passing:
            if folder is not None and folder.is_dir():
                builder = self._builder(str(folder), passing)
                stamp = _content_hash(folder)
            else:
                builder = self._builder(self.id, None)
                stamp = str(builder.hash)
            key = json.dumps(["omniglot-1", stamp, self.set, self.size])
            arrays = cache.arrays(key, lambda: _decoded(_rows(builder, self.set), self.size, self.set))
        names: tuple[str, ...] = tuple(json.loads(bytes(arrays["names"])))
        if self.set == "oneshot":
            train, how = arrays["is_train"], "train and test are the drawings that the authors gave each run for them"
        else:
            train = arrays["drawer"] <= DRAWERS - self.test_drawers
            how = f"test are the drawings of the last {self.test_drawers} of {DRAWERS} people"
        return Domain(
            name=f"omniglot-{self.set}",
            splits={n: Split(arrays["x"][rows], arrays["y"][rows]) for n, rows in (("train", train), ("test", ~train))},
            label_names=names,
            kind="image",
            source=f"Omniglot (Lake, Salakhutdinov & Tenenbaum 2015) as {self.id}",
            licence="MIT",
            notes=f"{how}; ink light on black ground; drawings of 105 × 105 at {self.size} × {self.size}",
            groups=arrays["groups"],
        )

    def _builder(self, where: str, cache_dir: str | None) -> Any:
        import datasets

        datasets.disable_progress_bars()
        config = "oneshot" if self.set == "oneshot" else "background"
        try:
            return datasets.load_dataset_builder(where, config, cache_dir=cache_dir)
        except (OSError, ValueError) as error:  # not there, no network, no such configuration
            raise DataError(
                f"omniglot: {self.id} cannot be read from the hub ({str(error).strip().splitlines()[0]}). "
                "A folder can stand in for it: --data-root FOLDER, which holds owner/name."
            ) from error


def _content_hash(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*.parquet")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _rows(builder: Any, split: str) -> Any:
    """The rows of a set, images as encoded bytes."""
    import datasets

    builder.download_and_prepare()
    rows = builder.as_dataset(split="test" if split == "oneshot" else split)
    return rows.cast_column("image", datasets.Image(decode=False))


def _decoded(rows: Any, size: int, split: str) -> Mapping[str, NDArray[Any]]:
    """Images x [N, 1, S, S] and characters y [N] 0..C-1, with ``groups`` [C], ``names`` and what splits go by."""
    import numpy as np

    table = rows.with_format("arrow")[:]
    x = np.stack([_image(row["bytes"], size) for row in table["image"].to_pylist()])[:, None]
    if split == "oneshot":
        run, label = (np.array(table[name]) for name in ("run", "label"))
        found = {"is_train": np.array(table["role"]) == rows.features["role"].str2int("train")}
        codes, y = np.unique(run * 100 + label, return_inverse=True)
        groups, names = codes // 100 - 1, [f"run{code // 100:02d}/class{code % 100 + 1:02d}" for code in codes]
    else:
        found = {"drawer": np.array(table["drawer"])}
        character, alphabet = (np.array(table[name]) for name in ("character", "alphabet"))
        codes, first, y = np.unique(character, return_index=True, return_inverse=True)
        groups, names = alphabet[first], [rows.features["character"].int2str(int(code)) for code in codes]
    packed = np.frombuffer(json.dumps(names).encode(), dtype=np.uint8)
    return found | {"x": x, "y": y.astype(np.int64), "groups": groups.astype(np.int64), "names": packed}


def _image(data: bytes, size: int) -> NDArray[Any]:
    """One drawing as uint8 [S, S], ink 255 on 0; reduced as grey, bilinear with antialiasing."""
    import numpy as np
    import PIL.Image

    image = PIL.Image.open(io.BytesIO(data)).convert("L")
    if image.size != (size, size):
        image = image.resize((size, size), PIL.Image.Resampling.BILINEAR)
    return 255 - np.asarray(image, dtype=np.uint8)
