"""Distillation: a student learns from the labels and from a teacher's softened outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tlbench.functional import supervised

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def distillation_loss(student_BC: Tensor, teacher_BC: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)), mean over the batch (Hinton, Vinyals & Dean 2015, sec. 2).

    Without T^2 the gradient would shrink as 1 / T^2 and T would change the weight of the term.
    """
    student, teacher = (student_BC / temperature).log_softmax(1), (teacher_BC / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


@dataclass(frozen=True)
class Distillation:
    """A teacher that had the transfer teaches a student that had none (Hinton, Vinyals & Dean 2015).

    (1 - weight) CE(student, y) + weight T^2 KL(teacher || student). The teacher is the trial's backbone from where
    the task starts it (the source's weights, or its own), fine-tuned on the target with plain cross-entropy in a
    branch with a budget of its own (``teacher_steps``); it is then frozen and in evaluation mode. The student is the
    same backbone from random weights on the trial's budget, so that all it gains over ``scratch`` came through the
    teacher's outputs. Departure: the paper's student is smaller than its teacher; here both have the trial's
    backbone, which keeps the comparison with ``scratch`` paired.
    """

    name: ClassVar[str] = "distillation"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    weight: float = 0.9
    """Share of the teacher's term; the labels have the rest."""
    temperature: float = 4.0
    """T, the same for teacher and student."""
    student: Literal["random", "transferred"] = "random"
    """Where the student starts; ``transferred`` is where the teacher started (self-distillation)."""
    teacher_steps: int | None = None
    """Steps of the teacher's fine-tuning; as many as the recipe has if left out."""

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight must be in [0, 1], got {self.weight}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if self.teacher_steps is not None and self.teacher_steps < 1:
            raise ValueError(f"teacher_steps must be at least 1, got {self.teacher_steps}")

    def fit(self, ctx: Context) -> Fitted:
        branch = ctx.using(steps=self.teacher_steps)
        teacher = branch.classifier()
        branch.train(supervised(teacher), update=teacher)
        teacher.eval().requires_grad_(False)
        student = ctx.classifier("random" if self.student == "random" else None)

        def loss(target: Batch, step: Step) -> Terms:
            scores_BC = student(target.x)
            with torch.no_grad():
                taught_BC = teacher(target.x)
            return {
                "task": (1 - self.weight) * F.cross_entropy(scores_BC, target.y),
                "distillation": self.weight * distillation_loss(scores_BC, taught_BC, self.temperature),
            }

        ctx.train(loss, update=student)
        fitted: Fitted = student
        return fitted
