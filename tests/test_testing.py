"""The checks for authors: each passes for a sound plugin and fails, saying why, for one that is broken in one way."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlbench.api.data import Domain, Pool, Problem, Shape, Split
from tlbench.api.records import Record, Status
from tlbench.api.types import Group
from tlbench.builtin.digits import Digits
from tlbench.builtin.fine_tune import FineTune
from tlbench.builtin.references import Scratch, SourceOnly
from tlbench.builtin.reporters import Csv, Json, Markdown, Parquet
from tlbench.builtin.small_backbones import MLP, Trunk
from tlbench.execution.in_process import InProcess
from tlbench.functional import supervised
from tlbench.testing import (
    check_backbone,
    check_beats,
    check_dataset,
    check_executor,
    check_metric,
    check_reporter,
    check_strategy,
    check_task,
    covariate_shift,
    few_labels,
    reachable_arrays,
    score,
)

TARGET = frozenset({"target"})


# ---- strategies ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A sound strategy that the broken ones derive from."""

    name: ClassVar[str] = "method"
    needs: ClassVar[frozenset[str]] = TARGET

    def fit(self, ctx: Any) -> Any:
        model = ctx.classifier()
        ctx.train(supervised(model), update=model)
        return model


@dataclass(frozen=True)
class Draws(Method):
    """Sound: draws from every generator that the host seeds."""

    def fit(self, ctx: Any) -> Any:
        noise = torch.rand(3) + float(ctx.rng.random()) + float(np.random.rand()) + random.random()
        model = ctx.classifier()

        def loss(batch: Any, step: Any) -> Any:
            return F.cross_entropy(model(F.dropout(batch.x, 0.2)) + noise, batch.y)

        ctx.train(loss, update=model)
        return lambda x: model(x) + noise


@dataclass(frozen=True)
class Stateful(Method):
    """Remembers how often it was fitted."""

    calls: ClassVar[Any] = itertools.count()

    def fit(self, ctx: Any) -> Any:
        model, turn = super().fit(ctx), next(self.calls)
        return lambda x: model(x) + turn * torch.arange(3)


@dataclass(frozen=True)
class ChangesItself(Method):
    """Writes to itself in spite of being frozen."""

    def fit(self, ctx: Any) -> Any:
        object.__setattr__(self, "model", super().fit(ctx))
        return self.model  # type: ignore[attr-defined]


@dataclass(frozen=True)
class FillsAList(Method):
    """Collects in a parameter."""

    seen: list[int] = field(default_factory=list)

    def fit(self, ctx: Any) -> Any:
        self.seen.append(1)
        return super().fit(ctx)


@dataclass(frozen=True)
class Unseeded(Method):
    """Draws from a generator of its own."""

    def fit(self, ctx: Any) -> Any:
        model, noise = super().fit(ctx), torch.from_numpy(np.random.default_rng().normal(size=3)).float()
        return lambda x: model(x) + noise


@dataclass(frozen=True)
class ChangesBatches(Method):
    """Standardises what it was given, in place."""

    what: str = "x"

    def fit(self, ctx: Any) -> Any:
        if self.what == "x":
            ctx._tensors("target")[0].zero_()
        if self.what == "y":
            ctx.features("target").y.zero_()
        if self.what == "features":
            ctx.features("target").x.zero_()
        if self.what == "pool":
            ctx.given["target"].x[:] = 0  # the same at each call: only the first can be seen
        if self.what == "labels":
            ctx.given["target"].y[:] = 0
        return super().fit(ctx)


@dataclass(frozen=True)
class Returns(Method):
    """Returns something else than a predictor of scores [B, C]."""

    what: str = "nan"

    def fit(self, ctx: Any) -> Any:
        model = super().fit(ctx)
        return {
            "nan": lambda x: model(x) / 0 - model(x) / 0,
            "inf": lambda x: model(x) * torch.inf,
            "labels": lambda x: model(x).argmax(1),
            "wide": lambda x: torch.cat([model(x), model(x)], 1),
            "array": lambda x: model(x).detach().numpy(),
            "nothing": None,
            "other pools": {"elsewhere": model},
        }[self.what]


@dataclass(frozen=True)
class Greedy(Method):
    """Trains longer than the recipe allows."""

    def fit(self, ctx: Any) -> Any:
        model = super().fit(ctx)
        ctx.train(supervised(model), update=model, steps=1)
        return model


