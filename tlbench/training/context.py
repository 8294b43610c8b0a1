"""The context: everything that a strategy may touch in one trial, and nothing that it may not see."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.api.data import Array, Episodes, EpisodeShape, Graph, Pool, Seeds, Shape
from tlbench.api.trials import canonical
from tlbench.api.types import Backbone, Batch, Predictor, Start, Terms, Turn, Update
from tlbench.data.inputs import scaling, to_tensors
from tlbench.data.rows import Rows, pieces
from tlbench.data.subsets import validation_rows
from tlbench.errors import BudgetError, SkipTrial, TrialError, unknown
from tlbench.models.blocks import features_at
from tlbench.training.ahead import chunks, first_of
from tlbench.training.augment import augmentation
from tlbench.training.calls import require_takes
from tlbench.training.compiling import compiled
from tlbench.training.loop import Phase, play
from tlbench.training.moves import autocast
from tlbench.training.optim import groups_of, modules_of
from tlbench.training.streams import Change, EpisodeStream, Stream

if TYPE_CHECKING:
    from tlbench.api.recipe import Recipe
    from tlbench.models.classifier import Classifier
    from tlbench.models.factory import ModelFactory
    from tlbench.training.checkpoint import Checkpoints
    from tlbench.training.graphs import Graphs
    from tlbench.training.tape import Tape

FEATURE_CHUNK = 256
"""Examples that pass a frozen backbone at once."""


class FeatureCache:
    """Features by content: (weights, examples) -> [N, D]. Bounded; the least recently used go first.

    ``limit`` is in bytes; with 0 nothing is kept.
    """

    def __init__(self, limit: int = 1 << 29) -> None:
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._limit = limit

    def get(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        """The features under this key, computed the first time."""
        if not self._limit:
            return compute()
        if key not in self._kept:
            self._kept[key] = compute()
            while sum(t.numel() * t.element_size() for t in self._kept.values()) > self._limit and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


@dataclass(eq=False)
class _Session:
    """What all contexts of one trial share: the tape, the checkpoints, the count of trainings, what is reported."""

    tape: Tape
    checkpoints: Checkpoints
    stop: Callable[[], bool]
    features: FeatureCache
    judge: Callable[[Predictor, Pool], float] | None
    graphs: Graphs | None = None
    compile: bool = False
    meet: Callable[[partial[None]], bool] | None = None
    """Offers a training to those who may do it together with others'; whether they did."""
    phases: int = 0
    reported: dict[str, float] = field(default_factory=dict)
    read: list[weakref.ref[Tensor]] = field(default_factory=list)
    """The pools that were read from the disk as a whole, for as long as they are in memory."""

    def holds(self, x: Rows) -> bool:
        """Whether the limit leaves room for this pool beside those."""
        kept = [tensor for ref in self.read if (tensor := ref()) is not None]
        return sum(t.numel() * t.element_size() for t in kept) + x.nbytes <= x.limit


@dataclass(eq=False)
class _Budget:
    """Steps to train for. ``branches_from`` is the trial's own budget, for the budget of a branch."""

    total: int
    used: int = 0
    branches_from: _Budget | None = None


