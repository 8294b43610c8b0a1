"""The context: everything that a strategy may touch in one trial, and nothing that it may not see."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.api.trials import canonical
from tlbench.api.types import Backbone, Batch, Pool, Predictor, Seeds, Start, Terms, Turn, Update
from tlbench.data.inputs import scaling, to_tensors
from tlbench.errors import BudgetError, TrialError, unknown
from tlbench.training.augment import augmentation
from tlbench.training.loop import Phase, play
from tlbench.training.streams import Stream

if TYPE_CHECKING:
    from tlbench.api.recipe import Recipe
    from tlbench.models.classifier import Classifier
    from tlbench.models.factory import ModelFactory
    from tlbench.training.checkpoint import Checkpoints
    from tlbench.training.tape import Tape

FEATURE_CHUNK = 256
"""Examples that pass a frozen backbone at once."""


class FeatureCache:
    """Features by content: (weights, examples) -> [N, D]. Bounded; the least recently used go first."""

    def __init__(self, limit: int = 1 << 29) -> None:
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._limit = limit

    def get(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """The features under this key, computed the first time."""
        if key not in self._kept:
            self._kept[key] = compute()
            while sum(t.numel() * t.element_size() for t in self._kept.values()) > self._limit and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


@dataclass(eq=False)
class _Session:
    """What all contexts of one trial share: the tape, the checkpoints, the count of trainings."""

    tape: Tape
    checkpoints: Checkpoints
    stop: Callable[[], bool]
    features: FeatureCache
    phases: int = 0


@dataclass(eq=False)
class TrialContext:
    """The context of one trial; see ``tlbench.Context`` for what each method promises.

    ``given`` are the pools that the strategy declared in ``needs`` and ``uses``, and no others.
    """

    given: Mapping[str, Pool]
    num_classes: int
    models: ModelFactory
    recipe: Recipe
    start: Start
    session: _Session
    class_attributes: Tensor | None = None
    _used: int = 0
    _resident: dict[str, tuple[Any, Tensor | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seeds: Seeds = self.models.seeds
        self.seed = self.seeds.root
        self.device = self.models.device
        self.rng: np.random.Generator = self.seeds.generator("strategy")
        first = next((n for n in ("target", "source", "target_unlabelled") if n in self.given), None)
        self.budget = self.recipe.total_steps(len(self.given[first]) if first else 1)

    @property
    def pools(self) -> Mapping[str, int]:
        return {name: len(pool) for name, pool in self.given.items()}

    @property
    def steps_left(self) -> int:
        return self.budget - self._used

    # ---- models ----------------------------------------------------------------------------------

    def backbone(self, start: Start | None = None) -> nn.Module:
        return self.models.make_backbone(start or self.start)

    def classifier(self, start: Start | None = None, num_classes: int | None = None) -> Classifier:
        return self.models.make_classifier(start or self.start, num_classes or self.num_classes)

    def using(self, backbone: Backbone) -> TrialContext:
        identity = canonical([type(backbone).name, repr(backbone)])
        return TrialContext(
            self.given,
            self.num_classes,
            self.models.with_backbone(backbone, identity),
            self.recipe,
            "weights",
            self.session,
            self.class_attributes,
        )

    # ---- frozen features -------------------------------------------------------------------------

    def features(self, pool: str) -> Batch:
        x, y = self._tensors(pool)
        key = f"{self._weights_name()}/{_content(self._pool(pool))}"
        return Batch(self.session.features.get(key, lambda: self._through_backbone(x)), y)

    def on_features(self, score: Callable[[Tensor], Tensor]) -> Predictor:
        net = self.backbone().eval()
        return lambda x: score(net(x))

    def _through_backbone(self, x: Any) -> Tensor:
        net = self.backbone().eval()
        scale = scaling(self.models.transform, self.device)
        parts = []
        with torch.no_grad():
            for i in range(0, len(next(iter(x.values())) if isinstance(x, Mapping) else x), FEATURE_CHUNK):
                rows = slice(i, i + FEATURE_CHUNK)
                part = {k: v[rows] for k, v in x.items()} if isinstance(x, Mapping) else x[rows]
                parts.append(net(scale(part)).float())
        return torch.cat(parts)

    def _weights_name(self) -> str:
        """What decides a frozen backbone's features: the weights themselves."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.models.identity.encode())
        for name, tensor in self.backbone().cpu().state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.contiguous().view(torch.uint8).numpy().data if tensor.dim() else str(tensor).encode())
        return digest.hexdigest()

    # ---- training --------------------------------------------------------------------------------

    def train(
        self,
        loss: Callable[..., Terms],
        *,
        update: Update,
        on: Sequence[str] = ("target",),
        steps: int | None = None,
    ) -> None:
        self.take_turns(Turn(loss, update, tuple(on)), steps=steps)

    def take_turns(self, *turns: Turn, steps: int | None = None) -> None:
        steps = self.steps_left if steps is None else steps
        if steps < 1:
            raise BudgetError(
                f"asked for {steps} steps of training; the recipe has {self.budget}, {self.steps_left} are left"
            )
        if steps > self.steps_left:
            raise BudgetError(f"asked for {steps} steps of training, but {self.steps_left} of {self.budget} are left")
        session = self.session
        points = frozenset(curve_steps(self.budget, self.recipe.curve_points))
        phase = Phase(session.phases, steps, frozenset(p + session.tape.steps - self._used for p in points))
        session.phases += 1
        self._used += steps
        play(
            turns,
            phase,
            streams={name: self._stream(name) for turn in turns for name in turn.on},
            recipe=self.recipe,
            device=self.device,
            tape=session.tape,
            checkpoints=session.checkpoints,
            rng=self.rng,
            stop=session.stop,
        )

    def _stream(self, name: str) -> Stream:
        x, y = self._tensors(name)
        return Stream(
            x,
            y,
            batch_size=self.recipe.batch_size,
            seed=self.seeds.integer("order", name),
            scale=scaling(self.models.transform, self.device),
            augment=augmentation(self.recipe.augmentation, self.seeds.integer("augment", name)),
        )

    def _tensors(self, name: str) -> tuple[Any, Tensor | None]:
        if name not in self._resident:
            pool = self._pool(name)
            y = None if pool.y is None else to_tensors(pool.y, self.device)
            self._resident[name] = (to_tensors(pool.x, self.device), y)
        return self._resident[name]

    def _pool(self, name: str) -> Pool:
        if name not in self.given:
            raise TrialError(
                unknown("pool", name, self.given) + " A strategy sees the pools that it declares in `needs` and `uses`."
            )
        return self.given[name]


def open_context(
    given: Mapping[str, Pool],
    *,
    num_classes: int,
    models: ModelFactory,
    recipe: Recipe,
    start: Start,
    tape: Tape,
    checkpoints: Checkpoints,
    stop: Callable[[], bool] = lambda: False,
    features: FeatureCache | None = None,
    class_attributes: Tensor | None = None,
) -> TrialContext:
    """A context for one trial."""
    session = _Session(tape, checkpoints, stop, features or FeatureCache())
    return TrialContext(given, num_classes, models, recipe, start, session, class_attributes)


def curve_steps(budget: int, points: int) -> list[int]:
    """The steps at which the learning curve is taken: 0, then ``points`` evenly spaced up to the budget."""
    return sorted({round(i * budget / points) for i in range(points + 1)})


def _content(pool: Pool) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for x in pool.x.values() if isinstance(pool.x, Mapping) else (pool.x,):
        digest.update(f"{x.dtype}{x.shape}".encode())
        digest.update(np.ascontiguousarray(x).view(np.uint8).data)
    return digest.hexdigest()
