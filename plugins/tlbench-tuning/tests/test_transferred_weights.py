"""What is kept, what is trained, at which rates: feature extraction, unfreezing, LP-FT, layer transfer, surgery."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tlbench_tuning.feature_extraction import FeatureExtraction
from tlbench_tuning.layer_transfer import LayerTransfer, Selffer, redraw
from tlbench_tuning.lp_ft import LPFT, WiSEFT, between
from tlbench_tuning.surgical import Surgical, relative_gradient_norms
from tlbench_tuning.unfreezing import GradualUnfreezing, stages
from torch import nn
from torch.nn import functional as F

from tlbench import Domain, Split
from tlbench.builtin.fine_tune import FineTune
from tlbench.builtin.linear_probe import LinearProbe
from tlbench.builtin.small_backbones import SmallCNN
from tlbench.builtin.tasks import FineTuning
from tlbench.errors import TrialError
from tlbench.testing import Toy, few_labels
from tlbench.testing.toys import _source_weights, fit


def _images() -> Toy:
    """Bright bars, upright or lying: 40 images of 8 x 8 in each domain, for a network with BatchNorm."""

    def domain(name: str, seed: int) -> Domain:
        def split(seed: int) -> Split:
            rng = np.random.default_rng(seed)
            y = np.arange(40) % 2
            x = rng.integers(0, 120, size=(40, 1, 8, 8))
            for image, label, at in zip(x, y, rng.integers(8, size=40), strict=True):
                image[0, at] += 120 * (label == 0)
                image[0, :, at] += 120 * (label == 1)
            return Split(x.astype(np.uint8), y)

        return Domain(name, {"train": split(seed), "test": split(seed + 1)}, ("lying", "upright"), "image")

    recipe = replace(few_labels().recipe, steps=12, batch_size=8, optimizer="sgd", lr=0.05)
    return Toy(domain("bars", 1), domain("more bars", 5), FineTuning(), SmallCNN(8, 1, width=4, depth=3), recipe)


def _state(module: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _same(one: Any, other: Any) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def _source_blocks(toy: Toy) -> list[dict[str, Any]]:
    model = fit(FineTune(lr=1e-9), toy).ctx.classifier("source")
    return [_state(block) for block in model.backbone.blocks]


# ---- feature extraction --------------------------------------------------------------------------


def test_without_a_block_it_is_the_linear_probe() -> None:
    toy = few_labels()
    ours, theirs = (fit(s, toy).scores()["target"] for s in (FeatureExtraction(), LinearProbe()))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_block_gives_its_mean_over_space_to_a_logistic_regression() -> None:
    toy = _images()
    done = fit(FeatureExtraction(block=1), toy)
    net = done.ctx.backbone().eval()
    with torch.no_grad():  # the second block by hand
        x, x_test = (
            net.blocks[1](net.blocks[0](torch.from_numpy(toy.target.splits[s].x / 127.5 - 1).float())).mean((2, 3))
            for s in ("train", "test")
        )
    y = toy.target.splits["train"].y
    tried = [make_pipeline(StandardScaler(), LogisticRegression(C=10.0**k)).fit(x, y) for k in range(-4, 3)]
    scores = done.scores()["target"]
    odds = scores[:, 1] - scores[:, 0]
    assert min(np.abs(odds - one.decision_function(x_test)).max() for one in tried) < 1e-2


def test_a_block_that_is_not_there_is_refused() -> None:
    with pytest.raises(TrialError, match="no block 7"):
        fit(FeatureExtraction(block=7), few_labels())


# ---- gradual unfreezing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blocks", "steps", "share", "expected"),
    [
        (3, 120, 0.5, [(0, 20), (1, 20), (2, 20), (3, 60)]),
        (2, 10, 0.8, [(0, 4), (1, 4), (2, 2)]),
        (0, 7, 0.5, [(0, 7)]),
        (4, 2, 0.5, [(2, 1), (4, 1)]),  # fewer steps than blocks: several are unfrozen at once
        (3, 1, 0.9, [(3, 1)]),
    ],
)
def test_the_stages_unfreeze_from_the_top_and_use_every_step(
    blocks: int, steps: int, share: float, expected: list[tuple[int, int]]
) -> None:
    assert stages(blocks, steps, share) == expected


class _Recorder:
    """A context that keeps what is to be trained, and trains nothing."""

    steps_left = 120

    def __init__(self, model: Any) -> None:
        self.model, self.calls = model, []

    def classifier(self) -> Any:
        return self.model

    def train(self, loss: Any, *, update: Any, steps: int) -> None:
        free = [all(p.requires_grad for p in b.parameters()) for b in self.model.backbone.blocks]
        rates = {id(g.modules): g.lr for g in update[:-1]}
        self.calls.append((steps, free, [rates.get(id(b)) for b in self.model.backbone.blocks]))
        assert rates[id(self.model.head)] == 2.0
        assert update[-1] is self.model


def test_each_block_trains_at_a_rate_2_6_times_lower_than_the_part_above() -> None:
    model: Any = fit(FineTune(), few_labels()).fitted
    ctx: Any = _Recorder(model)
    GradualUnfreezing(lr=2.0).fit(ctx)
    low, high = 2 / 2.6**2, 2 / 2.6
    expected = [(30, [False, False], [None, None]), (30, [False, True], [None, high]), (60, [True, True], [low, high])]
    assert [(s, f) for s, f, _ in ctx.calls] == [(s, f) for s, f, _ in expected]
    for (_, _, ours), (_, _, rates) in zip(ctx.calls, expected, strict=True):
        assert ours == [None if r is None else pytest.approx(r) for r in rates]


def test_a_block_not_yet_unfrozen_keeps_its_batch_statistics() -> None:
    """With almost all steps before the last stage, the lowest block moves in the very last step only."""
    toy = _images()
    before = _source_blocks(toy)
    done: Any = fit(GradualUnfreezing(share=0.9), toy).fitted
    counts = [int(b.state_dict()["1.num_batches_tracked"]) for b in done.backbone.blocks]
    begun = int(before[0]["1.num_batches_tracked"])
    assert [c - begun for c in counts] == [1, 5, 8]  # stages of 4, 3 (7.2 - 3.6 rounded), 4 and 1 steps


# ---- LP-FT and WiSE-FT ---------------------------------------------------------------------------


def test_lp_ft_starts_at_the_optimum_of_the_probe() -> None:
    toy = _images()
    tuned = fit(LPFT(lr=1e-12), toy)
    model: Any = tuned.fitted
    probe = fit(FeatureExtraction(), toy)
    x = torch.from_numpy(toy.target.splits["test"].x / 127.5 - 1).float()
    with torch.no_grad():
        features = tuned.ctx.backbone().eval()(x)
        np.testing.assert_allclose(model.head(features).numpy(), probe.scores()["target"], atol=1e-3)


@pytest.mark.parametrize("freeze", [False, True])
def test_batchnorm_is_frozen_whole_where_asked_for(freeze: bool) -> None:
    toy = _images()
    before, done = _source_blocks(toy), fit(LPFT(lr=1.0, freeze_norm=freeze), toy)
    model: Any = done.fitted
    for block, start in zip(model.backbone.blocks, before, strict=True):
        now = block.state_dict()
        assert _same({k: v for k, v in start.items() if k.startswith("1.")}, now) is freeze
        assert not torch.equal(now["0.weight"], start["0.weight"])


def test_wise_ft_lies_between_the_probe_and_lp_ft() -> None:
    toy = few_labels()
    probe, half, whole = (fit(WiSEFT(alpha=a), toy) for a in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(whole.scores()["target"], fit(LPFT(), toy).scores()["target"])
    np.testing.assert_allclose(
        probe.scores()["target"], fit(FeatureExtraction(), toy).scores()["target"], rtol=1e-3, atol=1e-4
    )
    for name, middle in half.fitted.state_dict().items():
        ends = probe.fitted.state_dict()[name].numpy() + whole.fitted.state_dict()[name].numpy()
        np.testing.assert_allclose(middle.numpy(), ends / 2, atol=1e-6)


def test_the_average_leaves_counters_alone() -> None:
    start, end = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    end.running_mean.fill_(8.0)  # type: ignore[union-attr]
    end.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    found = between(start.state_dict(), end.state_dict(), 0.25)
    assert found["running_mean"].tolist() == [2.0, 2.0]
    assert int(found["num_batches_tracked"]) == 7


# ---- layer transfer ------------------------------------------------------------------------------


@pytest.mark.parametrize(("copy", "count", "copied"), [("first", 2, [0, 1]), ("last", 1, [2]), ("first", 3, [0, 1, 2])])
def test_frozen_copies_are_the_sources_and_keep_their_statistics(copy: Any, count: int, copied: list[int]) -> None:
    toy = _images()
    source = _source_blocks(toy)
    model: Any = fit(LayerTransfer(copy=copy, blocks=count), toy).fitted
    ours = [_state(block) for block in model.backbone.blocks]
    assert [i for i in range(3) if _same(ours[i], source[i])] == copied


def test_tuned_copies_start_at_the_sources_and_move() -> None:
    toy = _images()
    source = _source_blocks(toy)
    model: Any = fit(LayerTransfer(blocks=1, tune_copied=True), toy).fitted
    weight, start = model.backbone.blocks[0][0].weight, source[0]["0.weight"]
    assert 0 < float((weight - start).detach().norm()) < 0.3 * float(start.norm())


def test_random_blocks_are_not_those_that_the_source_began_from() -> None:
    """The source's model and scratch begin alike; what is drawn anew must know nothing of them."""
    toy = replace(_images(), recipe=replace(_images().recipe, steps=1, lr=1e-9))
    done = fit(LayerTransfer(blocks=1), toy)
    model: Any = done.fitted
    first: Any = done.ctx.classifier("random")
    for i in (1, 2):
        ours, began = (m.backbone.blocks[i][0].weight.detach().flatten() for m in (model, first))
        assert abs(float(torch.corrcoef(torch.stack([ours, began]))[0, 1])) < 0.3
        np.testing.assert_allclose(np.sort(ours.numpy()), np.sort(began.numpy()), atol=1e-6)


