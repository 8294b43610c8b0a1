"""Methods that hold or teach outputs, and that weigh two losses: LwF, distillation, joint training, EWC, BSS."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression
from tlbench_tuning.bss import BSS, bss_penalty
from tlbench_tuning.distillation import Distillation, distillation_loss
from tlbench_tuning.ewc import EWC, ewc_penalty, fisher_diagonal
from tlbench_tuning.joint import TargetWeightedJoint, weighted
from tlbench_tuning.lwf import LwF, old_output_loss
from torch import nn

from tlbench import Batch, Domain, Split
from tlbench.builtin.fine_tune import FineTune
from tlbench.builtin.references import Scratch
from tlbench.builtin.tasks import FineTuning, MultiTask
from tlbench.errors import SkipTrial, TrialError
from tlbench.testing import Toy, check_beats, few_labels
from tlbench.testing.toys import fit


def _scores(seed: int, rows: int = 7, classes: int = 4) -> Any:
    return 3 * np.random.default_rng(seed).normal(size=(rows, classes))


def _target(strategy: Any, toy: Toy) -> Any:
    return fit(strategy, toy).scores()["target"]


def _two_classes(toy: Toy) -> Toy:
    """The toy with two of its source's three classes."""
    splits = {n: Split(np.asarray(s.x)[s.y < 2], s.y[s.y < 2]) for n, s in toy.source.splits.items()}
    return replace(toy, source=Domain("fewer", splits, toy.source.label_names[:2], "features"))


# ---- LwF -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0])
def test_the_old_outputs_loss_is_that_of_the_paper(temperature: float) -> None:
    new, old = _scores(1), _scores(2)
    y_new, y_old = softmax(new, 1) ** (1 / temperature), softmax(old, 1) ** (1 / temperature)  # eq. 4, as printed
    y_new, y_old = y_new / y_new.sum(1, keepdims=True), y_old / y_old.sum(1, keepdims=True)
    expected = -(y_old * np.log(y_new)).sum(1).mean()
    assert float(old_output_loss(torch.from_numpy(new), torch.from_numpy(old), temperature)) == pytest.approx(expected)


def test_lwf_without_weight_and_warm_up_is_fine_tuning() -> None:
    toy = few_labels()
    np.testing.assert_array_equal(_target(LwF(weight=0.0, warmup=0.0), toy), _target(FineTune(), toy))


def test_lwf_warms_up_as_fine_tuning_with_the_head_first() -> None:
    toy = few_labels()
    np.testing.assert_allclose(_target(LwF(weight=0.0, warmup=0.2), toy), _target(FineTune(head_first=0.2), toy))


def _drift(weight: float) -> float:
    """How far the source's shares went on the target's images."""
    toy = replace(few_labels(), task=MultiTask(labels=2))
    done = fit(LwF(weight=weight), replace(toy, recipe=replace(toy.recipe, lr=2e-2)))
    assert set(done.scores()) == {"source", "target"}
    x = done.ctx.inputs("target").x
    with torch.no_grad():
        before, after = done.ctx.source_classifier().eval()(x), done.fitted["source"].eval()(x)
    return float((before.softmax(1) - after.softmax(1)).abs().mean())


def test_the_old_outputs_are_held_the_more_the_larger_the_weight() -> None:
    assert _drift(10.0) < 0.3 * _drift(0.0)


def test_lwf_is_skipped_where_there_is_no_classifier_of_the_source() -> None:
    class Headless:
        def source_classifier(self) -> Any:
            raise TrialError("weights that come without their head")

    with pytest.raises(SkipTrial, match="without their head"):
        LwF().fit(Headless())  # type: ignore[arg-type]


# ---- distillation --------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_the_distillation_loss_is_t_squared_times_the_divergence(temperature: float) -> None:
    student, teacher = _scores(3), _scores(4)
    each = [entropy(softmax(t / temperature), softmax(s / temperature)) for s, t in zip(student, teacher, strict=True)]
    found = distillation_loss(torch.from_numpy(student), torch.from_numpy(teacher), temperature)
    assert float(found) == pytest.approx(temperature**2 * np.mean(each))


def test_at_high_temperature_the_gradient_does_not_vanish_but_matches_scores() -> None:
    """Hinton et al. 2015, eq. 4: for scores of mean zero T^2 times the gradient tends to (z - v) / C."""
    student, teacher = _scores(5), _scores(6)
    student, teacher = student - student.mean(1, keepdims=True), teacher - teacher.mean(1, keepdims=True)
    z = torch.from_numpy(student).requires_grad_()
    distillation_loss(z, torch.from_numpy(teacher), 1e4).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    np.testing.assert_allclose(z.grad.numpy(), (student - teacher) / 4 / 7, atol=1e-4)


def test_a_student_without_a_teacher_is_scratch() -> None:
    toy = few_labels()
    np.testing.assert_array_equal(_target(Distillation(weight=0.0), toy), _target(Scratch(), toy))


def _doubtful_labels() -> Toy:
    """The toy with all 90 labels of the target, of which three in ten were drawn anew."""
    toy, rng = few_labels(), np.random.default_rng(1)
    train = toy.target.splits["train"]
    y = np.where(rng.random(len(train)) < 0.3, rng.integers(3, size=len(train)), train.y)
    splits = {**toy.target.splits, "train": Split(train.x, y)}
    target = Domain("doubtful", splits, toy.target.label_names, "features")
    return replace(toy, target=target, task=FineTuning(), recipe=replace(toy.recipe, steps=300))


