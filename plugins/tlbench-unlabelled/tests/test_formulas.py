"""The formulas of the papers against NumPy, against brute force and against other libraries."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import DictionaryLearning, sparse_encode
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from tlbench_unlabelled.autoencoder import activity, kl_sparsity, reconstruction, weight_penalty
from tlbench_unlabelled.scan import consistency, negative_entropy, neighbours_of, self_label_loss
from tlbench_unlabelled.second_half import softmax
from tlbench_unlabelled.self_taught_clustering import Clusters, co_cluster, joint, mutual_information, objective
from tlbench_unlabelled.simclr import nt_xent
from tlbench_unlabelled.sparse_coding import encode, learn_bases
from tlbench_unlabelled.sparse_coding import objective as sparse_objective
from torch import nn
from torch.nn import functional as F

from tlbench import TrialError


def _normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


# ---- SimCLR --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "temperature"), [(2, 0.5), (6, 0.1), (9, 1.0)])
def test_nt_xent_is_the_mean_of_the_papers_loss_over_all_views(size: int, temperature: float) -> None:
    first, second = _normal(size, 5, seed=1), _normal(size, 5, seed=2)
    z = np.concatenate([first, second])
    sim = np.array([[a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for b in z] for a in z])
    losses = []
    for i in range(2 * size):
        j = (i + size) % (2 * size)
        others = sum(np.exp(sim[i, k] / temperature) for k in range(2 * size) if k != i)
        losses.append(-np.log(np.exp(sim[i, j] / temperature) / others))
    ours = nt_xent(torch.from_numpy(first), torch.from_numpy(second), temperature)
    assert float(ours) == pytest.approx(np.mean(losses), rel=1e-5)


def test_nt_xent_is_that_of_pytorch_metric_learning() -> None:
    other = pytest.importorskip("pytorch_metric_learning.losses")
    first, second = torch.from_numpy(_normal(8, 5, seed=1)), torch.from_numpy(_normal(8, 5, seed=2))
    theirs = other.NTXentLoss(temperature=0.2)(torch.cat([first, second]), torch.arange(8).repeat(2))
    assert float(nt_xent(first, second, 0.2)) == pytest.approx(float(theirs), rel=1e-5)


def test_nt_xent_is_computed_in_float32_under_mixed_precision() -> None:
    first, second = torch.from_numpy(_normal(8, 5)).float(), torch.from_numpy(_normal(8, 5, seed=2)).float()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = nt_xent(first, second, 0.1)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, nt_xent(first, second, 0.1))


# ---- autoencoder ---------------------------------------------------------------------------------


def test_the_reconstruction_sums_over_inputs_and_averages_over_examples() -> None:
    guess, x = _normal(4, 7, seed=1), _normal(4, 7, seed=2)
    expected = np.mean([0.5 * np.linalg.norm(g - e) ** 2 for g, e in zip(guess, x, strict=True)])
    assert float(reconstruction(torch.from_numpy(guess), torch.from_numpy(x))) == pytest.approx(expected)


def test_sparsity_is_the_divergence_of_bernoulli_means() -> None:
    a = 1 / (1 + np.exp(-_normal(20, 6)))
    mean = a.mean(0)
    expected = sum(0.1 * np.log(0.1 / m) + 0.9 * np.log(0.9 / (1 - m)) for m in mean)
    assert float(kl_sparsity(torch.from_numpy(a), 0.1)) == pytest.approx(expected, rel=1e-5)
    assert float(kl_sparsity(torch.full((5, 3), 0.1), 0.1)) == pytest.approx(0, abs=1e-6)


def test_units_that_never_fire_have_a_finite_sparsity() -> None:
    assert torch.isfinite(kl_sparsity(torch.zeros(4, 3), 0.1))
    assert torch.isfinite(kl_sparsity(torch.ones(4, 3), 0.1))


def test_activity_is_between_0_and_1_whatever_the_feature() -> None:
    assert torch.allclose(activity(torch.tensor([0.0, 1.0, -1.0, 9.0])), torch.tensor([0.0, 0.5, 0.5, 0.9]))


def test_the_weight_penalty_leaves_biases_and_normalisation_alone() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    net[0].bias.data.fill_(100)
    net[0].weight.data.copy_(torch.tensor([[1.0, 2, 3], [0, 0, 1]]))
    assert weight_penalty([net]).item() == pytest.approx(7.5)


# ---- sparse coding -------------------------------------------------------------------------------


def test_codes_are_those_of_scikit_learns_lasso() -> None:
    x, bases = _normal(10, 8, seed=1), _normal(6, 8, seed=2)
    bases /= np.linalg.norm(bases, axis=1, keepdims=True)
    theirs = sparse_encode(x, bases, algorithm="lasso_cd", alpha=0.3 / 2, max_iter=10_000)
    ours = encode(torch.from_numpy(x), torch.from_numpy(bases), 0.3)
    assert np.allclose(ours.numpy(), theirs, atol=1e-4)
    assert ((ours == 0).numpy() == (theirs == 0)).mean() > 0.95


def test_codes_in_orthonormal_bases_are_the_shrunk_projections() -> None:
    """Then the objective falls apart: each code minimises (p - a)^2 + beta |a|."""
    bases = np.linalg.qr(_normal(5, 5))[0]
    x = _normal(4, 5, seed=3)
    p = x @ bases.T
    expected = np.sign(p) * np.maximum(np.abs(p) - 0.4 / 2, 0)
    assert np.allclose(encode(torch.from_numpy(x), torch.from_numpy(bases), 0.4).numpy(), expected, atol=1e-6)


def _sparse_mixtures() -> Any:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(12, 20))
    codes = rng.normal(size=(200, 12)) * (rng.random((200, 12)) < 0.2)
    x = torch.from_numpy(codes @ truth)
    return x / x.square().sum(1).mean().sqrt()


def test_learning_lowers_the_objective_and_keeps_bases_in_the_unit_ball() -> None:
    x = _sparse_mixtures()
    drawn = F.normalize(torch.from_numpy(_normal(12, 20, seed=9)), dim=1)
    learned = [learn_bases(x, 12, 0.05, passes, 0) for passes in (1, 5, 50)]
    first, some, last, at_random = (float(sparse_objective(x, encode(x, b, 0.05), b, 0.05)) for b in (*learned, drawn))
    assert last < some < first
    assert last < 0.7 * at_random
    assert float(learned[-1].norm(dim=1).max()) <= 1 + 1e-6


def test_learned_bases_are_as_good_as_scikit_learns() -> None:
    x = _sparse_mixtures()
    theirs = DictionaryLearning(12, alpha=0.05 / 2, max_iter=60, fit_algorithm="cd", random_state=0).fit(x.numpy())
    values = [
        float(sparse_objective(x, encode(x, b, 0.05), b, 0.05))
        for b in (learn_bases(x, 12, 0.05, 50, 0), torch.from_numpy(theirs.components_))
    ]
    assert values[0] < 1.05 * values[1]


def test_more_bases_than_examples_give_no_nonsense() -> None:
    x = torch.from_numpy(_normal(5, 4))
    assert torch.isfinite(learn_bases(x, 9, 0.5, 3, 0)).all()


# ---- the softmax layer ---------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 4])
def test_the_softmax_layer_gives_scikit_learns_probabilities(classes: int) -> None:
    x, y = _normal(40, 6) * 3 + 5, np.arange(40) % classes
    scaled = (x - x.mean(0)) / np.sqrt(x.var(0).mean())
    theirs = LogisticRegression(C=0.5, max_iter=5000).fit(scaled, y).predict_proba(scaled)
    layer = softmax(torch.from_numpy(x), torch.from_numpy(y), classes, 0.5)
    assert np.allclose(layer(torch.from_numpy(x)).softmax(1).numpy(), theirs, atol=1e-4)


def test_a_class_without_examples_is_never_predicted() -> None:
    x, y = torch.from_numpy(_normal(20, 3)), torch.arange(20) % 2 * 2
    assert set(softmax(x, y, 3, 1.0)(x).argmax(1).tolist()) <= {0, 2}
    assert set(softmax(x, torch.ones(20, dtype=torch.int64), 3, 1.0)(x).argmax(1).tolist()) == {1}


# ---- SCAN ----------------------------------------------------------------------------------------


def test_scans_terms_are_those_of_the_paper() -> None:
    def probabilities(seed: int) -> Any:
        e = np.exp(_normal(12, 4, seed=seed))
        return e / e.sum(1, keepdims=True)

    phi, near = probabilities(1), probabilities(2)
    agreement = -np.mean([np.log(np.dot(a, b)) for a, b in zip(phi, near, strict=True)])
    mean = phi.mean(0)
    entropy = sum(m * np.log(m) for m in mean)
    assert float(consistency(torch.from_numpy(phi), torch.from_numpy(near))) == pytest.approx(agreement)
    assert float(negative_entropy(torch.from_numpy(phi))) == pytest.approx(entropy)


def test_scans_loss_is_least_where_neighbours_agree_for_sure_and_clusters_are_of_one_size() -> None:
    sure = torch.eye(3).repeat(4, 1)
    assert float(consistency(sure, sure)) == pytest.approx(0)
    assert float(negative_entropy(sure)) == pytest.approx(-np.log(3))
    assert float(negative_entropy(torch.eye(3)[[0, 0, 0]])) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(consistency(torch.eye(3), torch.eye(3)[[1, 2, 0]]))


def test_neighbours_are_the_nearest_by_cosine_without_the_example_itself() -> None:
    bank = F.normalize(torch.from_numpy(_normal(30, 4)), dim=1)
    near = neighbours_of(bank[:5], bank, 3)
    for i in range(5):
        order = np.argsort(-(bank @ bank[i]).numpy())
        assert near[i].tolist() == order[1:4].tolist()


def test_self_labels_come_from_confident_examples_and_weigh_clusters_alike() -> None:
    seen = torch.tensor([[0.999, 0.001], [0.995, 0.005], [0.002, 0.998], [0.6, 0.4]])
    shown = torch.from_numpy(_normal(4, 2))
    each = -F.log_softmax(shown, 1).numpy()
    expected = ((each[0, 0] + each[1, 0]) / 2 + each[2, 1]) / 2
    assert float(self_label_loss(seen, shown, 0.99)) == pytest.approx(expected, rel=1e-5)
    assert float(self_label_loss(seen, shown, 0.9999)) == 0


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.7, 1.0])
def test_the_self_label_losss_gradient_is_that_of_torchs_weighted_cross_entropy(threshold: float) -> None:
    seen = torch.from_numpy(_normal(40, 5, seed=3)).mul(2).softmax(1)
    ours, theirs = (torch.from_numpy(_normal(40, 5, seed=4)).float().requires_grad_() for _ in range(2))
    self_label_loss(seen, ours, threshold).backward()  # type: ignore[no-untyped-call]
    sure, label = seen.max(1)
    kept = sure > threshold
    if kept.any():
        weight = 1 / torch.bincount(label[kept], minlength=5).clamp(min=1)
        F.cross_entropy(theirs[kept], label[kept], weight=weight.float()).backward()  # type: ignore[no-untyped-call]
    else:
        (0 * theirs.sum()).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(ours.grad, theirs.grad)


# ---- self-taught clustering ----------------------------------------------------------------------


def test_mutual_information_is_scikit_learns() -> None:
    table = np.random.default_rng(0).integers(0, 5, size=(4, 6)).astype(float)
    assert mutual_information(joint(table)) == pytest.approx(mutual_info_score(None, None, contingency=table))


def _tables(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return joint(rng.integers(0, 6, size=(4, 4)).astype(float)), joint(rng.integers(0, 6, size=(3, 4)).astype(float))


def _all_clusters(sizes: tuple[int, ...], lengths: tuple[int, ...]) -> Any:
    return product(*(map(np.array, product(range(k), repeat=n)) for k, n in zip(sizes, lengths, strict=True)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_the_best_of_some_starts_is_the_best_of_all_clusterings(seed: int, weight: float) -> None:
    p, q = _tables(seed)
    sizes = (2, 2, 2)
    best = min(objective(p, q, Clusters(*c), sizes, weight) for c in _all_clusters(sizes, (4, 3, 4)))
    found = min(co_cluster(p, q, sizes, weight, seed=s)[1][-1] for s in (None, *range(60)))
    assert found == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_no_round_of_co_clustering_raises_the_objective(weight: float, seed: int | None) -> None:
    rng = np.random.default_rng(3)
    p, q = (joint(rng.poisson(1.0, size=(n, 30)).astype(float)) for n in (40, 50))
    found, values = co_cluster(p, q, (4, 5, 6), weight, seed=seed)
    assert all(b <= a + 1e-9 for a, b in pairwise(values))
    assert values[-1] < values[0]
    assert min(values) >= 0
    assert [len(set(c.tolist())) for c in found] == [4, 5, 6]


def test_clusters_of_single_rows_and_features_lose_no_information() -> None:
    p, q = _tables(0)
    alone = Clusters(np.arange(4), np.arange(3), np.arange(4))
    assert objective(p, q, alone, (4, 3, 4), 1.0) == pytest.approx(0, abs=1e-12)


def test_a_table_of_nothing_is_refused() -> None:
    with pytest.raises(TrialError, match="takes counts; these are all 0"):
        joint(np.zeros((2, 2)))
