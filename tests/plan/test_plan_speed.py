"""The planner's time grows with the number of trials and no faster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tlbench.plan.build import build
from tlbench.suite.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlbench.plugins import Plugins

TEXT = """\
tlbench: 1
datasets:
{local}
sources: [{sources}]
targets: [dots]
tasks: [labelled]
backbones: [net]
strategies: [{{name: tune, alpha: [{alphas}]}}]
seeds: {seeds}
"""


def seconds(text: str, write: Callable[..., Path], plugins: Plugins, least: int) -> float:
    """The best of three: what else runs on the machine only ever adds."""
    suite = load(write(text), plugins)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        plan = build(suite, plugins)
        times.append(time.perf_counter() - start)
        assert least <= len({trial.key for trial in plan.trials}) == len(plan.trials)
    return min(times)


def suite(sources: int, alphas: int, seeds: int) -> str:
    names = [f"s{i}" for i in range(sources)]
    return TEXT.format(
        local="\n".join(f"  {name}: {{name: grid, classes: [{i}, {i + 1}]}}" for i, name in enumerate(names)),
        sources=", ".join(names),
        alphas=", ".join(str(n / 10) for n in range(alphas)),
        seeds=seeds,
    )


@pytest.mark.parametrize(("small", "large"), [((10, 100, 10), (10, 100, 100)), ((10, 1000, 1), (100, 1000, 1))])
def test_ten_times_the_trials_take_about_ten_times_as_long(
    small: tuple[int, int, int], large: tuple[int, int, int], write: Callable[..., Path], plugins: Plugins
) -> None:
    short = seconds(suite(*small), write, plugins, 10_000)
    long = seconds(suite(*large), write, plugins, 100_000)
    print(f"10,000 trials {short:.3f} s, 100,000 trials {long:.3f} s")
    assert long < 5.0
    assert long < 15 * max(short, 0.1)  # the floor: a short time says little on a busy machine
