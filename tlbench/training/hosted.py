"""Hosted: what the host works out for a step, in tensors that stay where they are and are filled before each replay.

A loss asks for it with ``step.host(make)``. Plain steps call ``make`` there and then. Before a replay everything that
the captured step asked for is made first, in the same order: so the same is drawn, and a replay reads it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tlbench.api.types import Step
from tlbench.training.batches import changed, fill
from tlbench.training.sending import sent
from tlbench.training.steady import Drawn, Unclear, memory_of

if TYPE_CHECKING:
    from collections.abc import Sequence

Make = Callable[[Step], Any]


class SendingStep(Step):
    """A step of a training on a GPU: what the host made is sent there without waiting for it."""

    __slots__ = ("_device",)
    _device: torch.device

    def __init__(self, index: int, total: int, device: torch.device) -> None:
        super().__init__(index, total)
        object.__setattr__(self, "_device", device)

    def host(self, make: Make) -> Any:
        return changed(make(self), lambda tensor: sent(tensor, self._device))


class ServedStep(Step):
    """A step for which the host's part was made already."""

    __slots__ = ("_ready",)
    _ready: list[Any]

    def __init__(self, index: int, total: int, ready: Sequence[Any]) -> None:
        super().__init__(index, total)
        object.__setattr__(self, "_ready", list(ready))

    def host(self, make: Make) -> Any:
        return self._ready.pop(0) if self._ready else make(self)


class Hosted:
    """All that one move asks the host for; ``refusal`` is the first reason why a replay could not have it, or empty.

    ``look`` gives what the loss keeps, so that what changed while something was made can be told from what changed
    elsewhere: ``marks`` has it before and after each making in this step.
    """

    def __init__(self, device: torch.device, look: Callable[[], Mapping[str, Any]]) -> None:
        self._device, self._look = device, look
        self._asked: list[tuple[Make, Any]] = []
        self._held: list[Mapping[str, Any]] = []
        self._at = 0
        self._steps = 0
        self._capturing = False
        self.refusal = ""
        self.marks: list[Mapping[str, Any]] = []

    def begin(self, *, capturing: bool = False) -> None:
        """A step begins; in one that is captured nothing is made."""
        self._at, self._capturing = 0, capturing
        self.marks = []

    def end(self) -> None:
        """A step ended."""
        if self._at != len(self._asked):
            self.refuse("it asks the host for another number of things from step to step")
        self._steps += 1

    def refuse(self, reason: str) -> None:
        self.refusal = self.refusal or reason

    def ask(self, make: Make, step: Step) -> Any:
        """What is made for this step, as the loss gets it."""
        at, self._at = self._at, self._at + 1
        if self._capturing:
            return self._asked[at][1]
        held = self._looked(lambda: memory_of(make, "host"))
        before = self._looked(self._look)
        value = make(step)
        after = self._looked(self._look)
        self.marks += [before, after]
        if any(v != after.get(path) and not isinstance(v, Drawn) for path, v in before.items()):
            self.refuse("what the host makes keeps something from step to step")
        if not isinstance(value, float | Tensor | Mapping):
            self.refuse("it depends on where the training stands")
            return value
        if at == len(self._asked):
            if self._steps:
                self.refuse("it asks the host for another number of things from step to step")
            self._asked.append((make, self._kept(value)))
            self._held.append(held)
        elif not self._fill(self._asked[at][1], value):
            self.refuse("what the host makes differs in shape")
            return changed(value, lambda tensor: sent(tensor, self._device))
        elif lasting(self._held[at]) != lasting(held):
            self.refuse("what the host makes follows from something else that the step made")
        kept = self._asked[at][1]
        self._asked[at], self._held[at] = (make, kept), held
        return kept

    def made(self, step: Step) -> list[Any]:
        """What the host makes for a step that is to be replayed."""
        return [changed(make(step), lambda tensor: sent(tensor.detach(), self._device)) for make, _ in self._asked]

    def filled(self, made: Sequence[Any]) -> bool:
        """Put it where the replay reads it; ``False`` where it does not fit."""
        return all(self._fill(kept, value) for (_, kept), value in zip(self._asked, made, strict=True))

    def _looked(self, look: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            return look()
        except Unclear as unclear:
            self.refuse(str(unclear))
            return {}

    def _kept(self, value: Any) -> Any:
        if isinstance(value, float):  # float32, as torch takes a number to what it is multiplied with
            return torch.full((), value, dtype=torch.float32, device=self._device)
        return changed(value, lambda tensor: tensor.detach().to(self._device, copy=True))

    def _fill(self, kept: Any, value: Any) -> bool:
        if isinstance(value, float):
            if not isinstance(kept, Tensor) or kept.dim():
                return False
            kept.fill_(value)  # a number goes along with the command to fill, and nothing waits
            return True
        return fill([kept], [changed(value, lambda tensor: sent(tensor.detach(), self._device))])


def lasting(memory: Mapping[str, Any]) -> dict[str, Any]:
    """What was kept, less the states of generators."""
    return {path: value for path, value in memory.items() if not isinstance(value, Drawn)}
