"""ProtoNet, SimpleShot and Baseline++: the papers' formulas, easyfsl's, and problems that they must solve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tlbench_few_shot.adapted import OnFeatures
from tlbench_few_shot.cosine_head import BaselinePlusPlus, cosine_scores
from tlbench_few_shot.protonet import ProtoNet, nearest_prototype, prototype_scores, prototypes, turned
from tlbench_few_shot.simpleshot import SimpleShot, transformed
from torch import nn
from torch.nn import functional as F

from tlbench import Batch, Domain, EpisodeBatch, Split, Step, TrialError
from tlbench.builtin.small_backbones import SmallCNN
from tlbench.testing import check_strategy, score

from .few_shot_toys import refitted_from_scratch, strokes, telling_directions


def _episode(shots: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Support [4 * shots, 6], labels, queries [10, 6]."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4 * shots, 6)), np.repeat(np.arange(4), shots), rng.normal(size=(10, 6))


def _easyfsl() -> Any:
    """easyfsl's methods; its import needs torchvision, which needs help beside a torch of another build."""
    pytest.importorskip("easyfsl")
    from tlbench.models.torchvision_import import import_timm

    import_timm()
    import easyfsl.methods

    return easyfsl.methods


# ---- formulas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shots", [1, 3])
def test_prototypes_and_scores_are_those_of_the_paper(shots: int) -> None:
    support, y, query = _episode(shots)
    centres = np.stack([support[y == k].sum(0) / shots for k in range(4)])  # eq. 1
    expected = np.array([[-((q - c) ** 2).sum() for c in centres] for q in query])  # eq. 2, before the softmax
    found = prototypes(torch.from_numpy(support), torch.from_numpy(y), 4)
    np.testing.assert_allclose(found.numpy(), centres, rtol=1e-12)
    np.testing.assert_allclose(prototype_scores(torch.from_numpy(query), found).numpy(), expected, rtol=1e-4)


def test_prototypes_of_labels_in_any_order_and_number_are_class_means() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(9, 5)), np.array([2, 0, 1, 1, 2, 2, 0, 1, 2])
    expected = np.stack([x[y == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(prototypes(torch.from_numpy(x), torch.from_numpy(y), 3).numpy(), expected, rtol=1e-12)


def test_several_episodes_at_once_are_each_by_itself() -> None:
    episodes = [_episode(seed=seed) for seed in range(3)]
    s, y, q = (torch.from_numpy(np.stack(part)) for part in zip(*episodes, strict=True))
    together = prototype_scores(q, prototypes(s, y, 4))
    for e in range(3):
        alone = prototype_scores(q[e], prototypes(s[e], y[e], 4))
        torch.testing.assert_close(together[e], alone)


def test_prototypes_and_predictions_are_those_of_easyfsl() -> None:
    methods = _easyfsl()
    support, y, query = (torch.from_numpy(part) for part in _episode())
    oracle = methods.PrototypicalNetworks(nn.Identity())
    oracle.process_support_set(support, y)
    torch.testing.assert_close(prototypes(support, y, 4), oracle.prototypes)
    ours = nearest_prototype(support, y, 4)(query)
    # easyfsl scores by the distance, the paper by its square
    torch.testing.assert_close(ours.double(), -oracle(query).square(), rtol=1e-4, atol=1e-5)
    assert torch.equal(ours.argmax(1), oracle(query).argmax(1))


def test_scores_are_computed_in_float32_under_mixed_precision() -> None:
    q, c = torch.randn(5, 64) + 50, torch.randn(3, 64) + 50
    with torch.autocast("cpu", torch.bfloat16):
        mixed = prototype_scores(q, c)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, prototype_scores(q, c))


def test_centring_and_scaling_are_those_of_the_paper() -> None:
    x, mean = np.random.default_rng(0).normal(size=(5, 6)), np.arange(6.0)
    scaled = {
        "none": x,
        "l2": x / np.sqrt((x**2).sum(1, keepdims=True)),
        "centre-l2": (x - mean) / np.sqrt(((x - mean) ** 2).sum(1, keepdims=True)),
    }
    for kind, expected in scaled.items():
        found = transformed(torch.from_numpy(x), torch.from_numpy(mean), kind)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_the_cosine_head_is_that_of_the_paper_and_sees_no_lengths() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(5, 6)), rng.normal(size=(3, 6))
    expected = 7 * (x @ w.T) / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(w, axis=1))
    found = cosine_scores(torch.from_numpy(x), torch.from_numpy(w), 7.0)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
    torch.testing.assert_close(cosine_scores(torch.from_numpy(9 * x), torch.from_numpy(w / 5), 7.0), found)


