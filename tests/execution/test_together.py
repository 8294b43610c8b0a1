"""Episodes together: scores, records and errors are those of one after the other, and each example is embedded once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from tlbench import Batch, Pool, Problem, Seeds, Status, TrialError
from tlbench.builtin.metrics import Accuracy
from tlbench.data.inputs import scaling
from tlbench.evaluation.predict import Conditions
from tlbench.execution import together
from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.episodes import RATED_EPISODES, EpisodeScorer
from tlbench.execution.switches import Switches
from tlbench.execution.together import scores_together
from tlbench.execution.trial import run_trial
from tlbench.plugins import Plugins
from tlbench.results import predictions
from tlbench.run import Options, Run
from tlbench.testing.settings import unseen_classes

if TYPE_CHECKING:
    from tlbench import Record

CPU = torch.device("cpu")


def means(support_END: Any, y_EN: Any, ways: int) -> Any:
    one_hot = nn.functional.one_hot(y_EN, ways).float()
    return one_hot.mT @ support_END / one_hot.sum(-2).unsqueeze(-1)


@dataclass(eq=False)
class Nearest:
    """The nearest class mean of what a network makes of examples; keeps how many it was given."""

    net: nn.Module = field(default_factory=nn.Identity)
    seen: list[int] = field(default_factory=list)
    at_once: list[int] = field(default_factory=list)

    def embed(self, x: Any) -> Any:
        self.seen.append(len(x))
        return self.net(x)

    def adapt(self, support: Batch) -> Any:
        with torch.no_grad():
            centres = means(self.net(support.x)[None], support.y[None], int(support.y.max()) + 1)
        return lambda x: -torch.cdist(self.net(x)[None].float(), centres)[0]

    def adapt_all(self, support: Batch) -> Any:
        self.at_once.append(len(support.x))
        centres = means(support.x, support.y, int(support.y.max()) + 1)
        return lambda query: -torch.cdist(query.float(), centres)


@pytest.fixture
def problem() -> Problem:
    toy = unseen_classes()
    return toy.task.build(toy.source, toy.target, Seeds(0), "last")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 8))


def conditions(precision: str = "float32") -> Conditions:
    return Conditions(CPU, precision, scaling(None, CPU))


def both(problem: Problem, net: nn.Module, precision: str = "float32") -> tuple[Any, Any]:
    """The scores [E, Q, W] together and one by one."""
    found = []
    for at_once in (True, False):
        scorer = EpisodeScorer(problem, Nearest(net), {"accuracy": Accuracy()}, conditions(precision), at_once)
        scorer.final()
        found.append(scorer.predictions.pools["target"])
    np.testing.assert_array_equal(found[0].y, found[1].y)
    return found[0].scores, found[1].scores


def test_scores_are_those_of_one_episode_after_the_other_in_their_order(problem: Problem) -> None:
    ours, theirs = both(problem, network())
    assert ours.shape == (40, 40, 4)
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not np.allclose(ours[0], ours[1], atol=0.1)


def test_queries_and_not_support_are_embedded_in_the_precision_of_the_trial(problem: Problem) -> None:
    """As a predictor sees queries and `adapt` sees support; so a coarse type leaves no larger gap than rounding."""
    ours, theirs = both(problem, network(), "bfloat16")
    exact, _ = both(problem, network())
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert np.abs(ours - exact).max() > 1e-3


def test_each_distinct_example_is_embedded_once(problem: Problem) -> None:
    assert problem.episodes is not None
    adaptable = Nearest(network())
    [*scores_together(adaptable, problem, conditions(), range(40))]
    distinct = sum(len(np.unique(r)) for r in (problem.episodes.support_rows, problem.episodes.query_rows))
    assert sum(adaptable.seen) == distinct + 1  # and one to know the size of features
    assert distinct < 300 < problem.episodes.query_rows.size


def test_chosen_episodes_are_scored_alone(problem: Problem) -> None:
    every = [*scores_together(Nearest(network()), problem, conditions(), range(40))]
    some = [*scores_together(Nearest(network()), problem, conditions(), (7, 3, 3))]
    for one, index in zip(some, (7, 3, 3), strict=True):
        np.testing.assert_allclose(one, every[index], rtol=1e-5, atol=1e-6)


def test_memory_is_bounded_of_features_kept_and_of_those_handed_over(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [*scores_together(Nearest(network()), problem, conditions(), range(40))]
    example = 4 * 8  # bytes
    monkeypatch.setattr(together, "KEPT_BYTES", 3 * 44 * example)  # three episodes of 44 examples
    monkeypatch.setattr(together, "AT_ONCE_BYTES", 2 * 44 * example)
    adaptable = Nearest(network())
    found = [*scores_together(adaptable, problem, conditions(), range(40))]
    np.testing.assert_allclose(found, every, rtol=1e-4, atol=1e-5)
    assert adaptable.at_once == [*13 * [2, 1], 1]
    assert max(adaptable.seen) <= 3 * 40
    monkeypatch.setattr(together, "AT_ONCE_BYTES", 1)  # an episode is the least
    adaptable = Nearest(network())
    np.testing.assert_allclose([*scores_together(adaptable, problem, conditions(), range(3))], every[:3], rtol=1e-4)
    assert adaptable.at_once == [1, 1, 1]


def test_inputs_of_several_parts_are_embedded_by_their_rows(problem: Problem) -> None:
    @dataclass(eq=False)
    class OfParts(Nearest):
        def embed(self, x: Any) -> Any:
            return super().embed(x["a"] + x["b"])

    def parts(pool: Pool) -> Pool:
        return replace(pool, x={"a": np.asarray(pool.x) - 1, "b": np.ones_like(pool.x)})  # type: ignore[arg-type]

    assert problem.episodes is not None
    episodes = replace(problem.episodes, support=parts(problem.episodes.support))
    split = replace(problem, episodes=episodes, test={"target": parts(problem.test["target"])})
    whole = [*scores_together(Nearest(network()), problem, conditions(), range(5))]
    np.testing.assert_allclose([*scores_together(OfParts(network()), split, conditions(), range(5))], whole, atol=1e-4)


@pytest.mark.parametrize(
    ("member", "wrong", "why"),
    [
        ("embed", lambda x: x[:, None], r"embed\(\) gave features of shape \[116, 1, 30\]; expected \[B, D\]"),
        ("embed", lambda x: x[:1].repeat(300, 1), r"embed\(\) gave features of shape \[300, 30\]"),
        (
            "adapt_all",
            lambda s: lambda q: q[0],
            r"gave scores of shape \[40, 30\]; expected \[E, Q, W\] = \[40, 40, 4\]",
        ),
        ("adapt_all", lambda s: lambda q: 1, "gave a int; expected"),
        ("adapt_all", lambda s: lambda q: q[..., :4] / 0, r"scores that are not finite for 1600 of 1600 examples"),
    ],
)
def test_features_and_scores_of_another_shape_or_kind_are_named(
    problem: Problem, member: str, wrong: Any, why: str
) -> None:
    adaptable = Nearest()
    setattr(adaptable, member, wrong)
    with pytest.raises(TrialError, match=why):
        [*scores_together(adaptable, problem, conditions(), range(40))]


SUITE = """
tlbench: 1
name: episodes
sources: [{name: digits, classes: [0, 1, 2, 3, 4]}]
targets: [{name: digits, classes: [5, 6, 7, 8, 9]}]
tasks: [{name: few-shot, ways: 4, shots: 2, queries: 5, episodes: 60}]
backbones: [{name: small-cnn, size: 8, channels: 1, width: 4, depth: 1}]
strategies: [together]
seeds: 1
recipe: {steps: 6, batch_size: 16, curve_points: 2}
metrics: [accuracy]
"""


def record(folder: Path, share: bool) -> tuple[Record, Any]:
    folder.mkdir()
    plugins = Plugins.discover(extra=[str(Path(__file__).parent / "adapts_all.py")], entry_points=False)
    (folder / "suite.yaml").write_text(SUITE)
    run = Run.of(str(folder / "suite.yaml"), plugins, Options(cache=folder / "cache", out=folder / "run"))
    spec = make_spec(
        plugins=plugins, run=folder / "run", base=folder, data_root=None, cache=folder / "cache", suite="episodes",
        metrics=("accuracy",), device="cpu", save_predictions=True,
        switches=Switches(episodes=share),
    )  # fmt: skip
    (trial,) = (t for t in run.plan({}).trials if t.strategy.name == "together")
    found = run_trial(trial, Bench(spec))
    assert found.status == Status.OK, found.reason
    return found, predictions.read(folder / "run", found)


def test_a_record_says_the_same_whether_episodes_were_scored_together_or_one_by_one(tmp_path: Path) -> None:
    (ours, scores), (theirs, others) = record(tmp_path / "a", True), record(tmp_path / "b", False)
    assert ours.metrics == theirs.metrics
    assert ours.data["episodes"] == theirs.data["episodes"]
    assert ours.data["episodes"]["half_width"]["accuracy"] > 0
    assert {k: v for k, v in ours.curve.items() if k != "seconds"} == {  # type: ignore[union-attr]
        k: v
        for k, v in theirs.curve.items()
        if k != "seconds"  # type: ignore[union-attr]
    }
    assert len(ours.curve["scores"]) == 3  # type: ignore[index]
    np.testing.assert_array_equal(scores["target"].y, others["target"].y)
    np.testing.assert_allclose(scores["target"].scores, others["target"].scores, rtol=1e-3, atol=1e-4)
    assert ours.losses == theirs.losses
    assert ours.cost == theirs.cost


def test_the_rate_of_inference_is_of_single_episodes_from_inputs_to_scores(tmp_path: Path) -> None:
    (ours, _), (theirs, _) = record(tmp_path / "a", True), record(tmp_path / "b", False)
    assert ours.throughput is not None
    assert theirs.throughput is not None
    ours_rate, their_rate = ours.throughput["inference"], theirs.throughput["inference"]
    assert ours_rate["windows"] == RATED_EPISODES - 1  # the first is warm-up
    assert their_rate["windows"] == 60 - 1
    assert 0.1 < ours_rate["median"] / their_rate["median"] < 10  # the same quantity; shared features would be far off
    assert ours.throughput["latency_ms"] is None
