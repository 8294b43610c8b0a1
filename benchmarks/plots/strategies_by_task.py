"""What fits with what: a Markdown table of a run's scores, strategies down and tasks across.

    python benchmarks/plots/strategies_by_task.py RUN [FILE]

A dash: the task does not offer what the strategy needs, and its trials were skipped for that reason.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from tlbench.api.records import Status
from tlbench.results.store import RunFolder


def table(run: Path) -> pd.DataFrame:
    """Scores x 100 averaged over pairs, networks and seeds; ``!`` where a trial did not end well."""
    rows = []
    for record in RunFolder.open(run).records().values():
        if record.trial["kind"] != "trial" or record.status is Status.SKIPPED:
            continue
        metrics = record.metrics.get(record.scored or "", {})
        metric = (record.curve or {}).get("metric", next(iter(metrics), ""))
        rows.append(
            {
                "strategy": record.trial["strategy"]["label"],
                "task": record.trial["task"]["label"],
                "score": 100 * metrics[metric] if record.status is Status.OK else float("nan"),
            }
        )
    frame = pd.DataFrame(rows)
    means = frame.groupby(["strategy", "task"], sort=False)["score"].agg(lambda s: s.mean(skipna=False))
    text = means.map(lambda v: f"{v:.1f}" if v == v else "!")
    return text.unstack(sort=False).fillna("–")


def main() -> None:
    found = table(Path(sys.argv[1])).to_markdown()
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(
            f"# Strategies by task\n\nScores × 100; – where the task does not suit.\n\n{found}\n"
        )
    else:
        print(found)


if __name__ == "__main__":
    main()
