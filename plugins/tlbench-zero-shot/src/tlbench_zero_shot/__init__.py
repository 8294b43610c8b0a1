"""Zero-shot learning: classes that are described by attributes and of which no example was seen."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_zero_shot.attribute_embedding import AttributeEmbedding
    from tlbench_zero_shot.conse import ConSE
    from tlbench_zero_shot.dap import DAP
    from tlbench_zero_shot.eszsl import ESZSL
    from tlbench_zero_shot.iap import IAP
    from tlbench_zero_shot.task_conditioned import TaskConditioned

    return [AttributeEmbedding, ConSE, DAP, ESZSL, IAP, TaskConditioned]


@hookimpl
def tlbench_datasets() -> list[type]:
    from tlbench_zero_shot.awa import AwA1
    from tlbench_zero_shot.digits_attributes import DigitsAttributes

    return [AwA1, DigitsAttributes]
