"""The commands that look closer at results: compare, curves, changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.cli.shared import Commands, console, discover
from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from tlbench.leaderboard.board import Leaderboard


def add(command: Commands) -> None:
    """Add them."""
    compare = command("compare", _compare, "one strategy against another: each pair's difference with its interval, "
                      "what holds over all of them, and what both cost")  # fmt: skip
    compare.add_argument("a", metavar="A", help="label of a strategy, as on the board")
    compare.add_argument("b", metavar="B", help="label of the strategy to set it against")
    compare.add_argument("--run", type=Path, nargs="+", metavar="RUN", dest="runs",
                         help="run folders (default: the newest below runs/)")  # fmt: skip

    curves = command("curves", _curves, "learning curves with their bands, over all pairs or for one")
    curves.add_argument("runs", nargs="*", type=Path, metavar="RUN",
                        help="run folders (default: the newest below runs/)")  # fmt: skip
    curves.add_argument("--strategies", nargs="+", metavar="A", help="only these rows of the board")
    curves.add_argument("--pair", nargs=2, metavar=("SOURCE", "TARGET"), help="one pair (default: the mean over all)")
    curves.add_argument("--each-pair", action="store_true", help="each pair by itself")

    changes = command("changes", _changes, "what differs between two runs: trials, statuses, settings, versions, and "
                      "scores by more than their seeds vary")  # fmt: skip
    changes.epilog = "exit codes: 0 nothing but noise and conditions differ, 2 something does, 1 wrong usage or error"
    changes.add_argument("old", type=Path, metavar="OLD", help="run folder")
    changes.add_argument("new", type=Path, metavar="NEW", help="run folder")
    changes.add_argument("--metric", help="the score (default: the suite's first)")
    changes.add_argument("--json", action="store_true", help="as JSON")

    for one in (compare, curves):
        one.add_argument("--group", metavar="TEXT", help="only tasks and backbones whose title has this in it")
        one.add_argument("--metric", help="the score (default: the suite's first)")
        one.add_argument("--json", action="store_true", help="as JSON")


def _board(args: argparse.Namespace) -> Leaderboard:
    """The board of the runs that were named, or of the newest; says on stderr what was passed over."""
    from rich.text import Text

    from tlbench.loading import loaded

    runs = args.runs or [newest_run(Path("runs"))]
    found = loaded(runs, discover(args), args.metric)
    screen = console(stderr=True)
    if not args.runs and not args.json:
        screen.print(Text(f"run: {runs[0]}", "dim"))
    for note in found.notes:
        screen.print(Text.assemble(("note ", "yellow"), note))
    return found.board


def newest_run(below: Path) -> Path:
    """The run folder whose records were written to last. Raises ``TlbenchError`` where there is none."""
    runs: dict[Path, float] = {}
    for records in below.glob("*/records"):
        written = [file.stat().st_mtime for file in records.glob("*.jsonl")]
        if written:
            runs[records.parent] = max(written)
    if not runs:
        raise TlbenchError(f"there is no run below {below}/; name a run folder with --run")
    return max(runs, key=lambda path: (runs[path], str(path)))


def _show(args: argparse.Namespace, plain: Any, view: Iterable[Any]) -> int:
    if args.json:
        print(json.dumps(plain, indent=2))
        return 0
    screen = console()
    for part in view:
        screen.print(part)
    return 0


def _compare(args: argparse.Namespace) -> int:
    from tlbench.leaderboard.compare import compare
    from tlbench.leaderboard.views.compare_view import comparison_json, comparison_view

    found = compare(_board(args), args.a, args.b, args.group)
    return _show(args, comparison_json(found), comparison_view(found, console().width))


def _curves(args: argparse.Namespace) -> int:
    from tlbench.leaderboard.curves import all_curves
    from tlbench.leaderboard.views.curves_view import curves_json, curves_view

    board = _board(args)
    pair = (args.pair[0], args.pair[1]) if args.pair else None
    found = all_curves(board, args.group, args.strategies, pair, each_pair=args.each_pair)
    return _show(args, curves_json(board, found), curves_view(board, found, console().width))


def _changes(args: argparse.Namespace) -> int:
    from rich.text import Text

    from tlbench.leaderboard.changes import Run, changes
    from tlbench.leaderboard.views.changes_view import changes_json, changes_view
    from tlbench.loading import loaded

    plugins = discover(args)
    new = loaded([args.new], plugins, args.metric)
    old = loaded([args.old], plugins, new.board.metric)
    for note in (*old.notes, *new.notes):
        console(stderr=True).print(Text.assemble(("note ", "yellow"), note))
    found = changes(
        Run(old.records, old.planned),
        Run(new.records, new.planned),
        new.board.metric,
        higher_is_better=new.board.table.higher_is_better,
        points=new.board.points and old.board.points,
        conditions=(dict(old.board.conditions), dict(new.board.conditions)),
    )
    _show(args, changes_json(found), changes_view(found, str(args.old), str(args.new), console().width))
    return 2 if found.differ else 0
