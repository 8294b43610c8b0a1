"""Unsupervised domain adaptation: a labelled source, an unlabelled target, the same classes."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_adaptation.cyclegan import CycleGAN
    from tlbench_adaptation.dann import DANN
    from tlbench_adaptation.deep_coral import DeepCORAL
    from tlbench_adaptation.domain_confusion import DomainConfusion
    from tlbench_adaptation.jdot import JDOT
    from tlbench_adaptation.mcc import MCC
    from tlbench_adaptation.mmd import MMD

    return [CycleGAN, DANN, DeepCORAL, DomainConfusion, JDOT, MCC, MMD]


@hookimpl
def tlbench_backbones() -> list[type]:
    from tlbench_adaptation.two_conv import TwoConv

    return [TwoConv]
