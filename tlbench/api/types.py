"""The types that a plugin author meets: data, batches, steps, contexts and the seven kinds of plugin.

Dimension key:  N examples  B batch  C classes  D features  A attributes  K channels  H height  W width

Nothing here imports torch or numpy at run time, so that ``import tlbench`` stays quick.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from tlbench.api.records import Record
    from tlbench.api.trials import Plan, Trial

# Aliases are texts: checkers read them, and nothing is imported for them at run time.
Array: TypeAlias = "NDArray[Any]"

Terms: TypeAlias = "Tensor | Mapping[str, Tensor]"
"""A scalar loss, or named scalar terms: the loop adds them up and records each one."""

Predictor: TypeAlias = "Callable[[Any], Tensor]"
"""Inputs [B, ...] -> scores [B, C]; larger is better. Any ``nn.Module`` of that shape is one.

Inputs are one tensor, or a mapping of tensors with one leading dimension."""

Fitted: TypeAlias = "Predictor | Adaptable | Mapping[str, Predictor]"
"""What ``Strategy.fit`` returns; a mapping has one predictor for each scored pool."""

Update: TypeAlias = "nn.Module | Group | Sequence[nn.Module | Group]"
"""What a training updates: modules, or groups of modules with rates of their own."""

Start: TypeAlias = Literal["source", "weights", "random"]
"""Where a backbone's weights come from: trained on the source, its own pre-trained weights, or chance.

``weights`` falls back to ``random`` for a backbone that brings no weights."""


# ---- data ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled examples: ``x`` uint8 [N, K, H, W] for images or float32 [N, D] for features; ``y`` int64 [N]."""

    x: Array | Mapping[str, Array]
    y: Array

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Domain:
    """What ``Dataset.load`` returns: a data set with its splits and where it comes from.

    ``splits`` has ``train`` and ``test`` and may have ``validation``. No two splits share memory.
    ``notes`` states how the splits were made and how images were brought to one size.
    """

    name: str
    splits: Mapping[str, Split]
    label_names: tuple[str, ...]
    kind: Literal["image", "features"]
    source: str = ""
    licence: str = "none stated"
    notes: str = ""
    class_attributes: Array | None = None

    @property
    def num_classes(self) -> int:
        return len(self.label_names)

    @property
    def shape(self) -> Shape:
        """The shape of one example of the train split."""
        x = self.splits["train"].x
        if isinstance(x, Mapping):
            return Shape(self.kind, tuple(next(iter(x.values())).shape[1:]))
        return Shape(self.kind, tuple(int(n) for n in x.shape[1:]))


@dataclass(frozen=True)
class Shape:
    """The shape of one example: (K, H, W) for images, (D,) for features."""

    kind: Literal["image", "features"]
    dims: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pool:
    """Examples with one role in a problem; ``y`` is ``None`` where the task withholds the labels."""

    x: Array | Mapping[str, Array]
    y: Array | None
    num_classes: int

    def __len__(self) -> int:
        x = next(iter(self.x.values())) if isinstance(self.x, Mapping) else self.x
        return len(x)


@dataclass(frozen=True, eq=False)
class Problem:
    """One transfer problem, as ``Task.build`` makes it.

    ``train``       pools that a method may ask for in ``needs`` or ``uses``
    ``test``        pools that the result is scored on; no context ever holds them
    ``withheld``    labelled pools that only the task's own reference strategies may ask for
    ``validation``  the pool of the selection rule, or ``None`` for rules that need none
    """

    train: Mapping[str, Pool]
    test: Mapping[str, Pool]
    num_classes: int
    withheld: Mapping[str, Pool] = field(default_factory=dict)
    validation: Pool | None = None
    class_attributes: Array | None = None


