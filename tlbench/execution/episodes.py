"""Episodes: small problems of unseen classes, each with a support set to learn from and queries to be scored on.

A strategy that adapts is fitted once and adapted to each episode, to many at once where it offers that; any other is
fitted anew on each support set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.api.data import Pool
from tlbench.api.types import AdaptsAll, Batch
from tlbench.data.inputs import to_tensors
from tlbench.errors import TrialError
from tlbench.evaluation import predict as scoring
from tlbench.evaluation.judging import Judge, Predictions, Scored, applies
from tlbench.execution.together import scores_together

if TYPE_CHECKING:
    from tlbench.api.data import Array, Problem, TestEpisodes
    from tlbench.api.types import Adaptable, Metric, Predictor

CURVE_EPISODES = 30
"""Episodes that the learning curve of a strategy is scored on; the final score is on all."""
RATED_EPISODES = 10
"""Episodes that the rate of inference is taken from where the scores came from many episodes at once."""
Z = 1.96
"""Of the normal interval that few-shot results are given with."""


def support_of(episodes: TestEpisodes, index: int) -> Pool:
    """The labelled examples of one episode, class by class, labels 0 .. ways-1."""
    shape = episodes.shape
    return _rows(episodes.support, episodes.support_rows[index], shape.ways, shape.shots)


def queries_of(problem: Problem, index: int) -> Pool:
    """The examples of one episode that are scored."""
    assert problem.episodes is not None
    shape = problem.episodes.shape
    return _rows(problem.test["target"], problem.episodes.query_rows[index], shape.ways, shape.queries)


def _rows(pool: Pool, rows: Array, ways: int, each: int) -> Pool:
    x = {k: v[rows] for k, v in pool.x.items()} if isinstance(pool.x, Mapping) else pool.x[rows]
    return Pool(x, np.repeat(np.arange(ways), each), ways)


@dataclass(eq=False)
class EpisodeScores:
    """The scores of episodes, one after the other."""

    metrics: Mapping[str, Metric]
    conditions: scoring.Conditions
    values: dict[str, list[float]] = field(default_factory=dict)
    windows: list[tuple[int, float]] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)

    def add(self, predictor: Predictor, queries: Pool) -> None:
        """Score one episode's predictor on its queries."""
        scores = scoring.predict(predictor, queries, self.conditions, windows=self.windows)
        self.add_scores(scores, np.asarray(queries.y))

    def add_scores(self, scores: Array, y: Array) -> None:
        """Judge one episode's scores [Q, W]."""
        one = Scored(scores, y)
        self.scored.append(one)
        for metric in (m for m in self.metrics.values() if applies(m, one)):
            self.values.setdefault(metric.name, []).append(Judge()(metric, one))

    def means(self) -> dict[str, float]:
        return {name: float(np.mean(values)) for name, values in self.values.items()}

    @property
    def predictions(self) -> Predictions:
        """The scores of all episodes together."""
        scores, y = (np.stack(parts) for parts in zip(*((one.scores, one.y) for one in self.scored), strict=True))
        return Predictions({"target": Scored(scores, y)})

    def half_widths(self) -> dict[str, float]:
        """1.96 sd / sqrt(E) of each metric over episodes (of this one training; seeds vary more than that)."""
        return {
            name: float(Z * np.std(v, ddof=1) / np.sqrt(len(v))) if len(v) > 1 else 0.0
            for name, v in self.values.items()
        }


@dataclass(eq=False)
class EpisodeScorer:
    """Scores of something that adapts to episodes: a few episodes for the curve, and all of them in the end."""

    problem: Problem
    adaptable: Adaptable
    metrics: Mapping[str, Metric]
    conditions: scoring.Conditions
    together: bool = True
    """Adapt to many episodes at once where ``adaptable`` offers it, in the place of one after the other."""

    def __post_init__(self) -> None:
        assert self.problem.episodes is not None
        self.main = "target"
        self.metric = next(iter(self.metrics.values()))
        self.examples = min(CURVE_EPISODES, len(self.problem.episodes))
        self.scored = EpisodeScores(self.metrics, self.conditions)

    def at_point(self, *, whole: bool) -> tuple[float, float | None]:
        """The main score over the curve's episodes and, where ``whole``, over all of them as well."""
        assert self.problem.episodes is not None
        scores = self._over(range(len(self.problem.episodes) if whole else self.examples))
        values = scores.values[self.metric.name]
        return float(np.mean(values[: self.examples])), float(np.mean(values)) if whole else None

    def at_end(self) -> float:
        """What ``at_point`` gives for what ``final`` has just scored: the curve's episodes are the first of all."""
        return float(np.mean(self.scored.values[self.metric.name][: self.examples]))

    def on_validation(self) -> float:
        raise TrialError("a task of episodes has no validation examples")

    def final(self) -> dict[str, dict[str, float]]:
        assert self.problem.episodes is not None
        self.scored = self._over(range(len(self.problem.episodes)))
        return {"target": self.scored.means()}

    @property
    def predictions(self) -> Predictions:
        return self.scored.predictions

    def rates(self) -> dict[str, Any]:
        """Queries/s after adaptation, of predictors that see the inputs of one episode, however it was scored."""
        assert self.problem.episodes is not None
        some = range(min(RATED_EPISODES, len(self.problem.episodes)))
        inference = scoring.rate_of(self.scored.windows or self._one_by_one(some).windows)
        return {"inference": inference._asdict() if inference else None, "latency_ms": None}

    def flops(self) -> int | None:
        return None

    def _over(self, indices: Sequence[int]) -> EpisodeScores:
        assert self.problem.episodes is not None
        if not (self.together and isinstance(self.adaptable, AdaptsAll)):
            return self._one_by_one(indices)
        found, shape = EpisodeScores(self.metrics, self.conditions), self.problem.episodes.shape
        y = np.repeat(np.arange(shape.ways), shape.queries)
        for scores in scores_together(self.adaptable, self.problem, self.conditions, indices):
            found.add_scores(scores, y)
        return found

    def _one_by_one(self, indices: Sequence[int]) -> EpisodeScores:
        assert self.problem.episodes is not None
        found = EpisodeScores(self.metrics, self.conditions)
        for index in indices:
            pool = support_of(self.problem.episodes, index)
            x = self.conditions.scale(to_tensors(pool.x, self.conditions.device))
            predictor = self.adaptable.adapt(Batch(x, to_tensors(pool.y, self.conditions.device)))  # type: ignore[arg-type]
            found.add(predictor, queries_of(self.problem, index))
        return found


def about_episodes(episodes: TestEpisodes, scored: EpisodeScores, *, refitted: bool) -> dict[str, Any]:
    """What a record says of its episodes; intervals are over episodes."""
    shape = episodes.shape
    return {
        "count": len(episodes),
        "ways": shape.ways,
        "shots": shape.shots,
        "queries": shape.queries,
        "refitted": refitted,
        "half_width": scored.half_widths(),
    }
