"""Feature files: svmlight and .mat, against known answers and independent readers."""

import gzip
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import scipy.stats
from sklearn.datasets import dump_svmlight_file, load_svmlight_file
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from tlbench.api.data import Domain
from tlbench.builtin.tables import Mat, Svmlight
from tlbench.data.cache import DataCache, domain_hash
from tlbench.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 5, (40, 6)).astype(np.float32)
Y = np.arange(40) % 2 * 2 - 1


def cache_in(folder: Path, data_root: Path | None = None, limit: int | None = None) -> DataCache:
    return DataCache(folder / "cache", data_root, folder, limit)


def together(domain: Domain) -> tuple[np.ndarray, np.ndarray]:
    x = [split.x for split in domain.splits.values()]
    return np.concatenate(x), np.concatenate([split.y for split in domain.splits.values()])  # type: ignore[arg-type]


def as_rows(x: np.ndarray, y: np.ndarray) -> list[tuple[float, ...]]:
    return sorted((*row, label) for row, label in zip(x.tolist(), y.tolist(), strict=True))


@pytest.mark.shared_data
def test_nearest_neighbours_on_office_caltech_give_the_published_accuracies(shared_data: Path, tmp_path: Path) -> None:
    """Each domain whole, each row over its sum, z-scores of each domain: as published."""
    domains = {}
    for letter, name in {"C": "Caltech10", "A": "amazon", "W": "webcam", "D": "dslr"}.items():
        file = f"features/office_caltech10_surf/{name}_SURF_L10.mat"
        loaded = Mat(file, x="fts", y="labels", split="whole", scaling=("row-sum", "zscore")).load(
            cache_in(tmp_path, shared_data / "hub")
        )
        assert loaded.label_names == tuple(str(n) for n in range(1, 11))
        domains[letter] = loaded.splits
    known = dict(zip(
        ["CA", "CW", "CD", "AC", "AW", "AD", "WC", "WA", "WD", "DC", "DA", "DW"],
        [23.70, 25.76, 25.48, 26.00, 29.83, 25.48, 19.86, 22.96, 59.24, 26.27, 28.50, 63.39], strict=True,
    ))  # fmt: skip
    for source, target in permutations("CAWD", 2):
        train, test = domains[source]["train"], domains[target]["test"]
        model = KNeighborsClassifier(1).fit(np.asarray(train.x, dtype=np.float64), train.y)
        assert round(100 * model.score(np.asarray(test.x, dtype=np.float64), test.y), 2) == known[source + target]


@pytest.mark.shared_data
def test_amazon_reviews_are_read_as_the_known_answers_were(shared_data: Path, tmp_path: Path) -> None:
    folder = "features/amazon_reviews_bow"
    domain = Svmlight(
        f"{folder}/books_train.svmlight.gz", test=f"{folder}/dvd_test.svmlight.gz", num_features=5000, first_index=0
    ).load(cache_in(tmp_path, shared_data / "hub"))
    assert [len(split) for split in domain.splits.values()] == [2000, 3586]
    for split, name in (("train", "books_train"), ("test", "dvd_test")):
        x, y = load_svmlight_file(str(shared_data / folder / f"{name}.svmlight.gz"), n_features=5000)
        assert np.array_equal(domain.splits[split].x, x.toarray().astype(np.float32))
        assert np.array_equal(np.array(domain.label_names)[domain.splits[split].y].astype(float), y)
    # Known: logistic regression, C from 1e-5 to 1 chosen on the last tenth of the source, fitted on the rest: 80.3 %.
    (x, y), (other, labels) = ((np.asarray(s.x), s.y) for s in domain.splits.values())
    models = [LogisticRegression(C=10.0**c, max_iter=300).fit(x[:1800], y[:1800]) for c in range(-5, 1)]
    chosen = max(models, key=lambda model: model.score(x[1800:], y[1800:]))
    assert round(100 * chosen.score(other, labels), 1) == 80.3


