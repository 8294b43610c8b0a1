"""CycleGAN: its losses, its parts, the contract, and a repainting that it must find."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tlbench_adaptation.cyclegan import CycleGAN, cycle_loss, least_squares
from tlbench_adaptation.translation import Generator, History, Pixels, patch_critic

from tlbench import Domain, InputTransform, Recipe, Split
from tlbench.builtin.small_backbones import SmallCNN
from tlbench.builtin.tasks import Adaptation
from tlbench.data.inputs import scaling
from tlbench.errors import TrialError
from tlbench.testing import Toy, check_beats, check_strategy, covariate_shift, score
from tlbench.testing.toys import fit

SMALL = CycleGAN(rounds=200, width=6, blocks=1, history=20)


def red_and_blue_bars() -> Toy:
    """Upright and level bars, red in the source and blue in the target: a network of the source never saw blue."""

    def split(colour: int, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        y, x = rng.integers(2, size=160), np.zeros((160, 3, 12, 12))
        for i, upright in enumerate(y):
            across, along = rng.integers(1, 9), rng.integers(1, 4)
            if upright:
                x[i, colour, along : along + 8, across : across + 2] = 200
            else:
                x[i, colour, across : across + 2, along : along + 8] = 200
        return Split(np.clip(x + rng.normal(20, 8, x.shape), 0, 255).astype(np.uint8), y)

    red, blue = (
        Domain(name, {"train": split(colour, colour), "test": split(colour, colour + 9)}, ("level", "upright"), "image")
        for name, colour in (("red", 0), ("blue", 2))
    )
    recipe = Recipe(steps=80, batch_size=16, lr=5e-3, schedule="constant")
    return Toy(red, blue, Adaptation(), SmallCNN(size=12, width=8, depth=2), recipe)


def test_it_repaints_the_source_in_the_colours_of_the_target() -> None:
    check_beats(SMALL, red_and_blue_bars(), margin=0.15, seeds=(0, 1))


def test_an_untrained_translation_is_of_no_use() -> None:
    toy = red_and_blue_bars()
    assert np.mean([score(replace(SMALL, rounds=1), toy, seed) for seed in (0, 1)]) < 0.85


def test_the_contract_holds_on_images() -> None:
    check_strategy(CycleGAN(rounds=20, width=4, blocks=1, history=30, semantic=1.0), red_and_blue_bars())


def test_the_classifier_keeps_the_whole_budget_of_the_recipe() -> None:
    toy = red_and_blue_bars()
    done = fit(CycleGAN(rounds=3, width=4, blocks=1, semantic=1.0), replace(toy, recipe=replace(toy.recipe, steps=5)))
    assert done.ctx.steps_left == 0
    points = [s.at for s in done.tape.snapshots if s.point]
    assert points[0] == 0
    assert points[-1] == 5
    assert done.tape.steps == 5 + 3 + 3  # the game and the judge are counted


def test_features_are_refused_in_words() -> None:
    with pytest.raises(TrialError, match=r"cyclegan translates images; the examples here are features of shape \[4\]"):
        score(CycleGAN(rounds=1), covariate_shift())


# ---- losses and parts ----------------------------------------------------------------------------


def test_the_losses_are_those_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    d, x, y = rng.normal(size=(3, 1, 4, 4)), rng.normal(size=(3, 2, 8, 8)), rng.normal(size=(3, 2, 8, 8))
    for truth in (0, 1):
        assert float(least_squares(torch.from_numpy(d), truth)) == pytest.approx(((d - truth) ** 2).mean())
    assert float(cycle_loss(torch.from_numpy(x), torch.from_numpy(y))) == pytest.approx(np.abs(x - y).mean())


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 16, 16), (3, 28, 28), (3, 64, 64), (1, 17, 15)])
def test_generator_and_critic_take_images_of_any_small_shape(channels: int, height: int, width: int) -> None:
    x = torch.randn(2, channels, height, width)
    painted = Generator(channels, width=4, blocks=2)(x)
    assert painted.shape == x.shape
    assert float(painted.detach().abs().max()) <= 1
    verdicts = patch_critic(channels, width=4)(x)
    assert verdicts.shape[:2] == (2, 1)
    assert verdicts.shape[2] > 1  # patches, not one verdict for the image


def test_an_image_is_repainted_alike_in_whatever_batch() -> None:
    torch.manual_seed(0)
    net, x = Generator(1, width=4, blocks=1), torch.randn(5, 1, 16, 16)
    torch.testing.assert_close(net(x)[2:3], net(x[2:3]))


def test_the_history_fills_first_and_then_shows_old_for_half_of_the_new() -> None:
    rng, history = np.random.default_rng(0), History(10, (1, 1, 1))
    first = torch.arange(10.0).reshape(10, 1, 1, 1)
    assert torch.equal(history.exchange(first, history.plan(10, 0, rng)), first)
    new = torch.arange(100.0, 2100.0).reshape(2000, 1, 1, 1)
    shown = history.exchange(new, history.plan(2000, 10, rng))
    old = shown != new
    assert float(old.float().mean()) == pytest.approx(0.5, abs=0.05)
    assert bool((shown[old] < new[old]).all())  # each was there before
    left = history.kept.flatten()  # type: ignore[operator, union-attr]
    # nothing is lost or shown twice: what came in is what was shown and what is kept
    both, came = torch.cat([shown.flatten(), left]).sort().values, torch.cat([first.flatten(), new.flatten()])
    assert torch.equal(both, came.sort().values)


def test_without_a_history_the_new_images_are_shown() -> None:
    x = torch.randn(4, 1, 2, 2)
    none = History(0, (1, 2, 2))
    assert torch.equal(none.exchange(x, none.plan(4, 8, np.random.default_rng(0))), x)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_the_history_is_that_of_images_exchanged_one_by_one(size: int) -> None:
    """Shrivastava et al. 2017 as one would write it, image by image."""
    history, ours, theirs = History(size, (1, 1, 1)), np.random.default_rng(7), np.random.default_rng(7)
    kept: list[float] = []
    for round_ in range(6):
        images = [4.0 * round_ + i for i in range(4)]
        shown = []
        for image in images:
            shown.append(image)
            if len(kept) < size:
                kept.append(image)
            elif theirs.random() < 0.5:
                place = int(theirs.integers(size))
                shown[-1], kept[place] = kept[place], image
        found = history.exchange(torch.tensor(images).view(4, 1, 1, 1), history.plan(4, 4 * round_, ours))
        assert found.flatten().tolist() == shown
        assert history.kept.flatten().tolist()[: len(kept)] == kept  # type: ignore[operator, union-attr]


def test_what_the_history_keeps_is_part_of_the_state() -> None:
    history = History(3, (1, 2, 2))
    history.exchange(torch.randn(2, 1, 2, 2), history.plan(2, 0, np.random.default_rng(0)))
    again = History(3, (1, 2, 2))
    again.load_state_dict(history.state_dict())
    assert torch.equal(again.kept, history.kept)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "transform", [None, InputTransform(4, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
                  InputTransform(4, 1, (0.5,), (0.5,))]
)  # fmt: skip
def test_black_and_white_are_minus_one_and_one_for_every_backbone(transform: Any) -> None:
    channels = transform.channels if transform else 3
    scale = scaling(transform, torch.device("cpu"))
    pixels = Pixels.of(transform, torch.device("cpu"))
    for value, expected in ((0, -1.0), (255, 1.0)):
        x = scale(torch.full((2, channels, 4, 4), value, dtype=torch.uint8))
        torch.testing.assert_close(pixels.from_input(x), torch.full_like(x, expected))
        torch.testing.assert_close(pixels.to_input(pixels.from_input(x)), x)


@pytest.mark.parametrize(
    ("name", "value"), [("rounds", 0), ("cycle", -1.0), ("identity", -1.0), ("semantic", -1.0), ("lr", 0.0),
                        ("width", 0), ("blocks", -1), ("history", -1)]
)  # fmt: skip
def test_parameters_that_cannot_be_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        CycleGAN(**{name: value})
