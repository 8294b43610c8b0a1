"""Linear heads on a good embedding: scikit-learn's for each episode, and episodes together as one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from tlbench_few_shot.adapted import OnFeatures
from tlbench_few_shot.bayes import BayesOneShot
from tlbench_few_shot.cosine_head import BaselinePlusPlus
from tlbench_few_shot.good_embedding import GoodEmbedding
from tlbench_few_shot.protonet import ProtoNet, nearest_prototype
from tlbench_few_shot.simpleshot import SimpleShot

from tlbench.builtin.metrics import Accuracy
from tlbench.builtin.tasks import FewShot
from tlbench.execution.episodes import EpisodeScorer
from tlbench.testing import check_strategy, score
from tlbench.testing.toys import fit

from .few_shot_toys import refitted_from_scratch, telling_directions

WAYS = 4


def _episodes(shots: int, count: int = 5) -> tuple[Any, Any, Any]:
    """Support [E, N, 12], labels in another order in each episode, queries [E, 9, 12]."""
    rng = np.random.default_rng(shots)
    y = np.stack([rng.permutation(np.repeat(np.arange(WAYS), shots)) for _ in range(count)])
    centres = rng.normal(size=(count, WAYS, 12))
    x = np.take_along_axis(centres, y[..., None], 1) + rng.normal(size=(count, WAYS * shots, 12)) + 3
    return x, y, rng.normal(size=(count, 9, 12)) + 3


@pytest.mark.parametrize("unit_length", [True, False])
@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("head", ["logistic", "ridge"])
def test_each_head_is_that_of_scikit_learn_for_its_episode(head: Any, shots: int, unit_length: bool) -> None:
    x, y, query = _episodes(shots)
    how = GoodEmbedding(head=head, strength=0.5, unit_length=unit_length)
    found = how.heads_for(how.scaled(torch.from_numpy(x)), torch.from_numpy(y), WAYS)(
        how.scaled(torch.from_numpy(query))
    )
    assert found.dtype == torch.float32
    for e in range(len(x)):
        a, b = (v / np.linalg.norm(v, axis=-1, keepdims=True) if unit_length else v for v in (x[e], query[e]))
        if head == "logistic":
            expected = LogisticRegression(C=0.5, tol=1e-10, max_iter=20_000).fit(a, y[e]).decision_function(b)
        else:
            expected = Ridge(alpha=2.0).fit(a, np.eye(WAYS)[y[e]]).predict(b)
        np.testing.assert_allclose(found[e].numpy(), expected, atol=2e-3 if head == "logistic" else 1e-5)


METHODS = [
    ProtoNet(queries=2), SimpleShot(), SimpleShot(transform="none"), BaselinePlusPlus(steps=20), BayesOneShot(),
    GoodEmbedding(), GoodEmbedding(head="ridge"),
]  # fmt: skip


@pytest.mark.parametrize("shots", [1, 3])
@pytest.mark.parametrize("strategy", METHODS, ids=str)
def test_episodes_together_are_scored_as_one_by_one(strategy: Any, shots: int) -> None:
    toy = telling_directions(shots)
    toy = replace(
        toy, recipe=replace(toy.recipe, steps=20), task=FewShot(ways=WAYS, shots=shots, queries=5, episodes=30)
    )
    done = fit(strategy, toy)
    found = []
    for together in (True, False):
        scorer = EpisodeScorer(done.problem, done.fitted, {"accuracy": Accuracy()}, done.conditions, together)
        scorer.final()
        assert bool(scorer.scored.windows) is not together  # so they were taken together, or were not
        found.append(scorer)
    ours, theirs = (scorer.predictions.pools["target"].scores for scorer in found)
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())
    assert found[0].scored.values == found[1].scored.values


@pytest.mark.parametrize("strategy", [GoodEmbedding(), GoodEmbedding(head="ridge", strength=10.0)], ids=str)
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


@dataclass(frozen=True)
class Mixes(SimpleShot):
    """Centres queries by those of all episodes at hand."""

    def fit(self, ctx: Any) -> Any:
        def rule(support_END: Any, y_EN: Any, ways: int) -> Any:
            score = nearest_prototype(support_END - support_END.mean((0, 1)), y_EN, ways)
            return lambda query_EQD: score(query_EQD - query_EQD.mean((0, 1)))

        return OnFeatures(ctx.backbone(), rule)


def test_a_rule_that_lets_episodes_see_each_other_breaks_the_contract() -> None:
    with pytest.raises(AssertionError, match=r"adapt_all\(\) gave other scores than adapt\(\) for episode 0, by"):
        check_strategy(Mixes())


@pytest.mark.parametrize("strategy", [GoodEmbedding(), GoodEmbedding(head="ridge")], ids=str)
def test_what_the_source_tells_of_directions_beats_learning_from_one_example(strategy: Any) -> None:
    assert score(strategy, telling_directions()) > refitted_from_scratch() + 0.25


def test_a_strength_that_is_not_positive_is_named() -> None:
    with pytest.raises(ValueError, match=r"strength must be positive, got 0\.0"):
        GoodEmbedding(strength=0.0)
