"""Density ratios against closed forms and other solvers; weighting, selection and the tuned source classifier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tlbench_instances
import torch
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from tlbench_instances.density_ratio import (
    discriminator_weights,
    effective_sample_size,
    kliep,
    kliep_by_likelihood,
    kmm_weights,
    median_distance,
    rbf,
)
from tlbench_instances.importance_weighting import ImportanceWeighting, tempered
from tlbench_instances.instance_selection import InstanceSelection, nearest_rows
from tlbench_instances.source_linear import SourceLinear

from tlbench import Batch, SkipTrial, Split
from tlbench.testing import check_beats, check_strategy, score
from tlbench.testing.toys import fit

from .toys_of_instances import another_mixture

METHODS = [
    ImportanceWeighting(),
    ImportanceWeighting(method="kmm", space="inputs"),
    ImportanceWeighting(method="kliep", widths=(0.5, 1.0), centres=20, flattening=0.5),
    InstanceSelection(),
    InstanceSelection(k=1, space="inputs"),
    SourceLinear(),
    SourceLinear(model="linear-svm", strengths=2),
]


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


def test_the_plugin_offers_all_four() -> None:
    names = [cls.name for cls in tlbench_instances.tlbench_strategies()]
    assert names == ["importance-weighting", "instance-selection", "source-linear", "tradaboost"]


# ---- density ratios ------------------------------------------------------------------------------


def two_normals(size: int = 4000) -> tuple[Any, Any, Any]:
    """Source N(0, 1), target N(1, 1), and the true ratio at the source examples: exp(x - 1/2)."""
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(size, 1)), 1 + rng.normal(size=(size // 2, 1))
    return source, target, (norm.pdf(source, 1) / norm.pdf(source))[:, 0]


def test_the_discriminator_finds_the_ratio_of_two_normals_whatever_their_sizes() -> None:
    source, target, truth = two_normals()
    ours = discriminator_weights(source, target, strength=100.0)
    assert np.abs(np.log(ours / truth)).max() < 0.3
    assert ours.mean() == pytest.approx(1, abs=0.06)
    assert np.average(source[:, 0], weights=ours) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("largest", [1000.0, 3.0])
def test_kernel_mean_matching_solves_its_quadratic_program(largest: float) -> None:
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(40, 2)), rng.normal(size=(30, 2)) * 0.6 + [0.7, 0]
    kernel, kappa = rbf(source, source, 0.5), 40 * rbf(source, target, 0.5).mean(1)
    eps = (np.sqrt(40) - 1) / np.sqrt(40)

    def objective(w: Any) -> float:
        return float(0.5 * w @ kernel @ w - kappa @ w)

    found = minimize(
        objective, np.ones(40), jac=lambda w: kernel @ w - kappa, bounds=[(0, largest)] * 40, method="SLSQP",
        constraints=[{"type": "ineq", "fun": lambda w: 40 * eps - (w.sum() - 40)},
                     {"type": "ineq", "fun": lambda w: 40 * eps + (w.sum() - 40)}],
        options={"maxiter": 1000, "ftol": 1e-12},
    )  # fmt: skip
    ours = kmm_weights(source, target, 0.5, largest)
    assert found.success
    assert ours.min() >= 0
    assert ours.max() <= largest
    assert objective(ours) == pytest.approx(found.fun, rel=1e-6)
    assert np.abs(ours - found.x).max() < 0.02 * ours.max()


def test_kernel_mean_matching_is_no_worse_than_another_implementation() -> None:
    reweight = pytest.importorskip("skada._reweight")
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(80, 3)), rng.normal(size=(60, 3)) * 0.7 + [0.5, 0, 0]
    kernel, kappa = rbf(source, source, 1.0), 80 * rbf(source, target, 1.0).mean(1)
    domains = np.repeat([1, -2], [80, 60])
    other = reweight.KMMReweightAdapter(gamma=0.5, B=1000.0, solver="scipy", tol=1e-10, max_iter=10_000)
    theirs = other.fit(np.concatenate([source, target]), sample_domain=domains).source_weights_
    ours = kmm_weights(source, target, 1.0, 1000.0)
    value = [0.5 * w @ kernel @ w - kappa @ w for w in (ours, theirs)]
    assert value[0] <= value[1] + 1e-5 * abs(value[1])


@pytest.mark.parametrize(("wanted", "point"), [(3.0, [5.0, 0.2, -1.0]), (5.5, [0.1, 0.2, 0.3])])
def test_the_sum_of_the_weights_stays_within_its_bounds(wanted: float, point: list[float]) -> None:
    from tlbench_instances.density_ratio import _onto

    ours = _onto(np.array(point), 2.0, wanted, wanted)
    assert ours.sum() == pytest.approx(wanted)
    found = minimize(lambda w: ((w - point) ** 2).sum(), np.ones(3), bounds=[(0, 2)] * 3, method="SLSQP",
                     constraints=[{"type": "eq", "fun": lambda w: w.sum() - wanted}])  # fmt: skip
    assert np.allclose(ours, found.x, atol=1e-3)


def test_kliep_reaches_the_optimum_that_another_solver_finds() -> None:
    rng = np.random.default_rng(3)
    source, target = rng.normal(size=(60, 2)), rng.normal(size=(50, 2)) * 0.6 + [0.7, 0]
    centres = target[:8]
    a, b = rbf(target, centres, 0.8), rbf(source, centres, 0.8).mean(0)
    found = minimize(
        lambda alpha: -np.log(a @ alpha).mean(), np.full(8, 1 / b.sum()), bounds=[(0, None)] * 8, method="SLSQP",
        constraints=[{"type": "eq", "fun": lambda alpha: b @ alpha - 1}], options={"ftol": 1e-12, "maxiter": 1000},
    )  # fmt: skip
    ours = kliep(source, target, centres, 0.8, tolerance=1e-6)
    assert ours(source).mean() == pytest.approx(1)
    assert ours.alpha.min() >= 0
    assert np.log(ours(target)).mean() == pytest.approx(-found.fun, abs=1e-5)


def test_kliep_is_no_worse_than_another_implementation() -> None:
    reweight = pytest.importorskip("skada._reweight")
    rng = np.random.default_rng(4)
    source, target = rng.normal(size=(80, 2)), rng.normal(size=(60, 2)) * 0.7 + [0.5, 0]
    other = reweight.KLIEPReweightAdapter(gamma=0.5, n_centers=20, random_state=0, tol=1e-8, max_iter=100_000)
    other.fit(np.concatenate([source, target]), sample_domain=np.repeat([1, -2], [80, 60]))
    theirs = np.log(rbf(target, other.centers_, 1.0) @ other.alpha_).mean()
    assert np.log(kliep(source, target, other.centers_, 1.0)(target)).mean() >= theirs


def test_kliep_finds_the_ratio_of_two_normals_and_a_width_that_suits() -> None:
    source, target, truth = two_normals(1000)
    fitted = kliep_by_likelihood(source, target, [0.02, 0.8, 50.0], np.random.default_rng(0))
    assert fitted.width == 0.8
    assert len(fitted.centres) == 100
    assert np.corrcoef(fitted(source), truth)[0, 1] > 0.95


def test_the_median_distance_is_between_examples_of_both_domains() -> None:
    source, target = np.zeros((10, 2)), np.full((10, 2), 3.0)
    assert median_distance(source, target, np.random.default_rng(0)) == pytest.approx(np.sqrt(18))
    assert median_distance(source, source, np.random.default_rng(0)) == 1.0


# ---- weights in use ------------------------------------------------------------------------------


def test_the_effective_sample_size_counts_equal_weights() -> None:
    assert effective_sample_size(np.ones(7)) == pytest.approx(7)
    assert effective_sample_size(np.array([0, 0, 5.0])) == pytest.approx(1)
    assert effective_sample_size(np.array([3.0, 1.0])) == pytest.approx(16 / 10)


def test_weights_have_a_mean_of_one_and_none_is_huge() -> None:
    weight = np.array([0.1] * 99 + [1000.0])
    assert tempered(weight, 1.0, 1e9).mean() == pytest.approx(1)
    cut = tempered(weight, 1.0, 20.0)
    assert cut.mean() == pytest.approx(1)
    assert effective_sample_size(cut) > effective_sample_size(weight)
    assert np.allclose(tempered(weight, 0.0, 20.0), 1)


@pytest.mark.parametrize("method", ["discriminator", "kmm", "kliep"])
def test_weights_lead_to_the_targets_region(method: Any) -> None:
    check_beats(ImportanceWeighting(method=method), another_mixture(), margin=0.3)


def test_selection_leads_to_the_targets_region() -> None:
    check_beats(InstanceSelection(k=3), another_mixture(), margin=0.3)


def test_without_its_weights_weighting_is_source_only() -> None:
    from tlbench.builtin.references import SourceOnly

    flat = fit(ImportanceWeighting(flattening=0.0), another_mixture()).scores()["target"]
    assert np.allclose(flat, fit(SourceOnly(), another_mixture()).scores()["target"], atol=1e-4)


def test_with_exchanged_labels_neither_rescues_the_source() -> None:
    toy = another_mixture()
    wrong = {name: Split(split.x, 1 - split.y) for name, split in toy.source.splits.items()}
    for strategy in (ImportanceWeighting(), InstanceSelection()):
        assert score(strategy, replace(toy, source=replace(toy.source, splits=wrong))) < 0.3


def test_each_loss_has_the_weight_of_its_own_example() -> None:
    """The weights follow the rows of the batches: a source whose second half is far from the target counts nothing."""
    toy = another_mixture()
    seen: list[Batch] = []

    class Spy:
        def __init__(self, ctx: Any) -> None:
            self.ctx = ctx

        def __getattr__(self, name: str) -> Any:
            return getattr(self.ctx, name)

        def train(self, loss: Any, **how: Any) -> None:
            def spied(batch: Batch, step: Any) -> Any:
                seen.append(batch)
                return loss(batch, step)

            self.ctx.train(spied, **how)

    done = fit(InstanceSelection(), toy)
    ImportanceWeighting().fit(Spy(replace(done.ctx, allowance=type(done.ctx.allowance)(5))))
    source = done.ctx.inputs("source")
    assert len(seen) == 5
    for batch in seen:
        assert torch.equal(source.x[batch.rows], batch.x)
        assert torch.equal(source.y[batch.rows], batch.y)


def test_the_effective_sample_size_is_reported() -> None:
    told = fit(ImportanceWeighting(), another_mixture()).ctx.session.reported
    assert 1 < told["effective_sample_size"] < 400
    assert told["effective_share"] == pytest.approx(told["effective_sample_size"] / 600)
    assert fit(ImportanceWeighting(flattening=0.0), another_mixture()).ctx.session.reported["effective_share"] == 1


def test_a_source_too_large_for_kernel_mean_matching_skips_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlbench_instances.importance_weighting.MOST_FOR_KMM", 599)
    with pytest.raises(SkipTrial, match="takes 599 source examples at most, not 600"):
        fit(ImportanceWeighting(method="kmm"), another_mixture())


def test_the_nearest_are_found_once_each() -> None:
    source, target = np.array([[0.0], [1], [2], [10]]), np.array([[0.1], [0.2], [1.6]])
    assert nearest_rows(source, target, 1).tolist() == [0, 2]
    assert nearest_rows(source, target, 2).tolist() == [0, 1, 2]
    assert nearest_rows(source, target, 9).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("k", [1, 4])
def test_the_nearest_are_those_of_all_distances_sorted(k: int) -> None:
    rng = np.random.default_rng(5)
    source, target = rng.normal(size=(50, 3)), rng.normal(size=(20, 3)) + 1
    sorted_rows = cdist(target, source).argsort(axis=1)[:, :k]
    assert nearest_rows(source, target, k).tolist() == sorted(set(sorted_rows.ravel().tolist()))


def test_selection_trains_on_the_chosen_examples_alone_and_says_how_many() -> None:
    done = fit(InstanceSelection(k=1), another_mixture())
    told = done.ctx.session.reported
    assert 1 <= told["selected"] <= 400
    assert told["selected_share"] == pytest.approx(told["selected"] / 600)
    rows = np.array([3, 5, 8])
    few = done.ctx.restricted("source", rows)
    assert few.pools["source"] == 3
    assert done.ctx.pools["source"] == 600
    assert torch.equal(few.inputs("source").x, done.ctx.inputs("source").x[rows])
    assert few.steps_left == done.ctx.steps_left


# ---- the tuned source classifier -----------------------------------------------------------------


def test_the_strength_is_chosen_on_the_last_tenth_of_the_source() -> None:
    toy = another_mixture()
    x, y = (np.asarray(part) for part in (toy.source.splits["train"].x, toy.source.splits["train"].y))
    models = [LogisticRegression(C=10.0**c, max_iter=5000).fit(x[:540], y[:540]) for c in range(-5, 1)]
    chosen = max(models, key=lambda model: model.score(x[540:], y[540:]))
    done = fit(SourceLinear(), toy)
    assert done.ctx.session.reported["strength"] == pytest.approx(chosen.C)
    test = toy.target.splits["test"]
    assert np.array_equal(done.scores()["target"].argmax(1), chosen.predict(test.x))


def test_validation_examples_choose_where_there_are_some() -> None:
    toy = another_mixture()
    chosen = replace(toy, recipe=replace(toy.recipe, selection="source-val"))
    done = fit(SourceLinear(), chosen)
    assert set(done.ctx.pools) == {"source", "source_val"}
    assert done.ctx.pools["source"] == 540


@pytest.mark.parametrize(
    ("make", "wrong", "words"),
    [
        (ImportanceWeighting, {"strength": 0.0}, "strength"),
        (ImportanceWeighting, {"widths": ()}, "widths"),
        (ImportanceWeighting, {"widths": (1.0, -1.0)}, "widths.*-1"),
        (ImportanceWeighting, {"centres": 0}, "centres.*0"),
        (ImportanceWeighting, {"flattening": 1.5}, "flattening.*1.5"),
        (ImportanceWeighting, {"largest": 0.5}, "largest.*0.5"),
        (InstanceSelection, {"k": 0}, "k must.*0"),
        (SourceLinear, {"lowest": 2.0}, "lowest.*2"),
        (SourceLinear, {"strengths": 0}, "strengths.*0"),
    ],
)
def test_wrong_parameters_are_named(make: Any, wrong: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**wrong)


def test_what_a_strategy_does_to_a_batch_leaves_its_rows() -> None:
    """A change that makes a new batch and forgets the rows must not cost weighting its weights."""
    done = fit(InstanceSelection(), another_mixture())
    ctx = replace(done.ctx, allowance=type(done.ctx.allowance)(5)).augmented(lambda batch, _: Batch(-batch.x, batch.y))
    source, seen = done.ctx.inputs("source"), []
    model = ctx.classifier()

    def loss(batch: Batch, step: Any) -> Any:
        seen.append(torch.equal(source.x[batch.rows], -batch.x))
        return model(batch.x).square().mean()

    ctx.train(loss, update=model, on=("source",))
    assert seen == [True] * 5
