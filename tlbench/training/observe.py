"""Observing: what a step of training does, op by op, to tell whether it can be done again without running its Python.

A replay does the same ops with the same numbers on the same memory. So a step can be replayed where it does the same
each time but for what stands in its inputs: no value is read on the host, no shape follows from values, nothing comes
from the host unless by ``step.host``, and ops, numbers and outside tensors are those of the step before. Looking on
changes no numbers in float32; in bfloat16 torch casts nothing inside a kernel that is looked at, which may move a last
digit of those few steps (of ``affine_grid``, for one).

It may draw from the device's common generator: a CUDA graph goes on with that one from replay to replay as the ops
themselves would ("CUDA RNG operations are permitted", says torch's page on CUDA graphs). A generator of the loss's
own would have to be registered with the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tlbench.api.types import Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_BY_INDEX = ("aten::index.Tensor", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
"""Ops whose shapes or work follow from values only where an index is a mask."""


class WatchedStep(Step):
    """A step that takes note of being read: where training stands is a number of the host, and changes.

    ``ask`` gives what the loss asks the host for, with a step that may be read.
    """

    __slots__ = ("_ask", "was_read")
    was_read: bool
    _ask: Callable[[Callable[[Step], Any], Step], Any]

    def __init__(self, index: int, total: int, ask: Callable[[Callable[[Step], Any], Step], Any]) -> None:
        super().__init__(index, total)
        object.__setattr__(self, "was_read", False)
        object.__setattr__(self, "_ask", ask)

    def host(self, make: Callable[[Step], Any]) -> Any:
        return self._ask(make, Step(object.__getattribute__(self, "index"), self.total))

    def __getattribute__(self, name: str) -> Any:
        if name in ("index", "progress"):
            object.__setattr__(self, "was_read", True)
        return object.__getattribute__(self, name)


class Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes down each op inside, with its numbers and which tensors it is given.

    ``ops`` are equal for two steps that do the same. A tensor made inside counts by the order of the making, one from
    outside by its place in memory. ``reasons`` are all those for which what was done cannot be replayed.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ops: list[Any] = []
        self.reasons: list[str] = []
        self._device = device
        self._made: dict[int, int] = {}
        self._count = 0
        self._paused = False

    @property
    def refusal(self) -> str:
        """The first of the reasons, or empty."""
        return self.reasons[0] if self.reasons else ""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside is not of the step."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.name()
        if self._paused or name.startswith("profiler::"):
            return func(*args, **kwargs)
        for why in (_why_not(func, name, args, kwargs, self._device), self._away(name, args, kwargs)):
            if why and why not in self.reasons:
                self.reasons.append(why)
        self.ops.append((name, self._said(args), self._said(kwargs)))
        given = {_place(t) for t in _tensors((args, kwargs)) if t.layout is torch.strided}
        found = func(*args, **kwargs)
        for tensor in _tensors(found):
            if tensor.layout is torch.strided and _place(tensor) not in given:
                self._count += 1  # memory is used again within a step: a place alone says nothing
                self._made[_place(tensor)] = self._count
        return found

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, value, trace)  # type: ignore[no-untyped-call]
        self._made.clear()

    def _away(self, name: str, args: Any, kwargs: Mapping[str, Any]) -> str:
        """Why a tensor of another device keeps a step from being replayed; empty where it does not.

        A single number on the host that was made within the step, such as the zero that a sum begins with, is the same
        each time: whatever it is made of, numbers or ops, would be seen to differ.
        """
        for tensor in _tensors((args, kwargs)):
            if tensor.device.type != self._device.type and (tensor.dim() or _place(tensor) not in self._made):
                return f"it uses a tensor on the {tensor.device.type} ({name})"
        return ""

    def _said(self, value: Any) -> Any:
        if isinstance(value, Tensor) and value.layout is torch.strided:
            place = _place(value)
            whose = ("made", self._made[place]) if place in self._made else ("outside", place)
            return (*whose, tuple(value.shape), value.stride(), value.storage_offset(), value.dtype)
        if isinstance(value, Mapping):
            return tuple((name, self._said(part)) for name, part in value.items())
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(self._said(part) for part in value)
        return "" if isinstance(value, Tensor) else repr(value)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [t for part in value for t in _tensors(part)]
    return []


def _why_not(func: Any, name: str, args: Any, kwargs: Mapping[str, Any], device: torch.device) -> str:
    """Why this op keeps a step from being replayed; empty where it does not."""
    tags = set(func.tags)
    if torch.Tag.data_dependent_output in tags:
        return f"it reads a value on the host ({name})"
    masked = any(t.dtype in (torch.bool, torch.uint8) for t in _tensors(args[1])) if name in _BY_INDEX else True
    if masked and (torch.Tag.dynamic_output_shape in tags or name in _BY_INDEX):
        return f"what it does follows from values ({name})"
    if torch.Tag.nondeterministic_seeded in tags and _draws_elsewhere(func, args, kwargs, device):
        return f"it draws from another generator than the device's common one ({name})"
    if name == "aten::lift_fresh":
        return "it makes a tensor of numbers of the host"
    if any(t.layout is not torch.strided for t in _tensors((args, kwargs))):
        return f"it uses a sparse tensor ({name})"
    return ""


def _draws_elsewhere(func: Any, args: Any, kwargs: Mapping[str, Any], device: torch.device) -> bool:
    """Whether a generator is given, or that of another device is drawn from."""
    names = [a.name for a in func._schema.arguments]
    place = names.index("generator") if "generator" in names else len(args)
    given = args[place] if place < len(args) else kwargs.get("generator")
    where = [t.device for t in _tensors((args, kwargs))] or [torch.device(kwargs.get("device") or "cpu")]
    return given is not None or any(at.type != device.type for at in where)
