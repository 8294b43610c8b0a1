"""Cards: the README.md of a data set and of a Space on the hub, with the YAML header that the hub reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from tlbench.leaderboard.forms.files import to_markdown
from tlbench.leaderboard.text import bounded, markdown

if TYPE_CHECKING:
    from tlbench.leaderboard.board import Leaderboard

TABLES = {
    "leaderboard": ("downloads/leaderboard.parquet", "one line for each strategy, task and backbone"),
    "pairs": ("downloads/pairs.parquet", "one line for each strategy and pair of source and target"),
    "trials": ("downloads/trials.parquet", "one line for each trial, ok or not"),
}
"""Each configuration of the data set: its file and what it holds."""
TAGS = ["tlbench", "transfer-learning", "benchmark", "leaderboard"]
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def data_card(board: Leaderboard, license: str = "") -> str:
    """The card of a data set: the hub's viewer shows the three tables."""
    trials = int((~board.table.source_model).sum())
    header: dict[str, Any] = {
        "pretty_name": _title(board),
        **({"license": license} if license else {}),
        "tags": TAGS,
        "size_categories": [next((name for limit, name in SIZES if trials < limit), "1M<n<10M")],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == "leaderboard" else {}),
                "data_files": [{"split": "train", "path": path}],
            }
            for name, (path, _) in TABLES.items()
        ],
    }
    lines = [
        "Results of transfer-learning methods, measured with tlbench. Gains are paired differences to a reference on",
        "the same target data, budget and seed, in the metric's own units; intervals are of 95 %.",
        "",
        "| table | holds |",
        "| --- | --- |",
        *(f"| `{name}` | {what} |" for name, (_, what) in TABLES.items()),
        "",
        "`index.html` is the same to look at, and needs no server. `runs/` has the records behind every number:",
        "`tlbench leaderboard runs/NAME` makes this board of them again.",
        "",
    ]
    return _with_header(header, "\n".join(lines) + "\n" + to_markdown(board))


def space_card(board: Leaderboard, license: str = "") -> str:
    """The card of a static Space, whose page is the site."""
    header = {
        "title": _title(board),
        "emoji": "📊",
        "colorFrom": "blue",
        "colorTo": "green",
        "sdk": "static",
        "app_file": "index.html",
        "pinned": False,
        **({"license": license} if license else {}),
        "tags": TAGS,
    }
    about = f"The leaderboard {markdown(_title(board))}, made with tlbench. The records behind it are in `runs/`.\n"
    return _with_header(header, about)


def _title(board: Leaderboard) -> str:
    return bounded(dict(board.conditions).get("suite", "") or "transfer-learning leaderboard", 80)


def _with_header(header: dict[str, Any], body: str) -> str:
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=10_000)}---\n\n{body}"
