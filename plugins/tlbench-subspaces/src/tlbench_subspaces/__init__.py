"""Shallow adaptation in closed form on frozen features: bring two domains together, put a classifier behind."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_subspaces.baselines import PooledPCA, SourceClassifier
    from tlbench_subspaces.coral import CORAL
    from tlbench_subspaces.coral_kernel import CORALKernel
    from tlbench_subspaces.gfk import GFK
    from tlbench_subspaces.jda import JDA
    from tlbench_subspaces.subspace_alignment import SubspaceAlignment
    from tlbench_subspaces.tca import TCA

    return [CORAL, CORALKernel, GFK, JDA, PooledPCA, SourceClassifier, SubspaceAlignment, TCA]
