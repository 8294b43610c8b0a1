"""Clusters are given to classes one to one, with the most examples right."""

from itertools import permutations

import numpy as np

from tlbench.evaluation.matching import matched


def test_the_matching_is_the_best_of_all_permutations() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, y = rng.normal(size=(60, 4)), rng.integers(4, size=60)
        best = max(float((scores[:, list(order)].argmax(1) == y).mean()) for order in permutations(range(4)))
        assert float((matched(scores, y).argmax(1) == y).mean()) == best


def test_names_of_clusters_do_not_matter() -> None:
    y = np.array([0, 0, 1, 1, 2, 2])
    clusters = np.eye(3)[[2, 2, 0, 0, 1, 1]]
    assert np.array_equal(matched(clusters, y).argmax(1), y)


def test_a_class_that_no_example_has_takes_the_cluster_that_is_left() -> None:
    y = np.array([0, 0, 1, 1])
    assert np.array_equal(matched(np.eye(3)[[1, 1, 2, 2]], y).argmax(1), y)
