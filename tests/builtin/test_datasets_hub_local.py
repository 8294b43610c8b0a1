"""The data set ``hub`` from folders: known answers on real data, columns, filters, caps and errors."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import datasets
import numpy as np
import pytest
from PIL import Image

from tlbench.api.data import Domain
from tlbench.builtin.hub import Hub
from tlbench.data import images
from tlbench.data.cache import DataCache, domain_hash
from tlbench.errors import DataError


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests of this file, so that each real set is decoded once."""
    return tmp_path_factory.mktemp("cache")


def counts(domain: Domain, split: str) -> list[int]:
    return np.bincount(domain.splits[split].y, minlength=domain.num_classes).tolist()


def whole(domain: Domain) -> list[int]:
    return np.sum([counts(domain, split) for split in domain.splits], axis=0).tolist()


MNIST = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
USPS = [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
USPS_TEST = [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
CIFAR = [299, 287, 322, 285, 311, 279, 312, 297, 308, 300]
CIFAR_TEST = [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]


@pytest.mark.shared_data
def test_the_training_splits_own_name_sets_a_quarter_of_it_apart(shared_data: Path, kept: Path) -> None:
    """Where there is a split ``test`` too, this is how to leave it alone."""
    hub = Hub(id="tlbench/kannada-mnist", train="dig", test="dig")
    domain = hub.load(DataCache(kept, shared_data / "hub", kept))
    assert counts(domain, "train") == [768] * 10
    assert counts(domain, "test") == [256] * 10


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("params", "shape", "train", "test"),
    [
        ({"id": "ylecun/mnist"}, (1, 28, 28), MNIST, MNIST_TEST),
        ({"id": "flwrlabs/usps"}, (1, 16, 16), USPS, USPS_TEST),
        ({"id": "uoft-cs/cifar10"}, (3, 32, 32), CIFAR, CIFAR_TEST),
        ({"id": "tlbench/hymenoptera", "test": "val"}, (3, 128, 128), [123, 121], [70, 83]),
        ({"id": "tlbench/kannada-mnist", "train": "test", "test": "dig"}, (1, 28, 28), [1000] * 10, [1024] * 10),
    ],
)
def test_given_splits_have_the_known_counts(
    shared_data: Path, kept: Path, params: dict[str, Any], shape: tuple[int, ...], train: list[int], test: list[int]
) -> None:
    domain = Hub(**params).load(DataCache(kept, shared_data / "hub", kept))
    assert domain.shape.dims == shape
    assert counts(domain, "train") == train
    assert counts(domain, "test") == test
    assert "given split" in domain.notes
    assert "/" not in domain.source.replace(params["id"], "")


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("params", "shape", "known"),
    [
        ({"id": "tlbench/mnist-m", "train": "test"}, (3, 32, 32), [878, 1016, 933, 908, 890, 807, 856, 914, 880, 919]),
        ({"id": "flwrlabs/pacs"}, (3, 64, 64), [1729, 1654, 1566, 1113, 1540, 943, 1446]),
        ({"id": "tlbench/flowers5"}, (3, 128, 128), [764, 1052, 780, 731, 980]),
        (
            {"id": "tlbench/awa1-lss", "config": "lss", "features": ("features",)},
            (2000,),
            [100] * 11 + [92] + [100] * 38,
        ),
    ],
)
def test_made_splits_add_up_to_the_known_counts(
    shared_data: Path, kept: Path, params: dict[str, Any], shape: tuple[int, ...], known: list[int]
) -> None:
    domain = Hub(**params).load(DataCache(kept, shared_data / "hub", kept))
    assert domain.shape.dims == shape
    assert whole(domain) == known
    assert counts(domain, "test") == [round(0.25 * n) for n in known]
    assert "set aside" in domain.notes


