"""JDOT: cost and plan against NumPy, SciPy and skada, and what it must solve."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from tlbench_adaptation.jdot import JDOT, joint_cost, transport_plan
from torch import nn

from tlbench import Batch, Step
from tlbench.testing import check_beats, check_strategy, covariate_shift, score


def _batch(ns: int, nt: int, dims: int, classes: int) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(6)
    return (rng.normal(size=(ns, dims)), rng.integers(classes, size=ns), rng.normal(size=(nt, dims)) + 1,
            2 * rng.normal(size=(nt, classes)))  # fmt: skip


def _cost_by_hand(s: Any, y: Any, t: Any, z: Any, alpha: float, lam: float) -> Any:
    """Damodaran et al. 2018, eq. 6: alpha ||g(x_i) - g(x_j)||^2 + lambda L(y_i, f(g(x_j)))."""
    q = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return np.array([[alpha * ((a - b) ** 2).sum() - lam * np.log(p[k]) for b, p in zip(t, q, strict=True)]
                     for a, k in zip(s, y, strict=True)])  # fmt: skip


@pytest.mark.parametrize(("ns", "nt"), [(5, 5), (3, 8)])
def test_the_cost_is_that_of_the_paper(ns: int, nt: int) -> None:
    s, y, t, z = _batch(ns, nt, 4, 3)
    ours = joint_cost(*map(torch.from_numpy, (s, y, t, z)), 0.3, 0.7)
    np.testing.assert_allclose(ours.numpy(), _cost_by_hand(s, y, t, z, 0.3, 0.7), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("ns", "nt"), [(6, 6), (4, 7)])
def test_the_plan_solves_the_linear_programme(ns: int, nt: int) -> None:
    cost = np.random.default_rng(1).random((ns, nt))
    plan = transport_plan(torch.from_numpy(cost)).numpy()
    np.testing.assert_allclose(plan.sum(1), 1 / ns)
    np.testing.assert_allclose(plan.sum(0), 1 / nt)
    rows = [np.kron(np.eye(ns)[i], np.ones(nt)) for i in range(ns)]
    columns = [np.kron(np.ones(ns), np.eye(nt)[j]) for j in range(nt)]
    best = linprog(cost.ravel(), A_eq=np.array(rows + columns), b_eq=[1 / ns] * ns + [1 / nt] * nt)
    assert (plan * cost).sum() == pytest.approx(best.fun)


def test_between_as_many_examples_it_is_an_assignment() -> None:
    cost = np.random.default_rng(3).random((12, 12))
    plan = transport_plan(torch.from_numpy(cost)).numpy()
    assert sorted(zip(*np.nonzero(plan > 1e-9), strict=True)) == sorted(zip(*linear_sum_assignment(cost), strict=True))


@pytest.mark.filterwarnings("ignore")  # what skada and skorch warn of on import is theirs
def test_the_transport_cost_is_that_of_skada() -> None:
    losses = pytest.importorskip("skada.deep.losses")
    s, y, t, z = (torch.from_numpy(part) for part in _batch(10, 10, 4, 3))
    cost = joint_cost(s, y, t, z, 0.3, 0.7)
    theirs = losses.deepjdot_loss(y, z, s, t, 0.3, 0.7)
    assert float((transport_plan(cost) * cost).sum()) == pytest.approx(float(theirs), rel=1e-4)


class _Recorder:
    """A context that keeps the loss and trains nothing."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        backbone = nn.Linear(4, 3)
        backbone.num_features = 3  # type: ignore[assignment]
        self.model: Any = nn.Module()
        self.model.backbone, self.model.head = backbone, nn.Linear(3, 2)

    def classifier(self) -> Any:
        return self.model

    def train(self, loss: Any, *, update: Any, on: Any) -> None:
        self.loss, self.on = loss, on


def test_the_plan_is_a_constant_for_the_gradient_and_the_cost_is_not() -> None:
    ctx: Any = _Recorder()
    JDOT(features=0.5, labels=0.2).fit(ctx)
    assert ctx.on == ("source", "target_unlabelled")
    xs, xt, y = torch.randn(5, 4), torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 1])
    ctx.loss(Batch(xs, y), Batch(xt), Step(3, 10))["transport"].backward()
    found = [p.grad.clone() for p in ctx.model.parameters()]
    ctx.model.zero_grad()
    s, t = ctx.model.backbone(xs), ctx.model.backbone(xt)
    with torch.no_grad():
        plan = transport_plan(joint_cost(s, y, t, ctx.model.head(t), 0.5, 0.2))
    fixed = 0.5 * (plan * torch.cdist(s, t).square()).sum()
    fixed = fixed - 0.2 * (plan * ctx.model.head(t).log_softmax(1)[:, y].T).sum()
    fixed.backward()
    for one, other in zip(found, ctx.model.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad)


@pytest.mark.parametrize("strategy", [JDOT(), JDOT(features=1.0, labels=1.0), JDOT(passes="joint")], ids=str)
def test_a_shift_that_can_be_aligned_away_is(strategy: Any) -> None:
    check_beats(strategy, covariate_shift(), margin=0.3)


def test_without_its_term_it_is_no_better_than_the_source_alone() -> None:
    assert score(JDOT(features=0.0, labels=0.0), covariate_shift()) < 0.75


def test_the_contract_holds() -> None:
    check_strategy(JDOT())


@pytest.mark.parametrize("name", ["features", "labels"])
def test_parameters_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*-0.5"):
        JDOT(**{name: -0.5})
