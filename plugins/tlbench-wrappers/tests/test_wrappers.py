"""Wrappers: what they change, what they decide, and that they keep the contract of what they are around."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tlbench_wrappers.adaptive import Adaptive
from tlbench_wrappers.augment import Augment
from tlbench_wrappers.images import affine_matrices, jitter_colour, mixup, warp
from tlbench_wrappers.nt_guard import NTGuard
from torch.nn import functional as F

from tlbench import Domain, Recipe, Split, TrialError
from tlbench.functional import supervised
from tlbench.testing import check_strategy, few_labels, score

Toy = Any


@dataclass(frozen=True)
class Tune:
    """Plain fine-tuning of everything."""

    name: ClassVar[str] = "tune"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    lr: float = 1.0

    def fit(self, ctx: Any) -> Any:
        model = ctx.classifier()
        ctx.train(supervised(model), update=model)
        return model


@dataclass(frozen=True)
class Constant:
    """Always the same class: as bad as can be."""

    name: ClassVar[str] = "constant"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    def fit(self, ctx: Any) -> Any:
        classes = ctx.num_classes
        return lambda x: F.one_hot(torch.zeros(len(x), dtype=torch.int64), classes).float()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matrices(size: int, **changes: float) -> torch.Tensor:
    values = {"angle": 0.0, "zoom": 1.0, "shear": 0.0, "mirror": 1.0} | changes
    one = torch.ones(size)
    return affine_matrices(values["angle"] * one, values["zoom"] * one, values["shear"] * one,
                           torch.zeros(size, 2), values["mirror"] * one)  # fmt: skip


# ---- images --------------------------------------------------------------------------------------


def test_no_change_leaves_images_as_they_are_and_a_mirror_is_flip() -> None:
    x = torch.rand(3, 2, 8, 6)
    assert torch.allclose(warp(x, matrices(3)), x, atol=1e-5)
    assert torch.allclose(warp(x, matrices(3, mirror=-1.0)), x.flip(3), atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (12, 6)])
def test_a_quarter_turn_of_a_square_is_rot90_and_of_an_oblong_keeps_angles(shape: tuple[int, int]) -> None:
    x = torch.rand(2, 1, *shape)
    turned = warp(x, matrices(2, angle=np.pi / 2))
    if shape[0] == shape[1]:
        assert torch.allclose(turned, torch.rot90(x, 1, (2, 3)), atol=1e-4)
    else:  # the middle of the image turns as the middle of a square does
        assert torch.allclose(turned[:, :, 4:8, 1:5], torch.rot90(x[:, :, 4:8, 1:5], 1, (2, 3)), atol=1e-4)


def test_a_zoom_of_two_shows_the_middle_half() -> None:
    x = torch.zeros(1, 1, 8, 8)
    x[:, :, 2:6, 2:6] = 1
    assert (warp(x, matrices(1, zoom=2.0)) > 0.5).float().mean() > 0.9
    assert (warp(x, matrices(1, zoom=0.8)) > 0.5).float().mean() < 0.3


def test_colours_change_by_no_more_than_was_asked_and_each_image_by_itself() -> None:
    x = torch.rand(64, 3, 4, 4)
    out = jitter_colour(x, 0.3, generator())
    shift = (out.mean((1, 2, 3)) - x.mean((1, 2, 3))) / x.std((1, 2, 3))
    assert (shift.abs() <= 0.3 + 1e-5).all()
    assert shift.std() > 0.1
    assert torch.equal(jitter_colour(x, 0.0, generator()), x + 0 * x) or torch.allclose(
        jitter_colour(x, 0.0, generator()), x, atol=1e-6
    )


def test_mixup_mixes_examples_and_labels_with_one_weight() -> None:
    x, y = torch.eye(6), torch.arange(6) % 3
    mixed, labels = mixup(x, y, 3, 1.0, generator(3))
    assert torch.allclose(labels.sum(1), torch.ones(6))
    weight = mixed.diagonal()
    for i in range(6):
        partner = int(mixed[i].clone().index_fill_(0, torch.tensor([i]), -1).argmax())
        own = weight[i] if partner != i and mixed[i, partner] > 0 else torch.tensor(1.0)
        expected = own * F.one_hot(y[i], 3) + (1 - own) * F.one_hot(y[partner], 3)
        assert torch.allclose(labels[i], expected.float(), atol=1e-6)


# ---- augment -------------------------------------------------------------------------------------


def images(margin: int, seed: int) -> Split:
    """A bright bar, upright or lying; in training always in the middle, in the test anywhere."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(200) % 2)
    x = rng.integers(0, 60, size=(200, 1, 16, 16)).astype(np.uint8)
    for i, label in enumerate(y):
        at = 7 + int(rng.integers(-margin, margin + 1))
        rows, columns = (slice(4, 12), slice(at, at + 2)) if label else (slice(at, at + 2), slice(4, 12))
        x[i, 0, rows, columns] = 255
    return Split(x, y)


def bars() -> Toy:
    toy = few_labels()
    from tlbench.builtin.small_backbones import MLP

    domain = Domain("bars", {"train": images(0, 0), "test": images(4, 1)}, ("lying", "upright"), "image")
    recipe = Recipe(steps=250, batch_size=32, lr=3e-3, schedule="constant")
    task = dataclasses.replace(toy.task, labels=40)
    return dataclasses.replace(
        toy, source=domain, target=domain, task=task, backbone=MLP(hidden=(64,), size=16), recipe=recipe
    )


