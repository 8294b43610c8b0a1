"""Few-shot: episodes of classes that the source does not have."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tlbench.api.data import EpisodeShape, Problem, TestEpisodes
from tlbench.data.pools import pool_of, refuse_whole, require_disjoint, test_of
from tlbench.errors import SkipTrial

if TYPE_CHECKING:
    from tlbench.api.data import Array, Domain, Seeds
    from tlbench.api.types import Start

KEPT_DRAWS = 4
"""Draws of episodes that a process keeps: rows alone, no examples."""
_DRAWN: dict[tuple[Any, ...], tuple[Array, Array]] = {}


@dataclass(frozen=True)
class FewShot:
    """Episodes over unseen classes: a few labelled examples of each, and queries (Vinyals et al. 2016).

    Support examples come from the target's train split and queries from its test split, so that no query was ever
    shown. All strategies of a seed and target get the same episodes. A strategy that needs ``episodes`` is fitted once
    and adapted to each; any other is fitted anew on each support set, which is then its ``target``.
    The score is the mean over episodes, recorded with its 95 % interval over episodes.
    Gain is measured against ``scratch``, fitted on each support set.
    """

    name: ClassVar[str] = "few-shot"
    offers: ClassVar[frozenset[str]] = frozenset({"source", "target", "episodes"})
    references: ClassVar[tuple[str, ...]] = ("scratch",)
    start: ClassVar[Start] = "source"
    needs_source: ClassVar[bool] = False
    sees_source: ClassVar[bool] = True

    ways: int = 5
    """Classes of an episode."""
    shots: int = 1
    """Labelled examples of each class."""
    queries: int = 15
    """Scored examples of each class."""
    episodes: int = 600
    """How many episodes are scored."""
    within_groups: bool = False
    """Draw an episode's classes from one group of classes (an alphabet, say); the groups take turns."""

    def __post_init__(self) -> None:
        for name, lowest in (("ways", 2), ("shots", 1), ("queries", 1), ("episodes", 1)):
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {getattr(self, name)}")

    def build(self, source: Domain | None, target: Domain, seeds: Seeds, selection: str) -> Problem:
        if selection in ("source-val", "target-val"):
            raise SkipTrial(f"episodes leave no examples to choose by; the selection rule {selection!r} needs some")
        refuse_whole(target)
        train = {}
        if source is not None:
            require_disjoint(source, target, "few-shot episodes are of classes that the source does not have")
            train["source"] = pool_of(source.splits["train"], source.num_classes)
        support, test = pool_of(target.splits["train"], target.num_classes), test_of(target)
        shape = EpisodeShape(self.ways, self.shots, self.queries)
        episodes = TestEpisodes(shape, support, *self._rows(target, seeds))
        return Problem(train, {"target": test}, self.ways, episodes=episodes)

    def _rows(self, target: Domain, seeds: Seeds) -> tuple[Array, Array]:
        """What ``_draw`` gives for these seeds, kept: a trial builds its problem twice, other strategies too."""
        labels = hashlib.blake2b(digest_size=16)
        for y in (target.splits["train"].y, target.splits["test"].y, target.groups):
            rows = b"" if y is None else np.asarray(y, dtype=np.int64).tobytes()
            labels.update(len(rows).to_bytes(8, "big") + rows)
        key = (self, seeds.integer("episodes", target.name), target.num_classes, labels.digest())
        if key not in _DRAWN:
            while len(_DRAWN) >= KEPT_DRAWS:
                del _DRAWN[next(iter(_DRAWN))]
            drawn = self._draw(target, seeds.generator("episodes", target.name))
            for part in drawn:
                part.setflags(write=False)
            _DRAWN[key] = drawn
        return _DRAWN[key]

    def _draw(self, target: Domain, rng: np.random.Generator) -> tuple[Array, Array]:
        """Rows of support [E, ways * shots] and of queries [E, ways * queries]."""
        labels = {name: np.asarray(target.splits[name].y) for name in ("train", "test")}
        rows = {name: [np.flatnonzero(y == c) for c in range(target.num_classes)] for name, y in labels.items()}
        enough = np.array(
            [
                len(rows["train"][c]) >= self.shots and len(rows["test"][c]) >= self.queries
                for c in range(target.num_classes)
            ]
        )
        groups = [np.flatnonzero(enough)]
        if self.within_groups:
            if target.groups is None:
                raise SkipTrial(f"{target.name} does not say which classes belong together; leave within_groups out")
            groups = [np.flatnonzero(enough & (target.groups == g)) for g in np.unique(target.groups)]
            groups = [g for g in groups if len(g) >= self.ways]
        if not groups or len(groups[0]) < self.ways:
            raise SkipTrial(
                f"episodes of {self.ways} ways, {self.shots} shots and {self.queries} queries need {self.ways} classes "
                f"of so many examples{' in one group' if self.within_groups else ''}; {target.name} has "
                f"{int(enough.sum())}"
            )
        support, query = [], []
        for e in range(self.episodes):
            group = groups[e % len(groups)]
            classes = group if len(group) == self.ways else rng.choice(group, self.ways, replace=False)
            support.append([rng.choice(rows["train"][c], self.shots, replace=False) for c in classes])
            query.append([rng.choice(rows["test"][c], self.queries, replace=False) for c in classes])
        return np.array(support).reshape(self.episodes, -1), np.array(query).reshape(self.episodes, -1)
