"""Deep CORAL and DANN: the contract, the formulas, and problems that they solve and must not solve."""

from dataclasses import replace
from math import exp
from typing import Any

import numpy as np
import pytest
import tlbench_adaptation
import torch
from sklearn.metrics import log_loss
from tlbench_adaptation.dann import DANN, adaptation_factor, domain_loss
from tlbench_adaptation.deep_coral import DeepCORAL, coral_loss, covariance
from tlbench_adaptation.two_domains import features_of_both
from torch import nn
from torch.nn import functional as F

from tlbench import Batch, Domain, Split, Step
from tlbench.builtin.references import SourceOnly
from tlbench.errors import TrialError
from tlbench.functional import reverse_gradient
from tlbench.testing import Toy, check_beats, check_strategy, covariate_shift, score

METHODS = [
    DANN(), DANN(weight=0.3, hidden=8, gamma=5.0), DANN(passes="joint"),
    DeepCORAL(), DeepCORAL(weight=10.0), DeepCORAL(passes="joint"),
]  # fmt: skip


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


def test_the_plugin_offers_each_of_its_strategies_once() -> None:
    names = [strategy.name for strategy in tlbench_adaptation.tlbench_strategies()]  # type: ignore[attr-defined]
    assert names == ["cyclegan", "dann", "deep-coral", "domain-confusion", "jdot", "mcc", "mmd"]


# ---- problems ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [DANN(), DANN(passes="joint"), DeepCORAL(), DeepCORAL(passes="joint")], ids=str)
def test_a_shift_that_can_be_aligned_away_is(strategy: Any) -> None:
    check_beats(strategy, covariate_shift(), margin=0.3)


@pytest.mark.parametrize("strategy", [DANN(weight=0.0), DeepCORAL(weight=0.0)], ids=str)
def test_without_its_term_a_method_is_no_better_than_the_source_alone(strategy: Any) -> None:
    assert score(strategy, covariate_shift()) < 0.75


def _with_labels(toy: Toy, change: Any) -> Toy:
    splits = {n: Split(s.x, change(s.y)) for n, s in toy.source.splits.items()}
    return replace(toy, source=Domain("wrong", splits, toy.source.label_names, "features"))


@pytest.mark.parametrize("strategy", [DANN(), DeepCORAL()], ids=str)
def test_a_source_with_exchanged_labels_is_not_rescued(strategy: Any) -> None:
    """Alignment sees no labels: it carries wrong ones over as faithfully as right ones."""
    wrong = _with_labels(covariate_shift(), lambda y: 1 - y)
    assert score(strategy, wrong) < 0.15
    assert score(SourceOnly(), wrong) > score(strategy, wrong)


@pytest.mark.parametrize("strategy", [DANN(), DeepCORAL()], ids=str)
def test_a_source_with_random_labels_is_not_rescued(strategy: Any) -> None:
    noise = _with_labels(covariate_shift(), np.random.default_rng(8).permutation)
    assert np.mean([score(strategy, noise, seed) for seed in range(3)]) < 0.75


# ---- Deep CORAL ----------------------------------------------------------------------------------


def _features(rows: int, dims: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, dims)) * np.arange(1, dims + 1)


@pytest.mark.parametrize(("rows", "dims"), [(2, 2), (7, 3), (33, 64), (64, 200)])
def test_the_covariance_and_its_gradient_are_torchs_to_the_bit(rows: int, dims: int) -> None:
    given, found = torch.from_numpy(_features(rows, dims, 4)), []
    weight = torch.from_numpy(_features(dims, dims, 5)).float()
    for of in (covariance, lambda x: torch.cov(x.T)):
        x = given.float().requires_grad_()
        value = of(x)
        (value * weight).sum().backward()
        found.append((value, x.grad))
    assert all(torch.equal(ours, torchs) for ours, torchs in zip(*found, strict=True))


@pytest.mark.parametrize(("ns", "nt", "dims"), [(20, 30, 5), (2, 2, 3), (50, 7, 1)])
def test_the_coral_loss_is_that_of_the_paper(ns: int, nt: int, dims: int) -> None:
    s, t = _features(ns, dims, 1), _features(nt, dims, 2) + 3
    ones_s, ones_t = np.ones((1, ns)) @ s, np.ones((1, nt)) @ t
    cs = (s.T @ s - ones_s.T @ ones_s / ns) / (ns - 1)  # eq. 2 and 3, as printed
    ct = (t.T @ t - ones_t.T @ ones_t / nt) / (nt - 1)
    expected = ((cs - ct) ** 2).sum() / (4 * dims**2)
    assert float(coral_loss(torch.from_numpy(s), torch.from_numpy(t))) == pytest.approx(expected, rel=1e-4)


def test_equal_covariances_cost_nothing_wherever_the_means_are() -> None:
    s = torch.from_numpy(_features(40, 4, 1))
    assert float(coral_loss(s, s + 100)) == pytest.approx(0, abs=1e-5)
    assert float(coral_loss(s, s[torch.randperm(40)])) == pytest.approx(0, abs=1e-5)
    assert float(coral_loss(s, -s)) == pytest.approx(0, abs=1e-5)
    assert float(coral_loss(s, 2 * s)) > 1


def test_covariances_are_computed_in_float32_under_mixed_precision() -> None:
    s, t = (torch.from_numpy(_features(64, 8, seed)).float() for seed in (1, 2))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = coral_loss(s, t)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, coral_loss(s, t))


