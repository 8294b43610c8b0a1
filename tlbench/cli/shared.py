"""What the commands share: arguments that many take, and how something is shown."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

    from tlbench.plugins import Plugins


class Commands(Protocol):
    """Adds a command: its name, what it calls (arguments -> exit code), one line of help."""

    def __call__(
        self, name: str, call: Callable[[argparse.Namespace], int], text: str, *, plugins: bool = True
    ) -> argparse.ArgumentParser:
        """The command's parser, to add arguments to; ``plugins``: with those that say what to load."""


class Parser(argparse.ArgumentParser):
    """Wrong usage exits with 1: 2 means that trials failed."""

    def exit(self, status: int = 0, message: str | None = None) -> Any:
        sys.stdout.flush()  # here, where a reader that has gone can still be told from a bug
        super().exit(status, message)

    def error(self, message: str) -> Any:
        self.print_usage(sys.stderr)
        self.exit(1, f"error: {message}\n")


def plugin_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-p", dest="extra", action="append", default=[], metavar="PLUGIN",
                        help="also load this file or module as a plugin; no:NAME leaves one out")  # fmt: skip
    parser.add_argument("--no-plugins", action="store_true", help="built-ins and -p only")


def cache_folder(given: Path | None) -> Path:
    """The folder of decoded data: the one given, or the user's."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return given or Path(home) / "tlbench"


def check_data_root(given: Path | None) -> None:
    """Raise ``TlbenchError`` where ``--data-root`` names no folder."""
    if given is not None and not given.is_dir():
        raise TlbenchError(f"--data-root {given}: no such folder")


def discover(args: argparse.Namespace) -> Plugins:
    from tlbench.plugins import Plugins

    plugins = Plugins.discover(extra=args.extra, entry_points=not args.no_plugins)
    if args.extra:  # what was named on the command line is wanted: say at once where it cannot be used
        for entry in plugins.entries():
            if entry.origin == "file" and entry.status == "broken":
                print(f"note: plugin {entry.name!r}: {'; '.join(entry.reasons)}", file=sys.stderr)
    return plugins


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def say(args: argparse.Namespace, plain: Callable[[], Any], view: Callable[[], RenderableType]) -> int:
    """Show something, or with --json print it as data."""
    if args.json:
        print(json.dumps(plain(), indent=2))
    else:
        console().print(view())
    return 0


def drop_output() -> None:
    """Send the rest nowhere, so that the interpreter does not try again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show_board(board: Any, console: Console, group: str | None = None) -> None:
    from tlbench.leaderboard.views.terminal import board_renderables

    for part in board_renderables(board, console.width, group=group):
        console.print(part)
