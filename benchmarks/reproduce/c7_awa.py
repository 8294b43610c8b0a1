"""C7: the order of zero-shot methods on animals with attributes, by one feature of a subset of the images.

On all images with five features the order is ESZSL > IAP >= DAP > ConSE(5) > ConSE(10) > ConSE(1) > ConSE(all). Here
the first 100 images of each class and one feature are at hand. Each step of the order is a paired difference with a
bootstrap over the test images; a step fails where its 95 % interval lies wholly on the wrong side of 0.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import Row, parse, publish
from tlbench_zero_shot.awa import AwA1
from tlbench_zero_shot.conse import ConSE
from tlbench_zero_shot.dap import DAP
from tlbench_zero_shot.eszsl import ESZSL
from tlbench_zero_shot.iap import IAP

from tlbench.builtin.metrics import BalancedAccuracy
from tlbench.builtin.small_backbones import Identity
from tlbench.builtin.tasks import ZeroShot
from tlbench.data.cache import DataCache
from tlbench.testing import Toy
from tlbench.testing.toys import fit

if TYPE_CHECKING:
    import argparse

METHODS: dict[str, Any] = {
    "ESZSL": ESZSL(),
    "IAP": IAP(),
    "DAP": DAP(),
    "ConSE(5)": ConSE(top=5),
    "ConSE(10)": ConSE(top=10),
    "ConSE(1)": ConSE(top=1),
    "ConSE(all)": ConSE(top=None),
}
"""In the order that is to be reproduced."""
WHOLE = {
    "ESZSL": 46.6,
    "IAP": 39.3,
    "DAP": 37.7,
    "ConSE(5)": 36.4,
    "ConSE(10)": 33.3,
    "ConSE(1)": 28.7,
    "ConSE(all)": 26.8,
}
"""Accuracy in % on all 30,475 images with five features, measured for this project with other programs."""
DRAWS = 2000


def answers(split: int, cache: DataCache) -> tuple[dict[str, Any], Any]:
    """Whether each method is right on each test image, bool [N], and the class of each."""
    seen, unseen = (AwA1(part=part, split=split, test_share=1.0).load(cache) for part in ("seen", "unseen"))  # type: ignore[arg-type]
    toy, y, right = Toy(seen, unseen, ZeroShot(), Identity()), unseen.splits["test"].y, {}
    for name, method in METHODS.items():
        scores = fit(method, toy).scores()["target"]
        right[name] = scores.argmax(1) == y
        print(f"split {split}: {name} {100 * BalancedAccuracy().score(scores, y):.2f} % of each class", flush=True)
    return right, y


def resampled(y: Any, rng: np.random.Generator) -> Any:
    """The rows of a bootstrap sample that has as many images of each class."""
    return np.concatenate([rng.choice(rows, len(rows)) for rows in (np.flatnonzero(y == c) for c in np.unique(y))])


def mean_over_classes(right: Any, y: Any) -> float:
    return 100 * float(np.mean([right[y == c].mean() for c in np.unique(y)]))


def interval(first: Any, second: Any, y: Any) -> tuple[float, float, float]:
    """The difference of two methods in points, and its 95 % interval over bootstrap samples of the images."""
    rng = np.random.default_rng(0)
    gap = first.astype(float) - second.astype(float)
    draws = []
    for _ in range(DRAWS):
        rows = resampled(y, rng)
        draws.append(mean_over_classes(gap[rows], y[rows]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return mean_over_classes(gap, y), float(low), float(high)


def steps(title: str, right: dict[str, Any], y: Any) -> list[Row]:
    """One row for each step of the order; judged by whether the interval reaches above 0."""
    rows = []
    for first, second in pairwise(METHODS):
        gap, low, high = interval(right[first], right[second], y)
        found = "holds" if low > 0 else "contradicted" if high < 0 else "open"
        note = f"{found}, 95 % from {low:+.1f} to {high:+.1f}"
        published = round(WHOLE[first] - WHOLE[second], 1)
        noise = (round(gap - high, 1), 100)  # at least this much: then the interval reaches above 0
        rows.append(Row(f"{title}: {first} - {second}", published, gap, band=noise, note=note))
    return rows


def summary(rows: list[Row]) -> str:
    """Which steps hold, are open and are contradicted."""
    lines = []
    for word in ("holds", "open", "contradicted"):
        found = [row.what for row in rows if row.note.startswith(word)]
        lines.append(f"* {word}: {'; '.join(found) or 'none'}")
    return "\n".join(lines)


def main() -> int:
    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--official", action="store_true", help="the official split alone, a sixth of the time")

    args = parse(__doc__, extend)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        cache = DataCache(Path(folder), args.data_root, Path(folder))
        right, y = answers(0, cache)
        ours = {name: mean_over_classes(r, y) for name, r in right.items()}
        rows += [Row(f"official split: {name}", WHOLE[name], value) for name, value in ours.items()]
        best = max(v for n, v in ours.items() if n != "ESZSL")
        worst = min(v for n, v in ours.items() if n != "ConSE(all)")
        rows.append(Row("ESZSL above all others, by", None, ours["ESZSL"] - best, band=(0, 100)))
        rows.append(Row("ConSE(all) below all others, by", None, worst - ours["ConSE(all)"], band=(0, 100)))
        rows += steps("official split", right, y)
        if not args.official:
            found = [answers(split, cache) for split in range(1, 6)]
            y = np.concatenate([labels + 10 * i for i, (_, labels) in enumerate(found)])
            right = {name: np.concatenate([r[name] for r, _ in found]) for name in METHODS}
            rows += [Row(f"five splits: {n}", None, mean_over_classes(r, y)) for n, r in right.items()]
            rows += steps("five splits", right, y)
    notes = f"{NOTES.strip()}\n\n{summary(rows)}"
    return publish("C7: zero-shot on animals with attributes", rows, args, source=SOURCE, notes=notes, digits=1)


SOURCE = (
    "no published number is for this subset. The column has what was measured for this project on all 24,295 / 6,180 "
    "images of the official split with five features (accuracy in %, other programs), and differences of those. The "
    "authors' README for IAP has 27.56 % on the official split."
)
NOTES = """
The subset: local self-similarity features of the first 100 images of each class (92 of the mole), so 16 % of the
images and one feature of six. Ours is accuracy averaged over classes; every method with its defaults. Variants were
looked at in passing: other signatures and strengths move a method by one or two points. A step of the order "holds"
where the whole 95 % interval of a bootstrap over the test images (2,000 draws, stratified by class, paired) is above
0, is "contradicted" where all of it is below, and else "open"; only a contradicted step fails. "Five splits" hold out
classes 1-10, 11-20, ... of the list in turn, as the authors' program does for validation: every class is unseen once,
and the accuracy is over all 50. The interval is over images of these classes; other classes would move the numbers
more.
"""

if __name__ == "__main__":
    raise SystemExit(main())
