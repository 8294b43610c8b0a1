"""What tlbench brings along, through the same hooks as everybody else's plugins."""

from __future__ import annotations

from tlbench.api.hooks import hookimpl


@hookimpl
def tlbench_datasets() -> list[type]:
    from tlbench.builtin.csv_table import CsvTable
    from tlbench.builtin.digits import Digits
    from tlbench.builtin.hub import Hub
    from tlbench.builtin.image_folder import ImageFolder
    from tlbench.builtin.tables import Mat, Svmlight

    return [CsvTable, Digits, Hub, ImageFolder, Mat, Svmlight]


@hookimpl
def tlbench_tasks() -> list[type]:
    from tlbench.builtin import tasks

    return [getattr(tasks, name) for name in tasks.__all__]


@hookimpl
def tlbench_backbones() -> list[type]:
    from tlbench.builtin.resnet_cifar import ResNetCifar
    from tlbench.builtin.small_backbones import MLP, Identity, SmallCNN
    from tlbench.builtin.timm_backbone import Timm

    return [MLP, Identity, ResNetCifar, SmallCNN, Timm]


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench.builtin.fine_tune import FineTune
    from tlbench.builtin.k_means import KMeansReference
    from tlbench.builtin.l2_sp import L2SP
    from tlbench.builtin.linear_probe import LinearProbe
    from tlbench.builtin.references import Chance, Majority, Scratch, SourceOnly, SourceTraining, TargetOracle
    from tlbench.builtin.source_scores import SourceScores

    return [
        Chance,
        FineTune,
        KMeansReference,
        L2SP,
        LinearProbe,
        Majority,
        Scratch,
        SourceOnly,
        SourceScores,
        SourceTraining,
        TargetOracle,
    ]


@hookimpl
def tlbench_metrics() -> list[type]:
    from tlbench.builtin.calibration_metrics import ECE, Brier, LogLoss
    from tlbench.builtin.clustering_metrics import ARI, NMI
    from tlbench.builtin.group_metrics import GroupGap, WorstGroupAccuracy
    from tlbench.builtin.metrics import Accuracy, BalancedAccuracy, MacroF1
    from tlbench.builtin.model_metrics import CKA

    return [ARI, CKA, ECE, NMI, Accuracy, BalancedAccuracy, Brier, GroupGap, LogLoss, MacroF1, WorstGroupAccuracy]


@hookimpl
def tlbench_executors() -> list[type]:
    from tlbench.execution.in_process import InProcess
    from tlbench.execution.processes import WorkerProcesses

    return [InProcess, WorkerProcesses]


@hookimpl
def tlbench_reporters() -> list[type]:
    from tlbench.builtin.reporters import Badge, Csv, Json, Latex, Markdown, Parquet, TaskGraph

    return [Badge, Csv, Json, Latex, Markdown, Parquet, TaskGraph]
