"""Scores of a predictor, and how fast it gives them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tlbench.api.data import Pool, Seeds
from tlbench.errors import TrialError
from tlbench.evaluation import predict as scoring
from tlbench.evaluation.predict import CHUNK, Conditions, Rate, curve_rows, forward_flops, latency, predict, rate_of

PLAIN = Conditions(torch.device("cpu"), "float32", lambda x: x)


def pool(size: int, dims: int = 5, classes: int = 3) -> Pool:
    rng = np.random.default_rng(size)
    return Pool(rng.normal(size=(size, dims)).astype(np.float32), rng.integers(classes, size=size), classes)


def linear(dims: int = 5, classes: int = 3) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(dims, classes)


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 37])
def test_scores_in_pieces_are_the_scores_of_the_whole(size: int) -> None:
    net, data = linear(), pool(size)
    windows: list[tuple[int, float]] = []
    scores = predict(net, data, PLAIN, windows=windows)
    by_numpy = data.x @ net.weight.detach().numpy().T + net.bias.detach().numpy()  # type: ignore[operator]
    assert scores.dtype == np.float32
    assert scores == pytest.approx(by_numpy, abs=1e-5)
    assert [n for n, _ in windows] == [CHUNK] * (size // CHUNK) + ([size % CHUNK] if size % CHUNK else [])
    assert all(seconds > 0 for _, seconds in windows)


def test_scores_of_some_rows_are_those_rows_of_the_scores() -> None:
    net, data = linear(), pool(700)
    rows = np.sort(np.random.default_rng(0).choice(700, 301, replace=False))
    assert np.allclose(predict(net, data, PLAIN, rows), predict(net, data, PLAIN)[rows], atol=1e-6)


def test_inputs_of_several_parts_reach_the_predictor_as_a_mapping() -> None:
    x = {"ids": np.arange(300), "mask": np.ones((300, 4), np.float32)}

    def predictor(parts: Any) -> torch.Tensor:
        return torch.stack([parts["ids"].float(), parts["mask"].sum(1)], 1)

    scores = predict(predictor, Pool(x, np.zeros(300, np.int64), 2), PLAIN)
    assert np.array_equal(scores, np.stack([np.arange(300), np.full(300, 4)], 1))


def test_no_gradient_is_kept_and_bfloat16_comes_out_as_float32() -> None:
    seen = []

    def predictor(x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = net(x)
        seen.append((out.dtype, out.requires_grad))
        return out

    net = linear()
    scores = predict(predictor, pool(4), Conditions(torch.device("cpu"), "bfloat16", lambda x: x))
    assert seen == [(torch.bfloat16, False)]
    assert scores.dtype == np.float32


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_conditions_say_what_torch_computes_in(precision: str, dtype: torch.dtype) -> None:
    """float32 also within another precision."""
    conditions, net, x = Conditions(torch.device("cpu"), precision, lambda x: x), linear(), torch.ones(4, 5)
    with torch.autocast("cpu", torch.bfloat16), conditions.cast():
        assert net(x).dtype == dtype
    with conditions.cast():
        assert net(x).dtype == dtype
    assert net(x).dtype == torch.float32


@pytest.mark.parametrize(
    ("predictor", "said"),
    [
        (lambda x: x[:, :2], r"scores of shape \[7, 2\]; expected \[B, C\] = \[7, 3\]"),
        (lambda x: x[0, :3], r"scores of shape \[3\]; expected \[B, C\] = \[7, 3\]"),
        (lambda x: x[1:, :3], r"scores of shape \[6, 3\]"),
        (lambda x: [1, 2, 3], "gave a list; expected a tensor of scores"),
        (lambda x: x[:, :3].numpy(), "gave a ndarray; expected a tensor of scores"),
        (lambda x: torch.where(torch.arange(7)[:, None] < 2, torch.nan, x[:, :3]), "not finite for 2 of 7 examples"),
        (lambda x: x[:, :3] * float("inf"), "not finite for 7 of 7 examples"),
    ],
)
def test_scores_that_are_none_are_refused_with_what_was_wrong(predictor: Any, said: str) -> None:
    with pytest.raises(TrialError, match=said):
        predict(predictor, pool(7), PLAIN)


def test_the_rate_drops_the_first_window_and_takes_median_and_quartiles_of_the_others() -> None:
    windows = [(100, 50.0), (100, 1.0), (100, 2.0), (50, 0.25), (100, 4.0), (80, 1.0)]
    steady = [100.0, 50.0, 200.0, 25.0, 80.0]
    assert rate_of(windows) == Rate(80.0, 50.0, 100.0, 5)
    assert rate_of(windows)[:3] == tuple(np.percentile(steady, [50, 25, 75]))  # type: ignore[index]


def test_there_is_no_rate_without_a_steady_state() -> None:
    assert rate_of([]) is None
    assert rate_of([(100, 1.0)]) is None
    assert rate_of([(100, 1.0), (100, 0.0)]) is None


def test_latency_is_of_one_example_after_three_for_warm_up() -> None:
    sizes = []

    def predictor(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        time.sleep(0.03 if len(sizes) <= 3 else 0.002)
        return x[:, :3]

    found = latency(predictor, pool(9), PLAIN, repeats=20)
    assert set(sizes) == {1}
    assert found.n == 20 == len(sizes) - 3
    assert 2.0 <= found.p50 <= found.p95
    assert found.p50 < 20


def test_latency_of_a_slow_predictor_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "LATENCY_SECONDS", 0.05)

    def predictor(x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.04)
        return x[:, :3]

    assert latency(predictor, pool(9), PLAIN).n == 2


def test_the_curve_is_scored_on_the_same_sorted_subset_for_the_same_seed() -> None:
    first = curve_rows(1000, 100, Seeds(0).generator("curve", "t"))
    again = curve_rows(1000, 100, Seeds(0).generator("curve", "t"))
    other = curve_rows(1000, 100, Seeds(1).generator("curve", "t"))
    assert first is not None
    assert np.array_equal(first, again)  # type: ignore[arg-type]
    assert not np.array_equal(first, other)  # type: ignore[arg-type]
    assert len(np.unique(first)) == 100
    assert np.array_equal(first, np.sort(first))


@pytest.mark.parametrize(("size", "most"), [(100, 0), (100, 100), (100, 500)])
def test_all_examples_are_scored_where_there_are_no_more_than_asked_for(size: int, most: int) -> None:
    assert curve_rows(size, most, np.random.default_rng(0)) is None


def test_a_linear_layer_takes_two_operations_for_each_weight() -> None:
    assert forward_flops(linear(17, 6), pool(9, 17, 6), PLAIN) == 2 * 17 * 6


def test_a_convolution_takes_two_operations_for_each_weight_and_place() -> None:
    net = nn.Conv2d(2, 4, 3, padding=1)
    data = Pool(np.zeros((3, 2, 5, 7), np.float32), np.zeros(3, np.int64), 4)
    assert forward_flops(net, data, PLAIN) == 2 * (3 * 3 * 2 * 4) * (5 * 7)


def test_operations_that_cannot_be_counted_are_none_and_not_zero() -> None:
    assert forward_flops(lambda x: x[:, :3], pool(9), PLAIN) is None
