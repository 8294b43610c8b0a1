"""Shared trunk: one backbone for both tasks, a head for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tlbench_multitask.two_tasks import BOTH, Norms, trunk_and_heads

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


@dataclass(frozen=True)
class SharedTrunk:
    """Hard parameter sharing (Caruana 1997): minimise sum_t w_t mean L_t over one trunk and a head for each task.

    Each step has one batch of each task, of the same size (tasks sampled uniformly, whatever their sizes).
    Departures: weights of the tasks, which the paper discusses as learning rates of the outputs; and a task's own
    BatchNorms in backbones that have some, because running statistics of two domains mixed fit neither.
    """

    name: ClassVar[str] = "shared-trunk"
    needs: ClassVar[frozenset[str]] = frozenset({"target", "source"})
    start: ClassVar[str] = "weights"

    target_weight: float = 1.0
    """Weight of the target's mean loss."""
    source_weight: float = 1.0
    """Weight of the source's mean loss; 0 trains on the target alone."""
    norms: Norms = "own"
    """BatchNorms: each task's own, or the same for both."""

    def __post_init__(self) -> None:
        if self.target_weight <= 0:
            raise ValueError(f"target_weight must be positive, got {self.target_weight}")
        if self.source_weight < 0:
            raise ValueError(f"source_weight must not be negative, got {self.source_weight}")

    def fit(self, ctx: Context) -> Fitted:
        tasks = trunk_and_heads(ctx, self.norms)

        def loss(target: Batch, source: Batch, step: Step) -> Terms:
            losses = tasks.losses(target, source)
            return {"target": self.target_weight * losses.target, "source": self.source_weight * losses.source}

        ctx.train(loss, update=[tasks.target, tasks.source], on=BOTH)
        return tasks.predictors
