"""Steadiness: whether a function kept something of its own from one call to the next: a count, a tensor, a generator.

What it kept may decide what it does in a later call, or what another function does, and a replay would not know.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

MOST = 100_000
"""Values that are looked at."""
_PLAIN = (int, float, complex, bool, str, bytes, type(None), np.generic)


class Drawn(str):
    """The state of a generator, which drawing changes."""

    __slots__ = ()


def memory_of(function: Any, name: str = "loss") -> dict[str, Any]:
    """Path -> value of every plain value and every length that can be reached from a function's closure.

    ``name`` is how paths call the function. Of tensors and arrays counts which they are, not what is in them. Raises
    ``Unclear`` where this cannot be told.
    """
    found: dict[str, Any] = {}
    seen: dict[int, Any] = {}
    waiting: list[tuple[str, Any]] = [(name, function)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, _PLAIN):
            found[path] = value
        elif id(value) not in seen:
            seen[id(value)] = value
            waiting += _parts(path, value, found)
        if len(seen) + len(found) > MOST:
            raise Unclear("too much can be reached from it to tell whether it keeps count of something")
    found["numpy's generator"] = Drawn(np.random.get_state())
    found["Python's generator"] = Drawn(random.getstate())
    return found


class _Which:
    """An object that is equal to itself alone, and kept, so that no other takes its place in memory."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Which) and self._value is other._value

    __hash__ = None  # type: ignore[assignment]


class Unclear(Exception):
    """It cannot be told whether a function keeps anything."""


def _parts(path: str, value: Any, found: dict[str, Any]) -> list[tuple[str, Any]]:
    """What there is to look at inside; what is decided here goes to ``found``."""
    if isinstance(value, torch.Tensor | np.ndarray):
        found[path] = _Which(value)
        return []
    if isinstance(value, ModuleType | BuiltinFunctionType | type):
        return []
    if isinstance(value, np.random.Generator):
        found[path] = Drawn(value.bit_generator.state)
        return []
    if isinstance(value, torch.Generator):
        found[path] = Drawn(value.get_state().numpy().tobytes().hex())
        return []
    if isinstance(value, random.Random):
        found[path] = Drawn(value.getstate())
        return []
    if type(value).__module__.startswith("tlbench.training."):  # the context keeps books of its own, and draws
        return [(f"{path}.rng", value.rng)] if hasattr(value, "rng") else []
    if isinstance(value, Iterator):
        raise Unclear(f"it holds an iterator ({path})")
    if isinstance(value, Mapping):
        found[f"len({path})"] = len(value)
        return [(f"{path}[{key!r}]" if isinstance(key, _PLAIN) else f"{path}[...]", v) for key, v in value.items()]
    if isinstance(value, list | tuple | set | frozenset) or type(value).__name__ == "deque":
        found[f"len({path})"] = len(value)
        return [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    if isinstance(value, MethodType):
        return [(path, value.__func__), (f"{path}.__self__", value.__self__)]
    if isinstance(value, partial):
        return [(path, value.func), (f"{path}.args", value.args), (f"{path}.keywords", value.keywords)]
    if isinstance(value, FunctionType):
        return list(_of_function(path, value))
    names = [n for kind in type(value).__mro__ for n in (kind.__dict__.get("__slots__") or ()) if hasattr(value, n)]
    held = {**{n: getattr(value, n) for n in names if n != "__weakref__"}, **getattr(value, "__dict__", {})}
    return [(f"{path}.{name}", part) for name, part in held.items()]


def _of_function(path: str, function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{path}:{name}", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    yield from ((f"{path}={i}", v) for i, v in enumerate(function.__defaults__ or ()))
    yield from ((f"{path}.{name}", v) for name, v in vars(function).items())
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, (*_PLAIN, list, dict, set)):
            yield name, value


def _names(code: CodeType) -> set[str]:
    inner = (_names(part) for part in code.co_consts if isinstance(part, CodeType))
    return set(code.co_names).union(*inner)
