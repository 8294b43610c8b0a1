"""The built-in strategies: their contract, their formulas, what they freeze and at which rates they train."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

from tlbench.api.data import Domain, Pool, Seeds, Shape, Split
from tlbench.api.recipe import Recipe
from tlbench.api.types import Group
from tlbench.builtin.fine_tune import FineTune
from tlbench.builtin.l2_sp import L2SP, l2_sp_penalty
from tlbench.builtin.linear_probe import ABSENT, LinearProbe
from tlbench.builtin.references import Majority, Scratch, SourceOnly, SourceTraining, TargetOracle
from tlbench.builtin.small_backbones import MLP, Identity, SmallCNN
from tlbench.builtin.tasks import Adaptation
from tlbench.errors import TrialError
from tlbench.functional import class_means, reverse_gradient, supervised
from tlbench.models.factory import ModelFactory
from tlbench.testing import check_beats, check_strategy, covariate_shift, few_labels, score
from tlbench.training.checkpoint import Checkpoints
from tlbench.training.context import TrialContext, open_context
from tlbench.training.tape import Tape

CPU = torch.device("cpu")
GD = Recipe(steps=1, batch_size=64, optimizer="sgd", momentum=0.0, weight_decay=0.0, lr=0.1, schedule="constant")


def _context(backbone: Any, recipe: Recipe, pools: dict[str, Pool] | None = None) -> TrialContext:
    """A context with a labelled target of 64 random examples, or with these pools."""
    if pools is None:
        rng = np.random.default_rng(5)
        shape = (64, 3, 8, 8) if isinstance(backbone, SmallCNN) else (64, 7)
        x = rng.normal(size=shape).astype(np.float32)
        pools = {"target": Pool(x, rng.integers(3, size=64), 3)}
    first = next(iter(pools.values()))
    dims = tuple(np.asarray(first.x).shape[1:])
    shape_ = Shape("image" if len(dims) == 3 else "features", dims)
    models = ModelFactory(backbone, "b", shape_, Seeds(0), CPU)
    return open_context(
        pools, num_classes=first.num_classes, models=models, recipe=recipe, start="weights", tape=Tape(None),
        checkpoints=Checkpoints(None),
    )  # fmt: skip


CNN = SmallCNN(size=8, width=4, depth=3)


def _fitted(strategy: FineTune, recipe: Recipe = GD, backbone: Any = CNN) -> tuple[Any, Any]:
    """The model before and after."""
    before = _context(backbone, recipe).classifier()
    after = strategy.fit(_context(backbone, recipe))
    return before, after


def _moved(before: nn.Module, after: nn.Module) -> float:
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    return float(torch.cat([(a - b).detach().flatten() for a, b in pairs]).norm())


# ---- the contract --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy",
    [
        Scratch(), Scratch(lr=0.1), SourceOnly(), TargetOracle(), SourceTraining(), Majority(),
        FineTune(), FineTune(train="head"), FineTune(freeze_first=1, backbone_lr=0.1), FineTune(freeze_last=1, lr=2.0),
        FineTune(freeze_first=1, freeze_last=1), FineTune(layer_decay=0.4, head_first=0.3), FineTune(head_first=0.99),
        LinearProbe(), LinearProbe(strengths=1), LinearProbe(folds=2), L2SP(), L2SP(alpha=0.0, beta=1.0),
    ],
    ids=str,
)  # fmt: skip
def test_the_contract_holds(strategy: Any) -> None:
    check_strategy(strategy)


@pytest.mark.parametrize(
    "strategy", [FineTune(), FineTune(layer_decay=0.5), FineTune(head_first=0.3), LinearProbe(), L2SP()], ids=str
)
def test_what_the_source_teaches_helps_where_labels_are_few(strategy: Any) -> None:
    check_beats(strategy, few_labels())


def test_labels_of_the_target_are_a_ceiling_and_a_source_alone_is_not() -> None:
    assert score(TargetOracle(), covariate_shift()) > 0.95
    assert score(SourceOnly(), covariate_shift()) < 0.75


# ---- fine-tune -----------------------------------------------------------------------------------


def test_the_head_alone_leaves_the_backbone_bit_for_bit_with_its_statistics() -> None:
    before, after = _fitted(FineTune(train="head"), replace(GD, steps=20))
    state = after.backbone.state_dict()
    for name, tensor in before.backbone.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert any("running_mean" in name for name in state)
    assert _moved(before.head, after.head) > 0


@pytest.mark.parametrize(("first", "last"), [(1, 0), (2, 0), (0, 1), (1, 1), (0, 2), (2, 1), (3, 0)])
def test_frozen_blocks_stay_bit_for_bit_and_the_others_move(first: int, last: int) -> None:
    strategy = FineTune(freeze_first=first, freeze_last=last, head_first=0.25)
    before, after = _fitted(strategy, replace(GD, steps=8))
    for i, (old, new) in enumerate(zip(before.backbone.blocks, after.backbone.blocks, strict=True)):
        frozen = i < first or i >= 3 - last
        same = all(torch.equal(a, b) for a, b in zip(old.state_dict().values(), new.state_dict().values(), strict=True))
        assert same == frozen, f"block {i}"
        assert (_moved(old, new) == 0) == frozen
    assert _moved(before.head, after.head) > 0


@pytest.mark.parametrize(("lr", "backbone_lr", "decay"), [(1.0, 1.0, 0.5), (2.0, 0.1, 1 / 2.6), (0.5, 3.0, 1.5)])
def test_each_part_moves_in_proportion_to_its_rate(lr: float, backbone_lr: float, decay: float) -> None:
    """One step of plain gradient descent moves a part by its rate times its gradient."""
    start, plain = _fitted(FineTune())
    _, tuned = _fitted(FineTune(lr=lr, backbone_lr=backbone_lr, layer_decay=decay))
    assert _moved(start.head, tuned.head) / _moved(start.head, plain.head) == pytest.approx(lr, rel=1e-3)
    for i in range(3):
        expected = lr * backbone_lr * decay ** (2 - i)
        base, moved = (_moved(start.backbone.blocks[i], m.backbone.blocks[i]) for m in (plain, tuned))
        assert moved / base == pytest.approx(expected, rel=1e-3), f"block {i}"


def test_a_step_of_fine_tuning_is_the_recipes_rate_times_the_gradient() -> None:
    ctx = _context(MLP(hidden=(5,)), GD)
    model = ctx.classifier()
    x, y = torch.from_numpy(np.asarray(ctx.given["target"].x)), torch.from_numpy(np.asarray(ctx.given["target"].y))
    F.cross_entropy(model(x), y).backward()
    expected = [(p - 0.1 * p.grad).detach() for p in model.parameters() if p.grad is not None]
    after: Any = FineTune().fit(ctx)
    for p, e in zip(after.parameters(), expected, strict=True):
        torch.testing.assert_close(p, e)


def test_the_head_trains_alone_first_for_its_share_and_the_rest_for_the_rest() -> None:
    trained: list[tuple[int, bool]] = []

    class Spy(TrialContext):
        def train(self, loss: Any, **options: Any) -> None:
            before = self.steps_left
            super().train(loss, **options)
            parts = options["update"]
            trained.append((before - self.steps_left, isinstance(parts, Group)))

    for share, steps, expected in (
        (0.25, 8, [(2, True), (6, False)]),
        (0.01, 8, [(1, True), (7, False)]),
        (0.99, 8, [(7, True), (1, False)]),
        (0.5, 1, [(1, False)]),
        (0.0, 8, [(8, False)]),
    ):
        ctx = _context(MLP(hidden=(5,)), replace(GD, steps=steps))
        ctx.__class__ = Spy
        trained.clear()
        FineTune(head_first=share).fit(ctx)
        assert trained == expected
        assert ctx.steps_left == 0


def test_freezing_more_blocks_than_there_are_is_said_before_anything_is_trained() -> None:
    ctx = _context(CNN, replace(GD, steps=8))
    with pytest.raises(TrialError, match=r"told to freeze 3 \+ 1 blocks; the backbone has 3"):
        FineTune(freeze_first=3, freeze_last=1, head_first=0.5).fit(ctx)
    assert ctx.steps_left == 8


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"lr": 0.0}, "lr must be positive"),
        ({"backbone_lr": -1.0}, "backbone_lr must be positive"),
        ({"layer_decay": 0.0}, "layer_decay must be positive"),
        ({"freeze_first": -1}, "freeze_first must not be negative"),
        ({"freeze_last": -1}, "freeze_last must not be negative"),
        ({"head_first": 1.0}, r"head_first must be in \[0, 1\)"),
        ({"train": "head", "freeze_first": 1}, "train: head freezes the whole backbone"),
        ({"train": "head", "head_first": 0.5}, "train: head freezes the whole backbone"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FineTune(**params)


@pytest.mark.parametrize("strategy", [FineTune(), FineTune(train="head"), FineTune(head_first=0.5), L2SP()], ids=str)
def test_a_backbone_without_parameters_is_a_linear_model(strategy: Any) -> None:
    ctx = _context(Identity(), replace(GD, steps=4))
    before, after = ctx.classifier(), strategy.fit(ctx)
    assert _moved(before.head, after.head) > 0


# ---- L2-SP ---------------------------------------------------------------------------------------


def test_the_penalty_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(1)
    w, s, h = ([rng.normal(size=shape) for shape in ((3, 4), (5,))] for _ in range(3))
    alpha, beta = 0.3, 0.07
    expected = alpha / 2 * sum(((a - b) ** 2).sum() for a, b in zip(w, s, strict=True))
    expected += beta / 2 * sum((a**2).sum() for a in h)
    tensors = [[torch.from_numpy(a) for a in group] for group in (w, s, h)]
    assert float(l2_sp_penalty(*tensors, alpha, beta)) == pytest.approx(expected)
    assert float(l2_sp_penalty(tensors[0], tensors[0], [], alpha, beta)) == 0.0


@dataclass(frozen=True)
class _Ridge:
    """Squared loss of a linear model with L2-SP's penalty, through the one training loop."""

    name: ClassVar[str] = "ridge"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    strength: float = 1.0

    def fit(self, ctx: Any) -> Any:
        linear = nn.Linear(7, 1, bias=False)
        nn.init.constant_(linear.weight, 0.5)
        start = [linear.weight.detach().clone()]
        value = torch.from_numpy(np.random.default_rng(2).normal(size=64)).float()

        def loss(target: Any, step: Any) -> Any:
            rows = target.y  # the labels say which row of the values
            fit = 0.5 * (linear(target.x)[:, 0] - value[rows]).square().sum()
            return {"fit": fit, "l2-sp": l2_sp_penalty(list(linear.parameters()), start, [], self.strength, 0.0)}

        ctx.train(loss, update=Group(linear, weight_decay=0.0))
        return linear


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
def test_the_optimum_of_a_linear_model_is_the_closed_form(strength: float) -> None:
    """w = (XᵀX + λI)⁻¹ (Xᵀy + λ w0), of Chelba & Acero 2004, is where L2-SP ends for the squared loss."""
    x = np.random.default_rng(3).normal(size=(64, 7)).astype(np.float32)
    pools = {"target": Pool(x, np.arange(64), 64)}
    recipe = replace(GD, steps=600, lr=1 / (np.linalg.eigvalsh(x.T @ x)[-1] + strength), weight_decay=0.5)
    found: Any = _Ridge(strength=strength).fit(_context(Identity(), recipe, pools))
    y = np.random.default_rng(2).normal(size=64)
    x = x.astype(np.float64)
    expected = np.linalg.solve(x.T @ x + strength * np.eye(7), x.T @ y + strength * 0.5 * np.ones(7))
    np.testing.assert_allclose(found.weight.detach().numpy()[0], expected, atol=1e-4)


