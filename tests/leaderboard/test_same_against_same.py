"""A method against itself: real small trainings under other seeds must not be called transfer, good or bad."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from scipy import stats

from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.trial import run_trial
from tlbench.leaderboard import build
from tlbench.plugins import Plugins
from tlbench.run import Options, Run

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench.api.records import Record
    from tlbench.api.trials import Trial

SEEDS = 3
SHIFTS = ("none", "inverted", "noisy", "thick", "rotated")
CLASSES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 0, 3), (1, 4, 7), (2, 5, 8), (0, 6, 9), (3, 5, 8))


def suite(folder: Path) -> Path:
    """Forty targets and a backbone that trains in a few hundredths of a second."""
    targets = {
        f"{shift}-{'-'.join(map(str, classes))}": {"name": "digits", "shift": shift, "classes": list(classes)}
        for shift in SHIFTS
        for classes in CLASSES
    }
    data = {
        "tlbench": 1,
        "name": "same",
        "datasets": {"source": "digits", **targets},
        "sources": ["source"],
        "targets": list(targets),
        "tasks": [{"name": "fine-tuning", "labels": 4}],
        "backbones": [{"name": "mlp", "hidden": [16]}],
        "strategies": ["fine-tune"],
        "seeds": 1,
        "recipe": {"steps": 20, "batch_size": 12, "lr": 0.005, "curve_points": 2},
        "metrics": ["accuracy"],
    }
    path = folder / "same.yaml"
    path.write_text(json.dumps(data))  # JSON is YAML
    return path


def as_other(record: Record, trial: Trial) -> Record:
    """The record under the name of another trial."""
    return replace(record, key=trial.key, trial=trial.to_json())


def test_trainings_under_other_seeds_are_called_hurts_in_at_most_five_percent_of_the_pairs(tmp_path: Path) -> None:
    plugins = Plugins.discover(entry_points=False)
    run = Run.of(str(suite(tmp_path)), plugins, Options(tmp_path / "cache", out=tmp_path / "run"))
    spec = make_spec(plugins=plugins, run=tmp_path / "run", base=tmp_path, data_root=None, cache=tmp_path / "cache",
                     suite="same", metrics=("accuracy",), device="cpu")  # fmt: skip
    bench = Bench(spec)
    scratch = [t for t in run.plan().trials if t.strategy.name == "scratch"]
    assert len(scratch) == len(SHIFTS) * len(CLASSES)
    records = []
    for i, trial in enumerate(scratch):
        for seed in range(SEEDS):
            # no two trainings share a seed, so that pairs are independent of each other
            one, other = (run_trial(replace(trial, seed=1000 * i + 2 * seed + k), bench) for k in (0, 1))
            mine = replace(trial, seed=seed)
            again = replace(mine, strategy=replace(trial.strategy, name="again", label="again"), reference="scratch")
            records += [as_other(one, mine), as_other(other, again)]
    assert Counter(str(r.status) for r in records) == {"ok": 2 * SEEDS * len(scratch)}
    board = build(records)
    (row,) = (r for r in board.groups[0].rows if not r.reference)
    pairs = len(scratch)
    assert len(set(row.pairs.mean)) > pairs / 4, "the trainings do differ"
    # if each pair is called with probability 5 %, more than this many are called once in a thousand such tests
    most = int(stats.binom.ppf(0.999, pairs, 0.05))
    assert most < pairs / 5
    assert row.pairs.verdict.count("hurts") <= most
    assert row.pairs.verdict.count("helps") <= most
    assert row.cells["gain"].low < 0 < row.cells["gain"].high  # type: ignore[operator]
