"""Shadows: one member's loss function in which everything that differs between the members is stacked.

A loss is a closure over a model and whatever else its author holds: a start, a teacher, the strategy itself. The
closures of all members are walked side by side. Tensors become stacked ones; numbers and texts must be equal; anything
that cannot be compared is refused. The shadow is a copy, so that a loss that keeps a count changes only the copy, and
``state`` tells that it did.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.training.stacked import Refused, Stacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PLAIN = (int, float, str, bytes, bool, type(None), range, enum.Enum, np.generic, torch.dtype, torch.device, torch.Size)
_ONES = (type, types.ModuleType, types.BuiltinFunctionType)


class Shadows:
    """Makes shadows of members' objects, the same for the same; ``leaf`` stacks K tensors."""

    def __init__(self, leaf: Callable[[Sequence[Tensor]], Stacked]) -> None:
        self._leaf = leaf
        self._made: dict[tuple[int, ...], Any] = {}
        self._kept: list[Any] = []  # what an id stands for must not go away

    def of(self, values: Sequence[Any]) -> Any:
        """The shadow of K objects, each a member's. Raises ``Refused`` where they are not alike."""
        first = values[0]
        if any(type(v) is not type(first) for v in values):
            raise Refused(f"the seeds hold objects of other types: {type(first).__name__}, {type(values[-1]).__name__}")
        if isinstance(first, _PLAIN):
            if any(v != first for v in values):
                raise Refused(f"the seeds hold other values: {first!r:.40}, {values[-1]!r:.40}")
            return first
        if isinstance(first, _ONES):
            if any(v is not first for v in values):
                raise Refused(f"the seeds hold other objects: {first!r:.60}")
            return first
        key = tuple(map(id, values))
        if key not in self._made:
            self._kept.append(tuple(values))
            self._make(key, values)
        return self._made[key]

    def _make(self, key: tuple[int, ...], values: Sequence[Any]) -> None:
        """Known under its key before its parts are walked: objects may hold each other."""
        first, made = values[0], self._made
        if isinstance(first, Tensor):
            made[key] = self._leaf(values)
        elif isinstance(first, types.FunctionType):
            cells = tuple(types.CellType() for _ in first.__closure__ or ())
            if any(v.__code__ is not first.__code__ or v.__globals__ is not first.__globals__ for v in values):
                raise Refused(f"the seeds hold other functions: {first.__qualname__}")
            copy = types.FunctionType(first.__code__, first.__globals__, first.__name__, None, cells or None)
            made[key] = copy
            copy.__defaults__ = self.of([v.__defaults__ for v in values])
            copy.__kwdefaults__ = self.of([v.__kwdefaults__ for v in values])
            for cell, *theirs in zip(cells, *(v.__closure__ or () for v in values), strict=True):
                full = [c for c in map(_contents, theirs) if c is not None]
                if len(full) == len(theirs):
                    cell.cell_contents = self.of([c[0] for c in full])
                elif full:
                    raise Refused(f"{first.__qualname__} is not the same in all seeds")
        elif isinstance(first, types.MethodType):
            made[key] = types.MethodType(self.of([v.__func__ for v in values]), self.of([v.__self__ for v in values]))
        elif isinstance(first, functools.partial):
            func, args, named = (self.of([getattr(v, n) for v in values]) for n in ("func", "args", "keywords"))
            made[key] = functools.partial(func, *args, **named)
        elif type(first) in (dict, OrderedDict):
            if any(list(v) != list(first) for v in values):
                raise Refused("the seeds hold mappings of other names")
            made[key] = type(first)()
            made[key].update({name: self.of([v[name] for v in values]) for name in first})
        elif type(first) is list:
            made[key] = []
            made[key] += self._each(values)
        elif isinstance(first, tuple):
            parts = self._each(values)
            made[key] = type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
        elif isinstance(first, set | frozenset):
            if any(v != first for v in values) or not all(isinstance(item, _PLAIN) for item in first):
                raise Refused("the seeds hold sets of other things")
            made[key] = type(first)(first)
        elif isinstance(first, nn.Module) or dataclasses.is_dataclass(first):
            made[key] = object.__new__(type(first))
            for name in _names(first):
                object.__setattr__(made[key], name, self.of([_attribute(v, name) for v in values]))
        else:
            raise Refused(f"the loss holds a {type(first).__name__}, which cannot be compared between the seeds")

    def _each(self, values: Sequence[Any]) -> list[Any]:
        if any(len(v) != len(values[0]) for v in values):
            raise Refused("the seeds hold lists of other lengths")
        return [self.of(parts) for parts in zip(*values, strict=True)]


def state(shadow: Any) -> list[Any]:
    """What a shadow holds, to be compared with what it holds later: ids of tensors, plain values, lengths."""
    return list(_state(shadow, {}))


def _state(value: Any, seen: dict[int, int]) -> Iterator[Any]:
    if isinstance(value, _PLAIN):
        yield value
        return
    known = id(value) in seen
    yield seen.setdefault(id(value), len(seen))
    yield type(value).__name__
    if known or isinstance(value, Tensor):
        yield id(value)
        return
    parts: list[Any] = []
    if isinstance(value, types.FunctionType):
        parts = [c[0] for c in map(_contents, value.__closure__ or ()) if c]
    elif isinstance(value, types.MethodType):
        parts = [value.__func__, value.__self__]
    elif isinstance(value, functools.partial):
        parts = [value.func, value.args, value.keywords]
    elif isinstance(value, dict):
        parts = [*value, *value.values()]
    elif isinstance(value, list | tuple):
        parts = list(value)
    elif isinstance(value, set | frozenset):
        parts = sorted(map(repr, value))
    elif isinstance(value, nn.Module) or dataclasses.is_dataclass(value):
        parts = [part for name in _names(value) for part in (name, _attribute(value, name))]
    yield len(parts)
    for part in parts:
        yield from _state(part, seen)


def _names(value: Any) -> list[str]:
    fields = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    return list(dict.fromkeys([*fields, *getattr(value, "__dict__", ())]))


def _attribute(value: Any, name: str) -> Any:
    try:
        return value.__dict__[name] if name in getattr(value, "__dict__", ()) else getattr(value, name)
    except AttributeError as error:
        raise Refused(f"a {type(value).__name__} without {name}") from error


def _contents(cell: types.CellType) -> tuple[Any] | None:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return None
