"""TrAdaBoost on mushrooms: tapering stalks are the source, enlarging ones the target with 46 labels.

The task of Dai, Yang, Xue & Yu 2007, table 3: 4,608 source examples, one labelled target example for each hundred of
them at random, the other 3,470 for testing, ten times; 100 rounds of a linear support vector machine.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from report import Row, parse, publish
from tlbench_instances.learners import weighted_rule
from tlbench_instances.tradaboost import boost, margin

from tlbench.builtin.csv_table import CsvTable
from tlbench.data.cache import DataCache

REPEATS, LABELS, ROUNDS = 10, 46, 100
STRENGTHS = (0.3, 1.0, 10.0)
METHODS = ("SVM", "SVMt", "SVMt, domains alike", "TrAdaBoost, equal start", "TrAdaBoost, domains alike")

NOTES = """
Error in %, mean and standard deviation over ten draws. SVM learns from the 46 alone, SVMt from both domains with equal
weights; with "domains alike" both domains have the same total weight at first. C stands beside the mean loss. The
paper does not say its C or its first weights.

What is judged is the paper's claim, that TrAdaBoost errs less than SVM and SVMt, with the first C; it holds with the
second one, too. With the last C and both domains alike the machine makes hardly an error on the examples that it sees,
so that weights hardly change and boosting returns what it boosts: what helps then is that both domains weigh alike.
From equal first weights and a small C the rules are no better than guessing on the target, none has a vote, and
every mushroom is called poisonous.

The paper's table was not at hand. A public test that repeats it (bqlearn, test_tradaboost.py) bounds the errors of SVM,
SVMt and TrAdaBoost by 12.7, 13.5 and 7.1. A notebook of ADAPT, with another form of the weights, prints 26.1 for an SVM
of the source, 5.5 for SVMt and 5.3 for TrAdaBoost, and remarks, too, that its SVMt errs much less than the paper's.
Source and target are as in the paper's table of sizes; its text has them the other way round, as ADAPT found.
"""


def main() -> int:
    args = parse(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        cache = DataCache(Path(folder), args.data_root, Path.cwd())
        (xs, ys), (xt, yt) = (_whole(shape, cache) for shape in ("t", "e"))
    errors = {c: np.array([_once(xs, ys, xt, yt, c, seed) for seed in range(REPEATS)]) for c in STRENGTHS}
    first = dict(zip(METHODS, errors[STRENGTHS[0]].mean(0), strict=True))
    boosted = first["TrAdaBoost, domains alike"]
    rows = [
        Row(f"{name} minus TrAdaBoost, C = {STRENGTHS[0]:g}", None, first[name] - boosted, band=(1.0, 100.0))
        for name in METHODS[:3]
    ]
    lines = ["| error, % | " + " | ".join(f"C = {c:g}" for c in STRENGTHS) + " |", "|---" * (1 + len(STRENGTHS)) + "|"]
    for i, name in enumerate(METHODS):
        cells = [f"{errors[c][:, i].mean():.1f} ± {errors[c][:, i].std(ddof=1):.1f}" for c in STRENGTHS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    source = "Dai, Yang, Xue & Yu 2007, table 3 (the order; see below for the numbers)."
    return publish(
        "TrAdaBoost on mushrooms", rows, args, source=source, notes="\n".join(lines) + "\n" + NOTES, digits=1
    )


def _whole(shape: str, cache: DataCache) -> tuple[Any, Any]:
    """All mushrooms with this stalk, one-hot."""
    file = "features/mushroom/agaricus-lepiota.data"
    splits = CsvTable(file, class_column="class", where={"stalk-shape": shape}).load(cache).splits.values()
    return tuple(np.concatenate([getattr(s, axis) for s in splits]).astype(np.float64) for axis in ("x", "y"))  # type: ignore[return-value]


def _once(xs: Any, ys: Any, xt: Any, yt: Any, strength: float, seed: int) -> list[float]:
    """The errors in % of ``METHODS`` for one draw of the labelled target examples."""
    order = np.random.default_rng(seed).permutation(len(yt))
    few, rest = order[:LABELS], order[LABELS:]
    learn = partial(weighted_rule, "linear-svm", strength=strength, balance=True)
    x, y = np.concatenate([xs, xt[few]]), np.concatenate([ys, yt[few]])
    starts = {"equal": np.ones(len(y)), "alike": np.repeat([1 / len(ys), 1 / LABELS], [len(ys), LABELS])}
    answers = [learn(xt[few], yt[few], np.ones(LABELS))(xt[rest])]
    for rounds in (1, ROUNDS):
        answers += [margin(boost(learn, x, y, len(ys), rounds, w), xt[rest]) >= 0 for w in starts.values()]
    return [100 * float((answer != yt[rest]).mean()) for answer in answers]


if __name__ == "__main__":
    raise SystemExit(main())
