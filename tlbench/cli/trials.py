"""The commands about the trials of one run: status, show, logs."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.cli.shared import Commands, say
from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    import argparse


def add(command: Commands) -> None:
    """Add them."""
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


def _status(args: argparse.Namespace) -> int:
    from tlbench.results.store import RunFolder
    from tlbench.results.view import status_json, status_view

    run = RunFolder.open(args.run)
    return say(args, partial(status_json, run), partial(status_view, run, trials=args.trials))


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
    return say(args, record.to_json, partial(trial_view, record, run))


def _logs(args: argparse.Namespace) -> int:
    run, record = _found(args)
    path = run.log(record.key)
    if not path.is_file():
        raise TlbenchError(f"{record.key[:12]} has no log: it did not run in a worker process, or never began")
    sys.stdout.write(path.read_text(errors="replace") or "(it printed nothing)\n")
    return 0