def test_a_step_is_pulled_to_the_start_and_not_to_zero_by_the_recipes_decay() -> None:
    """The first step stands at the start: the backbone feels cross-entropy alone, the head is pulled to zero."""
    recipe = replace(GD, weight_decay=0.5)
    ctx = _context(MLP(hidden=(5,)), recipe)
    model = ctx.classifier()
    x, y = (torch.from_numpy(np.asarray(v)) for v in (ctx.given["target"].x, ctx.given["target"].y))
    F.cross_entropy(model(x), y).backward()
    after: Any = L2SP(alpha=10.0, beta=0.5).fit(ctx)
    for part, pull in (("backbone", 0.0), ("head", 0.5)):
        for p, q in zip(getattr(model, part).parameters(), getattr(after, part).parameters(), strict=True):
            torch.testing.assert_close(q, p - 0.1 * (p.grad + pull * p))


def test_a_strong_pull_keeps_the_backbone_at_its_start() -> None:
    recipe = replace(GD, steps=200, lr=0.01)
    moved = []
    for alpha in (0.0, 1.0, 50.0):
        ctx = _context(MLP(hidden=(5,)), recipe)
        before, after = ctx.classifier(), L2SP(alpha=alpha).fit(ctx)
        moved.append(_moved(before.backbone, after.backbone))  # type: ignore[union-attr]
    assert moved[0] > 2 * moved[1] > 20 * moved[2] > 0


