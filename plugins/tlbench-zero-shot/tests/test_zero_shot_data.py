"""The data sets that bring descriptions of their classes."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tlbench_zero_shot.awa import AwA1
from tlbench_zero_shot.digits_attributes import DigitsAttributes, described
from tlbench_zero_shot.splits import stratified

from tlbench.builtin.digits import Digits
from tlbench.data.cache import DataCache
from tlbench.data.splits import split_rows
from tlbench.errors import DataError
from tlbench.testing import check_dataset

if TYPE_CHECKING:
    from pathlib import Path


def _cache(folder: Path, root: Path | None = None) -> DataCache:
    return DataCache(folder, root, folder, None)


# ---- digits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["seen", "unseen", "all"])
def test_digits_keep_the_contract_of_data_sets(part: str) -> None:
    domain = check_dataset(DigitsAttributes(part=part))  # type: ignore[arg-type]
    assert domain.class_attributes is not None
    assert domain.class_attributes.shape == (domain.num_classes, 12)


def test_seen_and_unseen_digits_are_all_digits_and_none_twice(tmp_path: Path) -> None:
    seen, unseen = (DigitsAttributes(part=p).load(_cache(tmp_path)) for p in ("seen", "unseen"))  # type: ignore[arg-type]
    assert seen.label_names == ("0", "1", "2", "4", "5", "7", "8")
    assert unseen.label_names == ("3", "6", "9")
    assert seen.name != unseen.name


def test_the_test_images_are_those_of_the_data_set_digits(tmp_path: Path) -> None:
    ours, theirs = DigitsAttributes(part="all").load(_cache(tmp_path)), Digits().load(_cache(tmp_path))
    for split in ("train", "test"):
        assert np.array_equal(ours.splits[split].x, theirs.splits[split].x)
        assert np.array_equal(ours.splits[split].y, theirs.splits[split].y)


def test_the_split_is_the_hosts() -> None:
    y = np.random.default_rng(0).integers(5, size=200)
    for share in (0.1, 0.25, 0.5):
        for ours, theirs in zip(stratified(y, "a name", share), split_rows(y, "a name", share), strict=True):
            assert np.array_equal(ours, theirs)


def test_the_display_lights_what_everyone_knows() -> None:
    segments = described("segments")
    assert segments[8].tolist() == [1] * 7
    assert segments[1].tolist() == [0, 1, 1, 0, 0, 0, 0]
    assert segments.sum(1).tolist() == [6, 2, 5, 5, 4, 5, 6, 3, 7, 6]
    assert (segments[8] - segments[0]).tolist() == [0, 0, 0, 0, 0, 0, 1]  # the middle bar
    assert (segments[8] - segments[6]).tolist() == [0, 1, 0, 0, 0, 0, 0]  # upper right
    assert (segments[8] - segments[9]).tolist() == [0, 0, 0, 0, 1, 0, 0]  # lower left


@pytest.mark.parametrize("attributes", ["segments", "all"])
def test_no_two_digits_are_described_alike(attributes: str) -> None:
    assert len({tuple(row) for row in described(attributes).tolist()}) == 10


@pytest.mark.parametrize("unseen", [(1,), (1, 1), (3, 10), tuple(range(9))])
def test_impossible_unseen_digits_are_refused(unseen: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="unseen must be"):
        DigitsAttributes(unseen=unseen)


# ---- animals -------------------------------------------------------------------------------------


def test_animals_have_the_counts_of_the_official_split(shared_data: Path, tmp_path: Path) -> None:
    seen = check_dataset(AwA1(test_share=1.0), data_root=shared_data / "hub")
    unseen = check_dataset(AwA1(part="unseen"), data_root=shared_data)  # the parent of the hub folder will do
    assert len(seen.splits["train"]) == 3992
    assert len(unseen.splits["test"]) == 1000
    assert set(Counter(unseen.splits["test"].y.tolist()).values()) == {100}
    counts = Counter(seen.splits["train"].y.tolist())
    assert counts[seen.label_names.index("mole")] == 92
    assert sorted(counts.values())[1] == 100
    assert set(unseen.label_names) == {  # Lampert et al. 2009, the test classes
        "chimpanzee", "giant+panda", "leopard", "persian+cat", "pig", "hippopotamus", "humpback+whale", "raccoon",
        "rat", "seal",
    }  # fmt: skip
    assert not set(seen.label_names) & set(unseen.label_names)
    assert seen.whole
    assert unseen.whole
    np.testing.assert_allclose((np.asarray(seen.splits["train"].x) ** 2).sum(1), 1, rtol=1e-4)


def test_a_fifth_of_each_seen_class_is_for_testing(shared_data: Path, tmp_path: Path) -> None:
    seen = AwA1().load(_cache(tmp_path, shared_data / "hub"))
    assert not seen.whole
    assert set(Counter(seen.splits["test"].y.tolist()).values()) == {20, 18}
    assert len(seen.splits["train"]) + len(seen.splits["test"]) == 3992
    together = np.concatenate([seen.splits["train"].x, seen.splits["test"].x])
    assert len(np.unique(together, axis=0)) > 3900  # no image in both


def test_binary_attributes_are_the_continuous_ones_above_their_mean(shared_data: Path, tmp_path: Path) -> None:
    binary, degrees = (
        np.asarray(AwA1(part="all", attributes=a).load(_cache(tmp_path, shared_data / "hub")).class_attributes)
        for a in ("binary", "continuous")
    )
    assert binary.shape == degrees.shape == (50, 85)
    assert degrees.min() == 0
    assert degrees.max() == 1
    assert set(np.unique(binary)) == {0, 1}
    assert np.array_equal(binary, degrees > degrees.mean())


def test_the_other_splits_hold_out_each_class_once(shared_data: Path, tmp_path: Path) -> None:
    cache = _cache(tmp_path, shared_data / "hub")
    everything = AwA1(part="all").load(cache)
    parts = [AwA1(part="unseen", split=s).load(cache) for s in range(1, 6)]
    assert sum((p.label_names for p in parts), ()) == everything.label_names
    assert len({p.name for p in parts}) == 5
    for s, part in enumerate(parts):
        np.testing.assert_array_equal(
            np.asarray(part.class_attributes), np.asarray(everything.class_attributes)[10 * s : 10 * s + 10]
        )


def test_counts_and_shares_are_there_as_well(shared_data: Path, tmp_path: Path) -> None:
    cache = _cache(tmp_path, shared_data / "hub")
    counts, shares = (
        np.asarray(AwA1(part="unseen", features=f).load(cache).splits["test"].x) for f in ("counts", "l1")
    )  # type: ignore[arg-type]
    assert np.array_equal(counts, counts.round())
    np.testing.assert_allclose(shares, counts / counts.sum(1, keepdims=True), rtol=1e-5)


def test_a_folder_that_is_not_there_is_named_with_what_was_tried(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder 'tlbench/awa1-lss'.*--data-root"):
        AwA1().load(_cache(tmp_path))


def test_a_file_that_is_missing_or_damaged_is_named(shared_data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "awa"
    shutil.copytree(shared_data / "hub" / "tlbench" / "awa1-lss", copy)
    for folder in (copy, *copy.iterdir()):
        folder.chmod(0o755)
    file = copy / "lss" / "train-00000-of-00001.parquet"
    file.unlink()
    with pytest.raises(DataError, match=r"train-00000-of-00001.parquet is missing"):
        AwA1(folder=str(copy)).load(_cache(tmp_path))
    file.write_bytes(b"no table")
    with pytest.raises(DataError, match="cannot be read"):
        AwA1(folder=str(copy)).load(_cache(tmp_path))


@pytest.mark.parametrize(("parameter", "value"), [("test_share", 0.0), ("test_share", 1.5), ("split", 6)])
def test_impossible_parameters_of_the_animals_are_refused(parameter: str, value: float) -> None:
    with pytest.raises(ValueError, match=parameter):
        AwA1(**{parameter: value})  # type: ignore[arg-type]
