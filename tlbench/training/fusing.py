"""Fusing: the trainings of several seeds as one, where that is each seed's own training and where it pays.

The weights of K seeds are stacked [K, ...], and the loop runs once, on a loss that is the sum of theirs. A seed's
gradient is then its own, and so is its step: the optimisers work element by element, and gradients are clipped seed by
seed. Each seed keeps its initial weights, its order of examples, its tape, its checkpoints and its generators. Losses
agree with those of a seed alone to rounding, not to the bit.

Nothing is taken on trust: before the first step losses and gradients are compared with those of each seed alone, at
the beginning, the middle and the end of the schedule; afterwards, whether the loss drew random numbers or kept a count.
Whatever does not fit is refused, and the seeds are trained one after the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tlbench.api.types import Step, Terms, Turn
from tlbench.errors import Diverged
from tlbench.training.checkpoint import Interrupted
from tlbench.training.fused_streams import Batches, first_batches
from tlbench.training.fused_tape import FusedCheckpoints, FusedTape, Seed
from tlbench.training.generators import generators, same
from tlbench.training.loop import play, set_mode
from tlbench.training.optim import groups_of, optimizers_of
from tlbench.training.shadows import Shadows, state
from tlbench.training.stacked import Refused, stack_of
from tlbench.training.stacked_weights import Weights, part_of

if TYPE_CHECKING:
    from tlbench.api.types import Terms
    from tlbench.training.loop import Phase

FEWEST = 100
"""Steps below which nothing is fused: comparing and measuring would cost more than there is to gain."""
WORTH = 1.1
"""What a measurement must show before a shape is fused: a margin over noise."""
CLOSE = 1e-4
"""How far a loss or a gradient may be from the seed's own, as a share of its norm."""
_IMPURE = "the loss keeps a count, or draws from a common generator"

Decide = Callable[[Mapping[str, Any], Callable[[], float]], bool]
"""(what is to be fused, a measurement of how many times faster that is) -> whether it is done."""


def train_as_one(seeds: Sequence[Seed], decide: Decide) -> list[BaseException | None]:
    """Do the trainings of all seeds at once; for each seed what its training ends with, where it does not end well.

    That is ``Diverged``, or ``Interrupted`` after its checkpoint was saved. Raises ``Refused`` where the seeds must be
    trained one by one; everything is then as it was before.
    """
    try:
        together = _Together.of(seeds)
        if not decide(together.what(), together.measure):
            raise Refused("it does not pay here")
        together.rehearse()
    except Refused:
        raise
    except Exception as error:  # the author's own, or a tensor that does not bear it; alone, it will be said
        raise Refused(f"{type(error).__name__}: {error}") from error
    return together.train()