@pytest.mark.parametrize("params", [{"alpha": -1.0}, {"beta": -0.1}])
def test_negative_strengths_are_refused(params: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        L2SP(**params)


# ---- linear probe --------------------------------------------------------------------------------


def _blobs(classes: int, n: int, seed: int = 0, dims: int = 6) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(size=(classes, dims))
    scale = np.array([1, 10, 0.1, 1, 100, 1])[:dims]
    return (centres[y] + rng.normal(size=(n, dims))) * scale + 5, y


def _pipeline(c: float) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=5000))


def _grid(probe: LinearProbe) -> list[float]:
    low, high = np.log10(probe.lowest), np.log10(probe.highest)
    return [10 ** (low + (high - low) * i / (probe.strengths - 1)) for i in range(probe.strengths)]


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_strength_is_the_best_on_the_validation_rows_and_all_rows_are_fitted(classes: int) -> None:
    (x, y), (x_val, y_val), (x_new, _) = _blobs(classes, 60, 1), _blobs(classes, 40, 2), _blobs(classes, 100, 3)
    probe = LinearProbe()
    right = [(_pipeline(c).fit(x, y).predict(x_val) == y_val).mean() for c in _grid(probe)]
    assert len(set(right)) > 1
    best = _pipeline(_grid(probe)[int(np.argmax(right))])  # the first of equals: the strongest regularisation
    best.fit(np.concatenate([x, x_val]), np.concatenate([y, y_val]))
    weight, bias = probe.solve(np.concatenate([x, x_val]), np.concatenate([y, y_val]), classes, split=60)
    scores = x_new @ weight + bias
    assert (scores.argmax(1) == best.predict(x_new)).all()
    np.testing.assert_allclose(_softmax(scores), best.predict_proba(x_new), atol=1e-6)


