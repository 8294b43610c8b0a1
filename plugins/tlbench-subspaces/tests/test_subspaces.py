"""The shallow methods: the contract, problems that they solve and their references do not, and what they refuse."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tlbench_subspaces
from tlbench_subspaces.baselines import PooledPCA, SourceClassifier
from tlbench_subspaces.coral import CORAL
from tlbench_subspaces.coral_kernel import CORALKernel
from tlbench_subspaces.gfk import GFK
from tlbench_subspaces.jda import JDA
from tlbench_subspaces.subspace_alignment import SubspaceAlignment
from tlbench_subspaces.tca import TCA

from tlbench.api.recipe import Recipe
from tlbench.builtin.small_backbones import Identity
from tlbench.builtin.tables import Mat
from tlbench.builtin.tasks import Adaptation
from tlbench.data.cache import DataCache
from tlbench.errors import TrialError
from tlbench.testing import Toy, check_beats, check_strategy, score
from tlbench.testing.toys import fit

from .subspace_toys import moved, noisy, squeezed, toy, turned

METHODS = [
    CORAL(), CORAL(regularisation="ledoit-wolf", centre=True, classifier="1-nn"), CORALKernel(), GFK(),
    JDA(), JDA(kernel="rbf", rounds=2, classifier="logistic"), PooledPCA(), SourceClassifier(),
    SourceClassifier(classifier="1-nn"), SourceClassifier(classifier="logistic"), SubspaceAlignment(), TCA(),
    TCA(kernel="linear", lengths="whitened", unit_length=False, classifier="svm"),
]  # fmt: skip


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


def test_the_plugin_offers_all_eight() -> None:
    assert {strategy.name for strategy in tlbench_subspaces.tlbench_strategies()} == {s.name for s in METHODS}


# ---- problems ------------------------------------------------------------------------------------


@pytest.mark.parametrize("classifier", ["1-nn", "svm", "logistic"])
def test_coral_undoes_a_linear_map_that_the_source_alone_cannot_see(classifier: Any) -> None:
    strategy = CORAL(regularisation=1e-6, classifier=classifier)
    check_beats(strategy, squeezed(), margin=0.1, seeds=(0,))
    assert score(strategy, squeezed()) > 0.98
    assert score(SourceClassifier(classifier=classifier), squeezed()) < 0.9


def test_coral_with_much_regularisation_does_nothing() -> None:
    assert score(CORAL(regularisation=1e9), squeezed()) == score(SourceClassifier(), squeezed())


def test_coral_moves_the_means_only_where_it_is_told_to_centre() -> None:
    assert score(CORAL(), moved()) < 0.6
    assert score(CORAL(centre=True), moved()) > 0.95


@pytest.mark.parametrize("strategy", [
    TCA(dim=2, unit_length=False), TCA(dim=2, unit_length=False, lengths="whitened"),
    TCA(dim=4, unit_length=False, kernel="linear", regularisation=0.1), TCA(dim=4, unit_length=False, kernel="rbf"),
    JDA(dim=2, unit_length=False), JDA(dim=2, unit_length=False, classifier="logistic"),
    GFK(dim=2), SubspaceAlignment(dim=2), SubspaceAlignment(dim=2, classifier="svm"),
], ids=str)  # fmt: skip
def test_a_target_that_was_moved_is_found_again(strategy: Any) -> None:
    check_beats(strategy, moved(), margin=0.4, seeds=(0,))
    assert score(strategy, moved()) > score(SourceClassifier(classifier="1-nn"), moved()) + 0.4
    assert score(PooledPCA(dim=2), moved()) < 0.6  # principal axes alone keep what tells the domains apart


@pytest.mark.parametrize("strategy", [GFK(dim=2), SubspaceAlignment(dim=2)], ids=str)
def test_a_direction_that_was_turned_is_turned_back(strategy: Any) -> None:
    assert score(strategy, turned()) > 0.95
    for classifier in ("1-nn", "svm", "logistic"):
        assert score(SourceClassifier(classifier=classifier), turned()) < 0.8  # type: ignore[arg-type]


def test_principal_axes_take_the_noise_out_of_distances() -> None:
    assert score(PooledPCA(dim=2), noisy()) > score(SourceClassifier(classifier="1-nn"), noisy()) + 0.15


def test_the_authors_form_of_coral_is_not_coral() -> None:
    assert score(CORAL(regularisation=1e-6), squeezed()) > score(CORALKernel(regularisation=1e-6), squeezed()) + 0.05


@pytest.mark.parametrize("strategy", [CORAL(), TCA(dim=2, unit_length=False), GFK(dim=2)], ids=str)
def test_a_source_with_exchanged_labels_is_not_rescued(strategy: Any) -> None:
    """Alignment sees no label of the target, so it carries wrong ones over as faithfully as right ones."""
    honest = squeezed()
    wrong = {n: replace(s, y=1 - s.y) for n, s in honest.source.splits.items()}
    mistaken = replace(honest, source=replace(honest.source, splits=wrong))
    assert score(strategy, mistaken) == pytest.approx(1 - score(strategy, honest), abs=0.01)


# ---- protocols, edges ----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_new_examples_are_mapped_one_by_one_and_all_alike(strategy: Any) -> None:
    """An inductive test set is not looked at as a whole: each example's scores are its own."""
    done = fit(strategy, moved())
    x = np.asarray(done.problem.test["target"].x)
    import torch

    together = done.fitted(torch.from_numpy(x))
    alone = torch.cat([done.fitted(torch.from_numpy(x[i : i + 1])) for i in range(20)])
    torch.testing.assert_close(together[:20], alone, rtol=1e-6, atol=1e-6)


