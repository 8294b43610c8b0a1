"""Two panels for each pair of a run: training loss on the left, the score on the test examples on the right.

    python benchmarks/plots/two_panel.py runs/NAME curves.png [--strategy fine-tune lp-ft] [--target mnist]

Lines are means over seeds and bands reach from the lowest to the highest seed. The loss is the sum of its terms, each
the mean since the point before; what a method trained in a branch before (a teacher, say) is left out. A method that
takes no gradient step is a dashed level. Needs matplotlib.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from tlbench.results.store import RunFolder


class Curve(NamedTuple):
    """Values [seeds, P] at steps [P]."""

    steps: np.ndarray
    values: np.ndarray


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("picture", type=Path, help="the file to write, such as curves.png or curves.svg")
    parser.add_argument("--strategy", nargs="+", help="only strategies with these labels")
    parser.add_argument("--target", nargs="+", help="only these targets")
    args = parser.parse_args()
    if not args.run.is_dir():
        parser.error(f"there is no run in {args.run}")
    found = collected(args.run, args.strategy, args.target)
    if not found:
        parser.error(f"no finished trial with a learning curve in {args.run}, under what was asked for")
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(found, args.picture)
    print(f"{len(found)} pair{'s' if len(found) > 1 else ''} drawn to {args.picture}")
    return 0


def collected(run: Path, strategies: list[str] | None, targets: list[str] | None) -> dict[str, dict[str, list[Any]]]:
    """The finished records with a curve: pair -> strategy -> its seeds."""
    records = [r for r in RunFolder.open(run).records().values() if r.status == "ok" and r.trial["kind"] == "trial"]
    chosen = [
        r
        for r in records
        if r.curve is not None
        and (strategies is None or r.trial["strategy"]["label"] in strategies)
        and (targets is None or r.trial["target"]["label"] in targets)
    ]
    sources = {r.trial["source"]["label"] for r in chosen if r.trial["source"]}
    found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for record in chosen:
        trial = record.trial
        # a reference has no source: it belongs to every pair with its target
        for source in [trial["source"]["label"]] if trial["source"] else sorted(sources) or ["no source"]:
            where = f"{trial['target']['label']}, {trial['task']['label']}, {trial['backbone']['label']}"
            found[f"{source} → {where}"][trial["strategy"]["label"]].append(record)
    return found


def draw(found: dict[str, dict[str, list[Any]]], picture: Path) -> None:
    """One row of two panels for each pair; one colour for each strategy."""
    names = sorted({name for by_strategy in found.values() for name in by_strategy})
    colours = dict(zip(names, plt.get_cmap("tab10").colors * (1 + len(names) // 10), strict=False))
    size = (11, 3.4 * len(found) + 0.4)
    figure, panels = plt.subplots(len(found), 2, figsize=size, squeeze=False, layout="constrained")
    for (left, right), (pair, by_strategy) in zip(panels, sorted(found.items()), strict=True):
        for name, records in sorted(by_strategy.items()):
            _line(left, losses(records), colours[name], name)
            _line(right, scores(records), colours[name], name)
        curve = next(iter(by_strategy.values()))[0].curve
        left.set(title=pair, xlabel="step", ylabel="training loss")
        right.set(title=f"{curve['examples']} test examples", xlabel="step", ylabel=curve["metric"])
        left.set_yscale("log")
        for panel in (left, right):
            panel.grid(visible=True, alpha=0.3)
        right.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.savefig(picture, dpi=120)
    plt.close(figure)


def losses(records: list[Any]) -> Curve | None:
    """The sum of the loss's terms; ``None`` where nothing was trained."""
    kept = [r.losses for r in records if r.losses]
    if not kept:
        return None
    each = [np.nansum([np.array(v, dtype=float) for k, v in terms.items() if k != "steps"], axis=0) for terms in kept]
    before = kept[0]["steps"][-1] - records[0].curve["steps"][-1]
    steps = np.asarray(kept[0]["steps"]) - before
    return Curve(steps[steps > 0], np.stack(each)[:, steps > 0])


def scores(records: list[Any]) -> Curve:
    """The learning curve."""
    return Curve(np.asarray(records[0].curve["steps"]), np.stack([np.asarray(r.curve["scores"]) for r in records]))


def _line(panel: Any, curve: Curve | None, colour: Any, name: str) -> None:
    if curve is None:
        return
    middle = curve.values.mean(0)
    if len(curve.steps) == 1:
        panel.axhline(middle[0], color=colour, linestyle="--", linewidth=1.2, label=name)
        return
    panel.plot(curve.steps, middle, color=colour, linewidth=1.5, label=name)
    panel.fill_between(curve.steps, curve.values.min(0), curve.values.max(0), color=colour, alpha=0.15, linewidth=0)


if __name__ == "__main__":
    raise SystemExit(main())
