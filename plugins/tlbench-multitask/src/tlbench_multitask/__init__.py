"""Multi-task learning: a labelled source and a labelled target trained together, scored on both."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_multitask.pcgrad import PCGrad
    from tlbench_multitask.shared_middle import SharedMiddle
    from tlbench_multitask.shared_trunk import SharedTrunk
    from tlbench_multitask.uncertainty_weights import UncertaintyWeights

    return [PCGrad, SharedMiddle, SharedTrunk, UncertaintyWeights]


@hookimpl
def tlbench_datasets() -> list[type]:
    from tlbench_multitask.digits_features import DigitsFeatures

    return [DigitsFeatures]


@hookimpl
def tlbench_metrics() -> list[type]:
    from tlbench_multitask.roc_auc import RocAuc

    return [RocAuc]
