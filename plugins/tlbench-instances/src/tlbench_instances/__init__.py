"""Instance transfer: which examples of the source to learn from, and how much from each."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_instances.importance_weighting import ImportanceWeighting
    from tlbench_instances.instance_selection import InstanceSelection
    from tlbench_instances.source_linear import SourceLinear
    from tlbench_instances.tradaboost import TrAdaBoost

    return [ImportanceWeighting, InstanceSelection, SourceLinear, TrAdaBoost]
