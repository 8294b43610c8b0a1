"""The only training loop: rounds of turns over streams, with no host work inside a window.

A window is the stretch between two points of the learning curve. Inside it nothing is read from the
device, logged or evaluated; at its end the losses are read once, a snapshot is taken and the clock is
stopped for as long as that takes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tlbench.api.types import Step, Turn
from tlbench.training.checkpoint import Checkpoints, Interrupted
from tlbench.training.hosted import SendingStep
from tlbench.training.moves import Move, autocast
from tlbench.training.optim import groups_of, modules_of, optimizers_of, schedule_of, set_rate
from tlbench.training.tape import Tape, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from tlbench.api.data import Episodes
    from tlbench.api.recipe import Recipe
    from tlbench.training.graphs import Graphs
    from tlbench.training.streams import EpisodeStream, Stream


@dataclass(frozen=True)
class Phase:
    """One call of ``ctx.train`` or ``ctx.take_turns``."""

    index: int
    steps: int
    used: int
    """How much of its budget was used before; its batches go on from there."""
    points: frozenset[int]
    """Steps of the trial's budget that are points of the learning curve."""
    branches_at: int | None = None
    """Where the trial's budget stands, for a training in a branch with a budget of its own."""

    def at(self, done: int) -> int:
        """Where in the trial's budget it stands after so many of its steps."""
        return self.used + done if self.branches_at is None else self.branches_at


def play(
    turns: Sequence[Turn],
    phase: Phase,
    *,
    streams: Mapping[str | Episodes, Stream | EpisodeStream],
    recipe: Recipe,
    device: torch.device,
    tape: Tape,
    checkpoints: Checkpoints,
    rng: np.random.Generator,
    stop: Callable[[], bool],
    graphs: Graphs | None = None,
    clip: Callable[[list[nn.Parameter], float], object] = nn.utils.clip_grad_norm_,
) -> None:
    """Run ``phase.steps`` rounds. Raises ``Diverged``, or ``Interrupted`` after saving a checkpoint."""
    modules = [m for t in turns for g in groups_of(t.update) for m in modules_of(g)]
    for module in modules:
        module.to(device)
        set_mode(module)
    tape.track(modules)
    optimizers, stepped = optimizers_of(turns, recipe)
    factor = schedule_of(recipe, phase.steps)
    base_rates = [[float(g["lr"]) for g in o.param_groups] for o in optimizers]
    constant = recipe.schedule == "constant" and recipe.warmup == 0
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            set_rate(group, group["lr"], device)
    pools = list(dict.fromkeys(name for t in turns for name in t.on))
    cast = autocast(device, recipe.precision)
    moves: list[Callable[[Sequence[Any], Step], Mapping[str, Tensor]]] = []
    for turn, numbers in zip(turns, stepped, strict=True):
        mine = [optimizers[n] for n in numbers]
        trained = [p for o in mine for g in o.param_groups for p in g["params"]]
        move = Move(turn, mine, trained, len(turns) == 1, cast, recipe.clip_norm, clip)
        moves.append(move if graphs is None else graphs.over(move, device))

    offset = tape.steps
    if (resumed := checkpoints.resume(phase.index, tape, optimizers, rng)) is not None:
        begin, kept = resumed
        losses = {name: [v.to(device) for v in values] for name, values in kept.items()}
    else:
        begin, losses = 0, {}
        here = phase.at(0)
        known = any(s.point and s.at == here for s in tape.snapshots)
        tape.snapshot(first=True, point=here in phase.points and not known, at=here)
    window_first, window_seconds, counted = begin, 0.0, begin
    batches: dict[str | Episodes, Any] = {}
    examples = sum(streams[name].batch_size for name in pools)
    clock = _now(device)

    for index in range(begin, phase.steps):
        if not constant:
            now = factor(index)
            for optimizer, rates in zip(optimizers, base_rates, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    set_rate(group, rate * now, device)
        batches = {name: streams[name].batch(phase.used + index) for name in pools}
        step = Step(index, phase.steps) if device.type == "cpu" else SendingStep(index, phase.steps, device)
        for turn, take in zip(turns, moves, strict=True):
            given = [batches[name] for name in turn.on]
            for _ in range(turn.times):
                for term, value in take(given, step).items():
                    losses.setdefault(term, []).append(value)

        done = index + 1
        at_point = phase.branches_at is None and phase.at(done) in phase.points
        if at_point or done == phase.steps or checkpoints.due() or stop():
            elapsed = _now(device) - clock
            window_seconds += elapsed
            tape.seconds += elapsed
            tape.steps = offset + done
            for name in pools:
                pool = name if isinstance(name, str) else name.pool
                tape.examples[pool] = tape.examples.get(pool, 0) + streams[name].batch_size * (done - counted)
            if at_point or done == phase.steps:
                tape.add_losses(losses, offset + window_first)
                losses = {}
                tape.windows.append(Window(done - window_first, examples * (done - window_first), window_seconds))
                tape.snapshot(first=False, point=at_point, at=phase.at(done))
                window_first, window_seconds = done, 0.0
            counted = done
            if done < phase.steps and (checkpoints.due() or stop()):
                checkpoints.save(phase.index, done, tape, optimizers, rng, losses)
                if stop():
                    raise Interrupted
            clock = _now(device)
    if begin < phase.steps and (checkpoints.due() or checkpoints.has(phase.index)):
        checkpoints.save(phase.index, phase.steps, tape, optimizers, rng, {})
    for module in modules:
        module.eval()


def set_mode(module: nn.Module) -> None:
    """Training mode, except for modules whose parameters are all frozen: frozen BatchNorm keeps its statistics."""
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    module.training = True
    for child in module.children():
        set_mode(child)


def _now(device: torch.device) -> float:
    """Seconds, once the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