def _softmax(scores: Any) -> Any:
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 4])
def test_without_validation_rows_folds_choose(classes: int) -> None:
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    (x, y), (x_new, _) = _blobs(classes, 60, 1), _blobs(classes, 100, 3)
    probe = LinearProbe(strengths=5, folds=3)
    folds = StratifiedKFold(3)
    right = [cross_val_score(_pipeline(c), x, y, cv=folds).mean() for c in _grid(probe)]
    best = _pipeline(_grid(probe)[int(np.argmax(right))]).fit(x, y)
    weight, bias = probe.solve(x, y, classes)
    np.testing.assert_allclose(_softmax(x_new @ weight + bias), best.predict_proba(x_new), atol=1e-6)


def test_a_class_without_examples_is_never_said() -> None:
    x, y = _blobs(3, 60)
    weight, bias = LinearProbe().solve(x, np.array([0, 2, 4])[y], 6)
    assert bias[[1, 3, 5]].tolist() == [ABSENT] * 3
    assert not weight[:, [1, 3, 5]].any()
    scores = x @ weight + bias
    plain_weight, plain_bias = LinearProbe().solve(x, y, 3)
    assert np.array_equal(scores.argmax(1), np.array([0, 2, 4])[(x @ plain_weight + plain_bias).argmax(1)])


def test_a_single_class_is_always_said() -> None:
    x, _ = _blobs(2, 10)
    weight, bias = LinearProbe().solve(x, np.full(10, 1), 3)
    assert (x @ weight + bias).argmax(1).tolist() == [1] * 10
    assert np.isfinite(bias).all()


def test_one_example_of_each_class_is_fitted_at_strength_one() -> None:
    x, y = _blobs(4, 4)
    weight, bias = LinearProbe().solve(x, y, 4)
    x_new, _ = _blobs(4, 50, 7)
    expected = _pipeline(1.0).fit(x, y).predict_proba(x_new)
    np.testing.assert_allclose(_softmax(x_new @ weight + bias), expected, atol=1e-6)


def test_training_rows_of_one_class_leave_the_choice_to_folds() -> None:
    x, y = _blobs(2, 40)
    order = np.argsort(y, kind="stable")  # the first twenty rows are all of class 0
    weight, bias = LinearProbe().solve(x[order], y[order], 2, split=20)
    plain = LinearProbe().solve(x[order], y[order], 2)
    np.testing.assert_array_equal(weight, plain[0])
    np.testing.assert_array_equal(bias, plain[1])


def test_a_constant_feature_does_no_harm() -> None:
    x, y = _blobs(3, 60)
    x[:, 2] = 7.0
    weight, bias = LinearProbe().solve(x, y, 3)
    assert np.isfinite(weight).all()
    assert np.isfinite(bias).all()


