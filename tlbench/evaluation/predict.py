"""Scores of a predictor on a pool, and how fast it gives them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from tlbench.data.inputs import to_tensors
from tlbench.errors import TrialError

if TYPE_CHECKING:
    from tlbench.api.data import Array, Pool
    from tlbench.api.types import Predictor

CHUNK = 256
"""Examples scored at once."""
LATENCY_SECONDS = 1.0
"""Most time spent on measuring the latency at batch 1."""


class Rate(NamedTuple):
    """Examples/s over windows: median and quartiles."""

    median: float
    q25: float
    q75: float
    windows: int


class Latency(NamedTuple):
    """Milliseconds for one example."""

    p50: float
    p95: float
    n: int


class Conditions(NamedTuple):
    """How inputs reach a predictor."""

    device: torch.device
    precision: str
    scale: Callable[[Any], Any]

    def cast(self) -> torch.autocast:
        """Inside, torch computes in this precision where it holds that to be safe."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")


def predict(
    predictor: Predictor,
    pool: Pool,
    conditions: Conditions,
    rows: Array | None = None,
    windows: list[tuple[int, float]] | None = None,
) -> Array:
    """Scores float32 [N, C] of the pool's examples, or of these rows of it.

    ``windows`` collects (examples, seconds) of each chunk. Raises ``TrialError`` where the scores have
    another shape or are not finite.
    """
    size = len(pool) if rows is None else len(rows)
    # at once: small parts that are kept would scatter over memory that could be used again
    whole: Array = np.empty((size, pool.num_classes), np.float32)
    for begin in range(0, size, CHUNK):
        chosen = slice(begin, min(begin + CHUNK, size)) if rows is None else rows[begin : begin + CHUNK]
        x = _inputs(pool, chosen, conditions)
        began = _now(conditions.device)
        scores = _score(predictor, x, conditions)
        seconds = _now(conditions.device) - began
        expected = (min(CHUNK, size - begin), pool.num_classes)
        if tuple(scores.shape) != expected:
            raise TrialError(
                f"the predictor gave scores of shape {list(scores.shape)}; expected [B, C] = {list(expected)}"
            )
        whole[begin : begin + CHUNK] = scores.float().cpu().numpy()
        if windows is not None:
            windows.append((expected[0], seconds))
    if not np.isfinite(whole).all():
        bad = int((~np.isfinite(whole)).any(1).sum())
        raise TrialError(f"the predictor gave scores that are not finite for {bad} of {size} examples")
    return whole


def rate_of(windows: list[tuple[int, float]]) -> Rate | None:
    """Examples/s in the steady state: the first window is warm-up and dropped, partial ones count by their size."""
    steady = [n / s for n, s in windows[1:] if s > 0]
    if not steady:
        return None
    q25, median, q75 = np.quantile(steady, [0.25, 0.5, 0.75])
    return Rate(float(median), float(q25), float(q75), len(steady))


def latency(predictor: Predictor, pool: Pool, conditions: Conditions, repeats: int = 50) -> Latency:
    """Time for one example at a time: at most ``repeats`` after three for warm-up, at most a second in all."""
    x = _inputs(pool, slice(0, 1), conditions)
    times: list[float] = []
    stop = time.perf_counter() + LATENCY_SECONDS
    while len(times) < repeats + 3 and (len(times) < 5 or time.perf_counter() < stop):
        began = _now(conditions.device)
        _score(predictor, x, conditions)
        times.append(1e3 * (_now(conditions.device) - began))
    p50, p95 = np.quantile(times[3:], [0.5, 0.95])
    return Latency(float(p50), float(p95), len(times) - 3)


def forward_flops(predictor: Predictor, pool: Pool, conditions: Conditions) -> int | None:
    """Floating-point operations to score one example, as torch counts them; ``None`` where it counts none."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter:
        _score(predictor, _inputs(pool, slice(0, 1), conditions), conditions)
    return int(counter.get_total_flops()) or None


def _inputs(pool: Pool, rows: Any, conditions: Conditions) -> Any:
    x = {k: v[rows] for k, v in pool.x.items()} if isinstance(pool.x, Mapping) else pool.x[rows]
    return conditions.scale(to_tensors(x, conditions.device))


def _score(predictor: Predictor, x: Any, conditions: Conditions) -> torch.Tensor:
    with torch.no_grad(), conditions.cast():
        scores = predictor(x)
    if not isinstance(scores, torch.Tensor):
        raise TrialError(f"the predictor gave a {type(scores).__name__}; expected a tensor of scores [B, C]")
    return scores


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def curve_rows(size: int, at_most: int, rng: np.random.Generator) -> Array | None:
    """Which test examples the learning curve is scored on: ``None`` for all, else a sorted random subset."""
    if at_most == 0 or size <= at_most:
        return None
    return np.sort(rng.choice(size, at_most, replace=False))


def finite(value: float) -> float | None:
    """The value, or ``None`` where it is not finite: JSON has no other numbers."""
    return value if math.isfinite(value) else None
