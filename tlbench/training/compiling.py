"""Compiling: ``torch.compile`` for large networks while they are trained; everything else runs them as they are.

What is compiled belongs to the code of a network's class, not to one network, so that the next seed and the next pair
find it done as long as shapes, types and structure are the same. Where torch cannot compile a part it runs it plainly
and says why in the trial's log. Last digits change, so this is only done when asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tlbench.models.classifier import Classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

LARGE = 5_000_000
"""Parameters from which on a network is worth the half minute or so that compiling takes."""


@contextmanager
def compiled(
    modules: Sequence[nn.Module], backend: str | Callable[..., Any] = "inductor", large: int = LARGE
) -> Iterator[list[nn.Module]]:
    """Inside, the large ones among these networks are compiled; gives those that are."""
    chosen = [net for net in dict.fromkeys(map(_trunk, modules)) if sum(p.numel() for p in net.parameters()) >= large]
    if not chosen:
        yield []
        return
    import torch._dynamo

    with torch._dynamo.config.patch(suppress_errors=True):
        for net in chosen:
            net.compile(backend=backend, dynamic=False)
        try:
            yield chosen
        finally:
            for net in chosen:
                net._compiled_call_impl = None


def is_compiled(modules: Sequence[nn.Module]) -> bool:
    """Whether one of these, or a part of one, is compiled at present."""
    return any(part._compiled_call_impl is not None for net in modules for part in net.modules())


def _trunk(module: nn.Module) -> nn.Module:
    """Losses call a classifier as a whole or its backbone alone; the backbone is what both have in common."""
    return module.backbone if isinstance(module, Classifier) else module
