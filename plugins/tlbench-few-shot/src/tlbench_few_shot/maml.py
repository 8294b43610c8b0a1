"""MAML: weights from which a few gradient steps on a support set solve a new problem.

Dimension key:  E episodes  N support examples  Q query examples  W ways
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tlbench import Episodes, Fitted
from tlbench_few_shot.inner_loop import Parameters, descend

if TYPE_CHECKING:
    from tlbench import Batch, Context, EpisodeBatch, Predictor, Step, Terms

Loss: TypeAlias = Callable[[Parameters, Any, Tensor], Tensor]
"""(parameters, inputs, labels) -> scalar."""
Adapt: TypeAlias = Callable[[Callable[[Parameters], Tensor], Parameters], Parameters]
"""(loss on the support set, theta) -> theta'."""


def maml_loss(loss: Loss, theta: Parameters, episodes: EpisodeBatch, adapt: Adapt, *, at_once: bool) -> Tensor:
    """Mean over episodes of L(theta'; query), theta' = adapt(L(.; support), theta) (Finn et al. 2017, algorithm 2).

    ``at_once`` takes the episodes together by ``vmap``, else one after the other; value and gradient are the same.
    """

    def of_one(start: Parameters, support_x: Any, support_y: Tensor, query_x: Any, query_y: Tensor) -> Tensor:
        adapted = adapt(lambda now: loss(now, support_x, support_y), start)
        return loss(adapted, query_x, query_y)

    # The derivative is taken inside vmap: through vmap, torch 2.13 gives a slightly wrong second one for BatchNorm.
    derived = torch.func.grad_and_value(of_one)
    start = {name: w.detach() for name, w in theta.items()}
    parts = (episodes.support.x, episodes.support.y, episodes.query.x, episodes.query.y)
    if at_once:
        slopes, values = torch.func.vmap(derived, in_dims=(None, 0, 0, 0, 0), randomness="different")(start, *parts)
        slope, value = {name: g.mean(0) for name, g in slopes.items()}, values.mean()
    else:
        size = len(episodes)
        slope, value = {name: torch.zeros_like(w) for name, w in start.items()}, torch.zeros((), device=parts[1].device)
        for e in range(size):
            found, one = derived(start, *(_row(part, e) for part in parts))
            slope, value = {name: g + found[name] / size for name, g in slope.items()}, value + one / size
    return with_gradient(value, theta, slope)


def with_gradient(value: Tensor, theta: Parameters, slope: Parameters) -> Tensor:
    """``value`` [] as a function of theta whose gradient is ``slope``: value + slope . (theta - constant)."""
    zero = [((w - w.detach()) * slope[name]).sum() for name, w in theta.items()]
    return value.detach() + torch.stack(zero).sum()


def _row(x: Any, index: int) -> Any:
    return {name: part[index] for name, part in x.items()} if isinstance(x, dict) else x[index]


@dataclass(frozen=True)
class MAML:
    """Weights and a head from which gradient steps on the support set lead to a good classifier (Finn et al. 2017).

    Each step of training adapts to every episode of its batch and minimises the loss of the adapted weights on the
    episode's queries. In full this differentiates through the inner steps; ``first_order`` leaves the second
    derivatives out (sec. 5.2); ``anil`` adapts the head alone and leaves the features as they are (Raghu et al. 2020).
    Training episodes have the ways and shots of the test's: the head has one output for each way.

    BatchNorm uses the statistics of the batch at hand, in the test too, as the paper's code does: running
    statistics are those of no adapted network. So scores are transductive, a query's depend on its fellow queries;
    networks without BatchNorm have no such caveat. On a CPU the episodes of a batch are taken one after the other,
    elsewhere at once: convolutions with weights of their own for each episode are slow on a CPU.
    Departure: the outer optimiser and its rate are the recipe's. The paper's Omniglot settings are inner_lr 0.4 with 1
    step and 32 episodes for 5 ways, 0.1 with 5 steps and 16 episodes for 20 ways, over 60,000 steps with Adam at 1e-3.
    """

    name: ClassVar[str] = "maml"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "episodes"})

    inner_lr: float = 0.1
    """Rate of the inner gradient steps."""
    inner_steps: int = 1
    """Inner gradient steps in training."""
    test_steps: int | None = None
    """Gradient steps on a test episode's support set; as many as in training where left out."""
    first_order: bool = False
    """Leave the second derivatives out: faster, less memory, another gradient."""
    anil: bool = False
    """Adapt the head only, in training and in the test."""
    queries: int = 5
    """Query examples of each class in training."""
    episodes: int = 4
    """Episodes in one step, the meta-batch."""

    def __post_init__(self) -> None:
        if not self.inner_lr > 0:
            raise ValueError(f"inner_lr must be positive, got {self.inner_lr}")
        if self.test_steps is not None and self.test_steps < 0:
            raise ValueError(f"test_steps must not be negative, got {self.test_steps}")
        for name in ("inner_steps", "queries", "episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def fit(self, ctx: Context) -> Fitted:
        assert ctx.episode is not None, "the extra `episodes` comes with the size of the test's"
        model = ctx.classifier(num_classes=ctx.episode.ways)
        torch.func.replace_all_batch_norm_modules_(model)  # batch statistics only: vmap cannot update running ones
        task = _Task(model, self)

        def loss(batch: EpisodeBatch, step: Step) -> Terms:
            theta = dict(model.named_parameters())
            return maml_loss(task.loss, theta, batch, task.adapted, at_once=batch.query.y.device.type != "cpu")

        on = Episodes("source", ctx.episode.ways, ctx.episode.shots, self.queries, self.episodes)
        ctx.train(loss, update=model, on=(on,))
        return task


@dataclass(frozen=True, eq=False)
class _Task:
    """The model's loss as a function of its parameters, and its adaptation to a support set."""

    model: nn.Module
    how: MAML

    def loss(self, theta: Parameters, x: Any, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(self.model, theta, (x,)), y)

    def adapted(self, loss: Callable[[Parameters], Tensor], theta: Parameters, steps: int | None = None) -> Parameters:
        how = self.how
        inner = {name: w for name, w in theta.items() if not how.anil or name.startswith("head.")}
        steps = how.inner_steps if steps is None else steps
        moved = descend(lambda now: loss({**theta, **now}), inner, how.inner_lr, steps, first_order=how.first_order)
        return {**theta, **moved}

    def adapt(self, support: Batch) -> Predictor:
        self.model.eval()
        theta = {name: w.detach() for name, w in self.model.named_parameters()}
        theta = self.adapted(lambda now: self.loss(now, support.x, support.y), theta, self.how.test_steps)

        def predict(x: Any) -> Tensor:
            scores: Tensor = functional_call(self.model, theta, (x,))
            return scores

        return predict
