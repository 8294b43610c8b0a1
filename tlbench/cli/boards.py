"""The commands about results as a whole: leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.cli.shared import Commands, console, discover, show_board
from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    import argparse

    from tlbench.leaderboard.board import Leaderboard
    from tlbench.plugins import Plugins

FORMATS = {"md": "markdown", "latex": "latex"} | {
    name: name for name in ("badge", "csv", "json", "parquet", "task-graph")
}


def add(command: Commands) -> None:
    """Add them."""
    board = command("leaderboard", _leaderboard, "transfer gain, negative transfer and throughput of one or more runs")
    board.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN",
        help="run folder; of a trial that several have, the last one's result counts (`tlbench merge` compares them)",
    )  # fmt: skip
    board.add_argument("--metric", help="the score to rank by (default: the suite's first); with --from, its name")
    board.add_argument("--group", metavar="TEXT", help="show only tasks and backbones whose title has this in it")
    board.add_argument(
        "--all-pairs", action="store_true", help="average each row over all its pairs, comparable or not"
    )
    board.add_argument(
        "--tuned", action="store_true",
        help="one row for all parameter sets of a strategy, chosen per pair and seed on validation examples",
    )  # fmt: skip
    board.add_argument(
        "--format", choices=sorted(FORMATS), action="append", help="write this form (default: show it here)"
    )
    board.add_argument("--out", type=Path, help="folder for --format (default: the first run's leaderboard/)")
    other = board.add_argument_group("a table from elsewhere")
    other.add_argument("--from", dest="scores", type=Path, metavar="FILE",
                       help="instead of runs: .csv, .json or .parquet with columns strategy, source, target (or pair), "
                       "score and, as wanted, seed, task, backbone, reference, test_examples")  # fmt: skip
    other.add_argument("--reference", metavar="STRATEGY", help="which strategy gains are measured against")
    better = other.add_mutually_exclusive_group()
    better.add_argument("--higher-is-better", action="store_true", help="of the score (default)")
    better.add_argument("--lower-is-better", action="store_true", help="of the score, as for an error")
    other.add_argument("--unit", choices=("auto", "share", "points", "raw"), default="auto",
                       help="scores in [0, 1], in [0, 100] or any (default: the first that fits)")  # fmt: skip


def _leaderboard(args: argparse.Namespace) -> int:
    from rich.text import Text

    from tlbench.reports import write_reports

    plugins = discover(args)
    board, notes = _board(args, plugins)
    screen = console()
    for problem in notes:
        console(stderr=True).print(Text.assemble(("note ", "yellow"), problem))
    if not args.format:
        show_board(board, screen, args.group)
        for line in _standings(args.runs):
            screen.print(Text(line, "dim"))
        return 0
    out = args.out or (args.runs[0] if args.runs else Path()) / "leaderboard"
    for path in write_reports(board, out, plugins, [FORMATS[f] for f in args.format]):
        print(path)
    return 0


def _board(args: argparse.Namespace, plugins: Plugins) -> tuple[Leaderboard, tuple[str, ...]]:
    """The board of the runs, or of the table from elsewhere, and what was passed over."""
    if bool(args.runs) == (args.scores is not None):
        raise TlbenchError("name one or more run folders, or a table from elsewhere with --from")
    if args.scores is None:
        from tlbench.loading import loaded

        if args.reference or args.lower_is_better or args.unit != "auto":
            raise TlbenchError("--reference, --lower-is-better and --unit go with --from; a run knows them itself")
        found = loaded(args.runs, plugins, args.metric, common=not args.all_pairs, tuned=args.tuned)
        return found.board, found.notes
    from tlbench.leaderboard.tidy import read_scores

    if args.tuned:
        raise TlbenchError("--tuned needs the validation scores of a run; a table from elsewhere has none")
    scores = read_scores(args.scores, args.reference, metric=args.metric or "score",
                         higher_is_better=not args.lower_is_better, unit=args.unit)  # fmt: skip
    return scores.board(common=not args.all_pairs), ()


def _standings(runs: list[Path]) -> list[str]:
    """How far each run may be believed, on a line each."""
    from tlbench.leaderboard.text import clean
    from tlbench.results.verify import standing

    found = {run: standing(run).text for run in runs}
    return [clean(f"{run}: {said}" if len(found) > 1 else said) for run, said in found.items()]
