"""The command that writes a site: site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.cli.shared import Commands, console, discover
from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    import argparse


def add(command: Commands) -> None:
    """Add it."""
    site = command("site", _site, "write one folder with the leaderboard to explore, without a server or a network")
    site.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder")
    site.add_argument("--out", type=Path, required=True, help="folder to write; a site that is there is replaced")
    site.add_argument("--title", default="", help="title of the site (default: the suite's name)")
    site.add_argument("--metric", help="the score to rank by (default: the suite's first)")
    site.add_argument("--each", action="store_true", help="a board for each run, under one front page")
    site.add_argument("--linked", action="store_true",
                      help="with --each, beside runs and this code: lead to records and assets, copy none")  # fmt: skip
    site.add_argument("--all-pairs", action="store_true", help="average each row over all its pairs, comparable or not")


def _site(args: argparse.Namespace) -> int:
    from rich.text import Text

    from tlbench.leaderboard.text import clean, size
    from tlbench.loading import loaded
    from tlbench.site import build, build_each

    if args.linked and not args.each:
        raise TlbenchError("--linked goes with --each")
    plugins = discover(args)
    if args.each:
        each = [loaded([run], plugins, args.metric, common=not args.all_pairs) for run in args.runs]
        site = build_each(each, plugins, args.out, title=args.title, linked=args.linked)
        notes = site.notes
    else:
        found = loaded(args.runs, plugins, args.metric, common=not args.all_pairs)
        site = build(found, plugins, args.out, title=args.title)
        notes = (*found.notes, *site.notes)
    for note in notes:
        console(stderr=True).print(Text.assemble(("note ", "yellow"), clean(note)))
    print(f"{site.folder / 'index.html'}  ({site.files} files, {size(site.bytes)})")
    return 0