@dataclass(frozen=True)
class ForgetsOnResume(Method):
    """Keeps something between steps that no checkpoint has."""

    def fit(self, ctx: Any) -> Any:
        model = ctx.classifier()
        mean = torch.zeros(())

        def loss(batch: Any, step: Any) -> Any:
            nonlocal mean
            value = F.cross_entropy(model(batch.x), batch.y)
            mean = 0.9 * mean + value.detach()
            return value * mean

        ctx.train(loss, update=model)
        return model


@dataclass(frozen=True)
class Undeclared(Method):
    """Takes a pool that it did not declare."""

    def fit(self, ctx: Any) -> Any:
        model = ctx.classifier()
        ctx.train(supervised(model), update=model, on=("source",))
        return model


@dataclass
class Unfrozen:
    """A dataclass that is not frozen."""

    name: ClassVar[str] = "unfrozen"
    needs: ClassVar[frozenset[str]] = TARGET

    def fit(self, ctx: Any) -> Any:
        return Method().fit(ctx)


class Plain:
    """Not a dataclass."""

    name = "plain"
    needs = TARGET

    def fit(self, ctx: Any) -> Any:
        return Method().fit(ctx)


@dataclass(frozen=True)
class Undocumented(Method):
    pass


Undocumented.__doc__ = None


@dataclass(frozen=True)
class Nameless:
    """Has no name."""

    needs: ClassVar[frozenset[str]] = TARGET

    def fit(self, ctx: Any) -> Any:
        return Method().fit(ctx)


@dataclass(frozen=True)
class Needless:
    """States its needs as a list."""

    name: ClassVar[str] = "needless"
    needs: ClassVar[Any] = ["target"]

    def fit(self, ctx: Any) -> Any:
        return Method().fit(ctx)


@dataclass(frozen=True)
class Fitless:
    """Has no fit."""

    name: ClassVar[str] = "fitless"
    needs: ClassVar[frozenset[str]] = TARGET


@dataclass(frozen=True)
class Demanding(Method):
    """Has a parameter without a default."""

    weight: float = field(kw_only=True)


@dataclass(frozen=True)
class Wishful(Method):
    """Needs a pool that no task has."""

    needs: ClassVar[frozenset[str]] = frozenset({"the future"})


