"""Shared trunk, shared middle, uncertainty weights and PCGrad: formulas, problems, the contract, and the pitfalls."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tlbench_multitask
import torch
from tlbench_multitask.pcgrad import PCGrad, with_gradient, without_conflict
from tlbench_multitask.shared_middle import SharedMiddle, make_stem
from tlbench_multitask.shared_trunk import SharedTrunk
from tlbench_multitask.two_tasks import TwoTasks, trunk_and_heads, twin
from tlbench_multitask.uncertainty_weights import UncertaintyWeights, uncertainty_weighted
from torch import nn
from torch.nn import functional as F

from tlbench import Batch, Domain, Recipe, Split, TrialError
from tlbench.builtin.references import Scratch
from tlbench.builtin.small_backbones import MLP, SmallCNN
from tlbench.builtin.tasks import Heterogeneous, MultiTask
from tlbench.testing import Toy, check_beats, check_strategy, few_labels, score
from tlbench.testing.toys import fit

METHODS = [
    SharedTrunk(), SharedTrunk(target_weight=0.5, source_weight=2.0, norms="shared"),
    SharedMiddle(), SharedMiddle(width=8, stem="conv", norm="layer", source_weight=0.5),
    UncertaintyWeights(), UncertaintyWeights(lr=3.0, norms="shared"),
    PCGrad(), PCGrad(norms="shared"),
]  # fmt: skip
ON_A_TRUNK = [SharedTrunk(), UncertaintyWeights(), PCGrad()]


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


def test_the_plugin_offers_its_parts() -> None:
    assert tlbench_multitask.tlbench_strategies() == [PCGrad, SharedMiddle, SharedTrunk, UncertaintyWeights]
    assert [c.name for c in tlbench_multitask.tlbench_datasets()] == ["digits-features"]
    assert [c.name for c in tlbench_multitask.tlbench_metrics()] == ["roc-auc"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SharedTrunk(target_weight=0.0), "target_weight must be positive, got 0.0"),
        (lambda: SharedTrunk(source_weight=-1.0), "source_weight must not be negative, got -1.0"),
        (lambda: SharedMiddle(width=0), "width must be at least 1, got 0"),
        (lambda: SharedMiddle(target_weight=-2.0), "target_weight must be positive, got -2.0"),
        (lambda: SharedMiddle(source_weight=-1.0), "source_weight must not be negative, got -1.0"),
        (lambda: UncertaintyWeights(lr=0.0), "lr must be positive, got 0.0"),
    ],
)
def test_parameters_that_cannot_be_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


# ---- problems ------------------------------------------------------------------------------------


def together(labels: Any = 2) -> Toy:
    return replace(few_labels(), task=MultiTask(labels=labels))


def rings() -> Toy:
    """Three rings around a centre, the middle one of the other class, in a plane: five features show it to the source
    and three to the target.

    Forty examples do not draw the rings well; the source has 1,500, and a middle that knows rings needs no more than
    the target's plane, however it is turned.
    """
    rng = np.random.default_rng(1)

    def domain(name: str, dims: int, sizes: tuple[int, int]) -> Domain:
        plane = np.linalg.qr(rng.normal(size=(dims, 2)))[0].T

        def split(size: int) -> Split:
            ring, angle = rng.integers(3, size=size), rng.uniform(0, 2 * np.pi, size)
            place = (1 + ring[:, None]) * np.stack([np.cos(angle), np.sin(angle)], 1) / 3
            x = (place + 0.02 * rng.normal(size=(size, 2))) @ plane
            return Split(x.astype(np.float32), ring % 2)

        return Domain(name, {"train": split(sizes[0]), "test": split(sizes[1])}, ("even", "odd"), "features")

    recipe = Recipe(steps=600, batch_size=64, lr=5e-3)
    source, target = domain("five", 5, (1500, 300)), domain("three", 3, (400, 500))
    return Toy(source, target, Heterogeneous(labels=20), MLP(hidden=(64, 64)), recipe)


@pytest.mark.parametrize("strategy", ON_A_TRUNK, ids=str)
def test_a_trunk_shared_with_the_source_beats_few_labels_alone(strategy: Any) -> None:
    check_beats(strategy, together(), margin=0.08)


@pytest.mark.parametrize("strategy", ON_A_TRUNK, ids=str)
def test_a_source_of_random_labels_does_not_help(strategy: Any) -> None:
    toy = together()
    rng = np.random.default_rng(1)
    splits = {n: Split(s.x, rng.permutation(s.y)) for n, s in toy.source.splits.items()}
    noise = replace(toy, source=Domain("noise", splits, toy.source.label_names, "features"))
    assert np.mean([score(strategy, noise, seed) for seed in range(3)]) < score(strategy, toy) - 0.08


def test_both_tasks_are_scored_and_the_source_is_kept() -> None:
    for strategy in METHODS:
        done = fit(strategy, together())
        right = done.scores()["source"].argmax(1) == done.problem.test["source"].y
        assert right.mean() > 0.9, strategy


def test_a_shared_middle_carries_what_another_feature_space_taught() -> None:
    check_beats(SharedMiddle(width=2), rings(), margin=0.05)
    check_beats(SharedMiddle(width=2), rings(), margin=0.05, reference=SharedMiddle(width=2, source_weight=0.0))


# ---- shared trunk --------------------------------------------------------------------------------


def test_a_source_without_weight_leaves_the_target_to_itself() -> None:
    """The same start, the same batches, no gradient from the source: the very scores of ``scratch``."""
    alone = fit(Scratch(), together()).scores()["target"]
    np.testing.assert_array_equal(fit(SharedTrunk(source_weight=0.0), together()).scores()["target"], alone)


class Recorder:
    """A context that keeps the loss and what is to be updated, and trains nothing."""

    def __init__(self, backbone: nn.Module, shape: tuple[int, ...] = (4,)) -> None:
        self.net, self.reported = backbone, dict[str, float]()
        self.device = torch.device("cpu")
        self.input = torch.randn(6, *shape)

    def classes(self, pool: str) -> int:
        return {"target": 2, "source": 3}[pool]

    def classifier(self, num_classes: int) -> Any:
        model: Any = nn.Sequential()
        model.backbone = copy.deepcopy(self.net)
        model.head = nn.Linear(3, num_classes)
        return model

    def train(self, loss: Any, *, update: Any, on: Any) -> None:
        self.loss, self.update, self.on = loss, update, on

    def report(self, name: str, value: float) -> None:
        self.reported[name] = value


def batches() -> tuple[Batch, Batch]:
    torch.manual_seed(2)
    return (
        Batch(torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 1, 0])),
        Batch(torch.randn(9, 4) + 1, torch.tensor([0, 1, 2, 0, 1, 2, 2, 2, 1])),
    )


def recorded(strategy: Any) -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    ctx: Any = Recorder(nn.Linear(4, 3))
    fitted = strategy.fit(ctx)
    assert ctx.on == ("target", "source")
    return ctx, fitted["target"], fitted["source"]


def test_the_loss_is_the_weighted_sum_of_means() -> None:
    ctx, target_net, source_net = recorded(SharedTrunk(target_weight=0.5, source_weight=3.0))
    target, source = batches()
    terms = ctx.loss(target, source, None)
    with torch.no_grad():
        scores_t, scores_s = target_net(target.x).numpy(), source_net(source.x).numpy()

    def mean_ce(scores: Any, y: Any) -> float:
        p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        return float(-np.log(p[np.arange(len(y)), y]).mean())

    assert float(terms["target"].detach()) == pytest.approx(0.5 * mean_ce(scores_t, target.y.numpy()), rel=1e-5)
    assert float(terms["source"].detach()) == pytest.approx(3.0 * mean_ce(scores_s, source.y.numpy()), rel=1e-5)


def test_each_task_has_as_many_scores_as_its_own_classes() -> None:
    _, target_net, source_net = recorded(SharedTrunk())
    assert target_net(torch.randn(5, 4)).shape == (5, 2)
    assert source_net(torch.randn(5, 4)).shape == (5, 3)


# ---- twins: one trunk, norms of their own --------------------------------------------------------


def trunk_with_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.LayerNorm(3), nn.Linear(3, 3))


def test_twins_share_every_parameter_but_those_of_batchnorm() -> None:
    one = trunk_with_norm()
    other = twin(one)
    pairs = dict(zip([n for n, _ in one.named_parameters()],
                     zip(one.parameters(), other.parameters(), strict=True), strict=True))  # fmt: skip
    assert [n for n, (a, b) in pairs.items() if a is not b] == ["1.weight", "1.bias"]
    other(torch.randn(8, 4) + 5)
    assert not torch.equal(one[1].running_mean, other[1].running_mean)  # type: ignore[index]


def test_twins_train_as_one() -> None:
    one = trunk_with_norm()
    other = twin(one)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    before = one[0].weight.detach().clone()  # type: ignore[index]
    other(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(one[0].weight, before)  # type: ignore[index]
    assert torch.equal(one[0].weight, other[0].weight)  # type: ignore[index]


def shifted_images() -> Toy:
    """Bright and dark halves; the source's images are dark all over, so that its statistics are not the target's."""
    rng = np.random.default_rng(0)

    def split(size: int, level: int) -> Split:
        y = rng.integers(2, size=size)
        x = rng.integers(0, 30, size=(size, 1, 8, 8)) + level
        x[y == 1, :, :, :4] += 40
        x[y == 0, :, :, 4:] += 40
        return Split(x.astype(np.uint8), y)

    names = ("left", "right")
    source = Domain("dark", {"train": split(200, 0), "test": split(100, 0)}, names, "image")
    target = Domain("light", {"train": split(200, 180), "test": split(100, 180)}, names, "image")
    recipe = Recipe(steps=60, batch_size=32, lr=3e-3)
    return Toy(source, target, MultiTask(labels=20), SmallCNN(size=8, channels=1, width=8, depth=2), recipe)


def test_norms_of_their_own_hold_the_statistics_of_their_own_domain() -> None:
    done = fit(SharedTrunk(), shifted_images())
    first = {pool: done.fitted[pool].backbone.blocks[0] for pool in ("target", "source")}
    light, dark = (first[pool][1].running_mean for pool in ("target", "source"))
    with torch.no_grad():
        for pool, found in (("target", light), ("source", dark)):
            seen = first[pool][0](done.ctx.inputs(pool).x).mean((0, 2, 3))
            torch.testing.assert_close(found, seen, atol=0.15, rtol=0.15)
    assert (light - dark).abs().max() > 0.5
    shared = fit(SharedTrunk(norms="shared"), shifted_images()).fitted
    assert shared["target"].backbone is shared["source"].backbone


# ---- uncertainty weights -------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "variance"), [(1.3, 0.5), (0.02, 3.0), (2.0, 1.0)])
def test_the_loss_is_divided_by_the_variance_plus_the_log_of_the_deviation(loss: float, variance: float) -> None:
    found = float(uncertainty_weighted(torch.tensor(loss), torch.tensor(np.log(variance))))
    assert found == pytest.approx(loss / variance + np.log(np.sqrt(variance)), rel=1e-5)


def test_for_a_fixed_loss_the_best_variance_is_twice_the_loss() -> None:
    log_variance = torch.tensor(float(np.log(2 * 0.37)), requires_grad=True)
    uncertainty_weighted(torch.tensor(0.37), log_variance).backward()
    assert float(log_variance.grad) == pytest.approx(0.0, abs=1e-6)  # type: ignore[arg-type]


def test_the_form_is_that_of_the_softmax_with_a_temperature_up_to_the_papers_approximation() -> None:
    """-log softmax(f / s^2)_y = L / s^2 + log(sum exp(f / s^2) / (sum exp f)^(1/s^2)); the latter is taken as log s.

    At s = 1 the approximation is exact (Kendall et al. 2018, between eq. 9 and 10).
    """
    scores, y = torch.tensor([[1.0, -0.5, 0.2]]), torch.tensor([2])
    plain = F.cross_entropy(scores, y)
    assert float(uncertainty_weighted(plain, torch.zeros(()))) == pytest.approx(float(plain))


def test_the_variances_start_at_one_are_trained_without_decay_and_reported() -> None:
    ctx, *_ = recorded(UncertaintyWeights(lr=2.0))
    learned = ctx.update[-1]
    assert [p.item() for p in learned.modules.parameters()] == [0.0, 0.0]
    assert (learned.lr, learned.weight_decay) == (2.0, 0.0)
    assert ctx.reported == {"weight of target": 1.0, "weight of source": 1.0}


def test_a_task_of_noise_gets_the_smaller_weight() -> None:
    toy = together(labels=20)
    rng = np.random.default_rng(1)
    splits = {n: Split(s.x, rng.permutation(s.y)) for n, s in toy.source.splits.items()}
    noise = replace(toy, source=Domain("noise", splits, toy.source.label_names, "features"))
    reported = fit(UncertaintyWeights(), noise).ctx.session.reported
    assert 0 < reported["weight of source"] < reported["weight of target"]


# ---- PCGrad --------------------------------------------------------------------------------------


def test_a_conflicting_gradient_loses_what_is_against_the_other() -> None:
    g, h = np.array([1.0, 0.0, 2.0]), np.array([-2.0, 1.0, 0.5])
    expected = g - (g @ h) / (h @ h) * h
    found = without_conflict(torch.from_numpy(g), torch.from_numpy(h))
    np.testing.assert_allclose(found.numpy(), expected)
    assert float(found @ torch.from_numpy(h)) == pytest.approx(0.0, abs=1e-12)


def test_gradients_that_agree_stay_and_a_missing_one_is_no_conflict() -> None:
    g, h = torch.tensor([1.0, 0.0]), torch.tensor([0.5, -3.0])
    assert torch.equal(without_conflict(g, h), g)
    assert torch.equal(without_conflict(g, torch.zeros(2)), g)


def test_a_loss_with_another_gradient_keeps_its_value() -> None:
    a, b = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([[3.0]], requires_grad=True)
    loss = with_gradient((a.sum() * b.sum()), [a, b], torch.tensor([7.0, 8.0, 9.0]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 9.0
    assert torch.equal(a.grad, torch.tensor([7.0, 8.0]))  # type: ignore[arg-type]
    assert torch.equal(b.grad, torch.tensor([[9.0]]))  # type: ignore[arg-type]


def _flat(loss: Any, parameters: Any) -> Any:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(parameters), retain_graph=True)])


@pytest.mark.parametrize("conflict", [True, False])
def test_the_step_has_the_papers_gradient_on_the_trunk_and_the_plain_one_on_the_heads(conflict: bool) -> None:
    ctx, target_net, source_net = recorded(PCGrad())
    target, _ = batches()
    with torch.no_grad():  # a head with a third, impossible class; on the same examples, the same or opposite labels
        source_net.head.weight[:2].copy_(target_net.head.weight)
        source_net.head.bias.copy_(torch.tensor([*target_net.head.bias.tolist(), -50.0]))
        source_net.head.weight[2].zero_()
    source = Batch(target.x * 1.3, 1 - target.y if conflict else target.y)
    shared = list(target_net.backbone.parameters())
    losses = TwoTasks(target_net, source_net).losses(target, source)
    g, h = (_flat(one, shared).double().numpy() for one in losses)
    assert (g @ h < 0) == conflict
    heads = [_flat(one, net.head.parameters()) for one, net in zip(losses, (target_net, source_net), strict=True)]
    expected = g - (g @ h) / (h @ h) * h + h - (g @ h) / (g @ g) * g if conflict else g + h
    terms = ctx.loss(target, source, None)
    assert float(terms["target"].detach()) == pytest.approx(float(losses.target.detach()))
    assert float(terms["source"].detach()) == pytest.approx(float(losses.source.detach()))
    (terms["target"] + terms["source"]).backward()
    np.testing.assert_allclose(torch.cat([p.grad.flatten() for p in shared]).numpy(), expected, rtol=1e-4, atol=1e-6)
    for net, head in zip((target_net, source_net), heads, strict=True):
        torch.testing.assert_close(torch.cat([p.grad.flatten() for p in net.head.parameters()]), head)


# ---- shared middle -------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize(("shape", "kind"), [((7,), "linear"), ((7,), "conv"), ((1, 8, 8), "linear"),
                                             ((3, 9, 6), "conv"), ((1, 5, 5), "conv")])  # fmt: skip
def test_a_stem_brings_anything_to_one_width(shape: tuple[int, ...], kind: Any, norm: Any) -> None:
    x = torch.randn(4, *shape)
    out = make_stem(x, 10, kind, norm)(x)
    assert out.shape == (4, 10)
    mean, deviation = (out.mean(0), out.var(0)) if norm == "batch" else (out.mean(1), out.var(1))
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
    assert bool((deviation > 0.5).all())


def images_and_vectors() -> tuple[Domain, Domain]:
    toy, rng = shifted_images(), np.random.default_rng(4)

    def split(size: int) -> Split:
        y = rng.integers(3, size=size)
        return Split((rng.normal(size=(size, 5)) + 2 * np.eye(5)[y]).astype(np.float32), y)

    vectors = Domain("vectors", {"train": split(120), "test": split(60)}, ("a", "b", "c"), "features")
    return toy.source, vectors


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("stem", ["linear", "conv"])
def test_images_and_vectors_of_other_classes_share_a_middle(swap: bool, stem: Any) -> None:
    source, target = reversed(images_and_vectors()) if swap else images_and_vectors()
    toy = Toy(
        source, target, Heterogeneous(labels=20), MLP(hidden=(16,), size=8), Recipe(steps=120, batch_size=32, lr=1e-2)
    )
    done = fit(SharedMiddle(width=16, stem=stem), toy)
    assert done.fitted["target"].middle is done.fitted["source"].middle
    for pool, scores in done.scores().items():
        assert (scores.argmax(1) == done.problem.test[pool].y).mean() > 0.8, pool


def test_a_middle_with_batchnorm_has_norms_of_each_task() -> None:
    class Deep(MLP):
        def load(self, shape: Any, *, pretrained: bool = True) -> Any:
            trunk = super().load(shape, pretrained=pretrained)
            trunk.net.append(nn.BatchNorm1d(trunk.num_features))
            return trunk

    toy = replace(together(), backbone=Deep(hidden=(16,)))
    fitted = fit(SharedMiddle(width=8), toy).fitted
    (one, norm), (other, own) = (
        (route.middle.net[0][0], route.middle.net[-1]) for route in (fitted["target"], fitted["source"])
    )
    assert one.weight is other.weight
    assert norm.weight is not own.weight


def test_batches_of_one_are_refused_with_the_remedy() -> None:
    toy = together()
    toy = replace(toy, recipe=replace(toy.recipe, steps=2, batch_size=1))
    with pytest.raises(TrialError, match="two examples of each task in a batch; or say norm: layer"):
        score(SharedMiddle(), toy)
    score(SharedMiddle(norm="layer"), toy)


def test_the_trunk_and_heads_follow_the_trial() -> None:
    torch.manual_seed(0)
    ctx: Any = Recorder(trunk_with_norm())
    own, shared = trunk_and_heads(ctx, "own"), trunk_and_heads(ctx, "shared")
    assert own.target.backbone is not own.source.backbone
    assert shared.target.backbone is shared.source.backbone
