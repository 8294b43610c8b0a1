"""The data set ``citation-network``: what it keeps, on small files and on the real ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from tlbench_relational.citation_network import CitationNetwork

from tlbench import DataError
from tlbench.testing import check_dataset


def written(folder: Path, name: str, papers: int, words: int = 6) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(len(name))
    network = np.triu(rng.random((papers, papers)) < 0.3, 1).astype(float)
    network[0, 0] = 1
    attributes = rng.integers(0, 3, size=(papers, words)).astype(np.uint8)
    groups = np.eye(3, dtype=np.uint8)[rng.integers(3, size=papers)]
    groups[:9] = np.repeat(np.eye(3, dtype=np.uint8), 3, axis=0)
    groups[9] = [1, 1, 0]
    groups[10] = 0
    scipy.io.savemat(folder / f"{name}.mat", {"network": sp.csc_matrix(network), "attrb": attributes, "group": groups})
    return network, attributes, groups


def small(folder: Path, **options: Any) -> CitationNetwork:
    return CitationNetwork(**({"network": "one", "folder": str(folder), "networks": ("one", "other")} | options))


def test_the_contract_holds_and_papers_of_one_topic_are_the_examples(tmp_path: Path) -> None:
    network, attributes, groups = written(tmp_path, "one", 30)
    written(tmp_path, "other", 20)
    domain = check_dataset(small(tmp_path, words=0, scaling="none"))
    train, graph = domain.splits["train"], domain.graph
    assert isinstance(train.x, dict)
    assert graph is not None
    alone = [i for i in range(30) if i not in (9, 10)]
    assert train.x["node"].tolist() == domain.splits["test"].x["node"].tolist() == alone  # type: ignore[index]
    assert np.array_equal(train.y, groups[alone].argmax(1))
    assert np.array_equal(train.x["attributes"], attributes[alone])
    assert np.array_equal(graph.x, attributes)
    dense = np.zeros((30, 30))
    dense[tuple(graph.edges)] += 1
    both = ((network + network.T) > 0) & ~np.eye(30, dtype=bool)
    assert np.array_equal(dense, both)
    assert graph.edges.shape[1] == both.sum()
    assert domain.whole
    assert domain.label_names == ("topic 1", "topic 2", "topic 3")


def test_all_networks_keep_the_same_words_those_of_most_papers(tmp_path: Path) -> None:
    _, one, _ = written(tmp_path, "one", 30)
    _, other, _ = written(tmp_path, "other", 20)
    count = (one > 0).sum(0) + (other > 0).sum(0)
    kept = np.sort(np.argsort(-count, kind="stable")[:4])
    for name, attributes in (("one", one), ("other", other)):
        graph = check_dataset(small(tmp_path, network=name, words=4, scaling="none")).graph
        assert graph is not None
        assert np.array_equal(graph.x, attributes[:, kept])


@pytest.mark.parametrize(("scaling", "size"), [("l2", lambda x: np.linalg.norm(x, axis=1)),
                                               ("row-sum", lambda x: x.sum(1))])  # fmt: skip
def test_papers_are_scaled_to_one_length_and_empty_ones_stay_empty(tmp_path: Path, scaling: Any, size: Any) -> None:
    network, attributes, groups = written(tmp_path, "one", 30)
    attributes[4] = 0
    scipy.io.savemat(tmp_path / "one.mat", {"network": network, "attrb": attributes, "group": groups})
    graph = check_dataset(small(tmp_path, networks=("one",), scaling=scaling)).graph
    assert graph is not None
    assert size(graph.x)[4] == 0
    np.testing.assert_allclose(np.delete(size(graph.x), 4), 1, rtol=1e-6)


def test_a_test_share_parts_the_papers_of_each_topic(tmp_path: Path) -> None:
    written(tmp_path, "one", 60)
    domain = check_dataset(small(tmp_path, networks=("one",), test_share=0.25))
    train, test = (set(domain.splits[s].x["node"].tolist()) for s in ("train", "test"))  # type: ignore[index]
    assert not train & test
    assert len(train | test) == 58
    assert not domain.whole
    counts = np.stack([np.bincount(domain.splits[s].y, minlength=3) for s in ("train", "test")])
    np.testing.assert_array_equal(counts[1], np.round(0.25 * counts.sum(0)))


def test_what_is_wrong_with_files_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*Tried"):
        check_dataset(small(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"cannot read .*one\.mat"):
        check_dataset(small(tmp_path))
    written(tmp_path, "one", 30)
    written(tmp_path, "other", 20, words=7)
    with pytest.raises(DataError, match=r"networks of \[6, 7\] attributes"):
        check_dataset(small(tmp_path))
    (tmp_path / "other.mat").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not read as a MATLAB file"):
        check_dataset(small(tmp_path))
    scipy.io.savemat(tmp_path / "other.mat", {"network": np.eye(3)})
    with pytest.raises(DataError, match="no variable attrb, group"):
        check_dataset(small(tmp_path))


@pytest.mark.parametrize("options", [{"network": "two"}, {"words": -1}, {"test_share": 1.0}])
def test_parameters_that_cannot_be_are_refused(options: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        small(tmp_path, **options)


@pytest.mark.shared_data
def test_the_real_networks_have_the_counts_of_their_files() -> None:
    data = Path(__file__).resolve().parents[4] / "shared" / "data"
    if not (data / "features" / "citation_networks").is_dir():
        pytest.skip(f"needs the citation networks in {data}, which are absent")
    domain = check_dataset(CitationNetwork("dblpv7"), data_root=data)
    assert domain.graph is not None
    assert domain.graph.x.shape == (5484, 1000)
    assert len(domain.splits["test"]) == 5469
    assert domain.graph.edges.shape[1] == 16247 - 13  # both directions are in the file; 13 papers cite themselves