@pytest.mark.shared_data
def test_the_landmine_tasks_are_cells_of_one_file(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "features/landmine/LandmineData.mat"
    raw = scipy.io.loadmat(path)
    rows = positive = 0
    for cell in range(29):
        domain = Mat(str(path), x="feature", y="label", cell=cell).load(cache_in(tmp_path))
        x, y = together(domain)
        rows, positive = rows + len(y), positive + int(y.sum())
        if cell in (0, 28):
            expected = as_rows(raw["feature"][0, cell].astype(np.float32), raw["label"][0, cell].ravel())
            assert as_rows(x, y) == expected
    assert (rows, positive) == (14_820, 904)
    with pytest.raises(DataError, match=r"cell array of 29.*cell: 0 to 28"):
        Mat(str(path), x="feature", y="label").load(cache_in(tmp_path))
    with pytest.raises(DataError, match="cells 0 to 28, not 29"):
        Mat(str(path), x="feature", y="label", cell=29).load(cache_in(tmp_path))


def svm_file(path: Path, x: np.ndarray = X, y: np.ndarray = Y, zero_based: bool = False) -> Path:
    dump_svmlight_file(x, y, str(path), zero_based=zero_based)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    return path


@pytest.mark.parametrize("name", ["a.svmlight", "a.svmlight.gz"])
def test_an_svmlight_file_comes_back_row_for_row(tmp_path: Path, name: str) -> None:
    svm_file(tmp_path / name)
    domain = Svmlight(name).load(cache_in(tmp_path))
    assert domain.label_names == ("-1", "1")
    assert domain.shape.dims == (6,)
    x, y = together(domain)
    assert as_rows(x, y * 2 - 1) == as_rows(X, Y)
    assert len(domain.splits["test"]) == 10
    assert not np.shares_memory(domain.splits["train"].x, domain.splits["test"].x)  # type: ignore[arg-type]
    again = Svmlight(name).load(DataCache(tmp_path / "another cache", None, tmp_path))
    assert domain_hash(again) == domain_hash(domain)


def test_a_test_file_is_never_touched_and_has_the_width_of_the_widest(tmp_path: Path) -> None:
    svm_file(tmp_path / "a")
    svm_file(tmp_path / "b", np.eye(9, dtype=np.float32), np.array([1, -1, 3] * 3))
    domain = Svmlight("a", test="b").load(cache_in(tmp_path))
    assert np.array_equal(domain.splits["test"].x, np.eye(9))
    assert np.array_equal(domain.splits["train"].x, np.pad(X, ((0, 0), (0, 3))))
    assert domain.label_names == ("-1", "1", "3")
    assert Svmlight("a", num_features=20).load(cache_in(tmp_path)).shape.dims == (20,)


def test_scaling_uses_the_training_rows_and_says_so(tmp_path: Path) -> None:
    svm_file(tmp_path / "a")
    plain, scaled = (Svmlight("a", scaling=s).load(cache_in(tmp_path)) for s in ("none", ("log1p", "zscore")))
    train, test = (np.log1p(np.asarray(plain.splits[s].x, dtype=np.float64)) for s in ("train", "test"))
    assert np.allclose(scaled.splits["test"].x, scipy.stats.zmap(test, train), atol=1e-4)  # type: ignore[arg-type]
    assert "training rows" in scaled.notes


@pytest.mark.parametrize("writable", [True, False])
def test_a_whole_domain_has_all_rows_twice_in_memory_of_their_own(tmp_path: Path, writable: bool) -> None:
    svm_file(tmp_path / "a")
    scipy.io.savemat(tmp_path / "m.mat", {"x": X, "y": Y})
    if not writable:
        (tmp_path / "cache").write_text("a file where the cache's folder should be")
    for dataset in (Svmlight("a", split="whole"), Mat("m.mat", split="whole")):
        domain = dataset.load(cache_in(tmp_path))
        assert domain.whole
        train, test = domain.splits["train"], domain.splits["test"]
        for split in (train, test):
            assert np.array_equal(split.x, X)
            assert np.array_equal(split.y * 2 - 1, Y)
        assert not np.shares_memory(train.x, test.x)  # type: ignore[arg-type]
        assert not np.shares_memory(train.y, test.y)
        assert "same rows" in domain.notes
    assert not Mat("m.mat").load(cache_in(tmp_path)).whole


def test_the_statistics_of_a_whole_domain_are_those_of_all_its_rows(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "m.mat", {"x": X + 1, "y": Y})
    domain = Mat("m.mat", split="whole", scaling=("row-sum", "zscore")).load(cache_in(tmp_path))
    share = (X + 1) / (X + 1).sum(axis=1, keepdims=True)
    expected = (share - share.mean(axis=0)) / share.std(axis=0)  # over n
    assert np.allclose(domain.splits["train"].x, expected, atol=1e-5)  # type: ignore[arg-type]
    assert np.array_equal(domain.splits["train"].x, domain.splits["test"].x)


def test_a_whole_domain_has_no_test_file() -> None:
    with pytest.raises(ValueError, match="leave test out"):
        Svmlight("a", test="b", split="whole")


def test_a_mat_file_may_be_sparse_and_its_labels_a_row(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "m.mat", {"fea": scipy.sparse.csc_matrix(X), "gnd": (Y + 3)[None]})
    domain = Mat("m.mat", x="fea", y="gnd").load(cache_in(tmp_path))
    assert domain.label_names == ("2", "4")
    x, y = together(domain)
    assert as_rows(x, y * 2 - 1) == as_rows(X, Y)


def test_a_table_that_would_not_fit_the_memory_is_refused(tmp_path: Path) -> None:
    svm_file(tmp_path / "a")
    with pytest.raises(DataError, match="40 × 1000000"):
        Svmlight("a", num_features=1_000_000).load(cache_in(tmp_path, limit=10**7))
    scipy.io.savemat(tmp_path / "m.mat", {"x": X, "y": Y})
    with pytest.raises(DataError, match=r"m\.mat"):
        Mat("m.mat").load(cache_in(tmp_path, limit=100))


@pytest.mark.parametrize(
    ("content", "params", "words"),
    [
        (b"1 2:abc\n", {}, ["bad", "not read as svmlight"]),
        (b"1 0:3\n-1 1:2\n", {}, ["bad", "first_index: 0"]),
        (b"1 7:3\n", {"num_features": 3}, ["bad"]),
        (b"", {}, ["bad"]),
        (b"0.5 1:3\n", {}, ["bad", "the label in row 0"]),
        (b"1 1:nan\n", {}, ["bad", "row 0 has values that are not finite"]),
    ],
)
def test_a_wrong_svmlight_file_is_named(
    tmp_path: Path, content: bytes, params: dict[str, Any], words: list[str]
) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(DataError) as caught:
        Svmlight("bad", **params).load(cache_in(tmp_path))
    for word in words:
        assert word in str(caught.value)


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    path = svm_file(tmp_path / "a.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.gz"):
        Svmlight("a.gz").load(cache_in(tmp_path))


@pytest.mark.parametrize(
    ("variables", "params", "words"),
    [
        ({"x": X, "y": Y}, {"x": "X1"}, ["unknown variable 'X1'", "Known: x, y"]),
        ({"x": X.T, "y": Y}, {}, ["'x' is 6 × 40 for 40 labels"]),
        ({"x": X, "y": np.eye(40)}, {}, ["'y' is 40 × 40", "one vector"]),
        ({"x": X, "y": Y}, {"cell": 0}, ["no cell array"]),
        ({"x": np.array(["a"] * 40)[:, None], "y": Y}, {}, ["'x'"]),
    ],
)
def test_a_wrong_mat_file_is_named(
    tmp_path: Path, variables: dict[str, Any], params: dict[str, Any], words: list[str]
) -> None:
    scipy.io.savemat(tmp_path / "m.mat", variables)
    with pytest.raises(DataError) as caught:
        Mat("m.mat", **params).load(cache_in(tmp_path))
    for word in [*words, "m.mat"]:
        assert word in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file" + b"\0" * 200, b"no mat file at all" * 20])
def test_a_damaged_mat_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.mat"):
        Mat("m.mat").load(cache_in(tmp_path))


def test_a_file_that_is_not_there_lists_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no 'a\.mat'. Tried"):
        Mat("a.mat").load(cache_in(tmp_path))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_outside_nought_and_one_is_refused_before_loading(share: float) -> None:
    with pytest.raises(ValueError, match="test_share"):
        Svmlight("a", test_share=share)
