"""The settings beyond fine-tuning and adaptation: what each shows, withholds, scores and refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tlbench.api.data import Domain, Graph, Pool, Problem, Seeds, Split
from tlbench.builtin.tasks import (
    Adaptation,
    Clustering,
    FewShot,
    FineTuning,
    Heterogeneous,
    MultiTask,
    NodeClassification,
    SelfTaught,
    ZeroShot,
    few_shot,
)
from tlbench.errors import SkipTrial

SEEN, UNSEEN = ("ant", "bee", "cat"), ("dog", "elk")


def split(first: int, classes: int, each: int) -> Split:
    """Examples that are their own number, so that any pool tells which rows it holds."""
    y = np.random.default_rng(first).permutation(np.repeat(np.arange(classes), each))
    return Split((first + np.arange(len(y), dtype=np.float32))[:, None].repeat(2, 1), y)


def domain(name: str, first: int, names: tuple[str, ...], **more: Any) -> Domain:
    splits = {"train": split(first, len(names), 12), "test": split(first + 500, len(names), 8)}
    return Domain(name, splits, names, "features", **more)


SOURCE = domain("source", 10_000, SEEN, class_attributes=np.eye(3, 4))
TARGET = domain("target", 20_000, UNSEEN, class_attributes=np.eye(2, 4, 1), groups=np.array([0, 0]))


def build(task: Any, source: Domain | None = SOURCE, target: Domain = TARGET, rule: str = "last") -> Problem:
    problem: Problem = task.build(source, target, Seeds(0), rule)
    return problem


def ids(pool: Pool) -> set[int]:
    assert not isinstance(pool.x, Mapping)
    return {int(v) for v in pool.x[:, 0]}


def labelled_pools(problem: Problem) -> set[str]:
    return {name for name, pool in problem.train.items() if pool.y is not None}


# ---- which labels exist --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "labelled", "unlabelled"),
    [
        (MultiTask(), {"source", "target"}, set()),
        (ZeroShot(), {"source"}, set()),
        (SelfTaught(), {"target"}, {"source_unlabelled"}),
        (Clustering(), set(), {"source_unlabelled", "target_unlabelled"}),
        (FewShot(ways=2, queries=4, episodes=3), {"source"}, set()),
    ],
)
def test_each_setting_shows_the_labels_that_it_has_and_no_others(task: Any, labelled: Any, unlabelled: Any) -> None:
    problem = build(task)
    assert labelled_pools(problem) == labelled
    assert set(problem.train) - labelled_pools(problem) == unlabelled


@pytest.mark.parametrize("task", [MultiTask(), ZeroShot(), SelfTaught(), Clustering(), FewShot(ways=2, queries=4)])
def test_no_test_example_is_in_a_pool_that_is_trained_on(task: Any) -> None:
    problem = build(task)
    tested = set().union(*(ids(pool) for pool in problem.test.values()))
    shown = [*problem.train.values(), *([problem.episodes.support] if problem.episodes else [])]
    assert all(ids(pool).isdisjoint(tested) for pool in shown)


@pytest.mark.parametrize("task", [FewShot(ways=2, queries=4), ZeroShot(), SelfTaught()])
def test_a_source_with_the_targets_classes_is_refused(task: Any) -> None:
    with pytest.raises(SkipTrial, match="'ant', 'bee', 'cat'"):
        build(task, target=replace(SOURCE, name="same"))


def test_self_taught_learning_from_the_same_classes_can_be_asked_for() -> None:
    assert "source_unlabelled" in build(SelfTaught(classes="any"), target=replace(SOURCE, name="same")).train


@pytest.mark.parametrize(
    "task", [FineTuning(), MultiTask(), SelfTaught(), FewShot(ways=2, queries=4), Adaptation(), Clustering()]
)
def test_a_target_whose_test_is_its_training_is_refused_where_its_labels_or_examples_would_be_shown(task: Any) -> None:
    same = domain("target", 20_000, SEEN if isinstance(task, Adaptation) else UNSEEN)
    with pytest.raises(SkipTrial, match="test example"):
        build(task, target=replace(same, whole=True))


def test_a_target_whose_test_is_its_training_is_for_the_transductive_protocol_and_its_labels_stay_withheld() -> None:
    problem = build(Adaptation(protocol="transductive"), target=domain("target", 20_000, SEEN, whole=True))
    assert not problem.withheld
    assert problem.train["target_unlabelled"].y is None


# ---- multi-task and heterogeneous ----------------------------------------------------------------


def test_multi_task_learning_may_be_scored_on_the_source_and_must_be_on_the_target() -> None:
    problem = build(MultiTask())
    assert set(problem.test) == {"source", "target"}
    assert problem.optional == {"source"}
    assert problem.num_classes == 2


def test_the_heterogeneous_task_is_for_different_feature_spaces_alone() -> None:
    with pytest.raises(SkipTrial, match="see multi-task"):
        build(Heterogeneous())
    wide = {name: Split(np.repeat(np.asarray(s.x), 3, 1), s.y) for name, s in TARGET.splits.items()}
    assert set(build(Heterogeneous(), target=replace(TARGET, splits=wide)).train) == {"source", "target"}


# ---- few-shot ------------------------------------------------------------------------------------


def test_an_episode_has_its_classes_in_order_with_as_many_examples_each() -> None:
    problem = build(FewShot(ways=2, shots=3, queries=4, episodes=5))
    assert problem.episodes is not None
    support, query = problem.episodes.support, problem.test["target"]
    assert problem.episodes.support_rows.shape == (5, 6)
    assert problem.episodes.query_rows.shape == (5, 8)
    for rows, pool, each in (
        (problem.episodes.support_rows, support, 3),
        (problem.episodes.query_rows, query, 4),
    ):
        labels = np.asarray(pool.y)[rows].reshape(5, 2, each)
        assert (labels == labels[:, :, :1]).all()
        assert (labels[:, 0, 0] != labels[:, 1, 0]).all()
    assert all(len(set(rows)) == 6 for rows in problem.episodes.support_rows.tolist())


def test_every_strategy_of_a_seed_gets_the_same_episodes_and_another_seed_others() -> None:
    task = FewShot(ways=2, shots=1, queries=4, episodes=10)
    first, same = (build(task, source).episodes for source in (SOURCE, None))
    other = task.build(SOURCE, TARGET, Seeds(1), "last").episodes
    assert first is not None
    assert same is not None
    assert other is not None
    assert np.array_equal(first.support_rows, same.support_rows)
    assert np.array_equal(first.query_rows, same.query_rows)
    assert not np.array_equal(first.support_rows, other.support_rows)


def test_kept_episodes_are_those_drawn_anew_and_follow_the_labels_the_seed_and_the_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rows(task: FewShot, target: Domain = TARGET, seed: int = 0) -> list[Any]:
        found = task.build(None, target, Seeds(seed), "last").episodes
        assert found is not None
        return [found.support_rows, found.query_rows]

    monkeypatch.setattr(few_shot, "_DRAWN", {})
    task = FewShot(ways=2, shots=2, queries=4, episodes=6)
    first, again = rows(task), rows(task)
    assert all(a is b for a, b in zip(first, again, strict=True))
    assert not any(part.flags.writeable for part in first)
    monkeypatch.setattr(few_shot, "_DRAWN", {})
    assert all(np.array_equal(a, b) for a, b in zip(first, rows(task), strict=True))
    turned = {name: replace(s, y=(np.asarray(s.y) + 1) % TARGET.num_classes) for name, s in TARGET.splits.items()}
    others = [
        rows(task, replace(TARGET, splits=turned)),
        rows(task, seed=1),
        rows(task, replace(TARGET, name="elsewhere")),
        rows(replace(task, queries=3)),
    ]
    assert not any(np.array_equal(first[0], other[0]) and np.array_equal(first[1], other[1]) for other in others)
    assert len(few_shot._DRAWN) == few_shot.KEPT_DRAWS  # and the first has gone


def test_within_groups_an_episodes_classes_are_of_one_group_and_groups_take_turns() -> None:
    names = tuple(f"{g}{c}" for g in "ab" for c in range(3))
    groups = np.repeat([0, 1], 3)
    target = domain("target", 20_000, names, groups=groups)
    problem = build(FewShot(ways=3, shots=1, queries=2, episodes=4, within_groups=True), target=target)
    assert problem.episodes is not None
    labels = np.asarray(problem.episodes.support.y)[problem.episodes.support_rows]
    assert [set(groups[row]) for row in labels] == [{0}, {1}, {0}, {1}]
    assert [sorted(row) for row in labels.tolist()] == [[0, 1, 2], [3, 4, 5]] * 2  # a whole group, in its own order


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (FewShot(ways=3, queries=4), "need 3 classes"),
        (FewShot(ways=2, shots=13), "need 2 classes"),
        (FewShot(ways=2, queries=9), "need 2 classes"),
    ],
)
def test_episodes_that_the_target_is_too_small_for_are_refused_with_the_numbers(task: Any, said: str) -> None:
    with pytest.raises(SkipTrial, match=said):
        build(task)


# ---- zero-shot -----------------------------------------------------------------------------------


def test_zero_shot_describes_both_domains_and_scores_the_unseen_classes() -> None:
    problem = build(ZeroShot())
    assert np.array_equal(problem.class_attributes["target"], np.eye(2, 4, 1))
    assert set(problem.test) == {"target"}
    assert problem.num_classes == 2


def test_generalised_zero_shot_scores_seen_and_unseen_examples_among_all_classes_the_seen_first() -> None:
    problem = build(ZeroShot(generalised=True))
    assert problem.num_classes == 5
    assert problem.harmonic
    assert np.array_equal(problem.class_attributes["target"], np.vstack([np.eye(3, 4), np.eye(2, 4, 1)]))
    assert set(np.asarray(problem.test["source"].y)) == {0, 1, 2}
    assert set(np.asarray(problem.test["target"].y)) == {3, 4}


def test_domains_without_attributes_or_with_other_ones_are_refused() -> None:
    with pytest.raises(SkipTrial, match="no class attributes"):
        build(ZeroShot(), target=replace(TARGET, class_attributes=None))
    with pytest.raises(SkipTrial, match="4 attributes and target by 7"):
        build(ZeroShot(), target=replace(TARGET, class_attributes=np.zeros((2, 7))))


# ---- graphs --------------------------------------------------------------------------------------


def graph(name: str, first: int) -> Domain:
    nodes = {
        part: Split({"attributes": np.asarray(s.x), "node": np.arange(len(s)) + 100 * (part == "test")}, s.y)
        for part, s in domain(name, first, SEEN).splits.items()
    }
    edges = np.array([[0, 1], [1, 0]])
    return Domain(name, nodes, SEEN, "graph", graph=Graph(np.zeros((200, 2), np.float32), edges))


def test_node_classification_shows_both_graphs_and_of_the_target_as_many_labels_as_were_asked_for() -> None:
    source, target = graph("source", 10_000), graph("target", 20_000)
    none = build(NodeClassification(), source, target)
    assert labelled_pools(none) == {"source"}
    assert set(none.graphs) == {"source", "target"}
    some = build(NodeClassification(labels=2), source, target)
    assert np.array_equal(np.bincount(np.asarray(some.train["target"].y)), [2, 2, 2])


def test_a_domain_that_is_no_graph_is_refused_for_node_classification() -> None:
    with pytest.raises(SkipTrial, match="is no graph"):
        build(NodeClassification())


@pytest.mark.parametrize("task", [FewShot(), ZeroShot(), Clustering(), NodeClassification()])
def test_a_selection_rule_that_needs_labels_which_the_setting_lacks_is_refused(task: Any) -> None:
    with pytest.raises(SkipTrial, match="target-val"):
        build(task, rule="target-val")
