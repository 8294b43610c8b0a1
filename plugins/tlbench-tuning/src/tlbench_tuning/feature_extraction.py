"""Feature extraction: a chosen layer of the frozen backbone, and a linear classifier on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tlbench_tuning.probe import probe

if TYPE_CHECKING:
    from tlbench import Context, Fitted


@dataclass(frozen=True)
class FeatureExtraction:
    """Logistic regression on the outputs of one block of the frozen backbone (Donahue et al. 2014; Razavian 2014).

    min over W, b of mean CE(W phi(x) + b) + lambda ||W||^2, phi in evaluation mode (BatchNorm with its running
    statistics, no dropout), each example passed through it once. Features are averaged over space or tokens and
    standardised; the strength is chosen on validation examples or by cross-validation. Takes no gradient step.
    With ``block`` left out it is ``linear-probe``. Departures: Razavian et al. use a linear SVM on augmented
    images; AlexNet's 4,096 numbers are a flattened map where blocks are averaged here.
    """

    name: ClassVar[str] = "feature-extraction"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    uses: ClassVar[frozenset[str]] = frozenset({"target_val"})

    block: int | None = None
    """Which block's output, counted from the input (0) or the end (-1); the backbone's own features if left out."""
    folds: int = 5
    """Folds of the cross-validation, at most as many as the rarest class has examples."""

    def __post_init__(self) -> None:
        _require_folds(self.folds)

    def fit(self, ctx: Context) -> Fitted:
        return _classifier(ctx, self.block, self.folds)


@dataclass(frozen=True)
class RandomFeatures:
    """The control of feature extraction: the same classifier on the features of a backbone that nothing trained.

    What it reaches came from the architecture and the classifier. Yosinski et al. 2014 and Saxe et al. 2011 compare
    with random, untrained filters.
    """

    name: ClassVar[str] = "random-features"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    uses: ClassVar[frozenset[str]] = frozenset({"target_val"})
    start: ClassVar[str] = "random"

    block: int | None = None
    """Which block's output, as in ``feature-extraction``."""
    folds: int = 5
    """Folds of the cross-validation, at most as many as the rarest class has examples."""

    def __post_init__(self) -> None:
        _require_folds(self.folds)

    def fit(self, ctx: Context) -> Fitted:
        return _classifier(ctx, self.block, self.folds)


def _classifier(ctx: Context, block: int | None, folds: int) -> Fitted:
    weight_DC, bias_C = probe(ctx, block, folds)
    return ctx.on_features(lambda x_BD: x_BD.float() @ weight_DC + bias_C, block)


def _require_folds(folds: int) -> None:
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
