"""The settings of the field as tasks: which labels exist, what is scored, and what gain is measured against.

| | target labelled | target unlabelled |
|---|---|---|
| **source labelled** | fine-tuning, multi-task, heterogeneous, few-shot | adaptation, zero-shot, node-classification |
| **source unlabelled** | self-taught | clustering |
"""

from tlbench.builtin.tasks.adaptation import Adaptation
from tlbench.builtin.tasks.few_shot import FewShot
from tlbench.builtin.tasks.fine_tuning import FineTuning
from tlbench.builtin.tasks.multi_task import Heterogeneous, MultiTask
from tlbench.builtin.tasks.node_classification import NodeClassification
from tlbench.builtin.tasks.self_taught import Clustering, SelfTaught
from tlbench.builtin.tasks.source_training import SourceTrainingTask
from tlbench.builtin.tasks.zero_shot import ZeroShot

__all__ = [
    "Adaptation",
    "Clustering",
    "FewShot",
    "FineTuning",
    "Heterogeneous",
    "MultiTask",
    "NodeClassification",
    "SelfTaught",
    "SourceTrainingTask",
    "ZeroShot",
]
