"""The reference of clustering, and the metrics of clusters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import mutual_info_score

from tlbench.builtin.clustering_metrics import ARI, NMI
from tlbench.builtin.k_means import KMeansReference, _flat, k_means
from tlbench.errors import TrialError
from tlbench.testing import check_strategy

TWO_GROUPS = np.array([[0.0, 0], [0, 1], [10, 10], [10, 11], [10, 12]])


def _entropy(labels: np.ndarray) -> float:
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(share * np.log(share)).sum())


def _scores(clusters: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count)[clusters]


def test_the_contract_holds() -> None:
    check_strategy(KMeansReference())
    check_strategy(KMeansReference(standardise=True, n_init=3))


def test_two_groups_are_found_with_their_means_and_squared_distances() -> None:
    found = k_means(TWO_GROUPS, 2)
    assert sorted(map(tuple, found.centres)) == [(0.0, 0.5), (10.0, 11.0)]
    assert found.inertia == pytest.approx(0.25 + 0.25 + 1 + 0 + 1)
    near = int(found.centres[:, 0].argmin())
    scores = found.scores(torch.tensor([[0.0, 2.0]], dtype=torch.float64)).numpy()[0]
    assert scores[near] == pytest.approx(-(1.5**2))
    assert scores[1 - near] == pytest.approx(-(10**2 + 9**2))


def test_standardised_inputs_do_not_depend_on_their_units() -> None:
    x = load_digits().data[:300]
    units = np.linspace(1, 1000, 64)
    ours, other = (k_means(part, 5, standardise=True, n_init=2) for part in (x, x * units + 3))
    a, b = ours.scores(torch.from_numpy(x)), other.scores(torch.from_numpy(x * units + 3))
    assert torch.equal(a.argmax(1), b.argmax(1))
    assert ours.inertia == pytest.approx(other.inertia)


def test_several_inputs_for_each_example_are_refused() -> None:
    with pytest.raises(TrialError, match="several: words, mask"):
        _flat({"words": torch.zeros(2, 3), "mask": torch.zeros(2, 3)})


def test_no_start_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="n_init must be at least 1, got 0"):
        KMeansReference(n_init=0)


def test_the_names_of_clusters_do_not_matter() -> None:
    y = np.array([0, 0, 1, 1, 2, 2])
    renamed = _scores(np.array([2, 2, 0, 0, 1, 1]), 3)
    assert NMI().score(renamed, y) == pytest.approx(1)
    assert ARI().score(renamed, y) == pytest.approx(1)


def test_nmi_is_mutual_information_over_the_mean_of_the_entropies() -> None:
    rng = np.random.default_rng(0)
    y, clusters = rng.integers(3, size=60), rng.integers(4, size=60)
    clusters[:20] = y[:20]
    expected = mutual_info_score(y, clusters) / ((_entropy(y) + _entropy(clusters)) / 2)
    assert NMI().score(_scores(clusters, 4), y) == pytest.approx(expected)
    geometric = mutual_info_score(y, clusters) / np.sqrt(_entropy(y) * _entropy(clusters))
    assert NMI().score(_scores(clusters, 4), y) != pytest.approx(geometric, rel=1e-6)


def test_ari_counts_pairs_and_takes_off_what_chance_gives() -> None:
    y, clusters = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    together, classes, groups, pairs = 2, 6, 3, 15  # pairs in one class and cluster, in one class, in one cluster, all
    expected = (together - classes * groups / pairs) / ((classes + groups) / 2 - classes * groups / pairs)
    assert ARI().score(_scores(clusters, 3), y) == pytest.approx(expected)


def test_one_cluster_for_everything_says_nothing() -> None:
    y = np.array([0, 1, 0, 1])
    assert NMI().score(np.tile([1.0, 0.0], (4, 1)), y) == pytest.approx(0)
    assert ARI().score(np.tile([1.0, 0.0], (4, 1)), y) == pytest.approx(0)
