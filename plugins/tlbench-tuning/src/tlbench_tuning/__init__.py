"""Parameter transfer: which weights of a source are kept, which are trained, and what holds them near their start."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_tuning.bss import BSS
    from tlbench_tuning.distillation import Distillation
    from tlbench_tuning.ewc import EWC
    from tlbench_tuning.feature_augmentation import FeatureAugmentation
    from tlbench_tuning.feature_extraction import FeatureExtraction, RandomFeatures
    from tlbench_tuning.joint import TargetWeightedJoint
    from tlbench_tuning.layer_transfer import LayerTransfer, Selffer
    from tlbench_tuning.lp_ft import LPFT, WiSEFT
    from tlbench_tuning.lwf import LwF
    from tlbench_tuning.prior_transfer import PriorTransfer
    from tlbench_tuning.surgical import Surgical
    from tlbench_tuning.unfreezing import GradualUnfreezing

    return [
        BSS,
        Distillation,
        EWC,
        FeatureAugmentation,
        FeatureExtraction,
        GradualUnfreezing,
        LPFT,
        LayerTransfer,
        LwF,
        PriorTransfer,
        RandomFeatures,
        Selffer,
        Surgical,
        TargetWeightedJoint,
        WiSEFT,
    ]
