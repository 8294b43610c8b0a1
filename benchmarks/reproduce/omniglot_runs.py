"""What the two reproductions on Omniglot share: the data at one size, and the 20 one-shot runs as a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from report import hub_of
from tlbench_few_shot.omniglot import Omniglot

from tlbench.builtin.tasks import FewShot
from tlbench.data.cache import DataCache

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench import Domain


def one_shot_runs() -> FewShot:
    """The authors' 20 runs: one drawing of each of 20 characters of one alphabet, and one to classify."""
    return FewShot(ways=20, shots=1, queries=1, episodes=20, within_groups=True)


def background(name: Literal["small1", "small2"], size: int, data_root: Path, cache: Path) -> Domain:
    """A background set; all drawings but each character's last are its train split."""
    return Omniglot(set=name, size=size, test_drawers=1).load(_cache(data_root, cache))


def runs_of(size: int, data_root: Path, cache: Path) -> Domain:
    """The drawings of the 20 runs."""
    return Omniglot(set="oneshot", size=size).load(_cache(data_root, cache))


def _cache(data_root: Path, folder: Path) -> DataCache:
    return DataCache(folder, hub_of(data_root), folder)