def test_with_unit_length_the_length_of_an_example_says_nothing() -> None:
    longer = moved()
    source = longer.source.splits["train"]
    scale = np.random.default_rng(0).uniform(0.5, 2, (len(source), 1)).astype(np.float32)
    stretched = replace(longer.source, splits={**longer.source.splits, "train": replace(source, x=source.x * scale)})
    for strategy in (TCA(dim=4), JDA(dim=4, rounds=2)):
        one, other = fit(strategy, longer), fit(strategy, replace(longer, source=stretched))
        np.testing.assert_allclose(one.scores()["target"], other.scores()["target"], atol=1e-4)


def test_one_round_of_jda_is_tca() -> None:
    jda, tca = fit(JDA(dim=4, rounds=1), moved()), fit(TCA(dim=4), moved())
    np.testing.assert_array_equal(jda.scores()["target"], tca.scores()["target"])


def test_a_source_that_does_not_span_the_features_needs_a_regularisation() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(n, 30)), np.arange(n) % 2) for n in (20, 60, 60)]
    with pytest.raises(TrialError, match="regularisation above 0"):
        score(CORAL(regularisation=0.0), toy(*pairs))
    score(CORAL(regularisation=1e-3), toy(*pairs))


@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_a_source_of_few_examples_and_of_one_class_is_no_failure(strategy: Any) -> None:
    rng = np.random.default_rng(0)
    target = [(rng.normal(size=(12, 6)), np.arange(12) % 3) for _ in range(2)]
    for labels in ([0, 1, 2, 0, 1], [2, 2, 2, 2, 2], [0, 2, 2, 0, 2]):
        scores = fit(strategy, toy((rng.normal(size=(5, 6)), np.array(labels)), *target)).scores()["target"]
        assert np.isfinite(scores).all()
        assert set(scores.argmax(axis=1)) <= set(labels)


@pytest.mark.parametrize(("make", "names"), [
    (lambda: CORAL(regularisation=-1.0), "regularisation .*-1"), (lambda: CORALKernel(folds=1), "folds .*1"),
    (lambda: CORALKernel(lowest=0.0), "lowest .* 0.0"), (lambda: CORALKernel(regularisation=-2.0), "-2"),
    (lambda: TCA(regularisation=0.0), "regularisation .*0.0"), (lambda: TCA(dim=0), "dim .*0"),
    (lambda: TCA(gamma=-1.0), "gamma .*-1"), (lambda: JDA(rounds=0), "rounds .*0"), (lambda: JDA(dim=-1), "dim .*-1"),
    (lambda: GFK(dim=0), "dim"), (lambda: SubspaceAlignment(dim=0), "dim"), (lambda: PooledPCA(dim=0), "dim"),
])  # fmt: skip
def test_parameters_that_cannot_be_are_refused(make: Any, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        make()


# ---- published cells -----------------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.parametrize(("strategy", "webcam", "dslr"), [
    (SourceClassifier(classifier="1-nn"), 59.24, 63.39), (PooledPCA(), 89.2, 86.1), (GFK(dim=10), 80.89, 75.59),
    (CORALKernel(), 86.6, 84.7),
], ids=str)  # fmt: skip
def test_the_published_accuracies_between_webcam_and_dslr_come_out(
    shared_data: Path, tmp_path: Path, strategy: Any, webcam: float, dslr: float
) -> None:
    """The two small domains of Office-Caltech10; all pairs are in benchmarks/reproduce."""
    cache = DataCache(tmp_path / "cache", shared_data, tmp_path)
    w, d = (
        Mat(f"features/office_caltech10_surf/{name}_SURF_L10.mat", x="fts", y="labels", split="whole",
            scaling=("row-sum", "zscore")).load(cache)
        for name in ("webcam", "dslr")
    )  # fmt: skip
    task = Adaptation(protocol="transductive")
    for source, target, published in ((w, d, webcam), (d, w, dslr)):
        accuracy = 100 * score(strategy, Toy(source, target, task, Identity(), Recipe(steps=1)))
        assert accuracy == pytest.approx(published, abs=0.0501)
