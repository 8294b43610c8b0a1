"""A plugin of toys: every kind that a suite names, with parameters that a test can get wrong. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tlbench.api.hooks import hookimpl


@dataclass(frozen=True)
class Grid:
    """A data set."""

    name: ClassVar[str] = "grid"
    shift: Literal["none", "inverted", "rotated"] = "none"
    classes: tuple[int, ...] | None = None
    folder: str = "."

    def load(self, cache: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Dots:
    """Another data set."""

    name: ClassVar[str] = "dots"

    def load(self, cache: Any) -> Any:
        raise NotImplementedError


class _Build:
    def build(self, source: Any, target: Any, seeds: Any, selection: str) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Labelled(_Build):
    """A task with a labelled target."""

    name: ClassVar[str] = "labelled"
    offers: ClassVar[frozenset[str]] = frozenset({"target", "source"})
    references: ClassVar[tuple[str, ...]] = ("zero", "guess")
    start: ClassVar[str] = "source"
    needs_source: ClassVar[bool] = False
    labels: Literal["all"] | int | float = "all"


@dataclass(frozen=True)
class Unlabelled(_Build):
    """A task with an unlabelled target."""

    name: ClassVar[str] = "unlabelled"
    offers: ClassVar[frozenset[str]] = frozenset({"source", "source_val", "target_unlabelled"})
    withholds: ClassVar[frozenset[str]] = frozenset({"target"})
    references: ClassVar[tuple[str, ...]] = ("floor", "ceiling")
    start: ClassVar[str] = "weights"
    needs_source: ClassVar[bool] = True


@dataclass(frozen=True)
class SourceTrainingTask(_Build):
    """Training on a source."""

    name: ClassVar[str] = "source-training"
    offers: ClassVar[frozenset[str]] = frozenset({"source"})
    references: ClassVar[tuple[str, ...]] = ()
    start: ClassVar[str] = "weights"
    needs_source: ClassVar[bool] = False


class _Load:
    def load(self, shape: Any, *, pretrained: bool = True) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Net(_Load):
    """A backbone without weights."""

    name: ClassVar[str] = "net"
    size: int = 32

    @property
    def pretrained_on(self) -> str | None:
        return None


@dataclass(frozen=True)
class BigNet(_Load):
    """A backbone with weights, if one wants them."""

    name: ClassVar[str] = "big-net"
    pretrained: bool = True

    @property
    def pretrained_on(self) -> str | None:
        return "everything" if self.pretrained else None


class _Fit:
    def fit(self, ctx: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Tune(_Fit):
    """Starts where the task says."""

    name: ClassVar[str] = "tune"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    alpha: float = 0.1
    mode: Literal["all", "head"] = "all"
    layers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Zero(_Fit):
    """From random weights."""

    name: ClassVar[str] = "zero"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[str] = "random"
    lr: float = 1.0


@dataclass(frozen=True)
class Guess(_Fit):
    """A blind guess."""

    name: ClassVar[str] = "guess"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[str] = "random"


@dataclass(frozen=True)
class Floor(_Fit):
    """Looks at the source only."""

    name: ClassVar[str] = "floor"
    needs: ClassVar[frozenset[str]] = frozenset({"source"})


@dataclass(frozen=True)
class Ceiling(_Fit):
    """Looks at labels of the target that others may not see."""

    name: ClassVar[str] = "ceiling"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})


@dataclass(frozen=True)
class Align(_Fit):
    """Looks at both."""

    name: ClassVar[str] = "align"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})
    weight: float = 1.0


@dataclass(frozen=True)
class SourceTraining(_Fit):
    """Trains on the source."""

    name: ClassVar[str] = "source-training"
    needs: ClassVar[frozenset[str]] = frozenset({"source"})


@dataclass(frozen=True)
class Accuracy:
    """A metric."""

    name: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True

    def score(self, scores: Any, y: Any) -> float:
        raise NotImplementedError


@dataclass(frozen=True)
class Recall(Accuracy):
    """Another metric."""

    name: ClassVar[str] = "recall"


@hookimpl
def tlbench_datasets() -> list[type]:
    return [Grid, Dots]


@hookimpl
def tlbench_tasks() -> list[type]:
    return [Labelled, Unlabelled, SourceTrainingTask]


@hookimpl
def tlbench_backbones() -> list[type]:
    return [Net, BigNet]


@hookimpl
def tlbench_strategies() -> list[type]:
    return [Tune, Zero, Guess, Floor, Ceiling, Align, SourceTraining]


@hookimpl
def tlbench_metrics() -> list[type]:
    return [Accuracy, Recall]