def test_a_student_learns_from_a_teacher_that_did_not_fit_the_noise() -> None:
    """The teacher comes from the source and stops early; the student sees the target only, and as often as scratch."""
    check_beats(Distillation(teacher_steps=20), _doubtful_labels(), margin=0.1)


# ---- joint training ------------------------------------------------------------------------------


def test_the_two_losses_share_the_weight() -> None:
    terms = weighted(torch.tensor(2.0), torch.tensor(10.0), 0.75)
    assert {k: float(v) for k, v in terms.items()} == {"target": 1.5, "source": 2.5}


def test_with_all_weight_on_the_target_the_source_plays_no_part() -> None:
    toy = few_labels()
    np.testing.assert_allclose(_target(TargetWeightedJoint(gamma=1.0), toy), _target(Scratch(), toy), atol=1e-5)


def test_one_head_scores_both_domains_and_needs_the_same_classes() -> None:
    shared = fit(TargetWeightedJoint(head="shared"), few_labels()).fitted
    assert shared["source"][1] is shared["target"].head
    with pytest.raises(SkipTrial, match="the source has 2 and the target 3"):
        fit(TargetWeightedJoint(head="shared"), _two_classes(few_labels()))


def test_own_heads_have_each_domains_classes() -> None:
    toy = replace(_two_classes(few_labels()), task=MultiTask(labels=2))
    scores = fit(TargetWeightedJoint(), toy).scores()
    assert {name: value.shape[1] for name, value in scores.items()} == {"source": 2, "target": 3}


# ---- EWC -----------------------------------------------------------------------------------------


def test_the_fisher_information_of_logistic_regression_is_the_known_one() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)).astype(np.float32), rng.integers(4, size=40)
    model = nn.Linear(3, 4)
    found = fisher_diagonal(model, Batch(torch.from_numpy(x), torch.from_numpy(y)))
    shares = softmax(x @ model.weight.detach().numpy().T + model.bias.detach().numpy(), 1)
    slopes = shares - np.eye(4)[y]  # d -log p / d score
    np.testing.assert_allclose(found["weight"], (slopes[:, :, None] * x[:, None]).__pow__(2).mean(0), rtol=1e-4)
    np.testing.assert_allclose(found["bias"], (slopes**2).mean(0), rtol=1e-4)


def test_the_penalty_weighs_each_drift_by_its_information() -> None:
    start, now = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 5.0])
    found = ewc_penalty({"w": now}, {"w": start}, {"w": torch.tensor([10.0, 0.1])}, 3.0)
    assert float(found) == pytest.approx(3 / 2 * (10 * 1 + 0.1 * 9))


def test_a_strong_pull_keeps_what_mattered_to_the_source() -> None:
    """What the source's loss does not feel may move; what it feels may not."""
    toy = few_labels()
    loose, tight = (fit(EWC(strength=s), toy) for s in (0.0, 1e5))
    start = loose.ctx.classifier().backbone.state_dict()
    drifts = [
        sum(float((v - start[k]).square().sum()) for k, v in f.fitted.backbone.state_dict().items())
        for f in (loose, tight)
    ]
    assert 0 < drifts[1] < 0.5 * drifts[0]


# ---- BSS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "dims", "smallest"), [(8, 5, 1), (5, 8, 2), (6, 6, 6), (1, 4, 1), (3, 4, 9)])
def test_the_bss_penalty_is_the_sum_of_the_smallest_squares(rows: int, dims: int, smallest: int) -> None:
    features = np.random.default_rng(1).normal(size=(rows, dims)).astype(np.float32)
    values = np.sort(np.sqrt(np.linalg.eigvalsh(features @ features.T).clip(0))[::-1][: min(rows, dims)])
    expected = (values[:smallest] ** 2).sum()
    assert float(bss_penalty(torch.from_numpy(features), smallest)) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_strong_penalty_shrinks_the_smallest_singular_value() -> None:
    toy = few_labels()
    found = []
    for weight in (0.0, 1.0):
        done = fit(BSS(weight=weight), toy)
        with torch.no_grad():
            values = torch.linalg.svdvals(done.fitted.backbone(done.ctx.inputs("target").x))
        found.append(float(values[-1] / values[0]))
    assert found[1] < found[0]


def test_the_penalty_is_computed_in_float32_under_mixed_precision() -> None:
    features = torch.from_numpy(_scores(9)).float()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = bss_penalty(features)
    assert torch.equal(mixed, bss_penalty(features))


def test_the_scores_of_a_bss_without_weight_are_those_of_fine_tuning() -> None:
    toy = few_labels()
    np.testing.assert_allclose(_target(BSS(weight=0.0), toy), _target(FineTune(), toy), atol=1e-5)


def test_scikit_learn_agrees_that_two_of_the_toys_classes_can_be_told_apart() -> None:
    """The toy that EWC and joint training are tried on with two classes is solvable at all."""
    toy = _two_classes(few_labels())
    train, test = toy.source.splits["train"], toy.source.splits["test"]
    assert LogisticRegression(max_iter=500).fit(train.x, train.y).score(test.x, test.y) > 0.95