def test_a_redrawn_parameter_has_the_same_entries_in_another_order() -> None:
    layer = nn.Linear(30, 20)
    before = layer.weight.detach().clone()
    redraw(layer, np.random.default_rng(0))
    assert not torch.equal(layer.weight, before)
    assert torch.equal(layer.weight.flatten().sort().values, before.flatten().sort().values)


def test_a_selffer_copies_from_a_network_that_was_trained_on_the_target() -> None:
    """A base network that is not trained to speak of leaves the random start in the frozen block."""
    toy = _images()
    trained, untrained = (fit(Selffer(blocks=1, first_steps=n), toy) for n in (12, 1))
    begun: Any = trained.ctx.classifier("random")
    ours, other = (f.fitted.backbone.blocks[0][0].weight.detach() for f in (trained, untrained))  # type: ignore[attr-defined]
    start = begun.backbone.blocks[0][0].weight.detach()
    assert float((ours - start).norm()) > 2 * float((other - start).norm()) > 0
    assert all("source" not in name for name in trained.ctx.given)


def test_more_blocks_than_there_are_are_refused() -> None:
    with pytest.raises(TrialError, match="3 blocks were to be copied; the backbone has 2"):
        fit(LayerTransfer(blocks=3), few_labels())


# ---- surgical fine-tuning ------------------------------------------------------------------------


