"""Labels, scaling and paths: the small parts that the feature tables share."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from sklearn.preprocessing import normalize

from tlbench.data.cache import DataCache
from tlbench.data.files import content_hash, find
from tlbench.data.labels import number
from tlbench.data.scaling import scaled, scaling_note
from tlbench.errors import DataError


def test_numbers_are_ordered_by_size_and_texts_by_alphabet_over_all_splits() -> None:
    ids, names = number({"train": [10.0, 2.0, 10.0], "test": [-1.0]}, "set")
    assert names == ("-1", "2", "10")
    assert ids["train"].tolist() == [2, 1, 2]
    assert ids["test"].tolist() == [0]
    assert ids["train"].dtype == np.int64
    assert number({"train": ["b", "a"]}, "set").names == ("a", "b")
    assert number({"train": [True, False]}, "set").names == ("0", "1")


@pytest.mark.parametrize("wrong", [None, 0.5, float("nan"), [1]])
def test_what_is_no_label_is_named_with_its_row(wrong: object) -> None:
    with pytest.raises(DataError, match="set: the label in row 1 of 'train'"):
        number({"train": [0, wrong]}, "set")


def test_numbers_and_texts_do_not_mix() -> None:
    with pytest.raises(DataError, match="some labels are numbers"):
        number({"train": [0, "a"]}, "set")


def test_every_step_agrees_with_an_independent_library() -> None:
    rng = np.random.default_rng(0)
    xs = {"train": rng.random((20, 5)), "test": rng.random((10, 5)) + 1}
    both = {k: v.astype(np.float64) for k, v in xs.items()}
    assert np.allclose(scaled(xs, "l2")["test"], normalize(both["test"]), atol=1e-6)
    assert np.allclose(scaled(xs, "row-sum")["test"], normalize(both["test"], norm="l1"), atol=1e-6)
    assert np.allclose(scaled(xs, "log1p")["test"], np.log1p(both["test"]), atol=1e-6)
    assert np.allclose(scaled(xs, "zscore")["train"], scipy.stats.zscore(both["train"]), atol=1e-5)
    assert np.allclose(scaled(xs, "zscore")["test"], scipy.stats.zmap(both["test"], both["train"]), atol=1e-4)
    steps = scaled(xs, ("row-sum", "zscore"))
    assert np.allclose(steps["train"], scipy.stats.zscore(normalize(both["train"], norm="l1")), atol=1e-4)
    assert all(x.dtype == np.float32 for x in steps.values())
    assert scaling_note(("row-sum", "zscore")).index("sum") < scaling_note(("row-sum", "zscore")).index("z-score")


def test_rows_of_zeros_and_constant_features_stay_finite() -> None:
    xs = {"train": np.array([[0.0, 0.0], [0.0, 2.0]]), "test": np.zeros((1, 2))}
    for step in ("l2", "row-sum", "zscore", "log1p", "none"):
        assert all(np.isfinite(x).all() for x in scaled(xs, step).values())
    with pytest.raises(ValueError, match="log1p"):
        scaled({"train": np.array([[-1.0]])}, "log1p")


def test_a_path_is_looked_for_beside_the_suite_then_in_the_data_root_then_beside_it(tmp_path: Path) -> None:
    suite, root = tmp_path / "suite", tmp_path / "data" / "hub"
    suite.mkdir()
    root.mkdir(parents=True)
    cache = DataCache(tmp_path / "cache", root, suite)
    with pytest.raises(DataError) as caught:
        find(cache, "a.txt", "svmlight")
    for place in (suite, root, root.parent):
        assert str(place / "a.txt") in str(caught.value)
    for place in (root.parent, root, suite):
        (place / "a.txt").touch()
        assert find(cache, "a.txt", "svmlight") == place / "a.txt"


def test_the_hash_of_files_sees_names_and_contents_and_not_the_folder(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "f").write_text("same")
    first = content_hash([("f", tmp_path / "one" / "f")])
    assert content_hash([("f", tmp_path / "two" / "f")]) == first
    assert content_hash([("g", tmp_path / "one" / "f")]) != first
    (tmp_path / "one" / "f").write_text("diff")
    assert content_hash([("f", tmp_path / "one" / "f")]) != first
