"""Strategies around strategies: augmentation, whether to transfer at all, and which way."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_wrappers.adaptive import Adaptive
    from tlbench_wrappers.augment import Augment
    from tlbench_wrappers.nt_guard import NTGuard

    return [Adaptive, Augment, NTGuard]
