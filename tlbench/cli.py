"""The command line: parse, call, exit code. Nothing else reads the arguments or the environment."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench import __version__
from tlbench.errors import SuiteError, TlbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType

    from tlbench.plugins import Plugins
    from tlbench.run import Options, Run, Watcher

KINDS = ("strategies", "backbones", "datasets", "tasks", "metrics", "executors", "reporters")
FORMATS = {"md": "markdown", "csv": "csv", "json": "json", "parquet": "parquet", "task-graph": "task-graph"}
CODES = "exit codes: 0 all ok, 1 wrong usage or internal error, 2 some trials failed, 3 incomplete"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. What the user can mend is told in a line or two, without a traceback."""
    try:
        args = _parser().parse_args(argv)
        code: int = args.call(args)
        if sys.stdout is not None:  # None where it was closed before we began
            sys.stdout.flush()
        return code
    except SuiteError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        count = len(error.problems)
        print(f"error: the suite has {count} problem{'s' if count != 1 else ''}; nothing was run", file=sys.stderr)
        return 1
    except TlbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped. Records are safe; the same command goes on from there.", file=sys.stderr)
        return 3
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        _drop_output()
        return 1
    except OSError as error:
        if not _is_of_output(error):
            raise
        _drop_output()
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        return 1


