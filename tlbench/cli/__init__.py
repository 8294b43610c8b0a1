"""The command line: parse, call, exit code. Nothing else reads the arguments or the environment."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING, Any

from tlbench import __version__
from tlbench.cli import boards, cache, catalog, compare, exchange, publish, running, site, trials
from tlbench.cli.shared import Parser, drop_output, plugin_arguments
from tlbench.errors import SuiteError, TlbenchError, is_full

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

CODES = "exit codes: 0 all ok, 1 wrong usage or internal error, 2 some trials failed, 3 incomplete"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. What the user can mend is told in a line or two, without a traceback."""
    args = None
    try:
        args = parser().parse_args(argv)
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
        return _code(args, error)
    except KeyboardInterrupt:
        print("\nstopped. Records are safe; the same command goes on from there.", file=sys.stderr)
        return 3
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        drop_output()
        return 1
    except OSError as error:
        if not _is_of_output(error):
            raise
        drop_output()
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        return _code(args, error)


def _code(args: argparse.Namespace | None, error: Exception) -> int:
    """1, or 3 where a full disk stopped what the same command goes on with."""
    if not getattr(args, "goes_on", False) or not is_full(error):
        return 1
    print("incomplete: with room on the disk, the same command goes on from here", file=sys.stderr)
    return 3


def _is_of_output(error: OSError) -> bool:
    """Whether it comes from writing what we say, and not from a file that has a name."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EBADF)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; each module of this package adds its own."""
    top = Parser(
        prog="tlbench",
        description="Transfer gain, negative transfer and throughput of transfer-learning methods, measured alike.",
        epilog=CODES,
    )
    top.add_argument("--version", action="version", version=f"tlbench {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)

    def command(name: str, call: Any, text: str, *, plugins: bool = True) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, epilog=CODES)
        added.set_defaults(call=call)
        if plugins:
            plugin_arguments(added)
        return added

    for part in (running, boards, compare, site, publish, trials, catalog, exchange, cache):
        part.add(command)
    return top