@pytest.mark.shared_data
def test_labels_stand_beside_their_images_in_the_order_of_the_file(shared_data: Path, kept: Path) -> None:
    mnist = Hub("ylecun/mnist").load(DataCache(kept, shared_data / "hub", kept))
    assert mnist.splits["train"].y[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert mnist.splits["test"].y[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    raw = datasets.load_dataset(str(shared_data / "hub/ylecun/mnist"), split="test", cache_dir=str(kept / "reference"))
    x = mnist.splits["test"].x
    assert isinstance(x, np.ndarray)
    for row in (0, 1, 9999):
        assert np.array_equal(x[row, 0], np.asarray(raw[row]["image"]))


@pytest.mark.shared_data
@pytest.mark.parametrize(("domain", "rows"), [("photo", 1670), ("art_painting", 2048)])
def test_a_filter_takes_one_domain_of_many(shared_data: Path, kept: Path, domain: str, rows: int) -> None:
    loaded = Hub("flwrlabs/pacs", where={"domain": domain}).load(DataCache(kept, shared_data / "hub", kept))
    assert sum(len(split) for split in loaded.splits.values()) == rows
    assert loaded.num_classes == 7
    with pytest.raises(DataError, match="Did you mean 'photo'"):
        Hub("flwrlabs/pacs", where={"domain": "foto"}).load(DataCache(kept, shared_data / "hub", kept))


@pytest.mark.shared_data
def test_nothing_is_written_beside_the_data_nor_left_in_the_cache_but_arrays(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "hub"
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    Hub("tlbench/hymenoptera", test="val").load(DataCache(tmp_path / "cache", root, tmp_path))
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["arrays"]


# ---- a small set of one's own --------------------------------------------------------------------


def pixels(row: int) -> np.ndarray:
    return np.full((4, 4), row, dtype=np.uint8)


def png(row: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(row)).save(out, "PNG")
    return out.getvalue()


def columns(rows: range) -> dict[str, list[Any]]:
    return {
        "image": [{"bytes": png(i), "path": None} for i in rows],
        "label": [i % 3 for i in rows],
        "text": [f"t{i % 2}" for i in rows],
        "grade": [i % 3 + 7 for i in rows],
        "pair": [[float(i), -float(i)] for i in rows],
        "ragged": [[1.0] * (1 + i % 2) for i in rows],
        "hidden": [-1 for _ in rows],
    }


TYPES: dict[str, Any] = {
    "image": datasets.Image(),
    "label": datasets.ClassLabel(names=["ant", "bee", "cat"]),
    "text": datasets.Value("string"),
    "grade": datasets.Value("int16"),
    "pair": datasets.List(datasets.Value("float32")),
    "ragged": datasets.List(datasets.Value("float32")),
    "hidden": datasets.ClassLabel(names=["x"]),
}


def write(folder: Path, splits: Mapping[str, range], keep: tuple[str, ...] = tuple(TYPES), **other: list[Any]) -> Path:
    datasets.disable_progress_bars()
    (folder / "data").mkdir(parents=True)
    for split, rows in splits.items():
        table = {name: values for name, values in {**columns(rows), **other}.items() if name in keep}
        features = datasets.Features({name: TYPES[name] for name in keep})
        datasets.Dataset.from_dict(table, features=features).to_parquet(
            folder / "data" / f"{split}-00000-of-00001.parquet"
        )
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A data root with ``me/small``: 60 training and 12 test rows; a row's pixels and numbers tell its number."""
    write(tmp_path / "root" / "me" / "small", {"train": range(60), "test": range(60, 72)})
    return tmp_path / "root"


def load(root: Path | None, folder: Path, **params: Any) -> Domain:
    return Hub(**{"id": "me/small", "label_column": "label", **params}).load(DataCache(folder / "cache", root, folder))


def rows_of(domain: Domain, split: str) -> list[int]:
    x = domain.splits[split].x
    assert isinstance(x, np.ndarray)
    return (x[:, 0, 0, 0] if x.ndim == 4 else x[:, 0].astype(int)).tolist()


def test_rows_keep_their_labels_and_splits_share_no_memory(small: Path, tmp_path: Path) -> None:
    domain = load(small, tmp_path)
    assert rows_of(domain, "train") == list(range(60))
    assert rows_of(domain, "test") == list(range(60, 72))
    for split in domain.splits.values():
        assert isinstance(split.x, np.ndarray)
        assert split.y.tolist() == [i % 3 for i in split.x[:, 0, 0, 0].tolist()]
    x = [split.x for split in domain.splits.values()]
    assert not np.shares_memory(x[0], x[1])  # type: ignore[arg-type]
    assert domain.label_names == ("ant", "bee", "cat")


def test_a_second_load_decodes_nothing_and_a_changed_file_is_decoded_again(small: Path, tmp_path: Path) -> None:
    with mock.patch.object(images, "_pixels", wraps=images._pixels) as decoded:
        first = load(small, tmp_path)
        assert decoded.call_count == 72
        assert domain_hash(load(small, tmp_path)) == domain_hash(first)
        assert decoded.call_count == 72
        shutil.rmtree(small / "me")
        write(small / "me" / "small", {"train": range(60), "test": range(61, 73)})
        assert rows_of(load(small, tmp_path), "test") == list(range(61, 73))


def test_only_the_rows_that_are_used_are_decoded(small: Path, tmp_path: Path) -> None:
    with mock.patch.object(images, "_pixels", wraps=images._pixels) as decoded:
        load(small, tmp_path, max_train=9, max_test=3)
    assert decoded.call_count == 12


def test_the_data_are_the_same_wherever_they_and_the_cache_lie(small: Path, tmp_path: Path) -> None:
    here = load(small, tmp_path, train="test", max_train=6)
    shutil.copytree(small, tmp_path / "elsewhere")
    code = (
        "import json, sys; from pathlib import Path; from tlbench.builtin.hub import Hub;"
        "from tlbench.data.cache import DataCache, domain_hash; f = Path(sys.argv[1]);"
        "print(domain_hash(Hub('me/small', train='test', label_column='label', max_train=6)"
        ".load(DataCache(f / 'c', f / 'elsewhere', f))))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONHASHSEED": "9"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, check=True)
    assert done.stdout.decode().strip() == domain_hash(here)


def test_caps_keep_the_classes_even_and_are_stated(small: Path, tmp_path: Path) -> None:
    domain = load(small, tmp_path, max_train=9)
    assert counts(domain, "train") == [3, 3, 3]
    assert rows_of(domain, "test") == list(range(60, 72))
    assert "train capped to 9 of 60" in domain.notes


def test_a_made_test_split_and_a_validation_split_do_not_overlap(tmp_path: Path) -> None:
    write(tmp_path / "root" / "me" / "small", {"train": range(60), "validation": range(60, 66)})
    domain = load(tmp_path / "root", tmp_path, validation="validation")
    train, test = rows_of(domain, "train"), rows_of(domain, "test")
    assert sorted(train + test) == list(range(60))
    assert counts(domain, "test") == [5, 5, 5]
    assert rows_of(domain, "validation") == list(range(60, 66))


def test_numbers_of_several_columns_stand_side_by_side(small: Path, tmp_path: Path) -> None:
    domain = load(small, tmp_path, features=("pair", "grade"))
    x = domain.splits["test"].x
    assert isinstance(x, np.ndarray)
    assert x.dtype == np.float32
    assert x.tolist() == [[i, -i, i % 3 + 7] for i in range(60, 72)]
    assert domain.kind == "features"


def test_a_feature_filter_and_labels_of_any_column(small: Path, tmp_path: Path) -> None:
    domain = load(small, tmp_path, label_column="grade", where={"text": "t1", "label": "bee"})
    assert rows_of(domain, "test") == [i for i in range(60, 72) if i % 2 == 1 and i % 3 == 1]
    assert domain.label_names == ("8",)


def test_columns_are_found_by_type_then_by_name(tmp_path: Path) -> None:
    write(tmp_path / "root" / "me" / "small", {"train": range(12)}, keep=("text", "image", "hidden"), hidden=[0] * 12)
    assert load(tmp_path / "root", tmp_path, label_column=None).label_names == ("x",)
    write(tmp_path / "two" / "me" / "small", {"train": range(12)}, keep=("image", "hidden", "label"))
    assert load(tmp_path / "two", tmp_path, label_column=None).label_names == ("ant", "bee", "cat")


def test_a_local_folder_is_named_by_its_path(small: Path, tmp_path: Path) -> None:
    named = load(None, tmp_path, id="./root/me/small")
    assert named.name == "small"
    assert rows_of(named, "test") == list(range(60, 72))
    assert rows_of(load(None, tmp_path, id=str(small / "me/small")), "test") == list(range(60, 72))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"train": "trian"}, ["unknown split 'trian'", "'train'", "train: ..."]),
        ({"image_column": "imgae"}, ["unknown column 'imgae'", "'image'"]),
        ({"where": {"txt": "t1"}}, ["unknown column 'txt'", "'text'"]),
        ({"where": {"text": "t1", "grade": 70}}, ["value of column 'grade'", "7, 8, 9"]),
        ({"features": ("ragged",)}, ["no common length"]),
        ({"features": ("text",)}, ["'text' is not numeric"]),
        ({"label_column": "hidden"}, ["rows without a label", "name another split"]),
        ({"label_column": "pair"}, ["not a whole number"]),
        ({"config": "plain"}, ["unknown config 'plain'", "default"]),
        ({"id": "../nowhere"}, ["there is no '../nowhere'"]),
        ({"id": "a b"}, ["neither 'owner/name' nor a path"]),
    ],
)
def test_what_is_wrong_is_said_with_what_there_is(
    small: Path, tmp_path: Path, params: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        load(small, tmp_path, **params)
    for word in words:
        assert word in str(caught.value)


def test_a_set_without_images_or_labels_lists_its_columns(tmp_path: Path) -> None:
    write(tmp_path / "root" / "me" / "small", {"train": range(12)}, keep=("text", "grade"))
    with pytest.raises(DataError, match=r"no column of labels.*text \(Value\), grade \(Value\)"):
        load(tmp_path / "root", tmp_path, label_column=None)
    with pytest.raises(DataError, match=r"no column of images.*features: \[...\].*text \(Value\)"):
        load(tmp_path / "root", tmp_path, label_column="grade")


def test_a_corrupt_image_is_named_with_set_split_and_row(tmp_path: Path) -> None:
    images = [{"bytes": png(i) if i != 3 else png(i)[:40], "path": None} for i in range(12)]
    write(tmp_path / "root" / "me" / "small", {"train": range(12), "test": range(12)}, image=images)
    with pytest.raises(DataError, match=r"me/small, split 'train', row 3: the image cannot be read"):
        load(tmp_path / "root", tmp_path)


def test_a_corrupt_parquet_file_is_an_error_of_the_data(small: Path, tmp_path: Path) -> None:
    next((small / "me" / "small").rglob("train*.parquet")).write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DataError, match="me/small"):
        load(small, tmp_path)