def _is_of_output(error: OSError) -> bool:
    """Whether it comes from writing what we say, and not from a file that has a name."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EBADF)


def _drop_output() -> None:
    """Send the rest nowhere, so that the interpreter does not try again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ---- arguments -----------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Wrong usage exits with 1: 2 means that trials failed."""

    def exit(self, status: int = 0, message: str | None = None) -> Any:
        sys.stdout.flush()  # here, where a reader that has gone can still be told from a bug
        super().exit(status, message)

    def error(self, message: str) -> Any:
        self.print_usage(sys.stderr)
        self.exit(1, f"error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tlbench",
        description="Transfer gain, negative transfer and throughput of transfer-learning methods, measured alike.",
        epilog=CODES,
    )
    parser.add_argument("--version", action="version", version=f"tlbench {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, call: Any, text: str, *, plugins: bool = True) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, epilog=CODES)
        added.set_defaults(call=call)
        if plugins:
            _plugin_arguments(added)
        return added

    run = command("run", _run, "run a matrix of trials and show its leaderboard; again: go on where it stopped")
    _run_arguments(run)
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
    _run_arguments(rank)
    rank.add_argument("--quiet", action="store_true", help="say only what went wrong, and the ranking")
    rank.add_argument("--json", action="store_true", help="as JSON, without progress")

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

    status = command("status", _status, "how far a run is, and what did not end well", plugins=False)
    status.add_argument("run", type=Path, metavar="RUN")
    status.add_argument("--trials", action="store_true", help="list every trial")
    status.add_argument("--json", action="store_true", help="as JSON")

    show = command("show", _show, "everything about one trial, its learning curve too", plugins=False)
    logs = command("logs", _logs, "what a trial printed", plugins=False)
    for one in (show, logs):
        one.add_argument("key", help="the trial's key, or as many digits of it as make it unique")
        one.add_argument("--run", type=Path, help="run folder (default: the one below runs/ that has the key)")
    show.add_argument("--json", action="store_true", help="the record as it is stored")

    listing = command("list", _list, "what is installed: strategies, backbones, datasets, tasks, ...")
    listing.add_argument("kind", choices=KINDS)
    listing.add_argument("--json", action="store_true", help="as JSON")

    describe = command("describe", _describe, "all about one strategy, backbone, data set, task, metric, ...")
    describe.add_argument("name")
    describe.add_argument("--json", action="store_true", help="as JSON")

    plugins = command("plugins", _plugins, "the plugins that were found, and why some did not load")
    plugins.add_argument("--json", action="store_true", help="as JSON")
    below = plugins.add_subparsers(metavar="new", parser_class=_Parser)
    new = below.add_parser("new", help="write a small, complete, installable plugin")
    new.add_argument("name", help="name of the plugin, such as my-method")
    new.add_argument("--into", type=Path, default=Path(), help="folder to write it into (default: here)")
    new.set_defaults(call=_new_plugin)

    command("schema", _schema, "the JSON Schema of suites, with the installed plugins, for editors")
    return parser


def _plugin_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-p", dest="extra", action="append", default=[], metavar="PLUGIN",
                        help="also load this file or module as a plugin; no:NAME leaves one out")  # fmt: skip
    parser.add_argument("--no-plugins", action="store_true", help="built-ins and -p only")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", nargs="?", help="path of a suite, or the name of a shipped one")
    parser.add_argument("--matrix", metavar="SUITE", help="the same")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/NAME-OF-THE-SUITE)")
    parser.add_argument("--data-root", type=Path, help="folder whose owner/name folders stand in for the hub")
    parser.add_argument("--cache", type=Path, help="folder for decoded data (default: the user's cache folder)")
    parser.add_argument("--executor", default="workers", help="who runs the trials (see `tlbench list executors`)")
    parser.add_argument("--workers", type=int, help="trials at once (default: one for each GPU, or for each core)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads of each trial (default: 1; changes last digits)"
    )
    parser.add_argument("--timeout", type=float, help="seconds for each trial (default: the suite's)")
    parser.add_argument("--memory-limit", type=float, metavar="GIB", help="most memory that a data set may take")


# ---- commands ------------------------------------------------------------------------------------


def _discover(args: argparse.Namespace) -> Plugins:
    from tlbench.plugins import Plugins

    plugins = Plugins.discover(extra=args.extra, entry_points=not args.no_plugins)
    if args.extra:  # what was named on the command line is wanted: say at once where it cannot be used
        for entry in plugins.entries():
            if entry.origin == "file" and entry.status == "broken":
                print(f"note: plugin {entry.name!r}: {'; '.join(entry.reasons)}", file=sys.stderr)
    return plugins


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _say(args: argparse.Namespace, plain: Callable[[], Any], view: Callable[[], RenderableType]) -> int:
    """Show something, or with --json print it as data."""
    if args.json:
        print(json.dumps(plain(), indent=2))
    else:
        _console().print(view())
    return 0


def _options(args: argparse.Namespace) -> Options:
    from tlbench.run import Options

    if args.data_root is not None and not args.data_root.is_dir():
        raise TlbenchError(f"--data-root {args.data_root}: no such folder")
    if args.threads < 1:
        raise TlbenchError(f"--threads {args.threads}: must be at least 1")
    if args.workers is not None and args.workers < 1:
        raise TlbenchError(f"--workers {args.workers}: must be at least 1")
    if args.timeout is not None and not args.timeout > 0:
        raise TlbenchError(f"--timeout {args.timeout:g}: must be positive")
    if args.memory_limit is not None and not args.memory_limit > 0:
        raise TlbenchError(f"--memory-limit {args.memory_limit:g}: must be positive")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", args.device):
        raise TlbenchError(f"--device {args.device}: must be auto, cpu, cuda or cuda:N")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Options(
        cache=args.cache or Path(home) / "tlbench",
        out=args.out,
        data_root=args.data_root,
        executor=args.executor,
        workers=args.workers,
        device=args.device,
        threads=args.threads,
        timeout=args.timeout,
        retry_failed=getattr(args, "retry_failed", False),
        memory_limit=int(args.memory_limit * 2**30) if args.memory_limit is not None else None,
    )


def _matrix(args: argparse.Namespace) -> str:
    if (args.suite is None) == (args.matrix is None):
        raise TlbenchError("name one suite: `tlbench run --matrix suite.yaml`, or a shipped one: `--matrix quick`")
    return str(args.matrix or args.suite)


def _prepared(args: argparse.Namespace) -> Run:
    from tlbench.run import Run

    matrix, options, plugins = _matrix(args), _options(args), _discover(args)
    plugins.get("executors", options.executor)  # said now, and not when half is done
    return Run.of(matrix, plugins, options)


def _run(args: argparse.Namespace) -> int:
    try:
        outcome = _prepared(args).execute(_watcher(args))
    except BrokenPipeError:  # nobody listens any more, as in `| head`; what was done is kept
        _drop_output()
        return 3
    if not args.json:
        console = _console()
        if outcome.board is not None:
            _show_board(outcome.board, console)
            console.print(
                f"\n[dim]files in {outcome.folder / 'leaderboard'}; `tlbench status {outcome.folder}` for the trials[/]"
            )
        if outcome.exit_code == 3:
            console.print("[yellow]incomplete[/]: the same command goes on from here")
    return outcome.exit_code


def _rank_sources(args: argparse.Namespace) -> int:
    from tlbench.ranking import ranking_view
    from tlbench.watch import LineWatcher

    watcher = LineWatcher(sys.stderr, quiet=True) if args.json else _watcher(args)
    ranking = _prepared(args).rank_sources(watcher)
    _say(args, ranking.to_json, partial(ranking_view, ranking, _console().width))
    return 2 if ranking.missing else 0


def _watcher(args: argparse.Namespace) -> Watcher:
    from tlbench.watch import EventWatcher, LineWatcher, LiveWatcher

    if args.json:
        return EventWatcher(sys.stdout)
    console = _console()
    if args.quiet or not console.is_terminal:
        return LineWatcher(sys.stdout, quiet=args.quiet)
    return LiveWatcher(console)


def _plan(args: argparse.Namespace) -> int:
    from tlbench.plan.view import plan_json, plan_table
    from tlbench.run import of_one_content

    run = _prepared(args)
    records, _ = of_one_content(run.folder.records())
    plan = run.plan(records)
    expected = run.expected(plan, records)
    return _say(args, partial(plan_json, plan, expected), partial(plan_table, plan, expected))


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
    plugins = _discover(args)
    board = board_of(list(records.values()), list(planned.values()), plugins, args.metric, common=not args.all_pairs)
    console = _console()
    for problem in [*(p for folder in folders for p in folder.problems), *changed]:
        _console(stderr=True).print(Text.assemble(("note ", "yellow"), problem))
    if not args.format:
        _show_board(board, console)
        return 0
    out = args.out or args.runs[0] / "leaderboard"
    for path in write_reports(board, out, plugins, [FORMATS[f] for f in args.format]):
        print(path)
    return 0


def _show_board(board: Any, console: Console) -> None:
    from tlbench.leaderboard.terminal import board_renderables

    for part in board_renderables(board, console.width):
        console.print(part)


def _status(args: argparse.Namespace) -> int:
    from tlbench.results.store import RunFolder
    from tlbench.results.view import status_json, status_view

    run = RunFolder.open(args.run)
    return _say(args, partial(status_json, run), partial(status_view, run, trials=args.trials))


def _found(args: argparse.Namespace) -> Any:
    """The run folder and record that a key names."""
    from tlbench.results.store import RunFolder

    if args.run is not None:
        run = RunFolder.open(args.run)
        return run, run.find(args.key)
    matches = []
    for path in sorted(Path("runs").glob("*/records")):
        run = RunFolder(path.parent)
        matches += [(run, r) for k, r in run.records().items() if k.startswith(args.key)]
    if len(matches) != 1:
        found = "no run below runs/ has" if not matches else f"{len(matches)} records below runs/ have"
        raise TlbenchError(f"{found} a key that begins with {args.key!r}; name the folder with --run")
    return matches[0]


def _show(args: argparse.Namespace) -> int:
    from tlbench.results.view import trial_view

    run, record = _found(args)
    return _say(args, record.to_json, partial(trial_view, record, run))


def _logs(args: argparse.Namespace) -> int:
    run, record = _found(args)
    path = run.log(record.key)
    if not path.is_file():
        raise TlbenchError(f"{record.key[:12]} has no log: it did not run in a worker process, or never began")
    sys.stdout.write(path.read_text(errors="replace") or "(it printed nothing)\n")
    return 0


def _list(args: argparse.Namespace) -> int:
    from tlbench import catalog

    plugins = _discover(args)
    return _say(args, partial(catalog.list_json, plugins, args.kind), partial(catalog.list_table, plugins, args.kind))


def _describe(args: argparse.Namespace) -> int:
    from tlbench import catalog

    plugins = _discover(args)
    return _say(
        args, partial(catalog.describe_json, plugins, args.name), partial(catalog.describe_text, plugins, args.name)
    )


def _plugins(args: argparse.Namespace) -> int:
    from tlbench import catalog

    plugins = _discover(args)
    return _say(args, partial(catalog.plugins_json, plugins), partial(catalog.plugins_table, plugins))


def _new_plugin(args: argparse.Namespace) -> int:
    from tlbench.scaffold import new_plugin

    for path in new_plugin(args.name, args.into):
        print(path)
    return 0


def _schema(args: argparse.Namespace) -> int:
    from tlbench.suite.schema import json_schema

    print(json.dumps(json_schema(_discover(args)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
