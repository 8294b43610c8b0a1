"""Data as plugins meet it: domains with their splits, the pools and problems made of them, episodes, seeds.

Dimension key:  N examples  C classes  D features  A attributes  K channels  H height  W width  E edges or episodes

Nothing here imports torch or numpy at run time, so that ``import tlbench`` stays quick.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# An alias is a text: checkers read it, and nothing is imported for it at run time.
Array: TypeAlias = "NDArray[Any]"


# ---- data ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled examples: ``x`` uint8 [N, K, H, W] for images or float32 [N, D] for features; ``y`` int64 [N].

    ``group`` int64 [N] may say which group each example is of (a hospital, a background): for metrics, not for methods.
    """

    x: Array | Mapping[str, Array]
    y: Array
    group: Array | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Domain:
    """What ``Dataset.load`` returns: a data set with its splits and where it comes from.

    ``splits`` has ``train`` and ``test`` and may have ``validation``. No two splits share memory.
    ``notes`` states how the splits were made and how images were brought to one size.

    ``class_attributes``  float32 [C, A], a description of each class
    ``groups``            int64 [C], which classes belong together (an alphabet, say); not to be mistaken for
    ``group_names``       the names of the groups of examples, which ``Split.group`` numbers in every split or in none
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
    group_names: tuple[str, ...] = ()
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
    """Examples with one role in a problem; ``y`` is ``None`` where the task withholds the labels.

    ``x`` of a large data set is not an array but rows of one on the disk, which are indexed alike.
    ``group`` int64 [N] is for metrics alone: a method's pools have none, whatever the task puts there.
    """

    x: Array | Mapping[str, Array]
    y: Array | None
    num_classes: int
    group: Array | None = None

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