def test_too_little_memory_is_said_before_decoding_where_the_disk_cannot_be_written(
    small: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    cache = DataCache(tmp_path / "cache", small, tmp_path, memory_limit=500)
    with pytest.raises(DataError, match=r"me/small, split 'train' \(60 images\) needs"):
        Hub("me/small", label_column="label").load(cache)


@pytest.mark.parametrize(
    "wrong",
    [
        {"validation": "train"},
        {"image_column": "a", "features": ("b",)},
        {"features": ()},
        {"max_train": 0},
        {"image_size": 0},
    ],
)
def test_parameters_that_contradict_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|not both"):
        Hub("me/small", **wrong)


def test_no_path_of_the_machine_gets_into_what_records_keep(small: Path, tmp_path: Path) -> None:
    domain = load(small, tmp_path)
    assert str(tmp_path) not in domain.source + domain.notes + domain.name + domain.licence


def test_a_column_of_groups_goes_with_its_rows(small: Path, tmp_path: Path) -> None:
    for params in ({}, {"max_train": 20}, {"classes": ("cat", "ant")}, {"where": {"grade": 8}}):
        domain = load(small, tmp_path, group_column="text", **params)
        assert domain.group_names == ("t0", "t1")
        for name, split in domain.splits.items():
            assert split.group is not None
            assert split.group.tolist() == [row % 2 for row in rows_of(domain, name)]
    assert load(small, tmp_path).splits["test"].group is None
    with pytest.raises(DataError, match="unknown column 'txt'"):
        load(small, tmp_path, group_column="txt")
