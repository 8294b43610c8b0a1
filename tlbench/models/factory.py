"""Fresh models for one trial: the same start for the same seed, whatever the strategy does before or after."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tlbench.errors import TrialError
from tlbench.models.classifier import Classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tlbench.api.data import Seeds, Shape
    from tlbench.api.types import Backbone, InputTransform, Start


class Origin(NamedTuple):
    """Where a backbone's weights came from, and for inputs of which shape it was made."""

    start: Start
    shape: Shape | None


@dataclass(eq=False)
class ModelFactory:
    """Makes backbones and classifiers for one trial.

    ``identity`` names the backbone with all its parameters; random weights and heads derive from it and
    the seed. ``source_weights`` is the state of the classifier trained on the source (``backbone.*`` and
    ``head.*``), or ``None`` where the trial has no source model. ``layout`` puts a backbone's weights into
    another order in memory.
    """

    backbone: Backbone
    identity: str
    shape: Shape
    seeds: Seeds
    device: torch.device
    source_weights: Mapping[str, Tensor] | None = None
    layout: Callable[[nn.Module], nn.Module] = lambda model: model
    _templates: dict[tuple[bool, Shape], nn.Module] = field(default_factory=dict)
    origins: WeakKeyDictionary[nn.Module, Origin] = field(default_factory=WeakKeyDictionary)
    """The backbones that were made, as long as somebody holds them, and where each came from."""

    @property
    def transform(self) -> InputTransform | None:
        """What the backbone does with raw images; the same for every start."""
        found: InputTransform | None = self._template(pretrained=False).transform  # type: ignore[assignment]
        return found

    def make_backbone(self, start: Start, shape: Shape | None = None) -> nn.Module:
        """A fresh backbone, x [B, ...] -> features [B, D]; ``shape`` where its inputs are not the target's."""
        model = copy.deepcopy(self._template(pretrained=start != "random", shape=shape))
        if start == "source":
            if shape not in (None, self.shape):
                raise TrialError(f"weights trained on the source fit inputs of shape {self.shape.dims}, not {shape}")
            state = self._from_source()
            state = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
            model.load_state_dict(state)
        brings_none = start == "weights" and self.backbone.pretrained_on is None
        self.origins[model] = Origin("random" if brings_none else start, shape)
        return self.layout(model.to(self.device))

    def make_classifier(self, start: Start, num_classes: int, shape: Shape | None = None) -> Classifier:
        """A fresh backbone with a fresh head; the head depends on the seed and its shape only."""
        backbone = self.make_backbone(start, shape)
        with self._seeded("head", self.identity, str(num_classes)):
            model = Classifier(backbone.cpu(), num_classes)
        return model.to(self.device)

    def make_source_classifier(self, start: Start) -> nn.Module:
        """The classifier trained on the source, head included; for own weights, with the head that they bring."""
        if start == "source":
            state = self._from_source()
            model = self.make_classifier("random", len(state["head.weight"]))
            model.load_state_dict(dict(state))
            return model
        backbone = self.make_backbone("weights")
        own = getattr(backbone, "own_head", None)
        head = own() if callable(own) and start == "weights" else None
        if head is None:
            raise TrialError(
                "there is no classifier of the source: the strategy starts from "
                f"{'random weights' if start == 'random' else 'weights that come without their head'}"
            )
        model = Classifier(backbone.cpu(), 1)
        model.head = head
        return model.to(self.device)

    def _from_source(self) -> Mapping[str, Tensor]:
        if self.source_weights is None:
            raise TrialError("the strategy asks for weights trained on the source, but this trial has no source model")
        return self.source_weights

    def with_backbone(self, backbone: Backbone, identity: str) -> ModelFactory:
        """The same trial with another backbone, which knows no source model."""
        return replace(
            self, backbone=backbone, identity=identity, source_weights=None, _templates={}, origins=WeakKeyDictionary()
        )

    def _template(self, *, pretrained: bool, shape: Shape | None = None) -> nn.Module:
        shape = shape or self.shape
        pretrained = pretrained and self.backbone.pretrained_on is not None
        at = (pretrained, shape)
        if at not in self._templates:
            with self._seeded("init", self.identity):
                self._templates[at] = self.backbone.load(shape, pretrained=pretrained)
        return self._templates[at]

    def _seeded(self, axis: str, *names: str) -> _Seeded:
        return _Seeded(self.seeds.integer(axis, *names))


class _Seeded:
    """Draws inside do not depend on, and do not change, the state of torch's generator outside."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __enter__(self) -> None:
        self._outside = torch.get_rng_state()
        torch.default_generator.manual_seed(self._seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self._outside)
