"""Task-conditioned: one model p(y | x, T) for all tasks, where the task T is a list of described classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tlbench_zero_shot.tower import Train, candidates_of, tower
from tlbench_zero_shot.unseen import NEEDS, Normalise, calibrated, classes_of, require_calibration

if TYPE_CHECKING:
    from tlbench import Batch, Context, Fitted, Step, Terms


def conditional_log_loss(scores_BS: Tensor, y_B: Tensor, task_BS: Tensor) -> Tensor:
    """-log p(y | x, T), p = exp s(x, d_y) / sum over z in T of exp s(x, d_z), mean over the batch.

    ``task`` bool [B, S] is each example's own T; its class is in it.
    """
    return F.cross_entropy(scores_BS.masked_fill(~task_BS, -torch.inf), y_B)


class Bilinear(nn.Module):
    """s(x, d) = <f(x), g(d)> / sqrt(H) for embedded images f [B, H] and descriptions [C, A], g linear."""

    def __init__(self, attributes: int, hidden: int) -> None:
        super().__init__()
        self.describe = nn.Linear(attributes, hidden)

    def forward(self, f_BH: Tensor, d_CA: Tensor) -> Tensor:
        g_CH: Tensor = self.describe(d_CA)
        scores_BC: Tensor = f_BH @ g_CH.T / f_BH.shape[1] ** 0.5
        return scores_BC


class Joint(nn.Module):
    """s(x, d) = v' relu(f(x) + g(d)): a network with one hidden layer on image and description side by side."""

    def __init__(self, attributes: int, hidden: int) -> None:
        super().__init__()
        self.describe = nn.Linear(attributes, hidden)
        self.out = nn.Linear(hidden, 1, bias=False)

    def forward(self, f_BH: Tensor, d_CA: Tensor) -> Tensor:
        return self.out(torch.relu(f_BH[:, None] + self.describe(d_CA)[None])).squeeze(2)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TaskConditioned:
    """Learn p(y | x, T) over many tasks T; a new task is a new description (Goodfellow, Bengio & Courville 2016, 15.2).

    Every training example is put before a task of its own: its class and ``ways`` - 1 others of the source, known to
    the model by their descriptions alone. At the test the task is all the candidates. What generalises is the
    description; a one-hot code of the task, says the book, would not. Departure: the book gives the idea and no
    algorithm; contrastive training of images and texts (Radford et al. 2021) is the same with text for a description.
    """

    name: ClassVar[str] = "task-conditioned"
    needs: ClassVar[frozenset[str]] = NEEDS

    score: Literal["bilinear", "joint"] = "bilinear"
    """An inner product of image and description, or a hidden layer that sees both."""
    hidden: int = 128
    """Width of the space in which they meet."""
    ways: int = 10
    """Classes in each training task; at most all that the source has."""
    signatures: Normalise = "centred-l2"
    """Descriptions as they are, of length 1, or of length 1 around the mean of the seen classes."""
    train: Train = "head"
    """``head`` keeps the backbone frozen, ``all`` trains it along."""
    calibration: float = 0.0
    """Generalised zero-shot: taken off the scores of seen classes, here logits."""

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError(f"hidden must be at least 1, got {self.hidden}")
        if self.ways < 2:
            raise ValueError(f"ways must be at least 2, got {self.ways}")
        require_calibration(self.calibration)

    def fit(self, ctx: Context) -> Fitted:
        classes = classes_of(ctx).normalised(self.signatures)
        image = tower(ctx, self.hidden, self.train, bias=True)
        kind = Bilinear if self.score == "bilinear" else Joint
        compare = kind(classes.seen.shape[1], self.hidden).to(ctx.device)

        def loss(source: Batch, step: Step) -> Terms:
            size = (len(source), len(classes.seen))
            order = step.host(lambda now: torch.from_numpy(ctx.rng.random(size))).to(ctx.device)
            scores_BS = compare(image(source.x), classes.seen)
            return conditional_log_loss(scores_BS, source.y, candidates_of(source.y, self.ways, order))

        ctx.train(loss, update=[image, compare], on=("source",))

        def predict(x: Any) -> Tensor:
            return calibrated(compare(image(x), classes.candidates), classes.is_seen, self.calibration)

        return predict
