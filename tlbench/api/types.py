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
"""What ``Strategy.fit`` returns; a mapping has a predictor by name of the pool that it is for."""

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

    ``class_attributes``  float32 [C, A], a description of each class
    ``groups``            int64 [C], which classes belong together (an alphabet, say)
    ``graph``             for kind ``graph``: examples are nodes, x {"attributes": float32 [N, A], "node": int64 [N]}
    ``whole``             train and test are the same examples, in memory of their own: only protocols that see no
                          label of the target, and its test inputs anyway, may use it as a target
    """

    name: str
    splits: Mapping[str, Split]
    label_names: tuple[str, ...]
    kind: Literal["image", "features", "graph"]
    source: str = ""
    licence: str = "none stated"
    notes: str = ""
    class_attributes: Array | None = None
    groups: Array | None = None
    graph: Graph | None = None
    whole: bool = False

    @property
    def num_classes(self) -> int:
        return len(self.label_names)

    @property
    def shape(self) -> Shape:
        """The shape of one example of the train split."""
        x = self.splits["train"].x
        first = next(iter(x.values())) if isinstance(x, Mapping) else x
        return Shape(self.kind, tuple(int(n) for n in first.shape[1:]))


@dataclass(frozen=True)
class Shape:
    """The shape of one example: (K, H, W) for images, (D,) for features and for the attributes of a node."""

    kind: Literal["image", "features", "graph"]
    dims: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """An undirected graph: node attributes ``x`` float32 [N, A]; ``edges`` int64 [2, E], each in both directions.

    Arrays in a ``Domain`` and a ``Problem``, tensors from ``ctx.graph``. No labels: those are in the pools.
    """

    x: Any
    edges: Any

    @property
    def num_nodes(self) -> int:
        return len(self.x)


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

    ``class_attributes``  float32 [C, A] of the classes of ``source`` and ``target``, for who needs them
    ``graphs``            the graphs of ``source`` and ``target``, for who needs them
    ``episodes``          few-shot: the test is episodes of these, and ``test`` holds the queries' pool
    ``optional``          test pools that are scored only where ``fit`` returns a predictor under their name
    ``matching``          ``clusters``: scores are of clusters, matched to the classes one to one on each test pool
    ``harmonic``          records the harmonic mean of the test pools' scores as well (generalised zero-shot)
    """

    train: Mapping[str, Pool]
    test: Mapping[str, Pool]
    num_classes: int
    withheld: Mapping[str, Pool] = field(default_factory=dict)
    validation: Pool | None = None
    class_attributes: Mapping[str, Array] = field(default_factory=dict)
    graphs: Mapping[str, Graph] = field(default_factory=dict)
    episodes: TestEpisodes | None = None
    optional: frozenset[str] = frozenset()
    matching: Literal["labels", "clusters"] = "labels"
    harmonic: bool = False


# ---- episodes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EpisodeShape:
    """How large an episode is: ``ways`` classes with ``shots`` labelled examples and ``queries`` others each."""

    ways: int
    shots: int
    queries: int


@dataclass(frozen=True, eq=False)
class TestEpisodes:
    """The episodes of a test: rows of the support pool and of the queries' pool, class by class.

    ``support``  labelled examples of the unseen classes; ``support_rows`` int64 [E, ways * shots],
    ``query_rows`` int64 [E, ways * queries] of the test pool. Labels within an episode are 0 .. ways-1.
    """

    __test__: ClassVar[bool] = False  # no test case, whatever its name says to a collector

    shape: EpisodeShape
    support: Pool
    support_rows: Array
    query_rows: Array

    def __len__(self) -> int:
        return len(self.support_rows)


