"""C4: DANN on the Amazon reviews, bag of words, all 12 pairs, with tuned source-only classifiers beside it.

Shallow DANN as in Ganin et al. 2016, section 5.1: one hidden layer of 50 units on 5,000 counts, a constant factor of
the reversal, trained on 2,000 labelled reviews of the source and 2,000 unlabelled ones of the target.
"""

from __future__ import annotations

import tempfile
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from report import Row, parse, publish
from tlbench_adaptation.dann import DANN
from tlbench_instances.source_linear import SourceLinear

from tlbench import Recipe
from tlbench.builtin.references import SourceOnly
from tlbench.builtin.small_backbones import MLP, Identity
from tlbench.builtin.tables import Svmlight
from tlbench.builtin.tasks import Adaptation
from tlbench.data.cache import DataCache
from tlbench.testing import Toy, score

DOMAINS = ("books", "dvd", "electronics", "kitchen")
PAIRS = [a + b for a, b in permutations("BDEK", 2)]
PUBLISHED = dict(zip(PAIRS, [78.4, 73.3, 77.9, 72.3, 75.4, 78.3, 71.3, 73.8, 85.4, 70.9, 74.0, 84.3], strict=True))

# Batches of 8 at rate 0.008 go as far in an epoch as the authors' single examples at 0.001.
RECIPE = Recipe(steps=2500, batch_size=8, optimizer="sgd", lr=8e-3, momentum=0.0, weight_decay=0.0,
                schedule="constant", curve_points=1)  # fmt: skip
# Their lambda weighs a sum over one source and one target example, our weight a mean of the two; no annealing here.
ADVERSARIAL = {"DANN": DANN(weight=0.2, gamma=1e4), "DANN, lambda 1": DANN(weight=2.0, gamma=1e4)}

NOTES = """
NN is the same network, recipe and seeds without the adversary. Logistic regression and SVM are source-only with C from
1e-5 to 1 chosen on the last 200 source reviews. A cell may differ by 3 points (a test set of 3,586 to 5,945 reviews has
a standard error of 0.7, and the published hyperparameters were chosen for each pair), the mean by 1.5.

Departures from the paper: ReLU where it has sigmoid units; a domain classifier with two hidden layers of 64 where it
has a logistic unit; ten epochs and the last weights where it stops early; one lambda (0.1, as in the authors'
experiment on Amazon) where the paper chooses one for each pair by reverse validation.
"""


def main() -> int:
    args = parse(__doc__)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cache = DataCache(Path(folder), args.data_root, Path.cwd())
        domains = {name[0].upper(): _load(name, cache) for name in DOMAINS}
        measured = {pair: _measure(domains[pair[0]], domains[pair[1]], args.seeds) for pair in PAIRS}
    rows = [Row(f"DANN {p[0]}→{p[1]}", PUBLISHED[p], measured[p]["DANN"], tolerance=3.0) for p in PAIRS]
    means = {method: float(np.mean([m[method] for m in measured.values()])) for method in measured[PAIRS[0]]}
    rows.append(Row("DANN, mean of 12", float(np.mean(list(PUBLISHED.values()))), means["DANN"], tolerance=1.5))
    rows.append(Row("DANN, lambda 1, mean of 12", None, means["DANN, lambda 1"]))
    rows += [Row(f"source-only {m}, mean of 12", None, means[m]) for m in means if not m.startswith("DANN")]
    close = sum(abs(measured[p]["NN"] - PUBLISHED[p]) <= 3 for p in PAIRS)
    gain = measured["BD"]["DANN"] - measured["BD"]["NN"]
    notes = (
        f"{_table(measured)}\n\nB→D: DANN minus NN is {gain:+.2f} points here ({args.seeds} seed(s)). "
        f"The network without its adversary is within 3 points of the published DANN in {close} of 12 cells, too: the "
        "verdict says that the numbers agree, not that the adversary does something. "
        f"Source-only logistic regression, tuned, has a mean of {means['logistic']:.1f} and the published DANN "
        f"{np.mean(list(PUBLISHED.values())):.1f}: on these features a tuned classifier "
        "that never sees the target does as well.\n"
    )
    source = "DANN: Ganin et al. 2016 (JMLR 17), as quoted in a later article; see the README of the data."
    return publish("C4: DANN on Amazon reviews", rows, args, source=source, notes=notes + NOTES, digits=1)


def _load(name: str, cache: DataCache):  # type: ignore[no-untyped-def]
    folder = "features/amazon_reviews_bow"
    files = (f"{folder}/{name}_{part}.svmlight.gz" for part in ("train", "test"))
    return Svmlight(next(files), test=next(files), num_features=5000, first_index=0).load(cache)


def _measure(source: object, target: object, seeds: int) -> dict[str, float]:
    """Accuracy in % of each method on the target's test file, the mean over the seeds."""
    network = Toy(source, target, Adaptation(), MLP(hidden=(50,)), RECIPE)  # type: ignore[arg-type]
    linear = Toy(source, target, Adaptation(), Identity(), RECIPE)  # type: ignore[arg-type]
    found = {
        name: float(np.mean([score(strategy, network, seed) for seed in range(seeds)]))
        for name, strategy in {**ADVERSARIAL, "NN": SourceOnly()}.items()
    }
    found |= {
        "logistic": score(SourceLinear(), linear),
        "SVM": score(SourceLinear(model="linear-svm"), linear),
    }
    return {method: 100 * value for method, value in found.items()}


def _table(measured: dict[str, dict[str, float]]) -> str:
    methods = list(measured[PAIRS[0]])
    lines = ["| accuracy, % | " + " | ".join(f"{p[0]}→{p[1]}" for p in PAIRS) + " |", "|---" * 13 + "|"]
    lines.append("| DANN published | " + " | ".join(f"{PUBLISHED[p]:.1f}" for p in PAIRS) + " |")
    lines += [f"| {m}, ours | " + " | ".join(f"{measured[p][m]:.1f}" for p in PAIRS) + " |" for m in methods]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
