"""The data set ``hub``: any Hugging Face data set of labelled images or numbers, by its id or from a folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tlbench.api.data import Domain, Split
from tlbench.errors import DataError, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlbench.api.data import Array
    from tlbench.api.types import Cache
    from tlbench.data.hf import Place


@dataclass(frozen=True)
class Hub:
    """A data set of the Hugging Face hub, of a data root that stands in for it, or of a local folder.

    A test split that exists is never touched but by ``max_test``; where there is none, a stratified quarter
    of the training split is set aside, the same in every run. Images and labels are found by the types of
    the columns. No code of a data set is ever run.
    """

    name: ClassVar[str] = "hub"

    id: str
    """``owner/name``, or the path of a folder, starting with ``./``, ``../``, ``/`` or ``~``."""
    config: str | None = None
    """The configuration, for data sets that have several."""
    revision: str | None = None
    """Branch, tag or commit on the hub; the newest where left out."""
    train: str = "train"
    """The split to train on."""
    test: str | None = None
    """The split to be scored on; ``test`` where there is one, else a quarter of the training split, which is also
    what the training split's own name asks for."""
    validation: str | None = None
    """A further split, for selection."""
    image_column: str | None = None
    """The column of images, where its type does not tell."""
    label_column: str | None = None
    """The column of labels, where its type does not tell."""
    group_column: str | None = None
    """The column that says which group each example is of, for metrics over groups; no method sees it."""
    features: tuple[str, ...] | None = None
    """Columns of numbers, or of sequences of one length, used side by side instead of images."""
    where: dict[str, str | int] | None = None
    """Only rows with these values in these columns, such as ``{domain: photo}``."""
    classes: tuple[str | int, ...] | None = None
    """Only rows of these classes, each by its name or else its number, renumbered in this order; all where left out."""
    max_train: int | None = None
    """At most so many training examples, each class in its share; chosen by the data set's name."""
    max_test: int | None = None
    """At most so many test examples, likewise."""
    image_size: int | None = None
    """Short side resized to this and the middle square cut out; as they are, or 128 where sizes differ."""

    def __post_init__(self) -> None:
        if self.image_column is not None and self.features is not None:
            raise ValueError("give image_column or features, not both")
        if self.features is not None and not self.features:
            raise ValueError("features must name at least one column")
        if self.classes is not None and (len(set(self.classes)) != len(self.classes) or len(self.classes) < 2):
            raise ValueError(f"classes must be two or more different classes, got {list(self.classes)}")
        scored = None if self.test == self.train else self.test
        names = [name for name in (self.train, scored, self.validation) if name is not None]
        if len(set(names)) != len(names):
            raise ValueError(f"train, test and validation must be different splits, got {', '.join(names)}")
        for field in ("max_train", "max_test", "image_size"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"{field} must be at least 1, got {value}")

    def load(self, cache: Cache) -> Domain:
        """Images uint8 [N, K, H, W], or features float32 [N, D]; decoded once and kept in the cache.

        Raises ``DataError`` where the data set, its configuration, a split or a column is not there, where an
        image cannot be read, or where the memory would not do.
        """
        from tlbench.api.trials import canonical
        from tlbench.data import hf
        from tlbench.data.cache import pack, unpack
        from tlbench.data.images import decoder

        place = hf.locate(self.id, cache)
        builder = None
        if place.folder is not None:
            stamp = hf.folder_hash(place.folder)
        else:
            builder = hf.open_builder(place, self.config, self.revision, None, cache)
            stamp = str(builder.hash)
        asked = {k: v for k, v in asdict(self).items() if k != "id"}

        def build() -> Mapping[str, Array]:
            with hf.scratch(cache, place) as folder:
                opened = builder or hf.open_builder(place, self.config, self.revision, folder, cache)
                arrays, words = self._build(hf.prepare(opened, place), place, cache)
            return arrays | {"words": pack(words | {"licence": hf.licence(place)})}

        arrays = cache.arrays(canonical(["hub-2", decoder(), place.name, stamp, asked]), build)
        words = unpack(arrays["words"])
        origin = "Hugging Face data set" if place.folder is None else "folder in the form of a Hugging Face data set"
        return Domain(
            name=self._title(place),
            splits={s: Split(arrays[f"{s}/x"], arrays[f"{s}/y"], arrays.get(f"{s}/group")) for s in words["splits"]},
            label_names=tuple(words["label_names"]),
            group_names=tuple(words["group_names"]),
            kind="image" if self.features is None else "features",
            source=f"{origin} {place.name}{f', revision {stamp}' if place.folder is None else ''}",
            licence=words["licence"],
            notes=words["notes"],
        )

    def _title(self, place: Place) -> str:
        """Names the rows: what splits and caps are seeded by; independent of where the data lie."""
        chosen = [f"{key}={value}" for key, value in sorted((self.where or {}).items())]
        chosen += [f"train={self.train}"] if self.train != "train" else []
        chosen += [f"classes={'+'.join(map(str, self.classes))}"] if self.classes is not None else []
        title = place.name if self.config is None else f"{place.name}/{self.config}"
        return f"{title}[{','.join(chosen)}]" if chosen else title

    def _build(self, splits: Mapping[str, Any], place: Place, cache: Cache) -> tuple[dict[str, Array], dict[str, Any]]:
        """The arrays of all splits, and names and notes as plain data."""
        from tlbench.data import hf
        from tlbench.data.images import Images, decode, layout
        from tlbench.data.splits import capped_rows, split_note, split_rows

        title = self._title(place)
        test = self.test or ("test" if "test" in splits else None)
        test = None if test == self.train else test
        roles = {"train": self.train, "test": test, "validation": self.validation}
        parts: dict[str, tuple[Any, Array]] = {}
        for role, split in roles.items():
            if split is not None:
                if split not in splits:
                    raise DataError(f"{self.id}: {unknown('split', split, splits)} Name it with {role}: ...")
                parts[role] = (splits[split], hf.rows_where(splits[split], self.where, f"{self.id}, split {split!r}"))

        columns = parts["train"][0].features
        label = hf.column(columns, self.label_column, "label", self.id)
        image = None if self.features else hf.column(columns, self.image_column, "image", self.id)
        listed = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in columns.items())
        if label is None:
            raise DataError(f"{self.id}: no column of labels was found; name it with label_column: ... "
                            f"Columns: {listed}")  # fmt: skip
        if image is None and not self.features:
            raise DataError(f"{self.id}: no column of images was found; name it with image_column: ... "
                            f"or columns of numbers with features: [...]. Columns: {listed}")  # fmt: skip
        for role, (dataset, _) in parts.items():
            for name in filter(None, (label, image, self.group_column)):
                if name not in dataset.features:
                    raise DataError(f"{self.id}, split {roles[role]!r}: {unknown('column', name, dataset.features)}")

        y, label_names = hf.labels(parts, label, self.id)
        if self.classes is not None:
            parts, y, label_names = hf.only_classes(parts, y, label_names, self.classes, self.id)
        notes = [f"test is the given split {test!r}" if test else split_note(0.25)]
        if test is None:
            dataset, rows = parts["train"]
            cut = split_rows(y["train"], title, 0.25)
            y |= {"train": y["train"][cut.train], "test": y["train"][cut.test]}
            parts |= {"train": (dataset, rows[cut.train]), "test": (dataset, rows[cut.test])}
        for role, most in (("train", self.max_train), ("test", self.max_test)):
            if most is not None and most < len(y[role]):
                notes.append(f"{role} capped to {most} of {len(y[role])}, each class in its share")
                kept = capped_rows(y[role], most, f"{title}/{role}")
                y[role], parts[role] = y[role][kept], (parts[role][0], parts[role][1][kept])

        arrays = {f"{role}/y": y[role] for role in parts}
        group_names: tuple[str, ...] = ()
        if self.group_column is not None:
            groups, group_names = hf.labels(parts, self.group_column, self.id)
            arrays |= {f"{role}/group": group for role, group in groups.items()}
        if self.features:
            for role, (dataset, rows) in parts.items():
                arrays[f"{role}/x"] = hf.feature_rows(dataset, rows, self.features, cache, f"{self.id}, {role}")
        else:
            assert image is not None
            sets = {
                role: Images(
                    f"{self.id}, split {roles[role] or self.train!r}",
                    len(rows),
                    lambda d=dataset, r=rows, w=role: hf.raw_images(d, r, image, f"{self.id}, {w}"),  # type: ignore[misc]
                )
                for role, (dataset, rows) in parts.items()
            }
            form = layout(sets.values(), self.image_size)
            notes.append(form.note)
            arrays |= {f"{role}/x": decode(images, form, cache) for role, images in sets.items()}
        words = {"splits": list(parts), "label_names": label_names, "group_names": group_names}
        return arrays, words | {"notes": "; ".join(notes)}