@dataclass(eq=False)
class _Together:
    """K trainings that are alike, as one."""

    seeds: Sequence[Seed]
    turns: list[Turn]
    phase: Phase
    weights: Weights
    loss: Callable[..., Terms]
    """The loss of all seeds: a shadow that takes and gives stacked tensors."""
    pools: tuple[str, ...]
    _streams: dict[str, Batches] = field(default_factory=dict)
    _rehearsed: bool = False

    @classmethod
    def of(cls, seeds: Sequence[Seed]) -> _Together:
        """Raises ``Refused`` where the trainings are not alike."""
        calls = [seed.call for seed in seeds]
        phases, recipes = [c.args[1] for c in calls], [c.keywords["recipe"] for c in calls]
        turns = [c.args[0][0] for c in calls]
        if any(len(c.args[0]) > 1 or c.args[0][0].times > 1 for c in calls):
            raise Refused("they take turns")
        if any(other != phases[0] for other in phases) or any(other != recipes[0] for other in recipes):
            raise Refused("they are at different places")
        if any(turn.on != turns[0].on for turn in turns) or not all(isinstance(name, str) for name in turns[0].on):
            raise Refused("they train on other pools, or on episodes")
        if phases[0].steps < FEWEST:
            raise Refused(f"{phases[0].steps} steps are too few")
        if recipes[0].precision != "float32":
            raise Refused(f"in {recipes[0].precision}")
        if any(seed.checkpoints.begun(phases[0].index) for seed in seeds):
            raise Refused("a checkpoint is there to go on from")
        for seed in seeds:
            for module in seed.modules:
                module.to(seed.call.keywords["device"])
                set_mode(module)
        weights = Weights.of([groups_of(turn.update) for turn in turns])
        loss = Shadows(weights.leaf).of([turn.loss for turn in turns])
        return cls(seeds, turns, phases[0], weights, loss, tuple(str(name) for name in turns[0].on))

    def what(self) -> dict[str, Any]:
        """What a measurement of this training holds for."""
        loss = self.turns[0].loss
        return {
            "weights": self.weights.shapes,
            "loss": f"{getattr(loss, '__module__', '')}.{getattr(loss, '__qualname__', type(loss).__name__)}",
            "batches": [self.seeds[0].call.keywords["streams"][name].batch_size for name in self.pools],
            "seeds": len(self.seeds),
        }

    @property
    def streams(self) -> dict[str, Batches]:
        if not self._streams:
            each = [seed.call.keywords["streams"] for seed in self.seeds]
            self._streams = {name: Batches.of([streams[name] for streams in each]) for name in self.pools}
        return self._streams

    # ---- one step, in two ways -------------------------------------------------------------------

    def _fused(self, index: int) -> list[Tensor]:
        """The loss [K] at this step of the training, and the gradients [K, ...]."""
        batches = [self.streams[name].batch(self.phase.used + index) for name in self.pools]
        loss_K = _sum(_named(self.loss(*batches, Step(index, self.phase.steps))))
        return [loss_K.detach(), *_gradients(loss_K.sum(), self.weights.stacked)]

    def _alone(self, k: int, index: int) -> list[Tensor]:
        """The loss of one seed and its gradients, as it would have them alone."""
        streams = self.seeds[k].call.keywords["streams"]
        batches = [streams[name].batch(self.phase.used + index) for name in self.pools]
        terms = self.turns[k].loss(*batches, Step(index, self.phase.steps))
        total = _sum(terms) if isinstance(terms, Mapping) else terms
        return [total.detach(), *_gradients(total, self.weights.members[k])]

    def rehearse(self) -> None:
        """Raises ``Refused`` unless losses and gradients are those of each seed alone, and nothing else changed."""
        if not self._rehearsed:
            self._compare()
            self._rehearsed = True

    def _compare(self) -> None:
        places = sorted({0, self.phase.steps // 2, self.phase.steps - 1})
        before, drawn = state(self.loss), generators()
        streams = [seed.call.keywords["streams"] for seed in self.seeds]
        _named(self.loss(*first_batches(streams, self.pools, self.phase.used), Step(0, self.phase.steps)))  # or refuses
        fused = [self._fused(index) for index in places]
        if state(self.loss) != before or not same(drawn, generators()):
            raise Refused(_IMPURE)
        for index, found in zip(places, fused, strict=True):
            for k in range(len(self.seeds)):
                pairs = zip(found[1:], self.weights.members[k], strict=True)
                ours = [found[0][k], *(part_of(gradient, own, k) for gradient, own in pairs)]
                for together, alone in zip(ours, self._alone(k, index), strict=True):
                    apart, size = (float(torch.linalg.vector_norm(t)) for t in (together - alone, alone))
                    if not apart <= CLOSE * size + 1e-7:
                        raise Refused(f"losses or gradients are not those of each seed alone ({apart:.1e} apart)")

    def measure(self, pairs: int = 5) -> float:
        """How many times faster a step of all seeds at once is: the least of a few of each, A B B A."""
        self.rehearse()
        device, recipe = (self.seeds[0].call.keywords[name] for name in ("device", "recipe"))
        weights = [self.weights.stacked, *self.weights.members]
        turns = [Turn(self.loss, self.weights.groups, self.turns[0].on), *self.turns]
        optimizers = [_still(optimizers_of([turn], recipe)[0]) for turn in turns]
        before = [p.detach().clone() for mine in weights for p in mine]

        def step(at: int, gradients: list[Tensor]) -> None:
            for p, gradient in zip(weights[at], gradients, strict=True):
                p.grad = gradient
            for optimizer in optimizers[at]:
                optimizer.step()
                optimizer.zero_grad()

        def one_by_one(index: int) -> None:
            for k in range(len(self.seeds)):
                step(k + 1, self._alone(k, index)[1:])

        def fused(index: int) -> None:
            step(0, self._fused(index)[1:])

        least = [math.inf, math.inf]
        for pair in range(pairs):
            for way in (0, 1) if pair % 2 else (1, 0):
                began = _now(device)
                (one_by_one, fused)[way](pair)
                least[way] = min(least[way], _now(device) - began)
        with torch.no_grad():  # a step of length 0 may still turn -0 into 0
            for p, value in zip((p for mine in weights for p in mine), before, strict=True):
                p.copy_(value)
        return least[0] / least[1]

    # ---- the training ----------------------------------------------------------------------------

    def train(self) -> list[BaseException | None]:
        """Raises ``Refused`` after putting everything back."""
        tape = FusedTape(self.seeds, self.weights)
        before, drawn, began = state(self.loss), generators(), tape.remember()

        def loss(*given: Any) -> Tensor:
            terms = _named(self.loss(*given))
            tape.note(terms)
            return _sum(terms).sum()  # of which a seed's gradient is that of its own loss

        turn = Turn(loss, self.weights.groups, self.turns[0].on)
        ours = {"streams": self.streams, "tape": tape, "checkpoints": FusedCheckpoints(tape), "clip": clip_each}
        end: BaseException | None = None
        try:
            play([turn], self.phase, **(self.seeds[0].call.keywords | ours))
        except Interrupted as stopped:
            end = stopped
        except Diverged:  # the last of them; each one's own is on the tape
            pass
        except Exception as error:
            tape.put_back(began)
            raise Refused(f"{type(error).__name__}: {error}") from error
        if state(self.loss) != before or not same(drawn, generators()):
            tape.put_back(began)
            raise Refused(_IMPURE)
        for module in (module for seed in self.seeds for module in seed.modules):
            module.eval()
        return [end if error is None else error for error in tape.errors]


def clip_each(parameters: Sequence[nn.Parameter], most: float) -> None:
    """Scale each seed's gradient [K, ...] to a norm of at most ``most``, as ``clip_grad_norm_`` does with one's."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norms = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in grads]
    factor_K = (most / (torch.linalg.vector_norm(torch.stack(norms), dim=0) + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(factor_K.view(-1, *[1] * (grad.dim() - 1)))


def _still(optimizers: list[torch.optim.Optimizer]) -> list[torch.optim.Optimizer]:
    """Optimisers whose steps have no length."""
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = 0.0
    return optimizers


def _named(terms: Terms) -> dict[str, Tensor]:
    """Each term of a stacked loss [K]."""
    named = {name: stack_of(t) for name, t in (terms if isinstance(terms, Mapping) else {"loss": terms}).items()}
    if not named or any(t.dim() != 1 for t in named.values()):
        raise Refused("the loss is not one number")
    return named


def _sum(terms: Mapping[str, Tensor]) -> Tensor:
    first, *rest = terms.values()
    for term in rest:
        first = first + term
    return first


def _gradients(loss: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, list(weights), allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(found, weights, strict=True)]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
