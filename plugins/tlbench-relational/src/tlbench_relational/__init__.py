"""Relational transfer: what is learned on the nodes of one graph, carried to the nodes of another."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_relational.gcn import GCN
    from tlbench_relational.gcn_dann import GCNDANN
    from tlbench_relational.structural_features import StructuralFeatures

    return [GCN, GCNDANN, StructuralFeatures]


@hookimpl
def tlbench_backbones() -> list[type]:
    from tlbench_relational.node_attributes import NodeAttributes

    return [NodeAttributes]


@hookimpl
def tlbench_datasets() -> list[type]:
    from tlbench_relational.citation_network import CitationNetwork

    return [CitationNetwork]
