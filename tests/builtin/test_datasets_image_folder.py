"""Folders of images: classes by folder name, splits by folder where there are any, nothing from outside."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.api.data import Domain
from tlbench.builtin.image_folder import ImageFolder
from tlbench.data.cache import DataCache, domain_hash
from tlbench.errors import DataError


def image(path: Path, value: int, size: tuple[int, int] = (6, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def load(folder: Path, name: str = "pets", limit: int | None = None, **params: Any) -> Domain:
    return ImageFolder(name, **params).load(DataCache(folder / "cache", None, folder, limit))


def values(domain: Domain, split: str) -> list[tuple[int, int]]:
    x = domain.splits[split].x
    assert isinstance(x, np.ndarray)
    return list(zip(x[:, 0, 0, 0].tolist(), domain.splits[split].y.tolist(), strict=True))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Eight dogs (values 0 to 7) and four cats (100 to 103)."""
    for i in range(8):
        image(tmp_path / "pets" / "dog" / f"{i}.png", i)
    for i in range(4):
        image(tmp_path / "pets" / "cat" / f"{i}.PNG", 100 + i)
    return tmp_path


def test_classes_are_the_sorted_folder_names_and_every_image_is_in_one_split(pets: Path) -> None:
    domain = load(pets)
    assert domain.label_names == ("cat", "dog")
    assert [np.bincount(split.y).tolist() for split in domain.splits.values()] == [[3, 6], [1, 2]]
    both = values(domain, "train") + values(domain, "test")
    assert sorted(both) == [(i, 1) for i in range(8)] + [(100 + i, 0) for i in range(4)]
    assert not np.shares_memory(domain.splits["train"].x, domain.splits["test"].x)  # type: ignore[arg-type]
    assert "set aside" in domain.notes
    assert domain_hash(load(pets)) == domain_hash(domain)


def test_given_splits_are_kept_as_they_are(tmp_path: Path) -> None:
    for split, first in (("train", 0), ("test", 50), ("val", 90)):
        for i, name in enumerate(("a", "b", "b")):
            image(tmp_path / "pets" / split / name / f"{i}.png", first + i)
    image(tmp_path / "pets" / "test" / "c" / "0.png", 77)
    domain = load(tmp_path)
    assert domain.label_names == ("a", "b", "c")
    assert values(domain, "train") == [(0, 0), (1, 1), (2, 1)]
    assert values(domain, "test") == [(50, 0), (51, 1), (52, 1), (77, 2)]
    assert values(domain, "validation") == [(90, 0), (91, 1), (92, 1)]


def test_hidden_and_other_files_are_left_out(pets: Path) -> None:
    (pets / "pets" / "dog" / "._0.png").write_bytes(b"rubbish")
    (pets / "pets" / "dog" / "notes.txt").write_text("rubbish")
    image(pets / "pets" / ".thumbs" / "x.png", 1)
    assert load(pets).label_names == ("cat", "dog")


def test_images_of_several_sizes_come_to_one(pets: Path) -> None:
    image(pets / "pets" / "dog" / "wide.png", 200, (30, 10))
    assert load(pets).shape.dims == (1, 128, 128)
    assert load(pets, image_size=16).shape.dims == (1, 16, 16)


def test_a_changed_image_is_seen(pets: Path) -> None:
    before = domain_hash(load(pets))
    image(pets / "pets" / "dog" / "0.png", 250)
    assert domain_hash(load(pets)) != before


def test_an_unreadable_image_is_named_by_its_path(pets: Path) -> None:
    (pets / "pets" / "cat" / "1.PNG").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"cat/1\.PNG"):
        load(pets)


@pytest.mark.parametrize("kind", ["file", "class", "broken"])
def test_a_link_that_leads_out_is_refused(pets: Path, kind: str) -> None:
    image(pets / "outside" / "secret.png", 9)
    link = pets / "pets" / ("stranger" if kind == "class" else "dog/link.png")
    link.symlink_to({"file": pets / "outside/secret.png", "class": pets / "outside", "broken": pets / "none"}[kind])
    with pytest.raises(DataError, match="leads out of"):
        load(pets)


def test_a_link_inside_the_folder_is_followed(pets: Path) -> None:
    (pets / "pets" / "cat" / "again.png").symlink_to(pets / "pets" / "cat" / "0.PNG")
    domain = load(pets)
    assert sum(len(split) for split in domain.splits.values()) == 13


def test_folders_of_another_shape_say_what_is_expected(tmp_path: Path) -> None:
    image(tmp_path / "flat" / "0.png", 0)
    with pytest.raises(DataError, match=r"CLASS/IMAGE\.png"):
        load(tmp_path, "flat")
    with pytest.raises(DataError, match="is a file"):
        load(tmp_path, "flat/0.png")
    image(tmp_path / "odd" / "train" / "a" / "0.png", 0)
    image(tmp_path / "odd" / "tset" / "a" / "0.png", 0)
    with pytest.raises(DataError, match="tset is no split"):
        load(tmp_path, "odd")
    with pytest.raises(DataError, match="there is no 'nowhere'"):
        load(tmp_path, "nowhere")


def test_images_that_do_not_fit_the_memory_are_decoded_to_the_disk(pets: Path) -> None:
    assert values(load(pets, limit=10), "train") == values(load(pets), "train")


def test_too_little_memory_is_said_where_the_disk_cannot_be_written(pets: Path) -> None:
    (pets / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="needs"):
        load(pets, limit=10)


def test_wrong_parameters_are_refused() -> None:
    for wrong in ({"test_share": 1.0}, {"image_size": 0}):
        with pytest.raises(ValueError):
            ImageFolder("pets", **wrong)  # type: ignore[arg-type]


def table_of(folder: Path, text: str) -> None:
    (folder / "pets" / "metadata.csv").write_text(text)


def test_groups_come_from_a_column_of_the_metadata(pets: Path) -> None:
    lines = [f"dog/{i}.png,{'land' if i % 3 else 'water'}" for i in range(8)]
    lines += [f"cat/{i}.PNG,{'land' if i else 'water'}" for i in range(4)]
    table_of(pets, "file_name,background\n" + "\n".join(reversed(lines)))
    domain = load(pets, group_column="background")
    assert domain.group_names == ("land", "water")
    for name, split in domain.splits.items():
        assert split.group is not None
        wet = [value % 100 % 3 == 0 if label else value == 100 for value, label in values(domain, name)]
        assert split.group.tolist() == wet
    assert domain_hash(domain) != domain_hash(load(pets))
    table_of(pets, "file_name,background\n" + "\n".join(lines).replace("dog/1.png,land", "dog/1.png,water"))
    assert domain_hash(load(pets, group_column="background")) != domain_hash(domain)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "metadata.csv"),
        ("file_name,place\n", "unknown column 'background'"),
        ("name,background\n", "unknown column 'file_name'"),
        ("file_name,background\ndog/0.png,land\n", "no line with 'background' for 'cat/"),
        ('file_name,background\n"', "no line with"),
        (b"file_name,background\n\xff\xfe", "cannot be read"),
    ],
)
def test_metadata_that_do_not_say_every_images_group_are_refused(pets: Path, text: Any, complaint: str) -> None:
    if text is not None:
        (pets / "pets" / "metadata.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=complaint):
        load(pets, group_column="background")
