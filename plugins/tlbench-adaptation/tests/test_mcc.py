"""MCC: the formula against NumPy written from the paper and against skada, and what it must solve."""

from typing import Any

import numpy as np
import pytest
import torch
from tlbench_adaptation.mcc import MCC, class_confusion

from tlbench import Domain, Recipe, Split
from tlbench.builtin.references import SourceOnly
from tlbench.builtin.small_backbones import MLP
from tlbench.builtin.tasks import Adaptation
from tlbench.testing import Toy, check_beats, check_strategy, covariate_shift, score


def _by_hand(z: Any, temperature: float) -> float:
    """Jin et al. 2020, eq. 2 to 7, one number at a time."""
    b, c = z.shape
    y = np.exp(z / temperature) / np.exp(z / temperature).sum(1, keepdims=True)
    entropy = [-sum(p * np.log(p) for p in row) for row in y]
    weight = [b * (1 + np.exp(-h)) / sum(1 + np.exp(-g) for g in entropy) for h in entropy]
    confusion = np.array([[sum(y[i, j] * weight[i] * y[i, k] for i in range(b)) for k in range(c)] for j in range(c)])
    shares = np.array([[confusion[j, k] / confusion[j].sum() for k in range(c)] for j in range(c)])
    return float(sum(shares[j, k] for j in range(c) for k in range(c) if k != j) / c)


def _scores(b: int, c: int) -> Any:
    return 4 * np.random.default_rng(2).normal(size=(b, c))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize(("b", "c"), [(8, 3), (5, 2), (3, 7)])
def test_the_class_confusion_is_that_of_the_paper(b: int, c: int, temperature: float) -> None:
    z = _scores(b, c)
    assert float(class_confusion(torch.from_numpy(z), temperature)) == pytest.approx(_by_hand(z, temperature), rel=1e-5)


@pytest.mark.filterwarnings("ignore")  # what skada and skorch warn of on import is theirs
def test_it_is_that_of_skada() -> None:
    losses = pytest.importorskip("skada.deep.losses")
    z = torch.from_numpy(_scores(20, 5)).float()
    assert float(class_confusion(z, 2.5)) == pytest.approx(float(losses.mcc_loss(z, T=2.5)), rel=1e-4)


def test_it_is_nothing_for_the_sure_and_most_for_the_undecided() -> None:
    assert float(class_confusion(1000 * torch.eye(4).repeat(3, 1))) == pytest.approx(0, abs=1e-6)
    assert float(class_confusion(torch.zeros(12, 4))) == pytest.approx(3 / 4)
    one_class = torch.zeros(6, 4)
    one_class[:, 0] = 1e4
    assert bool(torch.isfinite(class_confusion(one_class)))


def test_the_weights_of_examples_take_no_gradient() -> None:
    z = torch.from_numpy(_scores(6, 3)).requires_grad_()
    class_confusion(z).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None

    def with_constant_weights(moved: Any) -> float:
        y, at = (np.exp(x / 2.5) / np.exp(x / 2.5).sum(1, keepdims=True) for x in (moved, z.detach().numpy()))
        w = 1 + np.exp((at * np.log(at)).sum(1))
        c = (y * (len(y) * w / w.sum())[:, None]).T @ y
        c = c / c.sum(1, keepdims=True)
        return float((c.sum() - np.trace(c)) / len(c))

    for i, j in [(0, 0), (3, 2), (5, 1)]:
        step = np.zeros((6, 3))
        step[i, j] = 1e-5
        slope = (
            with_constant_weights(z.detach().numpy() + step) - with_constant_weights(z.detach().numpy() - step)
        ) / 2e-5
        assert float(z.grad[i, j]) == pytest.approx(slope, abs=1e-5)


def turned_clusters() -> Toy:
    """Three well-separated clusters; the target's are turned by 44 of the 60 degrees that reach the border.

    A classifier of the source cuts the clusters of the target; one whose borders run between them is right.
    """
    rng = np.random.default_rng(4)

    def split(size: int, turn: float) -> Split:
        y = rng.integers(3, size=size)
        angle = 2 * np.pi * y / 3 + turn
        x = 4 * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.8 * rng.normal(size=(size, 2))
        return Split(x.astype(np.float32), y)

    def domain(name: str, turn: float) -> Domain:
        return Domain(name, {"train": split(400, turn), "test": split(400, turn)}, ("a", "b", "c"), "features")

    recipe = Recipe(steps=300, batch_size=64, lr=1e-2, schedule="constant")
    return Toy(domain("toy-source", 0.0), domain("toy-target", np.deg2rad(44)), Adaptation(), MLP(hidden=(16,)), recipe)


@pytest.mark.parametrize("strategy", [MCC(), MCC(passes="joint")], ids=str)
def test_borders_that_cut_clusters_move_between_them(strategy: Any) -> None:
    check_beats(strategy, turned_clusters(), margin=0.1)
    assert score(strategy, turned_clusters()) > 0.95


def test_without_its_term_it_is_the_source_alone() -> None:
    toy = turned_clusters()
    assert score(MCC(weight=0.0), toy) == pytest.approx(score(SourceOnly(), toy), abs=0.05)


def test_it_does_not_align_what_clusters_do_not_tell() -> None:
    """On a shift of the features alone, which alignment undoes, it is no remedy."""
    assert score(MCC(), covariate_shift()) < 0.75


def test_the_contract_holds() -> None:
    check_strategy(MCC())


@pytest.mark.parametrize(
    ("parameters", "named"), [({"weight": -1.0}, "weight.*-1"), ({"temperature": 0.0}, "temperature.*0")]
)
def test_parameters_that_cannot_be_are_refused(parameters: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        MCC(**parameters)