def test_batches_of_one_example_are_refused() -> None:
    toy = covariate_shift()
    with pytest.raises(TrialError, match="deep-coral needs two examples of each domain"):
        score(DeepCORAL(), replace(toy, recipe=replace(toy.recipe, batch_size=1)))


# ---- DANN ----------------------------------------------------------------------------------------


def test_the_factor_rises_from_nothing_to_almost_one() -> None:
    assert adaptation_factor(0.0) == 0.0
    assert adaptation_factor(0.5) == pytest.approx(0.986614298151430)  # 2 / (1 + e^-5) - 1
    assert adaptation_factor(1.0) == pytest.approx(0.999909204262595)  # 2 / (1 + e^-10) - 1
    assert adaptation_factor(0.5, gamma=2.0) == pytest.approx(2 / (1 + exp(-1)) - 1)


@pytest.mark.parametrize(("ns", "nt"), [(6, 6), (3, 9)])
def test_the_domain_loss_is_the_log_loss_of_source_against_target(ns: int, nt: int) -> None:
    rng = np.random.default_rng(4)
    s, t = rng.normal(size=ns) * 3, rng.normal(size=nt) * 3
    shares = 1 / (1 + np.exp(-np.concatenate([s, t])))
    expected = log_loss([1] * ns + [0] * nt, shares, labels=[0, 1])
    assert float(domain_loss(torch.from_numpy(s), torch.from_numpy(t))) == pytest.approx(expected)


class _Recorder:
    """A context that keeps the loss and what is to be updated, and trains nothing."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        backbone = nn.Linear(4, 3)
        backbone.num_features = 3  # type: ignore[assignment]
        self.model: Any = nn.Module()
        self.model.backbone, self.model.head = backbone, nn.Linear(3, 2)

    def classifier(self) -> Any:
        return self.model

    def train(self, loss: Any, *, update: Any, on: Any) -> None:
        self.loss, self.update, self.on = loss, update, on


def _gradients(terms: Any, modules: list[Any]) -> list[list[Any]]:
    for module in modules:
        module.zero_grad()
    terms.backward()
    return [[None if p.grad is None else p.grad.clone() for p in m.parameters()] for m in modules]


@pytest.mark.parametrize("index", [0, 3, 9])
def test_the_factor_scales_what_reaches_the_backbone_and_not_the_critic(index: int) -> None:
    ctx: Any = _Recorder()
    DANN(weight=0.7, hidden=6).fit(ctx)
    model, critic = ctx.update
    assert ctx.on == ("source", "target_unlabelled")
    xs, xt, y = torch.randn(5, 4), torch.randn(8, 4) + 1, torch.tensor([0, 1, 0, 1, 1])
    step = Step(index, 10)
    terms = ctx.loss(Batch(xs, y), Batch(xt), step)
    assert set(terms) == {"task", "domain"}
    torch.testing.assert_close(terms["task"], F.cross_entropy(model.head(model.backbone(xs)), y))
    turned = _gradients(terms["domain"], [model.backbone, model.head, critic])

    def plain() -> Any:
        fs, ft = model.backbone(xs), model.backbone(xt)
        return 0.7 * domain_loss(critic(fs).squeeze(1), critic(ft).squeeze(1))

    torch.testing.assert_close(terms["domain"], plain())
    straight = _gradients(plain(), [model.backbone, model.head, critic])
    factor = 2 / (1 + exp(-index)) - 1
    for t, s in zip(turned[0], straight[0], strict=True):
        torch.testing.assert_close(t, -factor * s)
    assert turned[1] == [None, None]
    for t, s in zip(turned[2], straight[2], strict=True):
        torch.testing.assert_close(t, s)
        assert s.abs().sum() > 0


def test_a_reversed_gradient_is_second_nature_to_autograd() -> None:
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    (reverse_gradient(x, 0.25) ** 2).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    torch.testing.assert_close(x.grad, -0.25 * 2 * x.detach())


# ---- both domains through one network ------------------------------------------------------------


def test_one_pass_shares_the_statistics_and_two_do_not() -> None:
    torch.manual_seed(0)
    s, t = torch.randn(6, 3), torch.randn(4, 3) + 5
    norm = nn.BatchNorm1d(3)
    apart = features_of_both(norm, s, t, "separate")
    for features in apart:
        torch.testing.assert_close(features.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    together = features_of_both(norm, s, t, "joint")
    assert [len(f) for f in together] == [6, 4]
    torch.testing.assert_close(torch.cat(together).mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    assert bool((together[0] < together[1].min(0).values).all())


def test_inputs_of_several_parts_pass_as_well() -> None:
    def net(x: Any) -> Any:
        return x["a"] + x["b"]

    s, t = ({"a": torch.ones(n, 2), "b": torch.full((n, 2), float(n))} for n in (3, 5))
    for passes in ("joint", "separate"):
        fs, ft = features_of_both(net, s, t, passes)  # type: ignore[arg-type]
        assert torch.equal(fs, torch.full((3, 2), 4.0))
        assert torch.equal(ft, torch.full((5, 2), 6.0))


@pytest.mark.parametrize("make", [lambda: DANN(weight=-1.0), lambda: DANN(gamma=0.0), lambda: DANN(hidden=0),
                                  lambda: DeepCORAL(weight=-0.1)])  # fmt: skip
def test_parameters_that_cannot_be_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="weight"):
        make()
