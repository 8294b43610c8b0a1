"""How many classes the source has is told to every strategy, whether it asks for a pool of the source or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlbench import cli
from tlbench.builtin.fine_tune import FineTune
from tlbench.results.store import RunFolder
from tlbench.testing.toys import few_labels, fit

if TYPE_CHECKING:
    import pytest

PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch.nn import functional as F
from tlbench import Domain, Split, hookimpl

@dataclass(frozen=True)
class Noise:
    "Images of so many classes."
    name: ClassVar[str] = "noise"
    classes: int = 4
    def load(self, cache):
        x = np.random.default_rng(0).integers(0, 256, (120, 1, 8, 8), dtype=np.uint8)
        y = np.arange(120) % self.classes
        names = tuple(f"{self.classes}-{c}" for c in range(self.classes))
        splits = {"train": Split(x, y), "test": Split(x.copy(), y.copy())}
        return Domain(f"noise-{self.classes}", splits, names, "image")

class Teller:
    needs: ClassVar[frozenset] = frozenset({"target"})
    def fit(self, ctx):
        ctx.report("target", ctx.num_classes)
        ctx.report("source", -1 if ctx.source_classes is None else ctx.source_classes)
        ctx.report("in a branch", -1 if ctx.using().source_classes is None else ctx.using().source_classes)
        if self.start == "source":
            ctx.report("head", ctx.source_classifier().head.out_features)
        model = ctx.classifier()
        ctx.train(lambda batch, step: F.cross_entropy(model(batch.x), batch.y), update=model)
        return model

@dataclass(frozen=True)
class FromSource(Teller):
    "Starts from the source."
    name: ClassVar[str] = "from-source"
    start: ClassVar[str] = "source"

@dataclass(frozen=True)
class FromNothing(Teller):
    "Starts from random weights."
    name: ClassVar[str] = "from-nothing"
    start: ClassVar[str] = "random"

@hookimpl
def tlbench_datasets():
    return [Noise]

@hookimpl
def tlbench_strategies():
    return [FromSource, FromNothing]
"""

SUITE = """
tlbench: 1
name: tiny
sources: [{name: noise, classes: 7}]
targets: [{name: noise, classes: 3}]
tasks: [{name: fine-tuning, labels: all}]
backbones: [{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}]
strategies: [from-source, from-nothing]
seeds: 1
recipe: {steps: 2, batch_size: 8, curve_points: 1}
"""


def test_a_strategy_is_told_the_classes_of_its_source_as_its_head_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plugin.py").write_text(PLUGIN)
    Path("tiny.yaml").write_text(SUITE)
    words = "run tiny.yaml --no-plugins -p plugin.py --executor in-process --cache cache --out run --quiet"
    assert cli.main(words.split()) == 0
    told = {}
    for record in RunFolder.open(Path("run")).records().values():
        if "reported" in record.data:
            told[record.trial["strategy"]["name"]] = record.data["reported"]
            if record.trial["strategy"]["name"] == "from-nothing":
                assert record.trial["source"] is None
    assert told["from-source"] == {"target": 3, "source": 7, "in a branch": 7, "head": 7}
    assert told["from-nothing"] == {"target": 3, "source": -1, "in a branch": -1}


def test_a_toy_problem_tells_it_as_well() -> None:
    toy = few_labels()
    assert fit(FineTune(), toy).ctx.source_classes == toy.source.num_classes
