"""Batches: whatever is given to a loss, looked at as the tensors in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def changed(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A batch, or whatever is in one, with every tensor changed."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {name: changed(part, change) for name, part in batch.items()}
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{f.name: changed(getattr(batch, f.name), change) for f in fields(batch)})
    return batch


def fill(inputs: Sequence[Any], given: Sequence[Any]) -> bool:
    """Copy the tensors of the batches given into those of ``inputs``; ``False`` where they are not alike."""
    mine, theirs = tensors_of(inputs), tensors_of(given)
    if [(t.shape, t.dtype) for t in mine] != [(t.shape, t.dtype) for t in theirs]:
        return False
    for own, other in zip(mine, theirs, strict=True):
        own.copy_(other)
    return True


def tensors_of(batches: Sequence[Any]) -> list[Tensor]:
    """Every tensor in these batches, in order."""
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    for batch in batches:
        changed(batch, keep)
    return found
