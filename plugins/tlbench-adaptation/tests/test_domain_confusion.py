"""Domain confusion: the loss against NumPy, who is updated by what, and what it must solve."""

from math import log
from typing import Any

import numpy as np
import pytest
import torch
from tlbench_adaptation.domain_confusion import DomainConfusion, confusion_loss
from torch import nn

from tlbench import Batch, Step, Turn
from tlbench.testing import check_beats, check_strategy, covariate_shift, score


def test_the_loss_is_the_cross_entropy_against_the_uniform_target() -> None:
    z = 3 * np.random.default_rng(0).normal(size=9)
    q = np.stack([1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))])
    expected = np.mean([-sum(np.log(q[d, i]) / 2 for d in range(2)) for i in range(9)])  # Tzeng et al. 2015, eq. 4
    assert float(confusion_loss(torch.from_numpy(z))) == pytest.approx(expected)


def test_it_is_least_where_the_classifier_is_undecided_and_blind_to_who_is_who() -> None:
    z = torch.linspace(-4, 4, 9)
    assert float(confusion_loss(torch.zeros(5))) == pytest.approx(log(2))
    assert float(confusion_loss(z)) > log(2)
    assert float(confusion_loss(z)) == pytest.approx(float(confusion_loss(-z)))
    assert bool(torch.isfinite(confusion_loss(torch.tensor([1e4, -1e4]))))


class _Recorder:
    """A context that keeps the turns and trains nothing."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        backbone.num_features = 3  # type: ignore[assignment]
        self.model: Any = nn.Module()
        self.model.backbone, self.model.head = backbone, nn.Linear(3, 2)

    def classifier(self) -> Any:
        return self.model

    def take_turns(self, *turns: Turn) -> None:
        self.turns = turns


def test_each_player_moves_by_its_own_loss_from_where_the_round_began() -> None:
    ctx: Any = _Recorder()
    DomainConfusion(weight=0.7, hidden=5, critic_steps=3).fit(ctx)
    network, critic = ctx.turns
    assert (network.update, critic.times, network.times) == (ctx.model, 3, 1)
    assert {network.on, critic.on} == {("source", "target_unlabelled")}
    source, target = Batch(torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 0, 1])), Batch(torch.randn(5, 4))
    terms = network.loss(source, target, Step(0, 9))
    counted = int(ctx.model.backbone[1].num_batches_tracked)
    before = critic.loss(source, target, Step(0, 9))["domain"]
    (terms["task"] + terms["confusion"]).backward()
    grads = [p.grad.clone() for p in ctx.model.parameters()]
    with torch.no_grad():
        for parameter in ctx.model.parameters():  # the network's move
            parameter.add_(1.0)
    after = critic.loss(source, target, Step(0, 9))["domain"]
    torch.testing.assert_close(before, after)  # the critic sees the features of the round
    assert int(ctx.model.backbone[1].num_batches_tracked) == counted == 2  # one pass of each domain, no more
    after.backward()
    for grad, parameter in zip(grads, ctx.model.parameters(), strict=True):
        assert torch.equal(grad, parameter.grad)  # nothing of the critic's loss reaches the network


@pytest.mark.parametrize("strategy", [DomainConfusion(), DomainConfusion(passes="joint", critic_steps=2)], ids=str)
def test_a_shift_that_can_be_aligned_away_is(strategy: Any) -> None:
    check_beats(strategy, covariate_shift(), margin=0.3)


def test_without_its_term_it_is_no_better_than_the_source_alone() -> None:
    assert score(DomainConfusion(weight=0.0), covariate_shift()) < 0.75


def test_the_contract_holds() -> None:
    check_strategy(DomainConfusion(critic_steps=2))


@pytest.mark.parametrize(
    ("parameters", "named"),
    [({"weight": -1.0}, "weight.*-1"), ({"hidden": 0}, "hidden.*0"), ({"critic_steps": 0}, "critic_steps.*0")],
)
def test_parameters_that_cannot_be_are_refused(parameters: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        DomainConfusion(**parameters)