@dataclass(frozen=True, eq=False)
class Extras:
    """What a strategy may see beside pools, where it declared a need of it."""

    attributes: Mapping[str, Array] = field(default_factory=dict)
    graphs: Mapping[str, Graph] = field(default_factory=dict)
    episode: EpisodeShape | None = None
    source_classes: int | None = None


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
    extras: Extras
    allowance: _Budget
    changes: tuple[Change, ...] = ()
    _resident: dict[str, tuple[Any, Tensor | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seeds: Seeds = self.models.seeds
        self.seed = self.seeds.root
        self.device = self.models.device
        self.rng: np.random.Generator = self.seeds.generator("strategy")

    @property
    def pools(self) -> Mapping[str, int]:
        return {name: len(pool) for name, pool in self.given.items()}

    @property
    def budget(self) -> int:
        """The steps of the whole budget."""
        return self.allowance.total

    @property
    def steps_left(self) -> int:
        return self.allowance.total - self.allowance.used

    def classes(self, pool: str) -> int:
        return self._pool(pool).num_classes

    @property
    def source_classes(self) -> int | None:
        return self.extras.source_classes

    def shape(self, pool: str) -> Shape:
        x = self._pool(pool).x
        if isinstance(x, Mapping):
            return Shape("graph" if "node" in x else "features", tuple(next(iter(x.values())).shape[1:]))
        return Shape("image" if x.ndim == 4 else "features", tuple(int(n) for n in x.shape[1:]))

    def inputs(self, pool: str) -> Batch:
        x, y = self._tensors(pool)
        if isinstance(x, Rows):
            wanted, most = (f"{n / 2**20:,.1f} MiB" for n in (x.nbytes, x.limit))
            raise TrialError(
                f"the pool {pool} is wanted as a whole and takes {wanted}, where examples may take {most} of memory. "
                "Raise the limit (--memory-limit), cap the examples or make them smaller"
            )
        return Batch(scaling(self.models.transform, self.device)(x), y)

    # ---- extras ----------------------------------------------------------------------------------

    def attributes(self, role: str) -> Tensor:
        return to_tensors(_of(self.extras.attributes, role, "class_attributes"), self.device).float()  # type: ignore[no-any-return]

    def graph(self, role: str) -> Graph:
        graph = _of(self.extras.graphs, role, "graphs")
        return Graph(to_tensors(graph.x, self.device), to_tensors(graph.edges, self.device))

    @property
    def episode(self) -> EpisodeShape | None:
        return self.extras.episode

    def score(self, predictor: Predictor, pool: str) -> float:
        held = self._pool(pool)
        if held.y is None:
            raise TrialError(f"the pool {pool} has no labels to score a predictor by")
        if self.session.judge is None:
            raise TrialError("this context was opened without a metric to score by")
        return self.session.judge(predictor, held)

    def report(self, name: str, value: float) -> None:
        self.session.reported[name] = float(value)

    # ---- models ----------------------------------------------------------------------------------

    def backbone(self, start: Start | None = None, shape: Shape | None = None) -> nn.Module:
        return self.models.make_backbone(start or self.start, shape)

    def classifier(
        self, start: Start | None = None, num_classes: int | None = None, shape: Shape | None = None
    ) -> Classifier:
        return self.models.make_classifier(start or self.start, num_classes or self.num_classes, shape)

    def source_classifier(self) -> nn.Module:
        return self.models.make_source_classifier(self.start)

    # ---- branches --------------------------------------------------------------------------------

    def using(
        self,
        backbone: Backbone | None = None,
        *,
        start: Start | None = None,
        augment: Change | None = None,
        hold_out: float | None = None,
        steps: int | None = None,
    ) -> TrialContext:
        models, given = self.models, dict(self.given)
        if backbone is not None:
            models = models.with_backbone(backbone, canonical([type(backbone).name, repr(backbone)]))
            start = start or "weights"
        if hold_out is not None and "target_val" not in given:
            given |= _held_out(given, hold_out, self.seeds)
        trial = self.allowance.branches_from or self.allowance
        return replace(
            self,
            given=given,
            models=models,
            start=start or self.start,
            allowance=_Budget(steps or self.recipe.total_steps(_leading(given)), branches_from=trial),
            changes=self.changes + (() if augment is None else (augment,)),
            _resident={},
        )

    def augmented(self, augment: Change) -> TrialContext:
        """The same trial and budget; every training batch passes ``augment`` (see ``using``)."""
        return replace(self, changes=(*self.changes, augment))

    def restricted(self, pool: str, rows: Array) -> TrialContext:
        """The same trial and budget with these examples of a pool alone."""
        resident = {name: tensors for name, tensors in self._resident.items() if name != pool}
        return replace(self, given={**self.given, pool: _part(self._pool(pool), rows)}, _resident=resident)

    # ---- frozen features -------------------------------------------------------------------------

    def features(self, pool: str, block: int | None = None) -> Batch:
        x, y = self._tensors(pool)
        key = f"{self._weights_name()}/{block}/{self.recipe.precision}/{_content(self._pool(pool))}"
        return Batch(self.session.features.get(key, lambda: self._through_backbone(x, block)), y)

    def on_features(self, score: Callable[[Tensor], Tensor], block: int | None = None) -> Predictor:
        net = self.backbone().eval()
        return lambda x: score(features_at(net, x, block))

    def _through_backbone(self, x: Any, block: int | None = None) -> Tensor:
        net = self.backbone().eval()
        scale = scaling(self.models.transform, self.device)
        size, done = len(first_of(x)), 0
        features_ND = torch.empty(0)
        with torch.no_grad(), autocast(self.device, self.recipe.precision)():
            for part in chunks(x, FEATURE_CHUNK, self.device):
                found = features_at(net, scale(part), block).float()
                if not done:  # at once: small parts that are kept would scatter over memory that could be used again
                    features_ND = found.new_empty((size, *found.shape[1:]))
                features_ND[done : done + len(found)] = found
                done += len(found)
        return features_ND

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
        on: Sequence[str | Episodes] = ("target",),
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
        require_takes(turns)
        session, budget = self.session, self.allowance
        trial = budget.branches_from
        phase = Phase(
            session.phases,
            steps,
            used=budget.used,
            points=frozenset(curve_steps(budget.total, self.recipe.curve_points)) if trial is None else frozenset(),
            branches_at=None if trial is None else trial.used,
        )
        session.phases += 1
        budget.used += steps
        training = partial(
            play,
            turns,
            phase,
            streams={name: self._stream(name) for turn in turns for name in turn.on},
            recipe=self.recipe,
            device=self.device,
            tape=session.tape,
            checkpoints=session.checkpoints,
            rng=self.rng,
            stop=session.stop,
            graphs=session.graphs,
        )
        if session.meet is not None and session.meet(training):
            return
        modules = [m for turn in turns for group in groups_of(turn.update) for m in modules_of(group)]
        with compiled(modules) if session.compile else nullcontext():
            training()

    def _stream(self, name: str | Episodes) -> Stream | EpisodeStream:
        pool = name if isinstance(name, str) else name.pool
        x, y = self._tensors(pool)
        scale = scaling(self.models.transform, self.device)
        augment = augmentation(self.recipe.augmentation, self.seeds.integer("augment", pool), self.models.transform)
        seed = self.seeds.integer("order", pool)
        if isinstance(name, str):
            size = self.recipe.batch_size
            return Stream(
                x, y, batch_size=size, seed=seed, scale=scale, augment=augment, changes=self.changes, device=self.device
            )
        if y is None:
            raise TrialError(f"episodes are drawn by label, and the pool {pool} has no labels")
        return EpisodeStream(
            x, y, name, seed=seed, scale=scale, augment=augment, changes=self.changes, device=self.device
        )

    def _tensors(self, name: str) -> tuple[Any, Tensor | None]:
        if name not in self._resident:
            pool = self._pool(name)
            x, y = pool.x, None if pool.y is None else to_tensors(pool.y, self.device)
            if not isinstance(x, Rows):
                x = to_tensors(x, self.device)
            elif self.session.holds(x):
                x = to_tensors(x, self.device)
                self.session.read.append(weakref.ref(x))
            self._resident[name] = (x, y)  # or still ``Rows``, to be read batch by batch
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
    judge: Callable[[Predictor, Pool], float] | None = None,
    stop: Callable[[], bool] = lambda: False,
    features: FeatureCache | None = None,
    extras: Extras | None = None,
    graphs: Graphs | None = None,
    compile: bool = False,
    meet: Callable[[partial[None]], bool] | None = None,
) -> TrialContext:
    """A context for one trial; ``judge`` gives the run's first metric of a predictor on a pool, for ``ctx.score``.

    ``meet`` is offered each training first, as a call of the loop; see ``tlbench.training.fusing``.
    """
    session = _Session(tape, checkpoints, stop, features or FeatureCache(), judge, graphs, compile, meet)
    budget = _Budget(recipe.total_steps(_leading(given)))
    return TrialContext(given, num_classes, models, recipe, start, session, extras or Extras(), budget)


def _leading(given: Mapping[str, Pool]) -> int:
    """The size of the pool whose epochs a budget in epochs counts."""
    first = next((n for n in ("target", "source", "target_unlabelled", "source_unlabelled") if n in given), None)
    return len(given[first]) if first else 1


def _held_out(given: Mapping[str, Pool], share: float, seeds: Seeds) -> dict[str, Pool]:
    """The labelled target in two: what is trained on, and what chooses."""
    if "target" not in given or given["target"].y is None:
        raise TrialError("nothing can be held out: the strategy has no labelled pool 'target'")
    pool = given["target"]
    y = np.asarray(pool.y)
    rows, held = validation_rows(np.arange(len(pool)), y, share, seeds.generator("hold-out"))
    if not len(held):
        raise SkipTrial("nothing can be held out to choose by: no class of the target has two labelled examples")
    return {"target": _part(pool, rows), "target_val": _part(pool, held)}


def _part(pool: Pool, rows: Array) -> Pool:
    x = {k: v[rows] for k, v in pool.x.items()} if isinstance(pool.x, Mapping) else pool.x[rows]
    return Pool(x, None if pool.y is None else np.asarray(pool.y)[rows], pool.num_classes)


def _of(kept: Mapping[str, Any], role: str, extra: str) -> Any:
    if role not in kept:
        raise TrialError(f"{unknown('domain', role, kept)} A strategy sees these where it says {extra!r} in `needs`.")
    return kept[role]


def curve_steps(budget: int, points: int) -> list[int]:
    """The steps at which the learning curve is taken: 0, then ``points`` evenly spaced up to the budget."""
    return sorted({round(i * budget / points) for i in range(points + 1)})


def _content(pool: Pool) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for x in pool.x.values() if isinstance(pool.x, Mapping) else (pool.x,):
        digest.update(f"{x.dtype}{x.shape}".encode())
        for piece in pieces(x):
            digest.update(piece.view(np.uint8).data)
    return digest.hexdigest()
