"""The recipe: the budget and the protocol that every strategy of a suite shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SelectionRule = Literal["last", "source-val", "target-val", "oracle"]

Augmentation = Literal[
    "none",
    "flip",
    "crop",
    "crop-flip",
    "crop-flip-colour",
    "crop-flip-colour-hue",
    "resized-crop",
    "resized-crop-flip",
    "resized-crop-flip-colour",
    "resized-crop-flip-colour-grey",
    "resized-crop-flip-colour-hue",
    "resized-crop-flip-colour-hue-grey",
]


@dataclass(frozen=True)
class Recipe:
    """How long and how every strategy trains, and which point of its learning curve is its result.

    ``steps`` or ``epochs``, not both (default: 500 steps); an epoch counts the first pool of a training.
    ``warmup``          share of the steps over which the learning rate rises from 0
    ``augmentation``    on the training batches of image pools only: ``flip`` left to right; ``crop`` after padding;
                        ``resized-crop``, a window of 8 to 100 % of the area; ``colour``: brightness, contrast and
                        saturation up to 40 % more or less; ``hue``: up to a tenth of a turn; ``grey``: one image
                        in five
    ``precision``       of training, frozen features and scoring
    ``selection``       ``last``; the best point on validation examples of the source or the target (taken
                        from the label budget); or ``oracle``, the best point on the test set, marked as such
    ``curve_points``    evaluations after the one before the first step, evenly spaced
    ``curve_examples``  the learning curve is scored on this many test examples (0: all); the final
                        score is always on all
    """

    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 64
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    warmup: float = 0.0
    clip_norm: float | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    augmentation: Augmentation = "none"
    selection: SelectionRule = "last"
    curve_points: int = 20
    curve_examples: int = 500

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give steps or epochs, not both")
        for name, lowest in (("steps", 1), ("batch_size", 1), ("curve_points", 1), ("curve_examples", 0)):
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {value}")
        for name in ("epochs", "lr", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name, below in (("warmup", 1.0), ("momentum", 1.0)):
            if not 0 <= getattr(self, name) < below:
                raise ValueError(f"{name} must be in [0, {below:g}), got {getattr(self, name)}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")

    def total_steps(self, num_examples: int) -> int:
        """The budget in steps for a first pool of so many examples."""
        if self.epochs is None:
            return self.steps if self.steps is not None else 500
        return max(1, round(self.epochs * num_examples / min(self.batch_size, num_examples)))
