"""What fused seeds have of their own: weights, tapes and checkpoints, kept up from the one training of all."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tlbench.api.types import Group
from tlbench.errors import Diverged
from tlbench.training.checkpoint import Checkpoints
from tlbench.training.optim import groups_of, modules_of, optimizers_of
from tlbench.training.stacked import Refused, Stacked
from tlbench.training.tape import Tape, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from functools import partial

    import numpy as np

LARGEST = 1 << 30
"""Bytes of constant tensors, such as frozen weights, that are stacked at most."""


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


class Weights:
    """The trained weights of K seeds, stacked, in groups as the first seed has them.

    Matrices are stacked as their transposes, which is what linear layers multiply by.
    """

    def __init__(self, stacked: list[nn.Parameter], members: list[list[nn.Parameter]], groups: list[Group]) -> None:
        self.stacked, self.members, self.groups = stacked, members, groups
        self.shapes = [list(p.shape) for p in members[0]]
        self._wrapped = {
            tuple(map(id, theirs)): Stacked(_turned(p)) for p, *theirs in zip(stacked, *members, strict=True)
        }
        self._trained = {id(p) for mine in members for p in mine}
        self._places = {_place(p) for mine in members for p in mine}
        self._bytes = 0

    @classmethod
    def of(cls, groups: Sequence[Sequence[Group]]) -> Weights:
        """``groups``: of each seed. Raises ``Refused`` where they differ."""
        holders: list[Group] = []
        known: dict[tuple[int, ...], tuple[nn.Parameter, list[nn.Parameter]]] = {}
        if any(len(g) != len(groups[0]) for g in groups):
            raise Refused("they update other modules")
        for alike in zip(*groups, strict=True):
            first = alike[0]
            if any((g.lr, g.weight_decay) != (first.lr, first.weight_decay) for g in alike):
                raise Refused("they update at other rates")
            lists = [[p for m in modules_of(g) for p in m.parameters()] for g in alike]
            if any(len(mine) != len(lists[0]) for mine in lists):
                raise Refused("they update other modules")
            holder = nn.Module()
            for theirs in zip(*lists, strict=True):
                if any(p.requires_grad != theirs[0].requires_grad or not _like(p, theirs[0]) for p in theirs):
                    raise Refused("their weights differ in shape")
                if not theirs[0].requires_grad:
                    continue
                key = tuple(map(id, theirs))
                if key not in known:
                    known[key] = (
                        nn.Parameter(_turned(torch.stack([p.detach() for p in theirs])).contiguous()),
                        list(theirs),
                    )
                name = str(len(holder._parameters))
                holder.register_parameter(name, known[key][0])
            holders.append(Group(holder, first.lr, first.weight_decay))
        members = [list(mine) for mine in zip(*(theirs for _, theirs in known.values()), strict=True)]
        if not members or any(len({id(p) for p in mine}) != len(mine) for mine in members):
            raise Refused("they share weights in other ways")
        if not all(p.is_floating_point() for p in members[0]):
            raise Refused("weights that are not real numbers")
        return cls([p for p, _ in known.values()], members, holders)

    def leaf(self, tensors: Sequence[Tensor]) -> Stacked:
        """What stands for K tensors in a loss: their trained weight, or else a constant."""
        if (known := self._wrapped.get(tuple(map(id, tensors)))) is not None:
            return known
        if any(id(t) in self._trained or _place(t) in self._places for t in tensors):
            raise Refused("the loss holds part of a trained weight")
        if any(not _like(t, tensors[0]) or t.layout != torch.strided or not t.is_leaf for t in tensors):
            raise Refused("the loss holds tensors that differ in shape, or that were computed from weights")
        self._bytes += sum(t.numel() * t.element_size() for t in tensors)
        if self._bytes > LARGEST:
            raise Refused("the loss holds more than can be stacked")
        return Stacked(torch.stack([t.detach() for t in tensors]))

    def renew(self) -> None:
        """Before each step: the views that a loss sees of the weights belong to one graph of gradients."""
        for wrapped, stacked in zip(self._wrapped.values(), self.stacked, strict=True):
            wrapped.stack = _turned(stacked)
            wrapped.turned = stacked if stacked.dim() == 3 else None

    def part(self, tensor: Tensor, k: int) -> Tensor:
        """Of a stacked weight, or of something of its shape, that of one seed."""
        return _turned(tensor)[k]

    def hand_out(self) -> None:
        """Bring each seed's own modules up to date."""
        with torch.no_grad():
            for k, mine in enumerate(self.members):
                for own, stacked in zip(mine, self.stacked, strict=True):
                    own.copy_(self.part(stacked, k))


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
        self.tape, self.seeds = tape, tape.seeds

    def due(self) -> bool:
        return any(seed.checkpoints.due() for seed in self.seeds)

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
                            optimizer.state[p] = {n: self._own(v, mine[p], k) for n, v in state_of[mine[p]].items()}
            with seed.own():
                seed.checkpoints.save(
                    phase, step, seed.tape, own, told["rng"], self.tape.open_losses(k) if extra else {}
                )

    def _own(self, value: Any, stacked: Tensor, k: int) -> Any:
        """A seed's part of an optimiser's state."""
        if not isinstance(value, Tensor):
            return value
        return (self.tape.weights.part(value, k) if value.shape == stacked.shape else value).clone()


def _turned(stacked: Tensor) -> Tensor:
    """Matrices [K, C, D] as [K, D, C], and back; anything else as it is."""
    return stacked.transpose(1, 2) if stacked.dim() == 3 else stacked


def _like(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() or id(tensor)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return list(value) if isinstance(value, list) else value
