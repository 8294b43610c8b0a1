"""The batches of several seeds at once, by one look-up in the examples of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tlbench.api.types import Batch
from tlbench.training.stacked import Refused, Stacked
from tlbench.training.streams import Stream, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MOST = 2 << 30
"""Bytes of examples that are laid end to end at most."""


@dataclass(eq=False)
class Batches:
    """The batches of all seeds from one pool, by one look-up in their examples, which are laid end to end."""

    streams: Sequence[Stream]
    x: Tensor
    y: Tensor | None
    scale: Callable[[Any], Any]
    begins: Tensor | None
    """Where each seed's examples begin [K, 1]; ``None`` where all seeds have the same."""
    labels: bool
    """Whether all labels are classes, from 0 on."""
    _epoch: int = -1
    _rows: Tensor = field(default_factory=lambda: torch.empty(0))  # of this epoch [steps, K, B], and
    _laid: Tensor = field(default_factory=lambda: torch.empty(0))  # where these rows are, end to end

    @property
    def batch_size(self) -> int:
        """Of one seed, as each seed's tape counts."""
        return self.streams[0].batch_size

    @classmethod
    def of(cls, streams: Sequence[Any]) -> Batches:
        held = [s.resident if isinstance(s, Stream) else None for s in streams]
        parts = [part for part in held if part is not None and isinstance(part[0], Tensor)]
        if len(parts) < len(streams):
            raise Refused("batches are augmented, changed, or not of one tensor")
        xs, ys, scale = [p[0] for p in parts], [p[1] for p in parts], parts[0][2]
        if any(x.shape != xs[0].shape or x.dtype != xs[0].dtype for x in xs) or len({y is None for y in ys}) > 1:
            raise Refused("their examples differ in number or shape")
        labels = [y for y in ys if y is not None]
        whole = all(not y.is_floating_point() and bool((y >= 0).all()) for y in labels)
        if all(torch.equal(x, xs[0]) for x in xs[1:]) and all(torch.equal(y, labels[0]) for y in labels[1:]):
            return cls(streams, xs[0], ys[0], scale, None, whole)
        if sum(x.numel() * x.element_size() for x in xs) > MOST:
            raise Refused("their examples are too many to be laid end to end")
        begins = len(xs[0]) * torch.arange(len(xs), device=xs[0].device)[:, None]
        return cls(streams, torch.cat(xs), torch.cat(labels) if labels else None, scale, begins, whole)

    def batch(self, step: int) -> Batch:
        """The batch of this step, of each seed its own."""
        first = self.streams[0]
        epoch, place = divmod(step, first.per_epoch)
        if epoch != self._epoch:
            used = first.per_epoch * first.batch_size
            order_KN = torch.stack([stream.order(epoch)[:used] for stream in self.streams])
            shape = (len(order_KN), first.per_epoch, first.batch_size)
            self._rows = order_KN.view(shape).transpose(0, 1).contiguous()
            self._laid = self._rows if self.begins is None else self._rows + self.begins
            self._epoch = epoch
        rows_KB, rows = self._rows[place], self._laid[place].view(-1)
        x = self.scale(taken(self.x, rows))
        y = None if self.y is None else Stacked(self.y.index_select(0, rows).view(*rows_KB.shape, *self.y.shape[1:]))
        if y is not None:
            y.labels = self.labels
        return Batch(Stacked(x.view(*rows_KB.shape, *x.shape[1:])), y, Stacked(rows_KB))


def first_batches(streams: Sequence[Mapping[str, Any]], pools: Sequence[str], step: int) -> list[Batch]:
    """The batches of one step, each seed's own put side by side: before the examples of all are laid end to end."""
    batches = []
    for name in pools:
        each = [own[name].batch(step) for own in streams]
        parts = [[getattr(batch, part) for batch in each] for part in ("x", "y", "rows")]
        if not all(p[0] is None or all(isinstance(t, Tensor) and t.shape == p[0].shape for t in p) for p in parts):
            raise Refused("their batches differ in shape")
        batches.append(Batch(*(None if p[0] is None else Stacked(torch.stack(p)) for p in parts)))
    return batches
