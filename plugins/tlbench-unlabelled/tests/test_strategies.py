"""The strategies: the contract, problems that they solve and their references do not, pitfalls, wrong parameters."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import tlbench_unlabelled
import torch
from tlbench_unlabelled.autoencoder import Autoencoder
from tlbench_unlabelled.k_means_transfer import KMeansTransfer
from tlbench_unlabelled.scan import SCAN
from tlbench_unlabelled.self_taught_clustering import SelfTaughtClustering
from tlbench_unlabelled.simclr import SimCLR
from tlbench_unlabelled.sparse_coding import SparseCoding
from tlbench_unlabelled.views import Views, resized_crop

from tlbench import Batch, Domain, Recipe, Split, TrialError
from tlbench.builtin.k_means import KMeansReference
from tlbench.builtin.small_backbones import MLP, Identity, SmallCNN
from tlbench.builtin.tasks import Clustering, SelfTaught
from tlbench.evaluation.matching import matched
from tlbench.testing import Toy, check_beats, check_strategy, score
from tlbench.testing.toys import fit

METHODS = [
    Autoencoder(), Autoencoder(then="softmax", noise=0.2, sparsity=0.1, decay=0.001, pretrain_steps=9),
    SimCLR(), SimCLR(then="softmax", temperature=0.1, pretrain_steps=9),
    SparseCoding(bases=8),
    KMeansTransfer(), KMeansTransfer(pretrain="none", normalise=False), KMeansTransfer(pretrain="autoencoder"),
    SCAN(), SCAN(pretrain="none", self_label=0.3),
    SelfTaughtClustering(negative="split"), SelfTaughtClustering(of="features", weight=0.5, feature_clusters=4),
]  # fmt: skip


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


def test_the_plugin_offers_all_six() -> None:
    names = [method.name for method in tlbench_unlabelled.tlbench_strategies()]  # type: ignore[attr-defined]
    assert names == ["autoencoder", "k-means-transfer", "scan", "self-taught-clustering", "simclr", "sparse-coding"]


# ---- self-taught learning: directions that vary, and directions of noise ------------------------------


@cache
def _directions() -> Toy:
    """Three of 60 directions vary much in source and target; in the target they tell three classes apart.

    The source, which has none of those classes, shows which directions they are; 3 labelled examples do not.
    """
    rng = np.random.default_rng(5)
    mixing = np.linalg.qr(rng.normal(size=(60, 60)))[0]

    def split(factors: Any, y: Any) -> Split:
        x = np.concatenate([factors, np.zeros((len(y), 57))], 1) + rng.normal(size=(len(y), 60))
        return Split((x @ mixing).astype(np.float32), y)

    def target(per_class: int) -> Split:
        y = np.repeat(np.arange(3), per_class)
        return split(4.0 * np.eye(3)[y] * rng.choice([0.8, 1.2], size=(len(y), 1)), y)

    source = {n: split(4 * rng.normal(size=(m, 3)), rng.integers(2, size=m)) for n, m in (("train", 600), ("test", 50))}
    return Toy(
        Domain("toy-source", source, ("u", "v"), "features"),
        Domain("toy-target", {"train": target(20), "test": target(100)}, ("a", "b", "c"), "features"),
        SelfTaught(labels=1),
        MLP(hidden=(16,)),
        Recipe(steps=150, batch_size=64, lr=5e-3, schedule="constant"),
    )


@pytest.mark.parametrize(
    "strategy",
    [
        Autoencoder(then="softmax", decoder=32, pretrain_steps=300),
        SimCLR(then="softmax", noise=1.0, pretrain_steps=300),
        SparseCoding(bases=6),
    ],
    ids=str,
)
def test_an_unlabelled_source_of_other_classes_helps_where_labels_are_few(strategy: Any) -> None:
    check_beats(strategy, _directions(), margin=0.05)


def test_noise_for_a_source_teaches_nothing() -> None:
    toy = _directions()
    rng = np.random.default_rng(0)
    noise = {n: Split(rng.normal(size=s.x.shape).astype(np.float32), s.y) for n, s in toy.source.splits.items()}  # type: ignore[union-attr]
    wrong = replace(toy, source=Domain("noise", noise, ("u", "v"), "features"))
    method = Autoencoder(then="softmax", decoder=32, pretrain_steps=300)
    seeds = range(3)
    assert np.mean([score(method, wrong, s) for s in seeds]) < np.mean([score(method, toy, s) for s in seeds]) - 0.05


def test_fine_tuning_has_the_whole_budget_of_the_target() -> None:
    toy = _directions()
    done = fit(Autoencoder(decoder=8, pretrain_steps=10), toy)
    assert done.tape.examples == {"source_unlabelled": 10 * 64, "target": 150 * 3}
    assert done.ctx.steps_left == 0


def test_softmax_alone_leaves_the_pretrained_backbone_as_it_is() -> None:
    toy = replace(_directions(), backbone=SmallCNN(size=8, channels=1, width=4, depth=2))
    rng = np.random.default_rng(0)
    x = {n: rng.integers(256, size=(64, 1, 8, 8), dtype=np.uint8) for n in ("train", "test")}
    domain = Domain("images", {n: Split(x[n], np.arange(64) % 2) for n in x}, ("u", "v"), "image")
    toy = replace(toy, source=domain, target=replace(domain, name="others", label_names=("a", "b")))
    method = SimCLR(then="softmax", pretrain_steps=5)
    found = fit(method, toy)
    again = fit(method, toy).ctx.using()
    torch.manual_seed(0)  # as the host does: the projection is drawn from it
    alone = method.pretrain(again)
    kept = found.fitted.backbone.state_dict()
    assert kept.keys() == alone.state_dict().keys()
    assert any("running_mean" in name for name in kept), "BatchNorm's statistics are part of what must not change"
    for name, value in alone.state_dict().items():
        assert torch.equal(kept[name], value), name


def test_sparsity_makes_features_less_active() -> None:
    from tlbench_unlabelled.autoencoder import activity

    toy = _directions()
    active = []
    for sparsity in (0.0, 30.0):
        done = fit(Autoencoder(sparsity=sparsity, decoder=32, then="softmax", pretrain_steps=300), toy)
        x = torch.from_numpy(np.asarray(toy.source.splits["test"].x))
        active.append(float(activity(done.fitted.backbone(x)).mean().detach()))
    assert abs(active[1] - 0.1) < 0.05 < abs(active[0] - 0.1)


# ---- clustering ----------------------------------------------------------------------------------


@cache
def _gains() -> Toy:
    """Two classes lie in two directions, at any distance: k-means on the inputs tells far from near."""
    rng = np.random.default_rng(2)
    mixing = np.linalg.qr(rng.normal(size=(20, 20)))[0]

    def split(size: int, kinds: int) -> Split:
        y = np.arange(size) % kinds
        x = np.exp(rng.normal(size=(size, 1))) * (np.eye(20)[y] + 0.1 * rng.normal(size=(size, 20)))
        return Split((x @ mixing).astype(np.float32), y)

    return Toy(
        Domain("toy-source", {"train": split(400, 6), "test": split(20, 6)}, tuple("uvwxyz"), "features"),
        Domain("toy-target", {"train": split(200, 2), "test": split(200, 2)}, ("a", "b"), "features"),
        Clustering(),
        MLP(hidden=(64,)),
        Recipe(steps=100, batch_size=64, lr=5e-3, schedule="constant"),
    )


@cache
def _words() -> Toy:
    """Three words a text, of 32 in four groups; a topic is two groups. The source has texts of single groups."""
    rng = np.random.default_rng(2)
    groups = np.repeat(np.eye(4), 8, axis=1) / 8
    topics = np.stack([groups[:2].mean(0), groups[2:].mean(0)])

    def split(size: int, kinds: Any, own: float) -> Split:
        y = np.arange(size) % len(kinds)
        shares = kinds[y] * rng.dirichlet(np.full(32, own), size=size)
        return Split(np.stack([rng.multinomial(3, s / s.sum()) for s in shares]).astype(np.float32), y)

    return Toy(
        Domain(
            "toy-source", {"train": split(400, groups, 5.0), "test": split(20, groups, 5.0)}, tuple("wxyz"), "features"
        ),
        Domain(
            "toy-target", {"train": split(24, topics, 0.1), "test": split(200, topics, 0.1)}, ("a", "b"), "features"
        ),
        Clustering(),
        Identity(),
        Recipe(steps=20, batch_size=64),
    )


def _accuracy(strategy: Any, toy: Toy) -> float:
    """Clustering accuracy on the mean over three seeds."""
    found = []
    for seed in range(3):
        done = fit(strategy, toy, seed)
        y = np.asarray(done.problem.test["target"].y)
        found.append((matched(done.scores()["target"], y).argmax(1) == y).mean())
    return float(np.mean(found))


@pytest.mark.parametrize(
    "strategy",
    [
        KMeansTransfer(pretrain="none"),
        KMeansTransfer(pretrain="autoencoder"),
        KMeansTransfer(pretrain="simclr"),
        SCAN(pretrain="none"),
        SCAN(pretrain="autoencoder", self_label=0.3),
    ],
    ids=str,
)
def test_angles_tell_clusters_apart_that_distances_do_not(strategy: Any) -> None:
    assert _accuracy(KMeansReference(), _gains()) < 0.75
    assert _accuracy(strategy, _gains()) > 0.9


def test_distances_of_raw_features_mislead_without_normalisation() -> None:
    assert _accuracy(KMeansTransfer(pretrain="none", normalise=False), _gains()) < 0.75


def test_the_source_shows_self_taught_clustering_which_words_belong_together() -> None:
    """Texts of one topic share few words; groups of words are seen in the source."""
    ours = _accuracy(SelfTaughtClustering(feature_clusters=4), _words())
    alone = _accuracy(SelfTaughtClustering(feature_clusters=4, weight=0.0), _words())
    reference = _accuracy(KMeansReference(), _words())
    assert ours > reference + 0.1
    assert ours > alone + 0.05


# ---- views ---------------------------------------------------------------------------------------


def test_views_depend_on_the_generator_alone() -> None:
    x = torch.rand(6, 3, 8, 8)
    views = Views(flip=True)
    first, again, other = (views.two(Batch(x), torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first.x["first"], again.x["first"])
    assert not torch.equal(first.x["first"], first.x["second"])
    assert not torch.equal(first.x["first"], other.x["first"])


def test_a_view_without_changes_is_the_example() -> None:
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(Views(crop=1, jitter=0, noise=0).one(x, torch.Generator()), x)


def test_a_crop_is_a_window_of_its_image() -> None:
    """A ramp from left to right stays one, with a slope of at most the old and no value from outside."""
    ramp = torch.linspace(0, 1, 16).expand(50, 1, 16, 16).contiguous()
    seen = Views(crop=0.25, jitter=0, noise=0).one(ramp, torch.Generator().manual_seed(0))
    slopes = seen.diff(dim=3)[:, :, :, 3:-3]
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert torch.all(slopes <= 1 / 15 + 1e-5)
    assert torch.all(slopes >= 0.5 / 15 - 1e-5)
    assert slopes.mean((1, 2, 3)).std() > 0.001
    whole = resized_crop(ramp, torch.ones(50), torch.rand(50, 2))
    assert torch.allclose(whole, ramp, atol=1e-5)


def test_noise_is_in_units_of_each_features_spread() -> None:
    x = torch.randn(2000, 2) * torch.tensor([1.0, 100.0])
    added = Views(noise=0.5).one(x, torch.Generator().manual_seed(0)) - x
    assert torch.allclose(added.std(0) / x.std(0), torch.tensor([0.5, 0.5]), atol=0.05)


# ---- wrong use -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "wrong", "message"),
    [
        (Autoencoder, {"noise": 1.0}, "noise must be in"),
        (Autoencoder, {"rho": 0.0}, "rho must be in"),
        (Autoencoder, {"sparsity": -1.0}, "sparsity must not be negative, got -1"),
        (Autoencoder, {"decoder": 0}, "decoder must be at least 1, got 0"),
        (Autoencoder, {"pretrain_steps": 0}, "pretrain_steps must be at least 1, got 0"),
        (Autoencoder, {"strength": 0.0}, "strength must be positive"),
        (SimCLR, {"temperature": 0.0}, "temperature must be positive, got 0"),
        (SimCLR, {"projection": 0}, "projection must be at least 1"),
        (SimCLR, {"crop": 0.0}, "crop must be in"),
        (SimCLR, {"jitter": 1.0}, "jitter must be in"),
        (SimCLR, {"pretrain_lr": 0.0}, "pretrain_lr must be positive"),
        (SparseCoding, {"beta": 0.0}, "beta must be positive, got 0"),
        (SparseCoding, {"bases": 0}, "bases must be at least 1"),
        (KMeansTransfer, {"n_init": 0}, "n_init must be at least 1"),
        (SCAN, {"neighbours": 0}, "neighbours must be at least 1"),
        (SCAN, {"entropy": -1.0}, "entropy must not be negative"),
        (SCAN, {"self_label": 1.0}, "self_label must be in"),
        (SelfTaughtClustering, {"weight": -1.0}, "weight must not be negative"),
        (SelfTaughtClustering, {"feature_clusters": 0}, "feature_clusters must be at least 1"),
    ],
)
def test_wrong_parameters_are_refused_by_name(method: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method(**wrong)


def test_negative_numbers_are_no_counts() -> None:
    with pytest.raises(TrialError, match="say negative: split"):
        fit(SelfTaughtClustering(), _gains())


def test_batches_of_one_have_no_negatives() -> None:
    toy = _directions()
    with pytest.raises(TrialError, match="simclr needs two examples in a batch"):
        fit(SimCLR(), replace(toy, recipe=replace(toy.recipe, batch_size=1)))
