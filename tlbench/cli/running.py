"""The commands that need a suite: run, plan, rank-sources."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.cli.shared import Commands, cache_folder, check_data_root, console, discover, drop_output, say, show_board
from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    import argparse

    from tlbench.run import Options, Run, Watcher


_MORE = ("graphs", "channels-last", "fuse-seeds", "compile")


def add(command: Commands) -> None:
    """Add them."""
    run = command("run", _run, "run a matrix of trials and show its leaderboard; again: go on where it stopped")
    run.set_defaults(goes_on=True)
    _run_arguments(run)
    faster = run.add_mutually_exclusive_group()
    faster.add_argument("--plain", action="store_true", help="every way of going faster off; the same results")
    faster.add_argument(
        "--with",
        dest="more",
        action="append",
        default=[],
        choices=_MORE,
        help="a way of going faster that is off by default; graphs and compile need a GPU, and all but graphs change "
        "last digits",
    )
    run.add_argument("--retry-failed", action="store_true", help="try failed, out-of-memory and timed-out trials again")
    run.add_argument("--quiet", action="store_true", help="say only what went wrong, and the leaderboard")
    run.add_argument(
        "--json", action="store_true", help="a line of JSON for each event instead of progress and leaderboard"
    )

    plan = command("plan", _plan, "show what a suite would run, what is there already, and what is skipped and why")
    _run_arguments(plan)
    plan.add_argument("--json", action="store_true", help="as JSON")

    rank = command("rank-sources", _rank_sources, "order the sources of each target by transferability scores, and "
                   "say how right each score was where the matrix has run")  # fmt: skip
    rank.set_defaults(goes_on=True)
    _run_arguments(rank)
    rank.add_argument("--quiet", action="store_true", help="say only what went wrong, and the ranking")
    rank.add_argument("--json", action="store_true", help="as JSON, without progress")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", nargs="?", help="path of a suite, or the name of a shipped one")
    parser.add_argument("--matrix", metavar="SUITE", help="the same")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/NAME-OF-THE-SUITE)")
    parser.add_argument("--data-root", type=Path, help="folder whose owner/name folders stand in for the hub")
    parser.add_argument("--cache", type=Path, help="folder for decoded data (default: the user's cache folder)")
    words = (
        "most that the cache folder may hold: what was not used for longest goes when more is kept (default: no limit)"
    )
    parser.add_argument("--cache-limit", type=float, metavar="GIB", help=words)
    parser.add_argument("--executor", default="workers", help="who runs the trials (see `tlbench list executors`)")
    parser.add_argument("--workers", type=int, help="trials at once (default: one for each GPU, or for each core)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads of each trial (default: 1; changes last digits)"
    )
    parser.add_argument("--timeout", type=float, help="seconds for each trial (default: the suite's)")
    words = "most memory that a data set's examples may take; larger ones are read batch by batch from the disk"
    parser.add_argument("--memory-limit", type=float, metavar="GIB", help=words)
    parser.add_argument(
        "--save-predictions", action="store_true", help="store each trial's test scores, for metrics to be added later"
    )


def _options(args: argparse.Namespace) -> Options:
    from tlbench.execution.switches import Switches
    from tlbench.run import Options

    check_data_root(args.data_root)
    if args.threads < 1:
        raise TlbenchError(f"--threads {args.threads}: must be at least 1")
    if args.workers is not None and args.workers < 1:
        raise TlbenchError(f"--workers {args.workers}: must be at least 1")
    if args.timeout is not None and not args.timeout > 0:
        raise TlbenchError(f"--timeout {args.timeout:g}: must be positive")
    for option, gib in (("--memory-limit", args.memory_limit), ("--cache-limit", args.cache_limit)):
        if gib is not None and not gib > 0:
            raise TlbenchError(f"{option} {gib:g}: must be positive")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", args.device):
        raise TlbenchError(f"--device {args.device}: must be auto, cpu, cuda or cuda:N")
    more = {name.replace("-", "_"): True for name in getattr(args, "more", [])}
    return Options(
        cache=cache_folder(args.cache),
        out=args.out,
        data_root=args.data_root,
        executor=args.executor,
        workers=args.workers,
        device=args.device,
        threads=args.threads,
        timeout=args.timeout,
        retry_failed=getattr(args, "retry_failed", False),
        memory_limit=None if args.memory_limit is None else int(args.memory_limit * 2**30),
        cache_limit=None if args.cache_limit is None else int(args.cache_limit * 2**30),
        save_predictions=args.save_predictions,
        switches=Switches.plain() if getattr(args, "plain", False) else Switches(**more),
    )


def _matrix(args: argparse.Namespace) -> str:
    if (args.suite is None) == (args.matrix is None):
        raise TlbenchError("name one suite: `tlbench run --matrix suite.yaml`, or a shipped one: `--matrix quick`")
    return str(args.matrix or args.suite)


def _prepared(args: argparse.Namespace) -> Run:
    from tlbench.run import Run

    matrix, options, plugins = _matrix(args), _options(args), discover(args)
    plugins.get("executors", options.executor)  # said now, and not when half is done
    return Run.of(matrix, plugins, options)


def _run(args: argparse.Namespace) -> int:
    try:
        outcome = _prepared(args).execute(_watcher(args))
    except BrokenPipeError:  # nobody listens any more, as in `| head`; what was done is kept
        drop_output()
        return 3
    if not args.json:
        screen = console()
        if outcome.board is not None:
            show_board(outcome.board, screen)
            screen.print(
                f"\n[dim]files in {outcome.folder / 'leaderboard'}; `tlbench status {outcome.folder}` for the trials[/]"
            )
        if outcome.exit_code == 3:
            screen.print("[yellow]incomplete[/]: the same command goes on from here")
    return outcome.exit_code


def _rank_sources(args: argparse.Namespace) -> int:
    from tlbench.ranking import ranking_view
    from tlbench.watch import LineWatcher

    watcher = LineWatcher(sys.stderr, quiet=True) if args.json else _watcher(args)
    ranking = _prepared(args).rank_sources(watcher)
    say(args, ranking.to_json, partial(ranking_view, ranking, console().width))
    return 2 if ranking.missing else 0


def _watcher(args: argparse.Namespace) -> Watcher:
    from tlbench.watch import EventWatcher, LineWatcher, LiveWatcher

    if args.json:
        return EventWatcher(sys.stdout)
    screen = console()
    if args.quiet or not screen.is_terminal:
        return LineWatcher(sys.stdout, quiet=args.quiet)
    return LiveWatcher(screen)


def _plan(args: argparse.Namespace) -> int:
    from tlbench.plan.view import plan_json, plan_table
    from tlbench.results.valid import of_one_content

    run = _prepared(args)
    records, _ = of_one_content(run.folder.records())
    plan = run.plan(records)
    expected = run.expected(plan, records)
    return say(args, partial(plan_json, plan, expected), partial(plan_table, plan, expected))
