"""The commands about results as a whole: leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.cli.shared import Commands, console, discover, show_board
from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    import argparse

FORMATS = {"md": "markdown", "csv": "csv", "json": "json", "parquet": "parquet", "task-graph": "task-graph"}


def add(command: Commands) -> None:
    """Add them."""
    board = command("leaderboard", _leaderboard, "transfer gain, negative transfer and throughput of one or more runs")
    board.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder")
    board.add_argument("--metric", help="the score to rank by (default: the suite's first)")
    board.add_argument(
        "--all-pairs", action="store_true", help="average each row over all its pairs, comparable or not"
    )
    board.add_argument(
        "--format", choices=sorted(FORMATS), action="append", help="write this form (default: show it here)"
    )
    board.add_argument("--out", type=Path, help="folder for --format (default: the first run's leaderboard/)")


def _leaderboard(args: argparse.Namespace) -> int:
    from rich.text import Text

    from tlbench.results.store import RunFolder
    from tlbench.run import board_of, current, of_one_content, write_reports

    folders = [RunFolder.open(path) for path in args.runs]
    records = {r.key: r for folder in folders for r in current(folder.records(), folder.planned())}
    records, changed = of_one_content(records)
    planned = {t.key: t for folder in folders for t in folder.planned()}
    if not any(r.status == "ok" for r in records.values()):
        raise TlbenchError(
            f"{', '.join(map(str, args.runs))}: no trial has ended well yet, so there is nothing to rank"
        )
    plugins = discover(args)
    board = board_of(list(records.values()), list(planned.values()), plugins, args.metric, common=not args.all_pairs)
    screen = console()
    for problem in [*(p for folder in folders for p in folder.problems), *changed]:
        console(stderr=True).print(Text.assemble(("note ", "yellow"), problem))
    if not args.format:
        show_board(board, screen)
        return 0
    out = args.out or args.runs[0] / "leaderboard"
    for path in write_reports(board, out, plugins, [FORMATS[f] for f in args.format]):
        print(path)
    return 0
