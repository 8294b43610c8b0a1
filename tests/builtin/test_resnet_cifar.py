"""ResNets for CIFAR: their size, their published weights, and weights that are not theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from tlbench.api.data import Shape
from tlbench.builtin.resnet_cifar import ResNetCifar
from tlbench.errors import DataError, SkipTrial
from tlbench.models.torchvision_import import import_timm
from tlbench.testing import check_backbone

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = Shape("image", (3, 32, 32))


def test_the_contract_holds() -> None:
    check_backbone(ResNetCifar())


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)])
def test_the_numbers_of_parameters_are_those_of_he_et_al_table_6(depth: int, millions: float) -> None:
    net = ResNetCifar(depth=depth).load(IMAGE)  # type: ignore[arg-type]
    count = sum(p.numel() for p in net.parameters()) + 64 * 10 + 10
    assert round(count / 1e6, 2) == millions


def test_every_parameter_is_in_exactly_one_block() -> None:
    net = ResNetCifar().load(IMAGE)
    inside = [id(p) for block in net.blocks for p in block.parameters()]
    assert sorted(inside) == sorted(id(p) for p in net.parameters())


@pytest.mark.shared_data
def test_published_weights_load_strictly_with_their_head(shared_data: Path) -> None:
    file = shared_data / "weights" / "resnet20.cifar10" / "model.safetensors"
    backbone = ResNetCifar(checkpoint=str(file))
    assert backbone.pretrained_on == "resnet20.cifar10"
    head = backbone.load(IMAGE).own_head()
    assert head is not None
    assert head.weight.shape == (10, 64)
    assert backbone.load(IMAGE, pretrained=False).own_head() is None


def test_weights_of_another_network_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(3, 3)}, file)
    with pytest.raises(DataError, match=r"other.safetensors are not those of ResNet-20"):
        ResNetCifar(checkpoint=str(file)).load(IMAGE)
    with pytest.raises(DataError, match="cannot be read"):
        ResNetCifar(checkpoint=str(tmp_path / "none.safetensors")).load(IMAGE)
    with pytest.raises(SkipTrial, match="takes images"):
        ResNetCifar().load(Shape("features", (8,)))


@pytest.mark.shared_data
def test_the_own_head_of_timm_weights_gives_the_whole_models_scores(shared_data: Path) -> None:
    from tlbench.builtin.timm_backbone import Timm

    where = f"local-dir:{shared_data / 'weights' / 'mobilenetv2_100.inat_insect'}"
    net = Timm(model=where).load(Shape("image", (3, 64, 64))).eval()
    whole = import_timm().create_model(where, pretrained=True).eval()
    x = torch.rand(2, 3, 64, 64)
    head = net.own_head()
    assert head is not None
    with torch.no_grad():
        assert torch.allclose(head(net(x)), whole(x), atol=1e-4)
    assert Timm(model=where, pretrained=False).load(Shape("image", (3, 64, 64))).own_head() is None
