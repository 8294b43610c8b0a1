"""What fused seeds have of their own: tapes and checkpoints, kept up from the one training of all."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tlbench.errors import Diverged
from tlbench.training.checkpoint import Checkpoints
from tlbench.training.optim import groups_of, modules_of, optimizers_of
from tlbench.training.stacked_weights import part_of
from tlbench.training.tape import Tape, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from functools import partial

    import numpy as np

    from tlbench.training.stacked_weights import Weights


@dataclass(frozen=True, eq=False)
class Seed:
    """One seed's call of the loop; inside ``own`` the common generators are this seed's."""

    call: partial[None]
    own: Callable[[], AbstractContextManager[None]]

    @property
    def tape(self) -> Tape:
        tape: Tape = self.call.keywords["tape"]
        return tape

    @property
    def checkpoints(self) -> Checkpoints:
        checkpoints: Checkpoints = self.call.keywords["checkpoints"]
        return checkpoints

    @property
    def modules(self) -> list[nn.Module]:
        """What this seed trains."""
        return [m for g in groups_of(self.call.args[0][0].update) for m in modules_of(g)]


class FusedTape(Tape):
    """The tape of the one training: what the loop writes on it goes on to the tapes of the seeds."""

    def __init__(self, seeds: Sequence[Seed], weights: Weights) -> None:
        super().__init__()
        self.seeds, self.weights = seeds, weights
        self.errors: list[BaseException | None] = [None] * len(seeds)
        self._terms: dict[str, list[Tensor]] = {}
        self._handed: tuple[float, int, dict[str, int]] = (0.0, 0, {})
        self._first = [seed.tape.steps for seed in seeds]
        for seed in seeds:
            seed.tape.track(seed.modules)

    def track(self, modules: Sequence[nn.Module]) -> None:
        """Nothing: the seeds' own modules are tracked."""

    def note(self, terms: Mapping[str, Tensor]) -> None:
        """Keep the terms of a step, each [K]."""
        for name, term in terms.items():
            self._terms.setdefault(name, []).append(term.detach())

    def open_losses(self, k: int) -> dict[str, list[Tensor]]:
        """A seed's terms since the last window's end."""
        return {name: [term[k] for term in terms] for name, terms in self._terms.items()}

    def hand_on(self) -> None:
        """Time and examples since the last time, to the seeds; of the time, each its part."""
        seconds, steps, examples = self._handed
        for seed, error in zip(self.seeds, self.errors, strict=True):
            if error is None:
                seed.tape.seconds += (self.seconds - seconds) / len(self.seeds)
                seed.tape.steps += self.steps - steps
                common = seed.tape.fused.get("steps", 0) + self.steps - steps
                seed.tape.fused = {"seeds": len(self.seeds), "steps": common}
                for pool, count in self.examples.items():
                    seed.tape.examples[pool] = seed.tape.examples.get(pool, 0) + count - examples.get(pool, 0)
        self._handed = (self.seconds, self.steps, dict(self.examples))

    def add_losses(self, terms: Mapping[str, list[Tensor]], first_step: int) -> None:
        """Raises ``Diverged`` where every seed has."""
        self.hand_on()
        means = {name: torch.stack(kept).float().mean(0).cpu() for name, kept in self._terms.items() if kept}
        self._terms = {}
        for k, seed in enumerate(self.seeds):
            if self.errors[k] is None:
                try:
                    seed.tape.add_losses({n: [m[k]] for n, m in means.items()}, self._first[k] + first_step)
                except Diverged as error:
                    self.errors[k] = error
        if None not in self.errors:
            raise Diverged("every seed")

    def snapshot(self, *, first: bool, point: bool, at: int) -> None:
        self.weights.hand_out()
        window = self.windows.pop() if self.windows else None
        for seed, error in zip(self.seeds, self.errors, strict=True):
            if error is None:
                if window is not None:
                    seed.tape.windows.append(Window(window.steps, window.examples, window.seconds / len(self.seeds)))
                known = any(s.point and s.at == at for s in seed.tape.snapshots)
                seed.tape.snapshot(first=first, point=point and not (first and known), at=at)

    # ---- back to the beginning -------------------------------------------------------------------

    def remember(self) -> list[Any]:
        """What ``put_back`` needs."""
        tapes = [{f.name: _copied(getattr(seed.tape, f.name)) for f in fields(seed.tape)} for seed in self.seeds]
        return [[p.detach().clone() for p in self.weights.stacked], tapes]

    def put_back(self, remembered: list[Any]) -> None:
        """Weights, tapes and checkpoints of all seeds as they were."""
        with torch.no_grad():
            for stacked, before in zip(self.weights.stacked, remembered[0], strict=True):
                stacked.copy_(before)
        self.weights.hand_out()
        for seed, tape in zip(self.seeds, remembered[1], strict=True):
            for name, value in tape.items():
                setattr(seed.tape, name, value)
            seed.checkpoints.forget(seed.call.args[1].index, len(seed.tape.snapshots))


class FusedCheckpoints(Checkpoints):
    """The checkpoints of all seeds: each is what the seed would have written by itself, and can go on from alone."""

    def __init__(self, tape: FusedTape) -> None:
        super().__init__(None)
        self.tape, self.seeds, self._first = tape, tape.seeds, tape.seeds[0].checkpoints

    def due(self) -> bool:
        return self._first.due()  # the oldest

    def begun(self, phase: int) -> bool:
        return any(seed.checkpoints.begun(phase) for seed in self.seeds)

    def has(self, phase: int) -> bool:
        return any(seed.checkpoints.has(phase) for seed in self.seeds)

    def resume(self, phase: int, tape: Tape, optimizers: Any, rng: np.random.Generator) -> None:
        """None: whoever has a checkpoint goes on from it alone."""

    def save(
        self,
        phase: int,
        step: int,
        tape: Tape,
        optimizers: list[torch.optim.Optimizer],
        rng: np.random.Generator,
        extra: dict[str, list[Tensor]],
    ) -> None:
        self.tape.hand_on()
        self.tape.weights.hand_out()
        state_of = {p: s for o in optimizers for p, s in o.state.items()}
        for k, seed in enumerate(self.seeds):
            if self.tape.errors[k] is not None:
                continue
            told = seed.call.keywords
            own, _ = optimizers_of(seed.call.args[0], told["recipe"])
            mine = dict(zip(self.tape.weights.members[k], self.tape.weights.stacked, strict=True))
            for optimizer in own:
                for group in optimizer.param_groups:
                    for p in group["params"]:
                        if mine[p] in state_of:
                            optimizer.state[p] = {n: _own(v, mine[p], p, k) for n, v in state_of[mine[p]].items()}
            with seed.own():
                seed.checkpoints.save(
                    phase, step, seed.tape, own, told["rng"], self.tape.open_losses(k) if extra else {}
                )


def _own(value: Any, stacked: Tensor, own: Tensor, k: int) -> Any:
    """A seed's part of an optimiser's state."""
    if not isinstance(value, Tensor):
        return value
    return (part_of(value, own, k) if value.shape == stacked.shape else value).clone()


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return list(value) if isinstance(value, list) else value