def test_steps_on_the_head_lower_the_loss_on_the_support() -> None:
    support, y, _ = _episode(shots=5)
    x, labels = torch.from_numpy(support), torch.from_numpy(y)

    def loss(steps: int) -> float:
        head = BaselinePlusPlus(steps=steps, lr=0.1).head_for(x, labels, 4)
        return float(F.cross_entropy(head(x), labels))

    assert loss(200) < loss(20) < loss(0)


def test_without_steps_the_head_is_the_class_means() -> None:
    support, y, query = (torch.from_numpy(part) for part in _episode())
    methods = _easyfsl()
    oracle = methods.SimpleShot(nn.Identity())  # cosine to the class means
    oracle.process_support_set(F.normalize(support, dim=1), y)
    ours = BaselinePlusPlus(steps=0, scale=1.0).head_for(support, y, 4)(query)
    torch.testing.assert_close(ours, oracle(query), rtol=1e-4, atol=1e-6)


# ---- rotations -----------------------------------------------------------------------------------


def test_each_class_of_an_episode_is_turned_by_its_own_quarter_turns() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 1, 4, 4))
    quarters = np.array([[0, 1, 2], [3, 3, 0]])
    found = turned(torch.from_numpy(x), torch.from_numpy(quarters)).numpy()
    for e in range(2):
        for row in range(6):  # two rows for each of three classes
            np.testing.assert_array_equal(found[e, row, 0], np.rot90(x[e, row, 0], quarters[e, row // 2]))


class _Recorder:
    """A context that keeps the loss, and a network that keeps what it was given."""

    seed, episode = 3, None

    def __init__(self, ways: int, shots: int, dims: tuple[int, ...] = (1, 4, 4)) -> None:
        from tlbench import EpisodeShape, Shape

        self.episode, self._shape = EpisodeShape(ways, shots, 1), Shape("image", dims)
        self.seen: list[Any] = []
        self.net = nn.Flatten()
        self.net.register_forward_hook(lambda module, given, out: self.seen.append(given[0]))

    def backbone(self) -> Any:
        return self.net

    def shape(self, pool: str) -> Any:
        return self._shape

    def classes(self, pool: str) -> int:
        return 9

    def train(self, loss: Any, *, update: Any, on: Any) -> None:
        self.loss, self.on = loss, on


def _batch(count: int, ways: int, shots: int, queries: int) -> EpisodeBatch:
    rng = np.random.default_rng(1)

    def part(each: int) -> Batch:
        x = torch.from_numpy(rng.normal(size=(count, ways * each, 1, 4, 4)))
        return Batch(x, torch.arange(ways).repeat_interleave(each).expand(count, -1))

    return EpisodeBatch(part(shots), part(queries))


def test_the_loss_is_the_cross_entropy_of_the_queries_over_all_episodes() -> None:
    ctx: Any = _Recorder(3, 2)
    ProtoNet(ways=3, queries=4, episodes=2).fit(ctx)
    batch = _batch(2, 3, 2, 4)
    losses = []
    for e in range(2):
        s, q = (part.x[e].flatten(1).numpy() for part in (batch.support, batch.query))
        centres = s.reshape(3, 2, -1).mean(1)
        for i in range(12):
            d = np.array([((q[i] - c) ** 2).sum() for c in centres])
            losses.append(d[i // 4] + np.log(np.exp(-d).sum()))  # algorithm 1, the last line
    assert float(ctx.loss(batch, Step(0, 1))) == pytest.approx(np.mean(losses), rel=1e-5)


def test_support_and_queries_pass_the_network_together() -> None:
    """So that BatchNorm has one set of statistics for both."""
    ctx: Any = _Recorder(3, 2)
    ProtoNet(ways=3, queries=4, episodes=2).fit(ctx)
    ctx.loss(_batch(2, 3, 2, 4), Step(0, 1))
    assert [tuple(x.shape) for x in ctx.seen] == [(2 * 3 * (2 + 4), 1, 4, 4)]


def test_rotations_turn_support_and_queries_alike_and_depend_on_the_step_alone() -> None:
    ctx: Any = _Recorder(3, 2)
    ProtoNet(ways=3, queries=4, episodes=2, rotations=True).fit(ctx)
    batch = _batch(2, 3, 2, 4)
    for step in (0, 0, 1, 2, 3):
        ctx.loss(batch, Step(step, 9))
    first, again, *others = ctx.seen
    assert torch.equal(first, again)
    assert any(not torch.equal(first, other) for other in others)
    before = torch.cat([batch.support.x, batch.query.x], 1)
    angles = set()
    for now in ctx.seen:
        now = now.unflatten(0, before.shape[:2])
        for e in range(2):
            for c in range(3):
                rows = [*range(2 * c, 2 * c + 2), *range(6 + 4 * c, 6 + 4 * c + 4)]
                fitting = [k for k in range(4) if torch.equal(now[e, rows], torch.rot90(before[e, rows], k, (-2, -1)))]
                assert len(fitting) == 1
                angles.update(fitting)
    assert angles == {0, 1, 2, 3}


def test_rotations_need_square_images() -> None:
    ctx: Any = _Recorder(3, 2, dims=(1, 4, 5))
    with pytest.raises(TrialError, match=r"rotations need square images.*\(1, 4, 5\)"):
        ProtoNet(rotations=True).fit(ctx)
    with pytest.raises(TrialError, match="rotations need square images"):
        score(ProtoNet(rotations=True), telling_directions())


@pytest.mark.parametrize(("given", "ways"), [(None, 6), (4, 4)])
def test_training_has_twice_the_ways_of_the_test_unless_told_otherwise(given: int | None, ways: int) -> None:
    ctx: Any = _Recorder(3, 2)
    ProtoNet(ways=given, queries=7).fit(ctx)
    (on,) = ctx.on
    assert (on.pool, on.ways, on.shots, on.queries, on.count) == ("source", ways, 2, 7, 1)


def test_training_has_no_more_ways_than_the_source_has_classes() -> None:
    ctx: Any = _Recorder(6, 1)
    ProtoNet().fit(ctx)
    assert ctx.on[0].ways == 9


# ---- problems ------------------------------------------------------------------------------------

METHODS = [
    ProtoNet(), ProtoNet(ways=4, shots=2, queries=3, episodes=2), SimpleShot(), SimpleShot(transform="none"),
    BaselinePlusPlus(steps=10), BaselinePlusPlus(steps=0, scale=4.0),
]  # fmt: skip


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


@pytest.mark.parametrize("strategy", [ProtoNet(), SimpleShot(), BaselinePlusPlus(steps=20)], ids=str)
def test_what_the_source_tells_of_directions_beats_learning_from_one_example(strategy: Any) -> None:
    assert score(strategy, telling_directions()) > refitted_from_scratch() + 0.25


@pytest.mark.parametrize("strategy", [ProtoNet(), SimpleShot(), BaselinePlusPlus(steps=20)], ids=str)
def test_a_source_with_random_labels_teaches_no_directions(strategy: Any) -> None:
    toy = telling_directions()
    noise = np.random.default_rng(1)
    splits = {n: Split(s.x, noise.permutation(s.y)) for n, s in toy.source.splits.items()}
    wrong = replace(toy, source=Domain("wrong", splits, toy.source.label_names, "features"))
    assert score(strategy, wrong) < score(strategy, toy) - 0.25


def test_a_class_and_itself_turned_are_told_apart_only_without_rotations() -> None:
    """A stroke's two directions are each other turned by 90 degrees: each may be either in a turned episode."""
    toy = replace(strokes(), backbone=SmallCNN(size=12, channels=1, width=4, depth=2))
    assert score(ProtoNet(), toy) > 0.9
    assert score(ProtoNet(rotations=True), toy) < score(ProtoNet(), toy)


def test_a_query_is_scored_by_itself_whatever_its_fellows() -> None:
    """In the test BatchNorm uses its running statistics."""
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())
    net(torch.randn(64, 6) * 3 + 1)  # running statistics that differ from any batch's
    net.train()
    support, y, query = (torch.from_numpy(part) for part in _episode())
    predict = OnFeatures(net, nearest_prototype).adapt(Batch(support.float(), y))
    whole = predict(query.float())
    torch.testing.assert_close(whole[:1], predict(query[:1].float()))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda: ProtoNet(ways=1), "ways must be at least 2, got 1"),
        (lambda: ProtoNet(shots=0), "shots must be at least 1, got 0"),
        (lambda: ProtoNet(queries=0), "queries must be at least 1, got 0"),
        (lambda: ProtoNet(episodes=0), "episodes must be at least 1, got 0"),
        (lambda: BaselinePlusPlus(scale=0.0), "scale must be positive, got 0.0"),
        (lambda: BaselinePlusPlus(lr=-1.0), "lr must be positive, got -1.0"),
        (lambda: BaselinePlusPlus(steps=-1), "steps must not be negative, got -1"),
    ],
)
def test_wrong_parameters_are_named(wrong: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        wrong()
