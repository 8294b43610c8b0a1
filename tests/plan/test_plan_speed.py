"""The planner's time grows with the number of trials and no faster."""

from __future__ import annotations

import gc
import time
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest

from tlbench.api.trials import Trial
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
    """Of processor time, the best of five: what else runs on the machine only ever adds."""
    suite = load(write(text), plugins)
    times = []
    for _ in range(5):
        gc.collect()  # what went before is not paid here
        start = time.process_time()
        plan = build(suite, plugins)
        times.append(time.process_time() - start)
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
    assert long < 20 * max(short, 0.05)  # quadratic growth would be a hundred times


def test_a_planned_trial_is_what_its_constructor_makes_with_the_key_of_its_description(
    write: Callable[..., Path], plugins: Plugins
) -> None:
    plan = build(load(write(suite(3, 3, 2)), plugins), plugins)
    assert len(plan.trials) > 18
    for trial in plan.trials:
        made = Trial.from_json(trial.to_json())
        assert trial.key == made.key
        assert trial == made
        assert set(vars(trial)) - {"key"} == {f.name for f in fields(Trial)}
        assert replace(trial, seed=7).key == replace(made, seed=7).key != trial.key