def test_shifted_copies_teach_what_centred_images_do_not() -> None:
    @dataclass(frozen=True)
    class FromRandom(Tune):
        start: ClassVar[str] = "random"

    toy = bars()
    plain, augmented = score(FromRandom(), toy), score(Augment(of=FromRandom(), crop=0.3), toy)
    assert augmented > plain + 0.1


def test_augmentation_changes_training_batches_and_no_others() -> None:
    seen: dict[str, list[float]] = {"train": [], "features": []}

    @dataclass(frozen=True)
    class Looks(Tune):
        start: ClassVar[str] = "random"

        def fit(self, ctx: Any) -> Any:
            model = ctx.classifier()

            def loss(target: Any, step: Any) -> Any:
                seen["train"].append(float(target.x.mean()))
                return F.cross_entropy(model(target.x), target.y)

            ctx.train(loss, update=model, steps=2)
            seen["features"].append(float(ctx.features("target").x.mean()))
            return model

    toy = dataclasses.replace(bars(), recipe=Recipe(steps=2, batch_size=16))
    score(Looks(), toy)
    score(Augment(of=Looks(), colour=0.9), toy)
    assert seen["train"][0] != seen["train"][2]
    assert seen["features"][0] == seen["features"][1]


def test_mixup_needs_one_label_space() -> None:
    @dataclass(frozen=True)
    class Both(Tune):
        needs: ClassVar[frozenset[str]] = frozenset({"target", "source"})

    toy = few_labels()
    other = dataclasses.replace(toy.source, label_names=("a", "b", "c", "d"))
    with pytest.raises(TrialError, match=r"\[3, 4\] classes"):
        score(Augment(of=Both(), mixup=0.2), dataclasses.replace(toy, source=other))


# ---- nt-guard and adaptive -----------------------------------------------------------------------


def ten_labels() -> Toy:
    toy = few_labels()
    return dataclasses.replace(toy, task=dataclasses.replace(toy.task, labels=10))


def test_the_guard_transfers_where_that_helps_and_not_where_it_hurts() -> None:
    toy = ten_labels()
    assert score(NTGuard(of=Tune()), toy) == score(Tune(), toy)
    guarded = score(NTGuard(of=Constant()), toy)
    assert score(Constant(), toy) < 0.4
    assert guarded > 0.6


def test_what_was_decided_is_reported() -> None:
    from tlbench.testing.toys import fit

    done = fit(NTGuard(of=Constant()), ten_labels())
    assert done.ctx.session.reported["transferred"] == 0.0
    assert done.ctx.session.reported["validation_gain"] < 0


def test_the_guard_gives_the_winner_all_labels_and_the_whole_budget_of_the_trial() -> None:
    from tlbench.testing.toys import fit

    done = fit(NTGuard(of=Tune()), ten_labels())
    points = [s.at for s in done.tape.snapshots if s.point]
    assert points[0] == 0
    assert points[-1] == done.ctx.budget
    assert done.tape.steps == 3 * done.ctx.budget


def test_adaptive_takes_the_best_candidate_by_validation() -> None:
    toy = ten_labels()
    assert score(Adaptive(of=(Constant(), Tune())), toy) == score(Tune(), toy)


def test_adaptive_chooses_the_backbone_whose_features_score_best() -> None:
    from tlbench.builtin.small_backbones import Identity
    from tlbench.testing.toys import fit

    @dataclass(frozen=True)
    class Blind(Identity):
        """Features that say nothing."""

        name: ClassVar[str] = "blind"

        def load(self, shape: Any, *, pretrained: bool = True) -> Any:
            net = super().load(shape, pretrained=pretrained)
            net.net = torch.nn.Sequential(torch.nn.Flatten(), Nothing())
            return net

    toy = dataclasses.replace(ten_labels(), backbone=Blind())
    reported = fit(Adaptive(of=(Tune(),), backbones=(Identity(),), by="knn"), toy).ctx.session.reported
    assert reported["chosen_backbone"] == 1


class Nothing(torch.nn.Module):
    """Random numbers that depend on the example's place in the batch alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.rand(x.shape, generator=generator())


@pytest.mark.parametrize(
    "strategy", [Augment(of=Tune(), mixup=0.3), NTGuard(of=Tune()), Adaptive(of=(Tune(), Constant()))]
)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Augment(of=Tune(), crop=1.5), "crop must be in"),
        (lambda: Augment(of=Tune(), mixup=-1.0), "mixup must not be negative"),
        (lambda: NTGuard(of=Tune(), hold_out=1.0), "hold_out must be in"),
        (lambda: Adaptive(of=()), "at least one strategy"),
        (lambda: Adaptive(of=(Tune(), Tune()), by="logme"), "scores features, not strategies"),
    ],
)
def test_parameters_out_of_range_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_a_wrapper_needs_and_uses_what_is_inside_and_starts_there() -> None:
    @dataclass(frozen=True)
    class Needy(Tune):
        needs: ClassVar[frozenset[str]] = frozenset({"target", "source"})
        uses: ClassVar[frozenset[str]] = frozenset({"source_val"})
        start: ClassVar[str] = "weights"

    assert Augment(of=Needy()).needs == {"target", "source"}
    assert Augment(of=Needy()).uses == {"source_val"}
    assert Augment(of=Needy()).start == "weights"
    assert NTGuard(of=Tune()).uses == {"target_val"}
    assert Augment(of=Tune()).start is None
