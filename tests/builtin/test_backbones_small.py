"""The small backbones: shapes, blocks, transforms, and what they refuse."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tlbench.api.data import Seeds, Shape
from tlbench.api.types import InputTransform
from tlbench.builtin.small_backbones import MLP, Identity, SmallCNN
from tlbench.data.inputs import resize, scaling
from tlbench.errors import SkipTrial
from tlbench.models.factory import ModelFactory
from tlbench.testing import check_backbone

RGB, GREY, NUMBERS = Shape("image", (3, 32, 32)), Shape("image", (1, 28, 28)), Shape("features", (7,))
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("backbone", "shape"),
    [
        (SmallCNN(), RGB),
        (SmallCNN(), GREY),
        (SmallCNN(size=16, channels=1, width=8, depth=2), GREY),
        (SmallCNN(depth=1, width=1, size=1), RGB),
        (MLP(), RGB),
        (MLP(), NUMBERS),
        (MLP(hidden=(5,), dropout=0.5), NUMBERS),
        (Identity(), RGB),
        (Identity(size=4, channels=3), GREY),
        (Identity(), NUMBERS),
    ],
)
def test_the_contract_holds(backbone: Any, shape: Shape) -> None:
    check_backbone(backbone, shape)


@pytest.mark.parametrize(
    ("backbone", "shape", "features", "parameters"),
    [
        # 3x3 kernels without bias, and two numbers for each channel of the normalisation
        (SmallCNN(), RGB, 128, 9 * (3 * 32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128)),
        (SmallCNN(channels=1, width=4, depth=1), RGB, 4, 9 * 4 + 2 * 4),
        (MLP(hidden=(5, 3)), NUMBERS, 3, 7 * 5 + 5 + 5 * 3 + 3),
        (MLP(hidden=(6,), size=4), RGB, 6, 16 * 6 + 6),
        (Identity(), NUMBERS, 7, 0),
        (Identity(size=4, channels=3), GREY, 48, 0),
    ],
)
def test_sizes_are_those_counted_by_hand(backbone: Any, shape: Shape, features: int, parameters: int) -> None:
    net = backbone.load(shape)
    assert net.num_features == features
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_blocks_go_from_the_input_to_the_output() -> None:
    cnn = SmallCNN(width=4, depth=3).load(RGB)
    assert [next(b.parameters()).shape[:2] for b in cnn.blocks] == [(4, 3), (8, 4), (16, 8)]
    first: Any = cnn.blocks[0]
    assert [type(m).__name__ for m in first] == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    mlp = MLP(hidden=(9, 8)).load(RGB)
    assert [next(b.parameters()).shape for b in mlp.blocks] == [(9, 256), (8, 9)]
    assert Identity().load(NUMBERS).blocks == []


def test_the_cnn_is_what_its_words_say() -> None:
    torch.manual_seed(0)
    net = SmallCNN(size=8, width=3, depth=2).load(RGB).eval()
    conv = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    norm = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        h = torch.relu(norm[0](torch.conv2d(x, conv[0].weight, padding=1)))
        h = h.reshape(2, 3, 4, 2, 4, 2).amax((3, 5))
        h = torch.relu(norm[1](torch.conv2d(h, conv[1].weight, padding=1))).mean((2, 3))
        torch.testing.assert_close(net(x), h)


def test_the_identity_gives_pixels_between_zero_and_one() -> None:
    net = Identity(size=2, channels=1).load(GREY)
    raw = np.array([[[[0, 51], [102, 255]]]], np.uint8)
    assert net.transform == InputTransform(2, 1, (0.0,), (1.0,))
    x = scaling(net.transform, CPU)(torch.from_numpy(resize(raw, net.transform)))
    assert net(x).tolist() == [pytest.approx([0.0, 0.2, 0.4, 1.0])]


def test_networks_see_pixels_between_minus_one_and_one() -> None:
    for net in (SmallCNN(size=2, depth=1).load(GREY), MLP(size=2).load(GREY)):
        raw = np.array([[[[0, 51], [102, 255]]]], np.uint8)
        assert net.transform is not None
        x = scaling(net.transform, CPU)(torch.from_numpy(resize(raw, net.transform)))
        for channel in x[0]:
            assert channel.flatten().tolist() == pytest.approx([-1.0, -0.6, -0.2, 1.0])


def test_numbers_reach_a_network_as_they_are() -> None:
    assert MLP().load(NUMBERS).transform is None
    x = torch.randn(3, 7)
    assert torch.equal(Identity().load(NUMBERS)(x), x)


def test_dropout_is_only_in_training() -> None:
    net = MLP(hidden=(50,), dropout=0.5).load(NUMBERS)
    x = torch.randn(4, 7)
    net.eval()
    assert torch.equal(net(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))


def test_random_weights_follow_the_seed_and_the_parameters() -> None:
    def weights(backbone: Any, identity: str, seed: int) -> torch.Tensor:
        net = ModelFactory(backbone, identity, RGB, Seeds(seed), CPU).make_backbone("random")
        return next(net.parameters()).detach()

    first = weights(SmallCNN(), "a", 0)
    assert torch.equal(first, weights(SmallCNN(), "a", 0))
    assert not torch.equal(first, weights(SmallCNN(), "a", 1))
    assert not torch.equal(first, weights(SmallCNN(), "b", 0))


def test_a_convolutional_net_skips_numbers() -> None:
    with pytest.raises(SkipTrial, match=r"'small-cnn' takes images; this data set has features of shape \(7,\)"):
        SmallCNN().load(NUMBERS)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SmallCNN(size=3, depth=3), "size 3 is too small for 3 blocks; it must be at least 4"),
        (lambda: SmallCNN(depth=0), "depth and width must be at least 1"),
        (lambda: SmallCNN(width=0), "depth and width must be at least 1"),
        (lambda: SmallCNN(channels=2), "channels 1 or 3"),
        (lambda: MLP(hidden=()), "at least one positive width"),
        (lambda: MLP(hidden=(4, 0)), "at least one positive width"),
        (lambda: MLP(dropout=1.0), r"dropout must be in \[0, 1\)"),
        (lambda: MLP(size=0), "size must be at least 1"),
        (lambda: Identity(size=0), "size must be at least 1"),
        (lambda: Identity(channels=2), "channels must be 1 or 3"),
    ],
)
def test_parameters_that_cannot_be_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
