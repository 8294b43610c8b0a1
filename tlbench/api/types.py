"""The types that a plugin author meets: batches, steps, contexts and the seven kinds of plugin.

Dimension key:  N examples  B batch  C classes  D features  A attributes  K channels  H height  W width

Nothing here imports torch or numpy at run time, so that ``import tlbench`` stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor, nn

    from tlbench.api.data import (
        Array,
        Domain,
        Episodes,
        EpisodeShape,
        Graph,
        Problem,
        Seeds,
        Shape,
    )
    from tlbench.api.records import Record
    from tlbench.api.trials import Plan, Trial

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

    def host(self, make: Callable[[Step], Any]) -> Any:
        """``make(step)``: what the host works out anew for each step. A number, a tensor or a mapping of them.

        A loss that asks here for its schedules and draws, and does not read ``index`` or ``progress``, can be replayed
        as a CUDA graph (``--with graphs``): ``make`` is then called before each replay, and what the loss gets lies on
        the device. In the place of a number that is a 0-d float32 tensor, to be multiplied with or added to others:
        arithmetic among numbers belongs in ``make``. It may draw from ``ctx.rng`` or a generator of its own; it must
        give tensors of one shape, and use nothing that the loss computed. A tensor may come on the host or on the
        device: ``.to(ctx.device)`` it.
        """
        return make(self)


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
    """What an episodic strategy returns: a support set in, a predictor out.

    Where adapting leaves the network as it is, it may also have ``embed`` and ``adapt_all``, and its episodes are
    scored many at once: see ``AdaptsAll``.
    """

    def adapt(self, support: Batch) -> Predictor: ...


@runtime_checkable
class AdaptsAll(Adaptable, Protocol):
    """An ``Adaptable`` whose features do not depend on the episode: it adapts to many episodes at once.

    ``embed``      inputs [B, ...] -> features [B, D], of each example by itself, whatever its fellow examples
    ``adapt_all``  support sets of E episodes, x [E, N, D] as ``embed`` gave them and y int64 [E, N] with as many
                   examples of each class in every episode -> features of queries [E, Q, D] -> scores [E, Q, W]

    The scores are those of ``adapt`` for each episode by itself, but for rounding; ``check_strategy`` holds it to that.
    The host embeds each distinct example once, since episodes share examples, and hands over so many episodes as keep
    their features within a few megabytes. Draw nothing: how many episodes come at once is the host's choice.
    """

    def embed(self, x: Any) -> Tensor: ...

    def adapt_all(self, support: Batch) -> Predictor: ...


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

    @property
    def source_classes(self) -> int | None:
        """How many classes the source has, whether a pool of it is at hand or not; ``None`` without a source.

        ``num_classes`` is how many the target has, which are those that a predictor's scores are of.
        """

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
        """The run's first metric that needs no groups, of a predictor on a labelled pool at hand."""

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
                ``episodes``, ``class_attributes``, ``graphs``, and ``same_classes``: source and target have the same
                classes, by name and in one order
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

    def empty(self, shape: tuple[int, ...], dtype: Any, what: str) -> Array:
        """An array for ``build`` to fill and return: a mapped file where that can be, so that it takes no memory."""

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
    """``score(scores [N, C], y [N]) -> float``; scores are any numbers of which the largest wins.

    ``needs``  what it takes beside scores and labels, and may be left out: with ``group`` it is called as
               ``score(scores, y, group)``, group int64 [N], on test pools of data sets that declare groups of examples.
               On others the record says why it is absent, and a trial is skipped where it is the suite's first metric
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool]

    def score(self, scores: Array, y: Array) -> float: ...


class Comparison(Protocol):
    """A metric of what transfer did to the backbone, and of no scores; a suite lists it after its first metric.

    ``compare(before [N, D], after [N, D]) -> float | None``: a block's features of the same examples where the
    backbone started and in the predictor; ``None`` where it is undefined. The record has a value for each block.
    """

    name: ClassVar[str]

    def compare(self, before: Array, after: Array) -> float | None: ...


class Executor(Protocol):
    """Runs a plan's trials and yields a record for each, in whatever order they end."""

    name: ClassVar[str]

    def run(self, plan: Plan, work: Work) -> Iterator[Record]: ...


class Work(Protocol):
    """How one trial is done: call it here, or send ``spec`` to another process and rebuild it there."""

    spec: Mapping[str, Any]

    def __call__(self, trial: Trial) -> Record: ...

    def together(self, trials: Sequence[Trial]) -> list[Record]:
        """Do trials that differ in the seed alone side by side, so that their trainings can be fused."""

    def started(self, trial: Trial, slot: str) -> None:
        """Tell whoever watches that this trial begins in that slot."""

    def stopping(self) -> bool:
        """Whether the user asked to stop: begin nothing more, and let what runs save its state."""


class Reporter(Protocol):
    """Writes a leaderboard in one form and returns the files that it wrote."""

    name: ClassVar[str]

    def report(self, leaderboard: Any, folder: Path) -> Iterable[Path]: ...