# ---- seeds ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seeds:
    """One seed for each axis, derived from the suite's seed and from what the axis depends on.

    Changing a strategy changes no seed of the data; two strategies on one pair and seed see the same.
    """

    root: int

    def integer(self, axis: str, *names: str) -> int:
        """A seed in [0, 2**63) that depends on the root, the axis and the names, and on nothing else."""
        text = "\x1f".join((str(self.root), axis, *names)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1

    def generator(self, axis: str, *names: str) -> np.random.Generator:
        """A NumPy generator for one axis."""
        import numpy as np

        return np.random.default_rng(self.integer(axis, *names))


# ---- training ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """``x`` [B, ...] and ``y`` int64 [B], or ``None`` for an unlabelled pool."""

    x: Any
    y: Any = None

    def __len__(self) -> int:
        return len(next(iter(self.x.values())) if isinstance(self.x, Mapping) else self.x)


@dataclass(frozen=True, slots=True)
class Step:
    """Where the training stands."""

    index: int
    total: int

    @property
    def progress(self) -> float:
        """0.0 at the first step, just under 1.0 at the last."""
        return self.index / self.total


@dataclass(frozen=True)
class Group:
    """Modules that train at their own rate: ``lr`` multiplies the recipe's; ``weight_decay`` replaces it."""

    modules: nn.Module | Sequence[nn.Module]
    lr: float = 1.0
    weight_decay: float | None = None


@dataclass(frozen=True)
class Turn:
    """One player's move in an alternating game: minimise ``loss`` over ``update``, ``times`` per round."""

    loss: Callable[..., Terms]
    update: Update
    on: tuple[str, ...] = ("target",)
    times: int = 1


@runtime_checkable
class Adaptable(Protocol):
    """What an episodic strategy returns: a support set in, a predictor out."""

    def adapt(self, support: Batch) -> Predictor: ...


@dataclass(frozen=True)
class InputTransform:
    """How raw images become a backbone's input, in this order; ``None`` on a backbone means "as they are".

    1. channels: grey repeated to three, or RGB to grey by the ITU-R 601 weights (0.299, 0.587, 0.114);
    2. size: bilinear with antialiasing to ``size`` x ``size``, rounded to 8 bits;
    3. values: (x / 255 - mean) / std for each channel.
    """

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class FeatureExtractor(Protocol):
    """What ``Backbone.load`` returns: an ``nn.Module`` x [B, ...] -> features [B, D] with these attributes.

    ``blocks`` are the trunk's parts from input to output, for freezing and layer transfer; every
    parameter belongs to exactly one block.
    """

    num_features: int
    transform: InputTransform | None
    blocks: Sequence[nn.Module]


class Context(Protocol):
    """Everything that a strategy may touch. It holds no test data and no label that the task withholds."""

    num_classes: int
    class_attributes: Tensor | None
    seed: int
    rng: np.random.Generator
    device: Any

    @property
    def pools(self) -> Mapping[str, int]:
        """The pools at hand and how many examples each has."""

    def backbone(self, start: Start | None = None) -> Any:
        """A fresh copy of the trial's backbone on the trial's device, x [B, ...] -> features [B, D].

        ``start`` defaults to the strategy's ``start``, or else the task's.
        """

    def classifier(self, start: Start | None = None, num_classes: int | None = None) -> Any:
        """A backbone with a fresh linear head: ``.backbone``, ``.head``, x [B, ...] -> scores [B, C]."""

    def features(self, pool: str) -> Batch:
        """The pool through the frozen backbone (evaluation mode): x [N, D], y [N] or ``None``. Cached."""

    def on_features(self, score: Callable[[Tensor], Tensor]) -> Predictor:
        """A predictor that applies ``score`` (features [B, D] -> scores [B, C]) behind the frozen backbone."""

    def train(
        self,
        loss: Callable[..., Terms],
        *,
        update: Update,
        on: Sequence[str] = ("target",),
        steps: int | None = None,
    ) -> None:
        """Minimise ``loss(batch of each pool in on ..., step)`` over ``update``; the only training loop.

        ``steps`` defaults to all that remain of the recipe's budget; asking for more is an error.
        Modules whose parameters are all frozen stay in evaluation mode (frozen BatchNorm keeps its
        statistics).
        """

    def take_turns(self, *turns: Turn, steps: int | None = None) -> None:
        """An alternating game: each round shows every turn the same batches; one round is one step."""

    @property
    def steps_left(self) -> int:
        """How many steps of the recipe's budget remain."""

    def using(self, backbone: Backbone) -> Context:
        """The same trial with another backbone and a budget of its own (a teacher, say)."""


# ---- the seven kinds of plugin -------------------------------------------------------------------


class Strategy(Protocol):
    """A transfer method: a frozen dataclass of its parameters with one method.

    ``needs``  pools without which it cannot run: ``source``, ``target``, ``target_unlabelled``, ...
    ``uses``   pools that it takes where the task offers them: ``target_val``, ``source_val``
    ``start``  where its backbone starts, if not where the task says (see ``Start``)

    ``uses`` and ``start`` may be left out.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]

    def fit(self, ctx: Any) -> Any: ...


class Backbone(Protocol):
    """A network body. ``pretrained_on`` names what its own weights were trained on, or is ``None``."""

    name: ClassVar[str]

    @property
    def pretrained_on(self) -> str | None: ...

    def load(self, shape: Shape, *, pretrained: bool = True) -> Any:
        """A ``FeatureExtractor`` for examples of this shape; random weights where ``pretrained`` is false."""


class Cache(Protocol):
    """What a data set may use while it loads."""

    data_root: Path | None
    """A folder whose ``owner/name`` folders stand in for the hub."""
    base: Path
    """The folder that relative paths in a suite are relative to."""

    def arrays(self, key: str, build: Callable[[], Mapping[str, Array]]) -> Mapping[str, Array]:
        """``build()`` the first time, then the same arrays from disk. ``key`` must hash the content."""

    def require_memory(self, num_bytes: int, what: str) -> None:
        """Raise a clear error where so many bytes would not fit the memory limit."""


class Dataset(Protocol):
    """A source of examples: a frozen dataclass that says where they are."""

    name: ClassVar[str]

    def load(self, cache: Cache) -> Domain: ...


class Task(Protocol):
    """Which labels exist, what is scored, and what a method's gain is measured against.

    ``offers``        the names of the pools that ``build`` may put into ``Problem.train``
    ``references``    reference strategies added to every matrix; gain is measured against the first
    ``start``         where a strategy's backbone starts unless the strategy says otherwise
    ``needs_source``  whether the task needs the source's data, not just weights trained on it
    """

    name: ClassVar[str]
    offers: ClassVar[frozenset[str]]
    references: ClassVar[tuple[str, ...]]
    start: ClassVar[Start]
    needs_source: ClassVar[bool]

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem: ...


class Metric(Protocol):
    """``score(scores [N, C], y [N]) -> float``."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool]

    def score(self, scores: Array, y: Array) -> float: ...


class Executor(Protocol):
    """Runs a plan's trials and yields a record for each, in whatever order they end."""

    name: ClassVar[str]

    def run(self, plan: Plan, work: Work) -> Iterator[Record]: ...


class Work(Protocol):
    """How one trial is done: call it here, or send ``spec`` to another process and rebuild it there."""

    spec: Mapping[str, Any]

    def __call__(self, trial: Trial) -> Record: ...

    def started(self, trial: Trial, slot: str) -> None:
        """Tell whoever watches that this trial begins in that slot."""

    def stopping(self) -> bool:
        """Whether the user asked to stop: begin nothing more, and let what runs save its state."""


class Reporter(Protocol):
    """Writes a leaderboard in one form and returns the files that it wrote."""

    name: ClassVar[str]

    def report(self, leaderboard: Any, folder: Path) -> Iterable[Path]: ...
