"""Few-shot learning: episodes over classes that were never seen in training, and Omniglot to try it on."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_few_shot.bayes import BayesOneShot
    from tlbench_few_shot.cosine_head import BaselinePlusPlus
    from tlbench_few_shot.good_embedding import GoodEmbedding
    from tlbench_few_shot.hausdorff import ModifiedHausdorff
    from tlbench_few_shot.maml import MAML
    from tlbench_few_shot.protonet import ProtoNet
    from tlbench_few_shot.simpleshot import SimpleShot

    return [BaselinePlusPlus, BayesOneShot, GoodEmbedding, MAML, ModifiedHausdorff, ProtoNet, SimpleShot]


@hookimpl
def tlbench_backbones() -> list[type]:
    from tlbench_few_shot.conv4 import Conv4

    return [Conv4]


@hookimpl
def tlbench_datasets() -> list[type]:
    from tlbench_few_shot.omniglot import Omniglot

    return [Omniglot]