def test_relative_gradient_norms_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    x, a, b, y = rng.normal(size=(6, 4)), rng.normal(size=(4, 5)), rng.normal(size=(5, 2)), rng.normal(size=(6, 2))
    wa, wb = (torch.from_numpy(w).requires_grad_() for w in (a, b))
    loss = 0.5 * (torch.from_numpy(x) @ wa @ wb - torch.from_numpy(y)).square().sum()
    residual = x @ a @ b - y
    slope_a, slope_b = x.T @ residual @ b.T, (x @ a).T @ residual
    expected = [np.linalg.norm(slope_a) / np.linalg.norm(a), np.linalg.norm(slope_b) / np.linalg.norm(b)]
    np.testing.assert_allclose(relative_gradient_norms(loss, [[wa], [wb]]).numpy(), expected)


def test_a_block_of_several_parameters_has_one_norm() -> None:
    w, v = torch.tensor([3.0], requires_grad=True), torch.tensor([4.0], requires_grad=True)
    assert float(relative_gradient_norms((6 * w + 8 * v).sum(), [[w, v]])) == pytest.approx(10 / 5)


@pytest.mark.parametrize("block", [0, -1])
def test_only_the_chosen_block_and_the_head_are_tuned(block: int) -> None:
    toy = _images()
    source = _source_blocks(toy)
    model: Any = fit(Surgical(block=block), toy).fitted
    moved = [i for i, b in enumerate(model.backbone.blocks) if not _same(_state(b), source[i])]
    assert moved == [block % 3]


def test_all_blocks_move_under_auto_rgn_and_the_largest_rate_is_the_recipes() -> None:
    toy = _images()
    toy = replace(toy, recipe=replace(toy.recipe, steps=1, momentum=0.0, weight_decay=0.0, batch_size=40, lr=0.01))
    done = fit(Surgical(rounds=1), toy)
    after: Any = done.fitted
    before: Any = done.ctx.classifier()
    before.head.load_state_dict(fit(LPFT(lr=1e-12), toy).fitted.head.state_dict())
    x, y = done.ctx.inputs("target").x, done.ctx.inputs("target").y
    F.cross_entropy(before.eval()(x), y).backward()  # the rates are measured in evaluation mode
    ratio = [
        np.sqrt(sum(float(p.grad.square().sum()) for p in b.parameters()))
        / np.sqrt(sum(float(p.detach().square().sum()) for p in b.parameters()))
        for b in before.backbone.blocks
    ]
    before.zero_grad()
    F.cross_entropy(before.train()(x), y).backward()  # the step is taken in training mode
    for i, (old, new) in enumerate(zip(before.backbone.blocks, after.backbone.blocks, strict=True)):
        for p, q in zip(old.parameters(), new.parameters(), strict=True):
            torch.testing.assert_close(q, p - 0.01 * ratio[i] / max(ratio) * p.grad, rtol=1e-3, atol=1e-6)


def test_a_block_to_operate_on_must_exist() -> None:
    with pytest.raises(TrialError, match="no block 2: the backbone has blocks 0 to 1"):
        fit(Surgical(block=2), few_labels())


def test_the_sources_weights_are_at_hand() -> None:
    """What the tests above compare with is what the strategies were given."""
    toy = _images()
    kept = _source_weights(toy, 0)
    assert torch.equal(kept["backbone.net.0.0.weight"], _source_blocks(toy)[0]["0.weight"])
