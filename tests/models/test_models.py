"""Fresh models: what they start from depends on seed, backbone and shape, and on nothing that happens around them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from tlbench.api.data import Seeds, Shape
from tlbench.builtin.small_backbones import MLP, SmallCNN, Trunk
from tlbench.errors import TrialError
from tlbench.models.factory import ModelFactory

CPU = torch.device("cpu")
IMAGES = Shape("image", (1, 8, 8))


def factory(seed: int = 0, backbone: Any = None, identity: str = "a", weights: Any = None) -> ModelFactory:
    return ModelFactory(
        backbone or SmallCNN(size=8, channels=1, width=4, depth=2), identity, IMAGES, Seeds(seed), CPU, weights
    )


def equal(a: nn.Module, b: nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@dataclass(frozen=True)
class Loaded:
    """A backbone that brings weights of its own: all ones."""

    name: ClassVar[str] = "loaded"
    pretrained_on: ClassVar[str] = "nothing much"

    def load(self, shape: Shape, *, pretrained: bool = True) -> Trunk:
        layer = nn.Linear(64, 3)
        if pretrained:
            nn.init.ones_(layer.weight)
        return Trunk([nn.Flatten(), layer], 3, None)


def test_the_same_seed_gives_the_same_start_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    first = factory().make_classifier("random", 5)
    torch.manual_seed(2)
    torch.randn(1000)
    second = factory()
    second.make_classifier("random", 3)
    second.make_backbone("weights")
    assert equal(second.make_classifier("random", 5), first)
    assert not equal(factory(seed=1).make_classifier("random", 5), first)
    assert not torch.equal(factory(seed=1).make_classifier("random", 5).head.weight, first.head.weight)


def test_making_a_model_leaves_torchs_generator_as_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.randn(4)
    torch.manual_seed(3)
    factory().make_classifier("random", 5)
    assert torch.equal(torch.randn(4), expected)


def test_every_model_is_a_copy_of_its_own() -> None:
    made = factory()
    one, two = made.make_classifier("random", 5), made.make_classifier("random", 5)
    with torch.no_grad():
        for p in one.parameters():
            p.zero_()
    assert not equal(one, two)
    assert equal(two, made.make_classifier("random", 5))


def test_the_head_is_the_same_for_every_start() -> None:
    source = factory(seed=9).make_classifier("random", 5).state_dict()
    made = factory(weights=source)
    heads = [made.make_classifier(start, 5).head for start in ("source", "weights", "random")]  # type: ignore[arg-type]
    assert all(equal(heads[0], head) for head in heads)
    assert made.make_classifier("random", 7).head.weight.shape == (7, 8)


def test_the_backbone_starts_from_the_source_the_weights_or_chance() -> None:
    trained = ModelFactory(Loaded(), "b", IMAGES, Seeds(4), CPU).make_classifier("random", 10)
    made = factory(backbone=Loaded(), weights=trained.state_dict())
    assert equal(made.make_backbone("source"), trained.backbone)
    weight = made.make_backbone("weights").net[1].weight  # type: ignore[index]
    assert torch.equal(weight, torch.ones(3, 64))
    chance = made.make_backbone("random")
    assert not equal(chance, made.make_backbone("weights"))
    assert not equal(chance, trained.backbone)


def test_a_backbone_without_weights_starts_from_the_same_chance_either_way() -> None:
    assert equal(factory().make_backbone("weights"), factory().make_backbone("random"))


def test_the_identity_of_a_backbone_decides_its_chance() -> None:
    assert not equal(factory(identity="a").make_backbone("random"), factory(identity="b").make_backbone("random"))


def test_asking_for_source_weights_without_a_source_model_says_so() -> None:
    with pytest.raises(TrialError, match="this trial has no source model"):
        factory().make_backbone("source")


def test_another_backbone_keeps_the_seed_and_knows_no_source_model() -> None:
    mine = factory(weights=factory().make_classifier("random", 5).state_dict())
    net = MLP(hidden=(7,), size=8)
    other = mine.with_backbone(net, "mlp")
    assert other.make_classifier("random", 5).head.in_features == 7
    assert equal(
        other.make_backbone("random"),
        factory(backbone=net, identity="mlp").make_backbone("random"),
    )
    with pytest.raises(TrialError):
        other.make_backbone("source")
    mine.make_backbone("source")  # and the first one is as it was


def test_timm_imports_beside_this_torch_in_a_fresh_process_and_makes_a_model() -> None:
    code = (
        "from tlbench.models.torchvision_import import import_timm\n"
        "timm = import_timm()\n"
        "assert import_timm() is timm\n"
        "import torch\n"
        "net = timm.create_model('resnet18', num_classes=0).eval()\n"
        "print(tuple(net(torch.zeros(1, 3, 32, 32)).shape))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 512)"
