"""Text tables: one-hot columns, parts of a file as domains, and what is wrong with a file or a request."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder

from tlbench.builtin.csv_table import CsvTable
from tlbench.data.cache import DataCache, domain_hash
from tlbench.errors import DataError
from tlbench.testing import check_dataset

TABLE = """class, colour, weight, place, odd
yes, red, 1.5, here, ?
no, blue, 2, here, a
yes, green, -3, there, a
no, red, 4e1, there, b
yes, blue, 5, here, ?
no, green, 6, there, b
yes, red, 7, there, b
no, blue, 8, here, a
"""


def cache_in(folder: Path, data_root: Path | None = None, limit: int | None = None) -> DataCache:
    return DataCache(folder / "cache", data_root, folder, limit)


def load(folder: Path, text: str = TABLE, **parameters: Any) -> Any:
    (folder / "a.csv").write_text(text)
    return CsvTable("a.csv", **{"class_column": "class", "test_share": 0.25, **parameters}).load(cache_in(folder))


def rows_of(domain: Any) -> list[tuple[float, ...]]:
    return sorted((*x, y) for s in domain.splits.values() for x, y in zip(s.x.tolist(), s.y.tolist(), strict=True))


def test_the_contract_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(TABLE)
    check_dataset(CsvTable(str(path), class_column="class"))


def test_numbers_stay_and_texts_become_one_hot(tmp_path: Path) -> None:
    domain = load(tmp_path)
    assert domain.label_names == ("no", "yes")
    assert domain.shape.dims == (3 + 1 + 2 + 3,)
    table = pd.read_csv(tmp_path / "a.csv", skipinitialspace=True)
    texts = OneHotEncoder(sparse_output=False).fit_transform(table[["colour", "place", "odd"]])
    expected = np.column_stack([texts[:, :3], table["weight"], texts[:, 3:], (table["class"] == "yes")])
    assert rows_of(domain) == sorted(map(tuple, expected.astype(np.float32).tolist()))
    assert "3 of 4 columns one-hot, 9 features" in domain.notes
    assert [len(s) for s in domain.splits.values()] == [6, 2]


def test_parts_of_a_file_have_the_same_features_and_leave_out_what_parts_them(tmp_path: Path) -> None:
    here, there = (load(tmp_path, where={"place": place}) for place in ("here", "there"))
    assert here.name == "a.csv[place=here]"
    assert here.shape == there.shape
    assert here.shape.dims == (3 + 1 + 3,)
    whole = load(tmp_path, columns=("colour", "weight", "odd"))
    assert sorted(rows_of(here) + rows_of(there)) == rows_of(whole)
    assert domain_hash(here) != domain_hash(there)
    assert domain_hash(load(tmp_path, where={"place": "here"})) == domain_hash(here)


def test_only_the_columns_asked_for_are_features(tmp_path: Path) -> None:
    assert load(tmp_path, columns=("weight",)).shape.dims == (1,)
    assert load(tmp_path, TABLE.replace(",", ";"), separator=";", columns=("odd",)).shape.dims == (3,)


def test_features_are_scaled_by_the_training_rows(tmp_path: Path) -> None:
    domain = load(tmp_path, columns=("weight",), scaling="zscore")
    assert float(domain.splits["train"].x.mean()) == pytest.approx(0, abs=1e-6)
    with pytest.raises(DataError, match="log1p needs values above -1"):
        load(tmp_path, columns=("weight",), scaling="log1p")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"class_column": "clas"}, "unknown column 'clas'.*Did you mean 'class'"),
        ({"columns": ("colours",)}, "unknown column 'colours'.*Did you mean 'colour'"),
        ({"where": {"plaze": "here"}}, "unknown column 'plaze'"),
        ({"where": {"place": "hera"}}, "unknown value of 'place' 'hera'.*Did you mean 'here'"),
        ({"where": {"place": "here", "colour": "green"}}, "no line has all of"),
    ],
)
def test_what_is_not_in_the_file_is_named_with_what_is(tmp_path: Path, parameters: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(tmp_path, **parameters)


@pytest.mark.parametrize("text", ["", 'a,b\n1,"2\n', "class,b\n1,2\n1,2,3,4\n"])
def test_a_file_that_is_no_table_is_an_error_with_its_path(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"a\.csv"):
        load(tmp_path, text)


def test_a_table_too_large_for_memory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TABLE)
    with pytest.raises(DataError, match="one-hot needs"):
        CsvTable("a.csv", class_column="class").load(cache_in(tmp_path, limit=10))


@pytest.mark.parametrize(
    "wrong", [{"test_share": 1.0}, {"separator": ", "}, {"columns": ("class",)}, {"where": {"class": "yes"}}]
)
def test_wrong_parameters_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        CsvTable("a.csv", **{"class_column": "class", **wrong})


@pytest.mark.shared_data
def test_mushrooms_split_by_stalk_shape(shared_data: Path, tmp_path: Path) -> None:
    file = "features/mushroom/agaricus-lepiota.data"
    parts = {
        shape: CsvTable(file, class_column="class", where={"stalk-shape": shape}).load(
            cache_in(tmp_path, shared_data / "hub")
        )
        for shape in ("t", "e")
    }
    assert {shape: sum(map(len, d.splits.values())) for shape, d in parts.items()} == {"t": 4608, "e": 3516}
    assert all(domain.label_names == ("e", "p") for domain in parts.values())
    assert parts["t"].shape == parts["e"].shape
    edible = sum(int((split.y == 0).sum()) for domain in parts.values() for split in domain.splits.values())
    assert edible == 4208


def test_a_column_of_groups_goes_beside_the_labels_and_not_among_the_features(tmp_path: Path) -> None:
    domain = load(tmp_path, group_column="place", columns=("weight",))
    assert domain.group_names == ("here", "there")
    table = pd.read_csv(tmp_path / "a.csv", skipinitialspace=True)
    place = dict(zip(table["weight"].astype(np.float32), table["place"] == "there", strict=True))
    for split in domain.splits.values():
        assert split.group is not None
        assert split.group.tolist() == [place[w] for w in split.x[:, 0]]  # type: ignore[call-overload]
    assert load(tmp_path, group_column="place").shape.dims == (3 + 1 + 3,)  # all others, without class and place
    check_dataset(CsvTable(str(tmp_path / "a.csv"), class_column="class", group_column="place"))


def test_groups_are_part_of_the_content(tmp_path: Path) -> None:
    names = ("place", "odd", None)
    assert len({domain_hash(load(tmp_path, columns=("weight",), group_column=name)) for name in names}) == 3


def test_a_wrong_column_of_groups_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown column 'palce'"):
        load(tmp_path, group_column="palce")
    with pytest.raises(ValueError, match="it makes no groups"):
        load(tmp_path, group_column="place", where={"place": "here"})
