"""The data set ``image-folder``: one folder of images for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tlbench.api.data import Domain, Split
from tlbench.errors import DataError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tlbench.api.data import Array
    from tlbench.api.types import Cache
    from tlbench.data.labels import Labels

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm"})
METADATA, FILE_NAME = "metadata.csv", "file_name"
SPLIT_FOLDERS = {"train": "train", "test": "test", "validation": "validation", "val": "validation"}


@dataclass(frozen=True)
class ImageFolder:
    """Images in ``folder/class/`` or in ``folder/train/class/``, ``folder/test/class/`` (and ``validation``).

    Label names are the sorted names of the class folders of all splits. Hidden files and files without an
    image's suffix are left out. Relative paths are tried from the suite's folder, the data root and its parent.
    """

    name: ClassVar[str] = "image-folder"

    folder: str
    """The folder that holds the class folders, or the split folders."""
    test_share: float = 0.25
    """The share of each class that is set aside for testing, where there is no ``test`` folder."""
    group_column: str | None = None
    """The column of ``metadata.csv`` in the folder that says which group each image is of, for metrics over groups; the
    column ``file_name`` names the image, as a path below the folder."""
    image_size: int | None = None
    """Short side resized to this and the middle square cut out; as they are, or 128 where sizes differ."""

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be between 0 and 1, got {self.test_share}")
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"image_size must be at least 1, got {self.image_size}")

    def load(self, cache: Cache) -> Domain:
        """Images uint8 [N, K, H, W], ordered by class and file name.

        Raises ``DataError`` where the folder has another shape, a link leads out of it, an image cannot be
        read, or the memory would not do.
        """
        from tlbench.api.trials import canonical
        from tlbench.data.cache import pack, unpack
        from tlbench.data.files import content_hash, find
        from tlbench.data.images import decoder

        root = find(cache, self.folder, "image-folder")
        files = _files(root)
        read = [path for split in files.values() for paths in split.values() for path in paths]
        read += [root / METADATA] if self.group_column is not None else []
        stamp = content_hash((path.relative_to(root).as_posix(), path) for path in read)

        def build() -> Mapping[str, Array]:
            arrays, words = self._build(root, files, cache)
            return arrays | {"words": pack(words)}

        title = root.resolve().name
        asked = [self.test_share, self.image_size, self.group_column]
        key = canonical(["image-folder-2", decoder(), title, stamp, *asked])
        arrays = cache.arrays(key, build)
        words = unpack(arrays["words"])
        return Domain(
            name=title,
            splits={s: Split(arrays[f"{s}/x"], arrays[f"{s}/y"], arrays.get(f"{s}/group")) for s in words["splits"]},
            label_names=tuple(words["label_names"]),
            group_names=tuple(words["group_names"]),
            kind="image",
            source=f"folder {title}",
            notes=words["notes"],
        )

    def _build(
        self, root: Path, files: Mapping[str, Mapping[str, list[Path]]], cache: Cache
    ) -> tuple[dict[str, Array], dict[str, object]]:
        import numpy as np

        from tlbench.data.images import Images, decode, layout
        from tlbench.data.splits import split_note, split_rows

        names = sorted({name for split in files.values() for name in split})
        parts: dict[str, tuple[list[Path], Array]] = {}
        for split, classes in files.items():
            paths = [path for name in names for path in classes.get(name, [])]
            counts = [len(classes.get(name, [])) for name in names]
            parts[split] = (paths, np.repeat(np.arange(len(names), dtype=np.int64), counts))
        note = "test is the given folder"
        if "test" not in parts:
            paths, y = parts["train"]
            cut = split_rows(y, root.resolve().name, self.test_share)
            parts |= {"train": ([paths[i] for i in cut.train], y[cut.train])}
            parts |= {"test": ([paths[i] for i in cut.test], y[cut.test])}
            note = split_note(self.test_share)
        sets = {s: Images(f"{root}, {s}", len(paths), lambda p=paths: p) for s, (paths, _) in parts.items()}  # type: ignore[misc]
        form = layout(sets.values(), self.image_size)
        arrays = {f"{split}/x": decode(images, form, cache) for split, images in sets.items()}
        arrays |= {f"{split}/y": y for split, (_, y) in parts.items()}
        groups: tuple[str, ...] = ()
        if self.group_column is not None:
            found, groups = _groups(root, self.group_column, {split: paths for split, (paths, _) in parts.items()})
            arrays |= {f"{split}/group": group for split, group in found.items()}
        words: dict[str, object] = {"splits": list(parts), "label_names": names, "group_names": groups}
        return arrays, words | {"notes": f"{note}; {form.note}"}


def _groups(root: Path, column: str, paths: Mapping[str, list[Path]]) -> Labels:
    """Which group each image of each split is of, and the names of the groups, from ``metadata.csv``."""
    import csv

    from tlbench.data.labels import number

    path = _inside(root / METADATA, root)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for name in (FILE_NAME, column):
                if name not in (reader.fieldnames or ()):
                    raise DataError(f"{path}: {unknown('column', name, list(reader.fieldnames or ()))}")
            named = {row[FILE_NAME]: row[column] for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"image-folder: {path}, which group_column needs, cannot be read: {error}") from error
    values = {split: [named.get(p.relative_to(root).as_posix()) for p in chosen] for split, chosen in paths.items()}
    for split, chosen in paths.items():
        for place, value in zip(chosen, values[split], strict=True):
            if value is None:
                raise DataError(f"{path}: no line with {column!r} for {place.relative_to(root).as_posix()!r}")
    return number(values, f"{path}, column {column!r}")


def _files(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Split -> class -> its images, sorted by name."""
    if not root.is_dir():
        raise DataError(f"image-folder: {root} is a file; give the folder that holds the class folders")
    folders = _folders(root, root)
    if any(f.name == "train" and _folders(f, root) for f in folders):
        files: dict[str, dict[str, list[Path]]] = {}
        for folder in folders:
            if folder.name not in SPLIT_FOLDERS:
                raise DataError(f"image-folder: {folder} is no split; beside 'train' there may be "
                                "'test' and 'validation' (or 'val')")  # fmt: skip
            split = SPLIT_FOLDERS[folder.name]
            if split in files:
                raise DataError(f"image-folder: {root} has both 'val' and 'validation'; keep one")
            files[split] = {f.name: _images(f, root) for f in _folders(folder, root)}
    else:
        files = {"train": {f.name: _images(f, root) for f in folders}}
    for split, classes in files.items():
        if not any(classes.values()):
            raise DataError(f"image-folder: no images in class folders below {root} ({split}). "
                            f"Expected {root / 'CLASS' / 'IMAGE.png'}, one folder for each class")  # fmt: skip
    order = ("train", "test", "validation")
    return {split: {c: p for c, p in files[split].items() if p} for split in order if split in files}


def _folders(folder: Path, root: Path) -> list[Path]:
    return sorted(_inside(p, root) for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images(folder: Path, root: Path) -> list[Path]:
    """The images below a class folder, at any depth."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            found += _images(_inside(path, root), root)
        elif path.suffix.lower() in SUFFIXES:
            found.append(_inside(path, root))
    return found


def _inside(path: Path, root: Path) -> Path:
    """The path itself, if it is no link that leads out of the folder or nowhere."""
    if path.is_symlink() and not (path.exists() and path.resolve().is_relative_to(root.resolve())):
        raise DataError(f"image-folder: the link {path} leads out of {root}, or nowhere; copy the file there instead")
    return path
