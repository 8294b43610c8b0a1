"""Features from the middle of a backbone: the output of one of its blocks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tlbench.errors import TrialError


def features_at(net: nn.Module, x: Any, block: int | None) -> Tensor:
    """Features [B, D] of inputs: the backbone's own, or the output of ``net.blocks[block]``.

    What has axes beyond [B, D] is averaged over them: [B, D, H, W] over space, [B, T, D] over tokens. A block that
    is a list of modules gives the output of the one that runs last. Raises ``TrialError`` where there is no such block.
    """
    if block is None:
        features: Tensor = net(x)
        return features
    blocks: Any = net.blocks
    if not -len(blocks) <= block < len(blocks):
        raise TrialError(f"there is no block {block}: the backbone has blocks 0 to {len(blocks) - 1}")
    chosen = blocks[block]
    parts = list(chosen) if isinstance(chosen, nn.ModuleList) else [chosen]
    seen: list[Tensor] = []

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        seen.append(output)

    hooks = [part.register_forward_hook(keep) for part in parts]
    try:
        net(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise TrialError(f"block {block} of the backbone is never called by itself; choose another")
    out = seen[-1]
    if out.dim() == 4:
        return out.mean((2, 3))
    return out.mean(1) if out.dim() == 3 else out