@dataclass(frozen=True)
class Episodes:
    """Training episodes, to be named in ``on`` in the place of a pool: ``count`` of them make up one batch.

    Each draws ``ways`` classes of the pool, and of each ``shots`` examples for support and ``queries`` others.
    """

    pool: str = "source"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    count: int = 1

    def __post_init__(self) -> None:
        for name in ("ways", "shots", "queries", "count"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


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
    """``x`` [B, ...] and ``y`` int64 [B], or ``None`` for an unlabelled pool.

    In the batches of a training ``rows`` int64 [B] says which examples of the pool these are, so that a loss can look
    up what was worked out for each of them beforehand: a weight, a teacher's answer.
    """

    x: Any
    y: Any = None
    rows: Any = None

    def __len__(self) -> int:
        return len(next(iter(self.x.values())) if isinstance(self.x, Mapping) else self.x)


@dataclass(frozen=True, slots=True)
class EpisodeBatch:
    """``count`` episodes: x [E, ways * shots, ...] and [E, ways * queries, ...], y int64 of the same leading shape.

    Rows are class by class, and labels are 0 .. ways-1 within each episode.
    """

    support: Batch
    query: Batch

    def __len__(self) -> int:
        return len(self.query)


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
    on: tuple[str | Episodes, ...] = ("target",)
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
    parameter belongs to exactly one block. Pre-trained weights may come with the classifier that they were
    trained with: then ``own_head()`` returns a fresh copy of it, features [B, D] -> scores [B, C].
    """

    num_features: int
    transform: InputTransform | None
    blocks: Sequence[nn.Module]


class Context(Protocol):
    """Everything that a strategy may touch. It holds no test data and no label that the task withholds."""

    num_classes: int
    seed: int
    rng: np.random.Generator
    device: Any

    @property
    def pools(self) -> Mapping[str, int]:
        """The pools at hand and how many examples each has."""

    def classes(self, pool: str) -> int:
        """How many classes the labels of a pool are of, whether the labels are shown or not."""

    def shape(self, pool: str) -> Shape:
        """The shape of one example of a pool."""

    def inputs(self, pool: str) -> Batch:
        """The whole pool as a backbone would see it: x [N, ...], y [N] or ``None``."""

    def attributes(self, role: str) -> Tensor:
        """Class attributes [C, A] of the classes of ``source`` or ``target``; needs ``class_attributes``."""

    def graph(self, role: str) -> Graph:
        """The graph of ``source`` or ``target``, as tensors on the device; needs ``graphs``."""

    @property
    def episode(self) -> EpisodeShape | None:
        """The size of the test's episodes, in a task that has them."""

    def backbone(self, start: Start | None = None, shape: Shape | None = None) -> Any:
        """A fresh copy of the trial's backbone on the trial's device, x [B, ...] -> features [B, D].

        ``start`` defaults to the strategy's ``start``, or else the task's; ``shape`` to the target's examples.
        """

    def classifier(self, start: Start | None = None, num_classes: int | None = None, shape: Shape | None = None) -> Any:
        """A backbone with a fresh linear head: ``.backbone``, ``.head``, x [B, ...] -> scores [B, C]."""

    def source_classifier(self) -> Any:
        """The classifier as it was trained on the source, with its head; scores are of the source's classes.

        For a backbone's own weights its own head, where it brings one. Raises ``TrialError`` where there is none.
        """

    def features(self, pool: str, block: int | None = None) -> Batch:
        """The pool through the frozen backbone (evaluation mode): x [N, D], y [N] or ``None``. Cached.

        ``block`` takes the output of ``backbone.blocks[block]`` instead, averaged over space or tokens.
        """

    def on_features(self, score: Callable[[Tensor], Tensor], block: int | None = None) -> Predictor:
        """A predictor that applies ``score`` (features [B, D] -> scores [B, C]) behind the frozen backbone."""

    def score(self, predictor: Predictor, pool: str) -> float:
        """The run's first metric of a predictor on a labelled pool at hand."""

    def report(self, name: str, value: float) -> None:
        """Put a number into the record, beside the scores: an effective sample size, what was chosen."""

    def train(
        self,
        loss: Callable[..., Terms],
        *,
        update: Update,
        on: Sequence[str | Episodes] = ("target",),
        steps: int | None = None,
    ) -> None:
        """Minimise ``loss(batch of each pool in on ..., step)`` over ``update``; the only training loop.

        An entry of ``on`` that is an ``Episodes`` gives an ``EpisodeBatch`` in the place of a ``Batch``.
        ``steps`` defaults to all that remain of the recipe's budget; asking for more is an error.
        Modules whose parameters are all frozen stay in evaluation mode (frozen BatchNorm keeps its
        statistics).
        """

    def take_turns(self, *turns: Turn, steps: int | None = None) -> None:
        """An alternating game: each round shows every turn the same batches; one round is one step."""

    @property
    def steps_left(self) -> int:
        """How many steps of the recipe's budget remain."""

    def using(
        self,
        backbone: Backbone | None = None,
        *,
        start: Start | None = None,
        augment: Callable[[Batch, Any], Batch] | None = None,
        hold_out: float | None = None,
        steps: int | None = None,
    ) -> Context:
        """A branch: the same trial with a budget of its own, for a teacher, a pre-training or a candidate.

        ``backbone``  another backbone, from its own weights
        ``start``     another default start
        ``augment``   what every training batch passes, with a ``torch.Generator`` that depends on seed and step
        ``hold_out``  this share of ``target``, stratified, becomes the pool ``target_val``
        ``steps``     the branch's budget; the recipe's where left out

        What a branch trains counts in the trial's steps and seconds and is no point of the learning curve.
        """

    def augmented(self, augment: Callable[[Batch, Any], Batch]) -> Context:
        """The same trial and budget; every training batch passes ``augment``, as in ``using``."""

    def restricted(self, pool: str, rows: Array) -> Context:
        """The same trial and budget with these examples of a pool alone; ``rows`` int64, as ``features`` has them."""


# ---- the seven kinds of plugin -------------------------------------------------------------------


class Strategy(Protocol):
    """A transfer method: a frozen dataclass of its parameters with one method.

    ``needs``   pools without which it cannot run: ``source``, ``target``, ``target_unlabelled``, ... and extras:
                ``episodes``, ``class_attributes``, ``graphs``
    ``uses``    pools that it takes where the task offers them: ``target_val``, ``source_val``
    ``start``   where its backbone starts, if not where the task says (see ``Start``)
    ``spaces``  ``any`` where it handles a source and a target of different feature spaces; else ``same``

    ``uses``, ``start`` and ``spaces`` may be left out.
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

    A task may also say ``withholds``, pools that its references alone may ask for, and ``sees_source``: ``build``
    is to get the source's data, where there are any, also for strategies that ask for none of it.
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