def test_the_predictor_is_the_solution_behind_the_frozen_backbone() -> None:
    x, y = _blobs(3, 60)
    ctx = _context(MLP(hidden=(8,)), GD, {"target": Pool(x.astype(np.float32), y, 3)})
    predict: Any = LinearProbe().fit(ctx)
    net = ctx.backbone().eval()
    with torch.no_grad():
        features = net(torch.from_numpy(x).float())
        scores = predict(torch.from_numpy(x).float())
    weight, bias = LinearProbe().solve(features.numpy().astype(np.float64), y, 3)
    np.testing.assert_allclose(scores.numpy(), features.numpy() @ weight + bias, atol=1e-3)
    assert ctx.steps_left == GD.steps


@pytest.mark.parametrize("params", [{"lowest": 0.0}, {"lowest": 2.0, "highest": 1.0}, {"strengths": 0}, {"folds": 1}])
def test_strengths_that_cannot_be_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        LinearProbe(**params)


# ---- references ----------------------------------------------------------------------------------


def test_majority_scores_by_the_shares_of_the_labels() -> None:
    pool = Pool(np.zeros((10, 7), np.float32), np.array([2] * 6 + [0] * 4), 4)
    predict: Any = Majority().fit(_context(MLP(), GD, {"target": pool}))
    assert predict(torch.randn(3, 7)).tolist() == [pytest.approx([0.4, 0.0, 0.6, 0.0])] * 3
    assert predict({"a": torch.zeros(2, 7)}).shape == (2, 4)


@pytest.mark.parametrize("strategy", [Scratch, SourceOnly, TargetOracle])
def test_the_rate_of_a_reference_multiplies_the_recipes(strategy: Any) -> None:
    x = np.random.default_rng(0).normal(size=(64, 7)).astype(np.float32)
    pool = Pool(x, np.arange(64) % 3, 3)
    moved = []
    for lr in (1.0, 0.25):
        ctx = _context(MLP(hidden=(5,)), GD, {"target": pool, "source": pool})
        before = ctx.classifier(getattr(strategy, "start", None))
        moved.append(_moved(before, strategy(lr=lr).fit(ctx)))
    assert moved[1] / moved[0] == pytest.approx(0.25, rel=1e-3)


# ---- shared mathematics --------------------------------------------------------------------------


def test_the_reversal_turns_the_gradient_of_what_lies_below_and_only_that() -> None:
    torch.manual_seed(0)
    below, above = nn.Linear(4, 3), nn.Linear(3, 1)
    x = torch.randn(5, 4)
    gradients = []
    for factor in (None, 0.3, 0.0):
        below.zero_grad()
        above.zero_grad()
        h = below(x)
        above(h if factor is None else reverse_gradient(h, factor)).square().sum().backward()
        gradients.append([p.grad.clone() for p in (*below.parameters(), *above.parameters()) if p.grad is not None])
    plain, turned, off = gradients
    for i, (p, t, o) in enumerate(zip(plain, turned, off, strict=True)):
        torch.testing.assert_close(t, -0.3 * p if i < 2 else p)
        torch.testing.assert_close(o, 0 * p if i < 2 else p)
    assert torch.equal(reverse_gradient(x, 0.3), x)


def test_class_means_are_means_by_class_and_zero_without_rows() -> None:
    x, y = np.random.default_rng(0).normal(size=(9, 2)), np.array([0, 0, 2, 2, 2, 0, 0, 2, 0])
    means = class_means(torch.from_numpy(x), torch.from_numpy(y), 4).numpy()
    np.testing.assert_allclose(means, [x[y == 0].mean(0), [0, 0], x[y == 2].mean(0), [0, 0]])


def test_supervised_is_the_mean_cross_entropy() -> None:
    from tlbench.api.types import Batch, Step

    scores, y = np.random.default_rng(0).normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    value = supervised(nn.Identity())(Batch(torch.from_numpy(scores), torch.from_numpy(y)), Step(0, 1))
    expected = -np.log(_softmax(scores)[np.arange(6), y]).mean()
    assert float(value) == pytest.approx(expected)  # type: ignore[arg-type]


def test_a_harmful_source_does_harm() -> None:
    """Weights from a source whose classes are exchanged do not help source-only: it ends below chance."""
    toy = covariate_shift()
    train, test = (Split(s.x, 1 - s.y) for s in (toy.source.splits["train"], toy.source.splits["test"]))
    wrong = Domain("wrong", {"train": train, "test": test}, toy.source.label_names, "features")
    assert isinstance(toy.task, Adaptation)
    assert score(SourceOnly(), replace(toy, source=wrong)) < 0.45
