"""The metric ``roc-auc`` against scikit-learn, and the data set ``digits-features``."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from tlbench_multitask.digits_features import DigitsFeatures, features_of
from tlbench_multitask.roc_auc import RocAuc

from tlbench.testing import check_dataset, check_metric

VIEWS = {"pixels": 64, "fourier": 24, "profiles": 48, "gradients": 32}


def test_the_metric_keeps_the_contract() -> None:
    check_metric(RocAuc())


@pytest.mark.parametrize("seed", range(4))
def test_for_two_classes_it_is_scikit_learns_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = (rng.random(80) < 0.1).astype(int)
    y[0] = 1
    scores = rng.normal(size=(80, 2)).round(1).astype(np.float32)
    margin = scores[:, 1].astype(float) - scores[:, 0]
    assert RocAuc().score(scores, y) == pytest.approx(roc_auc_score(y, margin))


def test_for_more_classes_it_is_the_mean_over_pairs_counted_one_by_one() -> None:
    rng = np.random.default_rng(0)
    y, scores = rng.integers(4, size=50), rng.normal(size=(50, 4))
    areas = []
    for i, j in combinations(range(4), 2):
        margin = scores[:, j] - scores[:, i]
        areas.append(np.mean([(a > b) + (a == b) / 2 for a in margin[y == j] for b in margin[y == i]]))
    assert RocAuc().score(scores, y) == pytest.approx(np.mean(areas))


def test_it_ignores_what_is_added_to_all_scores_of_an_example_and_knows_no_threshold() -> None:
    rng = np.random.default_rng(1)
    y, scores = rng.integers(2, size=60), rng.normal(size=(60, 2))
    moved = scores + rng.normal(size=(60, 1)) + np.array([0.0, 5.0])
    assert RocAuc().score(moved, y) == pytest.approx(RocAuc().score(scores, y))
    assert RocAuc().score(scores, np.zeros(60, int)) == 0.5


@pytest.mark.parametrize("view", VIEWS)
def test_the_data_set_keeps_the_contract(view: Any) -> None:
    domain = check_dataset(DigitsFeatures(view))
    assert domain.shape.dims == (VIEWS[view],)
    assert domain.label_names == tuple("0123456789")


def test_views_of_one_half_have_the_same_rows_and_halves_share_none() -> None:
    one, other = DigitsFeatures("pixels", "first").load(None), DigitsFeatures("fourier", "first").load(None)  # type: ignore[arg-type]
    assert all(np.array_equal(one.splits[s].y, other.splits[s].y) for s in ("train", "test"))
    whole = DigitsFeatures("pixels").load(None)  # type: ignore[arg-type]
    second = DigitsFeatures("pixels", "second").load(None)  # type: ignore[arg-type]
    for split in ("train", "test"):
        parts = [d.splits[split].y for d in (one, second)]
        assert np.array_equal(np.concatenate(parts), whole.splits[split].y)


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_tells_the_digits_apart(view: Any) -> None:
    domain = DigitsFeatures(view).load(None)  # type: ignore[arg-type]
    train, test = domain.splits["train"], domain.splits["test"]
    assert LogisticRegression(max_iter=1000).fit(train.x, train.y).score(test.x, test.y) > 0.85


def test_the_moduli_of_a_spectrum_do_not_see_a_shift() -> None:
    images = load_digits().images[:20] / 16
    moved = np.roll(images, (2, 3), axis=(1, 2))
    np.testing.assert_allclose(features_of(images, "fourier"), features_of(moved, "fourier"), atol=1e-9)
    assert not np.allclose(features_of(images, "pixels"), features_of(moved, "pixels"))


def test_profiles_are_where_the_ink_begins() -> None:
    image = np.zeros((1, 8, 8))
    image[0, 2, 3:5] = 1
    found = features_of(image, "profiles")[0]
    assert found[:8].tolist() == [0, 0, 2, 0, 0, 0, 0, 0]
    assert found[8:16].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert found[16:24].tolist() == [8, 8, 3, 8, 8, 8, 8, 8]  # from the left
    assert found[24:32].tolist() == [8, 8, 3, 8, 8, 8, 8, 8]  # from the right
    assert found[32:40].tolist() == [8, 8, 8, 2, 2, 8, 8, 8]  # from above
    assert found[40:48].tolist() == [8, 8, 8, 5, 5, 8, 8, 8]  # from below