@pytest.mark.parametrize("strategy", [Method(), Draws(), FineTune(lr=0.5)], ids=str)
def test_a_sound_strategy_passes(strategy: Any) -> None:
    check_strategy(strategy)


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (Stateful(), "the same seed gave other scores"),
        (Unseeded(), r"the same seed gave other scores: draw from ctx\.rng"),
        (ChangesItself(), "changed the strategy itself"),
        (FillsAList(), "changed the strategy itself"),
        (ChangesBatches(what="x"), "changed the batches of target in place"),
        (ChangesBatches(what="y"), "changed the labels of target in place"),
        (ChangesBatches(what="features"), "changed the features of target in place"),
        (ChangesBatches(what="pool"), "changed the pool target"),
        (ChangesBatches(what="labels"), "changed the labels of target"),
        (Returns(what="nan"), "scores that are not finite for 256 of 300|scores that are not finite for 300 of 300"),
        (Returns(what="inf"), "not finite"),
        (Returns(what="labels"), r"scores of shape \[256\]; expected \[B, C\] = \[256, 3\]"),
        (Returns(what="wide"), r"scores of shape \[256, 6\]; expected \[B, C\] = \[256, 3\]"),
        (Returns(what="array"), "gave a ndarray; expected a tensor of scores"),
        (Returns(what="nothing"), r"fit\(\) returned a NoneType; expected a predictor"),
        (Returns(what="other pools"), r"predictors for \['elsewhere'\]; the task also scores target"),
        (Greedy(), "asked for 1 steps of training, but 0 of 24 are left"),
        (ForgetsOnResume(), "stopped and resumed, it gave other scores"),
        (Undeclared(), "unknown pool 'source'"),
        (Unfrozen(), "must be a frozen dataclass"),
        (Plain(), "must be a dataclass"),
        (Undocumented(), "needs a docstring"),
        (Nameless(), "needs `name: ClassVar"),
        (Needless(), "`needs` must be a frozenset"),
        (Fitless(), "needs the method `fit`"),
        (Demanding(weight=1.0), "the parameter 'weight' of a strategy needs a default"),
        (Wishful(), r"needs \['the future'\], which the toy problem does not have"),
    ],
    ids=lambda v: type(v).__name__ + str(getattr(v, "what", "")) if not isinstance(v, str) else "",
)
def test_a_broken_strategy_is_told_what_is_wrong(strategy: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_strategy(strategy)


def test_what_a_strategy_changes_does_not_outlive_the_check() -> None:
    before = score(FineTune(), few_labels())
    with pytest.raises(AssertionError):
        check_strategy(ChangesBatches(what="pool"))
    assert score(FineTune(), few_labels()) == before


def test_beating_the_reference_is_not_given_away() -> None:
    with pytest.raises(AssertionError, match=r"scratch reaches .* and scratch .*; expected at least 0\.05 more"):
        check_beats(Scratch(), few_labels())
    with pytest.raises(AssertionError, match=r"expected at least 0\.05 more"):
        check_beats(SourceOnly(), covariate_shift())
    check_beats(FineTune(), few_labels(), seeds=(0,))


def test_arrays_are_found_behind_closures_and_views_and_in_slots() -> None:
    hidden, base = torch.ones(3), np.arange(10)

    @dataclass(frozen=True, slots=True)
    class Slotted:
        x: Any

    def reads() -> Any:
        return hidden

    found = reachable_arrays([{"a": reads}, Slotted(base[2:4])])
    assert any(item is hidden for item in found)
    assert any(item is base for item in found)
    assert not any(item is hidden or item is base for item in reachable_arrays([nn.Linear(2, 2), np.zeros(3)]))


# ---- backbones -----------------------------------------------------------------------------------


class _Net(Trunk):
    """A small net whose parts can be replaced one by one."""

    def __init__(self, fault: str) -> None:
        super().__init__([nn.Sequential(nn.Linear(7, 5), nn.ReLU()), nn.Linear(5, 4)], 4, None)
        self.fault = fault
        if fault == "frozen":
            self.net[0].requires_grad_(False)
        if fault == "own generator":
            with torch.no_grad():
                generator = torch.Generator().manual_seed(int(np.random.default_rng().integers(1 << 40)))
                self.net[1].weight.copy_(torch.rand(4, 5, generator=generator))  # type: ignore[operator]
        if fault == "size":
            self.num_features = 9
        if fault == "no size":
            del self.num_features

    @property
    def blocks(self) -> Any:
        parts = list(self.net)
        return {
            "left out": parts[:1],
            "twice": [*parts, parts[0]],
            "foreign": [*parts, nn.Linear(1, 1)],
        }.get(self.fault, parts)

    def forward(self, x: Any) -> Any:
        features = self.net(x)
        return {
            "nan": features * torch.nan,
            "map": features[:, :, None],
            "restless": features + torch.rand(4),
        }.get(self.fault, features)


@dataclass(frozen=True)
class Body:
    """A backbone with a fault."""

    name: ClassVar[str] = "body"
    pretrained_on: ClassVar[Any] = None
    fault: str = ""

    def load(self, shape: Shape, *, pretrained: bool = True) -> Any:
        return (lambda x: x) if self.fault == "function" else _Net(self.fault)


@dataclass(frozen=True)
class Unsaid:
    """Does not say what it was trained on."""

    name: ClassVar[str] = "unsaid"

    def load(self, shape: Shape, *, pretrained: bool = True) -> Any:
        return _Net("")


NUMBERS = Shape("features", (7,))


def test_a_sound_backbone_passes() -> None:
    check_backbone(Body(), NUMBERS)
    check_backbone(MLP())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("frozen", r"load\(\) froze net\.0\.0\.bias, net\.0\.0\.weight"),
        ("own generator", "random weights differ for the same seed"),
        ("size", r"features have shape \[2, 4\], expected \[2, 9\]"),
        ("no size", "needs `num_features`"),
        ("left out", r"in no block: net\.1\.bias, net\.1\.weight"),
        ("twice", r"in two blocks: net\.0\.0\.bias, net\.0\.0\.weight"),
        ("foreign", "parameters that the model does not have"),
        ("nan", "features are not finite"),
        ("map", r"features have shape \[2, 4, 1\], expected \[2, 4\]"),
        ("restless", "differ between two passes"),
        ("function", "returned a function; expected an nn.Module"),
    ],
)
def test_a_broken_backbone_is_told_what_is_wrong(fault: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_backbone(Body(fault=fault), NUMBERS)


def test_a_backbone_must_say_what_it_was_trained_on() -> None:
    with pytest.raises(AssertionError, match="needs `pretrained_on`"):
        check_backbone(Unsaid(), NUMBERS)


# ---- data sets -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """A data set with a fault."""

    name: ClassVar[str] = "data"
    fault: str = ""

    def load(self, cache: Any) -> Domain:
        rng = np.random.default_rng(None if self.fault == "other examples" else 0)
        x = rng.normal(size=(12, 4)).astype(np.float32)
        y = np.arange(12) % 3
        train, test = Split(x[:8].copy(), y[:8].copy()), Split(x[8:].copy(), y[8:].copy())
        kind: Any = "features"
        if self.fault == "shared":
            train, test = Split(x[:8], y[:8].copy()), Split(x[4:], y[4:].copy())
        if self.fault == "no test":
            return Domain("data", {"train": train}, ("a", "b", "c"), kind)
        if self.fault == "dtype of labels":
            test = replace(test, y=test.y.astype(np.int32))
        if self.fault == "negative":
            test = replace(test, y=test.y - 1)
        if self.fault == "too many":
            test = replace(test, y=test.y + 1)
        if self.fault == "empty":
            test = Split(x[:0], y[:0])
        if self.fault == "dtype":
            test = replace(test, x=x[8:].astype(np.float64))
        if self.fault == "lengths":
            test = replace(test, x=x[9:].copy())
        if self.fault == "widths":
            test = replace(test, x=x[8:, :2].copy())
        if self.fault == "nan":
            x[9] = np.nan
            test = replace(test, x=x[8:].copy())
        if self.fault == "other labels":
            train = replace(train, y=np.random.default_rng().permutation(np.repeat(np.arange(3), 1000)),
                            x=np.zeros((3000, 4), np.float32))  # fmt: skip
        names: tuple[str, ...] = ()
        if self.fault.startswith("groups"):
            names = ("left", "right")
            train, test = (replace(split, group=split.y // 2) for split in (train, test))
            changed = {
                "groups unnamed": (test, ()),
                "groups of one split": (replace(test, group=None), names),
                "groups of another type": (replace(test, group=test.y.astype(np.int32) // 2), names),
                "groups too few": (replace(test, group=test.y[1:] // 2), names),
                "groups too many": (replace(test, group=test.y), names),
            }
            test, names = changed.get(self.fault, (test, names))
        return Domain("data", {"train": train, "test": test}, ("a", "b", "c"), kind, group_names=names)


def test_a_sound_data_set_passes_and_is_returned() -> None:
    domain = check_dataset(Data())
    assert domain.num_classes == 3
    assert len(domain.splits["test"]) == 4
    check_dataset(Digits())
    grouped = check_dataset(Data(fault="groups"))
    assert grouped.splits["test"].group is not None


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no test", r"needs train and test splits; this one has \['train'\]"),
        ("dtype of labels", "labels of test are int32, expected int64"),
        ("negative", "the split test has negative labels"),
        ("too many", "the split test has labels beyond its 3 classes"),
        ("empty", "the split test is empty"),
        ("dtype", "test is float64, expected float32"),
        ("lengths", "test has 3 examples and 4 labels"),
        ("widths", r"examples of test have shape \(2,\), those of train \(4,\)"),
        ("nan", "test has values that are not finite"),
        ("shared", "two splits share memory"),
        ("groups unnamed", "groups of examples go into every split, and their names"),
        ("groups of one split", "groups of examples go into every split"),
        ("groups of another type", "the groups of test are int32, expected int64"),
        ("groups too few", "test has 3 groups and 4 labels"),
        ("groups too many", "beyond its 2 names"),
        ("other labels", "the labels of train differ between two loads"),
        ("other examples", "the examples of train differ between two loads"),
    ],
)
def test_a_broken_data_set_is_told_what_is_wrong(fault: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_dataset(Data(fault=fault))


# ---- tasks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A task with a fault."""

    name: ClassVar[str] = "setting"
    offers: ClassVar[frozenset[str]] = frozenset({"target", "target_unlabelled"})
    withholds: ClassVar[frozenset[str]] = frozenset({"secret"})
    references: ClassVar[tuple[str, ...]] = ("scratch",)
    start: ClassVar[str] = "weights"
    needs_source: ClassVar[bool] = False
    fault: str = ""

    def build(self, source: Any, target: Domain, seeds: Any, selection: str) -> Problem:
        split, other = target.splits["train"], target.splits["test"]
        rows = np.random.default_rng().permutation(len(split))[:20] if self.fault == "unpaired" else np.arange(20)
        assert not isinstance(split.x, dict)
        x: Any = split.x
        train = {"target": Pool(x[rows], split.y[rows], 3), "target_unlabelled": Pool(x[20:], None, 3)}
        test: dict[str, Pool] = {"target": Pool(other.x, other.y, 3)}
        withheld = {"secret": Pool(x, split.y, 3)}
        validation = None
        if self.fault == "not offered":
            train["more"] = train["target"]
        if self.fault == "labelled":
            train["target_unlabelled"] = Pool(x[20:], split.y[20:], 3)
        if self.fault == "leak":
            train["target"] = Pool(other.x, other.y, 3)
        if self.fault == "blind test":
            test = {"target": Pool(other.x, None, 3)}
        if self.fault == "no test":
            test = {}
        if self.fault == "empty":
            train["target"] = Pool(x[:0], split.y[:0], 3)
        if self.fault == "other secret":
            withheld = {"unsaid": withheld["secret"]}
        if self.fault == "other labels":
            train["target"] = Pool(x[rows], np.random.default_rng().integers(1 << 40, size=20), 3)
        if self.fault == "blind choice" and selection == "target-val":
            validation = Pool(x[:5], None, 3)
        return Problem(train, test, 3, withheld=withheld, validation=validation)


@dataclass(frozen=True)
class Unstated:
    """Does not say what it offers."""

    name: ClassVar[str] = "unstated"

    def build(self, *args: Any) -> Any:
        return Setting().build(*args)


def test_a_sound_task_passes() -> None:
    check_task(Setting())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("not offered", r"pools \['more'\] are not in `offers`"),
        ("labelled", "the pool target_unlabelled has labels"),
        ("leak", "the pool target has labelled test examples"),
        ("blind test", "the test pool target has no labels"),
        ("no test", "nothing is scored"),
        ("empty", "the pool target is empty"),
        ("unpaired", "the pool target differs for the same seed"),
        ("other labels", "the labels of target differ for the same seed"),
        ("other secret", r"pools \['unsaid'\] are not in `withholds`"),
        ("blind choice", "the validation pool of the rule 'target-val' has no labels"),
    ],
)
def test_a_broken_task_is_told_what_is_wrong(fault: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_task(Setting(fault=fault))


def test_a_task_must_state_what_it_offers() -> None:
    with pytest.raises(AssertionError, match="a task needs `offers`"):
        check_task(Unstated())


# ---- metrics -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """A metric with a fault."""

    name: ClassVar[str] = "measure"
    higher_is_better: ClassVar[bool] = True
    fault: str = ""

    def score(self, scores: Any, y: Any) -> Any:
        right = scores.argmax(1) == y
        return {
            "error": float(1 - right.mean()),
            "int": int(right.sum()),
            "nan": float("nan"),
            "order": float(right[:30].mean() + 0.1 * scores[0, 0]),
        }.get(self.fault, float(right.mean()))


def test_a_sound_metric_passes() -> None:
    check_metric(Measure())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("error", "`higher_is_better` does not fit"),
        ("int", "returns a float, not a int"),
        ("nan", "the metric is not finite"),
        ("order", "depends on the order"),
    ],
)
def test_a_broken_metric_is_told_what_is_wrong(fault: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_metric(Measure(fault=fault))


@dataclass(frozen=True)
class GroupMeasure:
    """A metric over groups with a fault."""

    name: ClassVar[str] = "group-measure"
    higher_is_better: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"group"})
    fault: str = ""

    def score(self, scores: Any, y: Any, group: Any) -> float:
        right = scores.argmax(1) == y
        if self.fault == "names":
            return float(right[group > group.mean()].mean())
        if self.fault == "error":
            return float(max((~right[group == g]).mean() for g in np.unique(group)))
        return float(min(right[group == g].mean() for g in np.unique(group)))


@dataclass(frozen=True)
class Unmet(GroupMeasure):
    """A metric that needs what there is not."""

    needs: ClassVar[frozenset[str]] = frozenset({"group", "weather"})


@dataclass(frozen=True)
class Likeness:
    """A metric that compares backbones, with a fault."""

    name: ClassVar[str] = "likeness"
    fault: str = ""

    def compare(self, before: Any, after: Any) -> Any:
        apart = np.square(before - after).mean()
        return {"order": float(before[0] @ after[0]), "nan": float("nan"), "array": apart[None]}.get(
            self.fault, float(-apart)
        )


def test_sound_metrics_over_groups_and_of_backbones_pass() -> None:
    check_metric(GroupMeasure())
    check_metric(Likeness())


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (GroupMeasure(fault="names"), "depends on the groups' numbers"),
        (GroupMeasure(fault="error"), "`higher_is_better` does not fit"),
        (Unmet(), "a metric may need `group` and nothing else"),
        (Likeness(fault="order"), "depends on the order"),
        (Likeness(fault="nan"), "not finite"),
        (Likeness(fault="array"), r"compare\(\) returns a float, not a ndarray"),
    ],
)
def test_broken_ones_are_told_what_is_wrong(metric: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_metric(metric)


# ---- executors -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runner:
    """An executor with a fault."""

    name: ClassVar[str] = "runner"
    fault: str = ""

    def run(self, plan: Any, work: Any) -> Iterator[Record]:
        trials = list(plan.todo)
        if self.fault == "backwards":
            trials.reverse()
        if self.fault == "forgets":
            trials.pop()
        for trial in trials:
            if work.stopping() and self.fault != "deaf":
                return
            if self.fault != "silent":
                work.started(trial, "here")
            record = work(trial)
            if self.fault == "gives up" and record.status == Status.FAILED:
                return
            if self.fault == "glosses over":
                record = replace(record, status=Status.OK)
            yield record
            if self.fault == "stutters":
                yield record


def test_a_sound_executor_passes() -> None:
    check_executor(Runner())
    check_executor(InProcess())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("backwards", "a trial ran before its parent"),
        ("forgets", "each trial must get one record"),
        ("gives up", "each trial must get one record"),
        ("stutters", "each trial must get one record"),
        ("glosses over", "the record of a failed trial must say so"),
        ("silent", r"announced by `work\.started`"),
        ("deaf", r"although `work\.stopping\(\)` said to stop"),
    ],
)
def test_a_broken_executor_is_told_what_is_wrong(fault: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_executor(Runner(fault=fault))


# ---- reporters -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Writer:
    """A reporter with a fault."""

    name: ClassVar[str] = "writer"
    fault: str = ""

    def report(self, leaderboard: Any, folder: Path) -> Any:
        path = folder / "board.txt"
        if self.fault == "outside":
            path = folder.parent / f"{folder.name}-outside.txt"
        if self.fault != "unwritten":
            path.write_text("board")
        return [] if self.fault == "silent" else [path]


@pytest.mark.parametrize("reporter", [Writer(), Csv(), Json(), Markdown(), Parquet()], ids=str)
def test_a_sound_reporter_passes(reporter: Any) -> None:
    check_reporter(reporter)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("outside", "is outside the folder"),
        ("unwritten", "was not written"),
        ("silent", "returns the files that it wrote"),
    ],
)
def test_a_broken_reporter_is_told_what_is_wrong(fault: str, words: str, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(AssertionError, match=words):
        check_reporter(Writer(fault=fault))


def test_groups_are_what_a_strategy_names() -> None:
    """A method that trains in groups keeps the contract as well."""

    @dataclass(frozen=True)
    class Grouped(Method):
        """Two rates."""

        def fit(self, ctx: Any) -> Any:
            model = ctx.classifier()
            ctx.train(supervised(model), update=[Group(model.head, lr=10.0), Group(model.backbone, weight_decay=0.0)])
            return model

    check_strategy(Grouped())
