"""A capture without a GPU, with the semantics of a CUDA graph: ops with their numbers baked in, on fixed memory.

Where a CUDA graph is captured without being run, the ops here run while they are taken down, and what they changed
outside is put back, the common generator as well. A replay runs the ops again on the very tensors of the capture, and
no Python of the step.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class TapeCapture:
    """An implementation of ``tlbench.training.graphs.Capture`` for the CPU."""

    def __init__(self, device: torch.device) -> None:
        assert device.type == "cpu"

    def warming(self) -> AbstractContextManager[None]:
        return nullcontext()

    def __call__(self, work: Callable[[], Mapping[str, Tensor]]) -> tuple[Mapping[str, Tensor], Callable[[], None]]:
        generator = torch.get_rng_state()
        with _Tape() as tape:
            terms = work()
        tape.put_back()
        torch.set_rng_state(generator)
        return terms, tape.replay


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.ops: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.made: set[int] = set()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.name().startswith("profiler::"):
            return func(*args, **kwargs)
        given = tensors((args, kwargs))
        for tensor in given:
            place = tensor.untyped_storage().data_ptr()
            if place not in self.made and place not in self.before:
                self.before[place] = (tensor, tensor.detach().clone())
        found = func(*args, **kwargs)
        places = {t.untyped_storage().data_ptr() for t in given}
        fresh = [t if t.untyped_storage().data_ptr() not in places else None for t in tensors(found)]
        self.made |= {t.untyped_storage().data_ptr() for t in fresh if t is not None}
        self.ops.append((func, args, kwargs, fresh))  # type: ignore[arg-type]
        return found

    def put_back(self) -> None:
        with torch.no_grad():
            for tensor, value in self.before.values():
                tensor.copy_(value)

    def replay(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, fresh in self.ops:
                for kept, now in zip(fresh, tensors(func(*args, **kwargs)), strict=True):
                    if kept is not None:
                        kept.copy_(now)


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for part in value for t in tensors(part)] if isinstance(value, list | tuple) else []
