"""The digit backbone: the contract, and what padding does that resizing does not."""

from typing import Any

import pytest
import torch
from tlbench_adaptation.two_conv import TwoConv, frame

from tlbench import Shape
from tlbench.errors import SkipTrial
from tlbench.testing import check_backbone

GREY = Shape("image", (1, 28, 28))


@pytest.mark.parametrize(
    "backbone", [TwoConv(), TwoConv(size=32, filters=(4, 6), dropout=0.5), TwoConv(fit="pad")], ids=str
)
def test_the_contract_holds(backbone: Any) -> None:
    check_backbone(backbone, GREY)


def test_in_colour_it_takes_grey_and_coloured_images() -> None:
    for shape in (GREY, Shape("image", (3, 32, 32))):
        check_backbone(TwoConv(channels=3), shape)


def test_a_frame_keeps_the_pixels_and_puts_black_around_them() -> None:
    x = torch.rand(2, 1, 16, 16)
    framed = frame(x, 28)
    assert framed.shape == (2, 1, 28, 28)
    assert torch.equal(framed[:, :, 6:22, 6:22], x)
    assert float(framed.sum()) == pytest.approx(float(x.sum()), rel=1e-5)
    assert torch.equal(frame(framed, 16), x)  # and larger images lose their edges
    assert frame(torch.rand(1, 1, 15, 17), 28).shape == (1, 1, 28, 28)


def test_padded_images_of_two_sizes_pass_one_network() -> None:
    net = TwoConv(fit="pad").load(GREY).eval()
    small = torch.rand(3, 1, 16, 16)
    torch.testing.assert_close(net(small), net(frame(small, 28)))
    assert net.transform is None


def test_what_it_cannot_take_is_skipped_with_the_reason() -> None:
    with pytest.raises(SkipTrial, match="takes images; this data set has features"):
        TwoConv().load(Shape("features", (5,)))
    with pytest.raises(SkipTrial, match="grey images as they are; these have colours"):
        TwoConv(fit="pad").load(Shape("image", (3, 28, 28)))


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"size": 15}, "size.*15"),
        ({"filters": (0, 4)}, "filters"),
        ({"features": 0}, "features"),
        ({"dropout": 1.0}, "dropout.*1"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        TwoConv(**parameters)
