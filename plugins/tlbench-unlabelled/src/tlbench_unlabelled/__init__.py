"""Transfer from an unlabelled source: self-taught learning (labelled target) and clustering (unlabelled target)."""

from __future__ import annotations

from tlbench import hookimpl


@hookimpl
def tlbench_strategies() -> list[type]:
    from tlbench_unlabelled.autoencoder import Autoencoder
    from tlbench_unlabelled.k_means_transfer import KMeansTransfer
    from tlbench_unlabelled.scan import SCAN
    from tlbench_unlabelled.self_taught_clustering import SelfTaughtClustering
    from tlbench_unlabelled.simclr import SimCLR
    from tlbench_unlabelled.sparse_coding import SparseCoding

    return [Autoencoder, KMeansTransfer, SCAN, SelfTaughtClustering, SimCLR, SparseCoding]
