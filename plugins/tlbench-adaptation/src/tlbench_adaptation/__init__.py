"""Unsupervised domain adaptation: Deep CORAL and DANN."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_adaptation.dann import DANN
    from tlbench_adaptation.deep_coral import DeepCORAL

    return [DANN, DeepCORAL]
