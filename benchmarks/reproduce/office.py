"""What the reproductions on Office-Caltech10 share: the four domains, the twelve pairs, and a strategy's accuracies.

Protocol: SURF features, each row over its sum, z-scores of each domain by its own statistics; all source rows are
trained on, all target rows are scored, and are the unlabelled pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from report import Row

from tlbench import Recipe
from tlbench.builtin.small_backbones import Identity
from tlbench.builtin.tables import Mat
from tlbench.builtin.tasks import Adaptation
from tlbench.data.cache import DataCache
from tlbench.testing import Toy, score

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tlbench import Domain

FILES = {"C": "Caltech10", "A": "amazon", "W": "webcam", "D": "dslr"}
PAIRS = ("CA", "CW", "CD", "AC", "AW", "AD", "WC", "WA", "WD", "DC", "DA", "DW")

PROTOCOL = (
    "Office-Caltech10, SURF (800 visual words; 958 amazon, 1,123 Caltech, 157 dslr, 295 webcam images, 10 classes). "
    "Each row is divided by its sum, then each feature is a z-score of its own domain (over n). All source rows are "
    "trained on, all target rows are scored, and they are the unlabelled pool (transductive). Nothing is drawn."
)


def office(data_root: Path, folder: Path) -> dict[str, Domain]:
    """The four domains, whole; ``folder`` takes the cache."""
    cache = DataCache(folder, data_root, data_root)
    return {
        letter: Mat(
            f"features/office_caltech10_surf/{name}_SURF_L10.mat",
            x="fts",
            y="labels",
            split="whole",
            scaling=("row-sum", "zscore"),
        ).load(cache)
        for letter, name in FILES.items()
    }


def accuracies(strategy: Any, domains: dict[str, Domain]) -> list[float]:
    """The strategy's accuracy in percent on each of the pairs."""
    task, recipe = Adaptation(protocol="transductive"), Recipe(steps=1)
    return [100 * score(strategy, Toy(domains[s], domains[t], task, Identity(), recipe)) for s, t in PAIRS]


def rows(name: str, published: Sequence[float], ours: Sequence[float], tolerance: float | None) -> list[Row]:
    """One row for each pair."""
    cells = zip(PAIRS, published, ours, strict=True)
    return [Row(f"{name} {s} to {t}", p, o, tolerance) for (s, t), p, o in cells]


def mean(values: Sequence[float]) -> float:
    """The mean over the pairs."""
    return sum(values) / len(values)
