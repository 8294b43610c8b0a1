"""Runs the thieves in a process of its own, and prints as JSON how much of each secret they found.

In a process of its own, because a test that knows the secrets holds them.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from tlbench.builtin.digits import Digits
from tlbench.data.cache import DataCache
from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.trial import run_trial
from tlbench.plugins import Plugins
from tlbench.run import Options, Run

SUITE = """
tlbench: 1
name: leak
sources: [{{name: digits, shift: inverted, half: first}}]
targets: [{{name: digits, half: second}}]
tasks: [{{name: fine-tuning, labels: 10}}, adaptation]
backbones: [{{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}}]
strategies:
  - fine-tune
  - linear-probe
  - {{name: thief, wanted: "{wanted}"}}
  - {{name: adaptation-thief, wanted: "{wanted}"}}
seeds: 1
recipe: {{steps: 6, batch_size: 16, curve_points: 2, selection: {selection}}}
"""


def secrets(plugins: Plugins) -> dict[str, list[str]]:
    """Digests of what may not be seen, and of what may."""
    spies = sys.modules[plugins.get("strategies", "thief").cls.__module__]
    cache = DataCache(Path("cache"), None, Path(), None)
    splits = Digits(half="second").load(cache).splits
    source = Digits(shift="inverted", half="first").load(cache).splits["train"]
    images = {name: {spies.digest(image) for image in split.x.reshape(-1, 8, 8)} for name, split in splits.items()}
    return {
        "test labels": [spies.digest(splits["test"].y)],
        "test images": sorted(images["test"] - images["train"]),
        "training labels": [spies.digest(splits["train"].y)],
        "training images": sorted(images["train"]),
        "source labels": [spies.digest(source.y)],
    }


def main() -> None:
    plugin, selection = sys.argv[1:]
    plugins = Plugins.discover(extra=[plugin], entry_points=False)
    wanted = Path("wanted.json").resolve()
    wanted.write_text(json.dumps(secrets(plugins)))
    gc.collect()
    Path("suite.yaml").write_text(SUITE.format(wanted=wanted, selection=selection))
    run = Run.of("suite.yaml", plugins, Options(cache=Path("cache"), out=Path("run")))
    bench = Bench(
        make_spec(
            plugins=plugins,
            run=Path("run"),
            base=Path(),
            data_root=None,
            cache=Path("cache"),
            suite="leak",
            metrics=("accuracy",),
            device="cpu",
        )
    )
    spies = sys.modules[plugins.get("strategies", "thief").cls.__module__]
    found = {}
    for trial in run.plan({}).trials:
        if trial.skip is not None:
            continue
        before = len(spies.SEEN)
        with bench.at_home():
            record = run_trial(trial, bench)
        if len(spies.SEEN) > before:
            found[f"{trial.strategy.name}: {record.status}"] = spies.SEEN[-1]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
