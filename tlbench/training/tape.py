"""The tape: what a trial's training leaves behind, so that the host can look at it after the fit.

Snapshots of what was trained at the points of the learning curve, the losses, and the steady-state
windows of the clock. Scores at the points are computed after the fit, from the snapshots: so no test
example is in reach while a strategy runs, and every selection rule is "which snapshot is the result".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlbench.errors import Diverged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_IN_MEMORY = 1 << 30
"""Bytes of snapshots kept in memory; later ones go to disk where there is a folder."""


class Window(NamedTuple):
    """A stretch of training between two points of the curve, pauses left out."""

    steps: int
    examples: int
    seconds: float


@dataclass
class Snapshot:
    """Trained parameters and buffers after ``step`` steps; ``first`` where a training began there.

    ``step`` counts all that was trained; ``at`` only what counts against the trial's budget, and is where a
    ``point`` of the learning curve stands.
    """

    step: int
    seconds: float
    first: bool
    point: bool
    tensors: dict[str, Tensor] | None
    path: Path | None = None
    at: int = 0

    def load(self) -> dict[str, Tensor]:
        """The tensors, from memory or disk."""
        if self.tensors is not None:
            return self.tensors
        assert self.path is not None
        return load_file(self.path)

    def num_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.tensors or {}).values())


@dataclass
class Tape:
    """Everything that training leaves behind. ``folder`` takes snapshots that do not fit the memory."""

    folder: Path | None = None
    snapshots: list[Snapshot] = field(default_factory=list)
    loss_steps: list[int] = field(default_factory=list)
    losses: dict[str, list[float | None]] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    seconds: float = 0.0
    steps: int = 0
    examples: dict[str, int] = field(default_factory=dict)
    fused: dict[str, int] = field(default_factory=dict)
    """Where other seeds were trained in the same steps: how many ``seeds`` in all, and in how many ``steps``."""
    _owners: list[tuple[nn.Module, str]] = field(default_factory=list)
    _known: dict[tuple[int, str], int] = field(default_factory=dict)

    def track(self, modules: Sequence[nn.Module]) -> None:
        """Take note of modules that are about to be trained; the order of the calls names their tensors."""
        for module in modules:
            for owner in module.modules():
                for name in (*owner._parameters, *owner._buffers):
                    if (id(owner), name) not in self._known:
                        self._known[id(owner), name] = len(self._owners)
                        self._owners.append((owner, name))

    def live(self) -> Iterator[tuple[str, Tensor]]:
        """Name and tensor of each trained parameter and each buffer of the tracked modules."""
        for index, (owner, name) in enumerate(self._owners):
            tensor = getattr(owner, name)
            if tensor is not None and (tensor.requires_grad or not isinstance(tensor, nn.Parameter)):
                yield str(index), tensor

    def snapshot(self, *, first: bool, point: bool, at: int) -> None:
        """Keep a copy of what is trained, as it is now."""
        tensors = {name: _copy(t) for name, t in self.live()}
        taken = Snapshot(self.steps, self.seconds, first, point, tensors, at=at)
        if self.folder is not None and sum(s.num_bytes() for s in self.snapshots) + taken.num_bytes() > _IN_MEMORY:
            self.folder.mkdir(parents=True, exist_ok=True)
            taken.path = self.folder / f"spilled-{len(self.snapshots)}.safetensors"
            save_file(tensors, taken.path)
            taken.tensors = None
        self.snapshots.append(taken)

    def close(self) -> None:
        """Take note of what became of the trained weights after the last training (averaged, say): that is the end."""
        if not self.snapshots:
            return
        last = self.snapshots[-1]
        kept = last.load()
        if any(name in kept and not torch.equal(kept[name], t.detach().cpu()) for name, t in self.live()):
            self.snapshot(first=True, point=last.point, at=last.at)
            last.point = False

    def points(self) -> list[int]:
        """Positions of the snapshots that are points of the learning curve."""
        return [i for i, s in enumerate(self.snapshots) if s.point]

    def restore(self, position: int) -> None:
        """Put everything that was trained back to where it stood at that snapshot.

        What was trained only later goes back to where its training began, and what was trained only earlier
        to where its training ended.
        """
        state: dict[str, Tensor] = {}
        for later in reversed(self.snapshots[position + 1 :]):
            if later.first:
                state.update(later.load())
        for end, begin in pairwise(self.snapshots[: position + 1]):
            if begin.first:
                state.update(end.load())
        state.update(self.snapshots[position].load())
        self.put(state)

    def put(self, state: Mapping[str, Tensor]) -> None:
        """Copy tensors, as ``live`` names them, into the modules."""
        with torch.no_grad():
            for name, value in state.items():
                owner, attribute = self._owners[int(name)]
                getattr(owner, attribute).copy_(value)

    def add_losses(self, terms: Mapping[str, list[Tensor]], first_step: int) -> None:
        """Mean of each term over the window that ends now. Raises ``Diverged`` where one is not finite."""
        means = {name: float(torch.stack(values).float().mean()) for name, values in terms.items() if values}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise Diverged(f"the loss term {name!r} became {mean} between steps {first_step} and {self.steps}")
        for name in [*self.losses, *(n for n in means if n not in self.losses)]:
            column = self.losses.setdefault(name, [None] * len(self.loss_steps))
            column.append(means.get(name))
        self.loss_steps.append(self.steps)


def _copy(tensor: Tensor) -> Tensor:
    """A copy in the host's memory, in the plain order of its elements: files know no other."""
    return tensor.detach().to("cpu", copy=True).contiguous()
