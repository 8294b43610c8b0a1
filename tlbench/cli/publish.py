"""The command that publishes: to a folder, to pages, to the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.cli.shared import Commands, console, discover

if TYPE_CHECKING:
    import argparse

    from tlbench.publish.model import Bundle, Place


def add(command: Commands) -> None:
    """Add it."""
    one = command("publish", _publish, "put the site, the files and the records of runs where others can see them")
    one.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder")
    one.add_argument(
        "--to", required=True, metavar="PLACE",
        help="FOLDER, gh-pages, hf://datasets/OWNER/NAME or hf://spaces/OWNER/NAME",
    )  # fmt: skip
    one.add_argument("--dry-run", action="store_true", help="list what would be published, and do nothing")
    one.add_argument("--title", default="", help="title of the site (default: the suite's name)")
    one.add_argument("--metric", help="the score to rank by (default: the suite's first)")
    one.add_argument("--remote", default="origin", help="git remote of gh-pages, by name or address (default: origin)")
    one.add_argument("--branch", default="gh-pages", help="branch of gh-pages (default: gh-pages)")
    one.add_argument("--private", action="store_true", help="what is new on the hub is seen by you alone")
    one.add_argument("--license", default="", metavar="ID", help="licence on the hub's card, such as cc-by-4.0")
    one.add_argument("--predictions", action="store_true", help="with the stored test scores")
    one.add_argument("--keep-host", action="store_true", help="with the names of the hosts that the records are from")
    one.add_argument("--keep-paths", action="store_true", help="with paths of this machine, where records name them")


def _publish(args: argparse.Namespace) -> int:
    import tempfile

    from tlbench.publish.bundle import gather
    from tlbench.publish.places import place
    from tlbench.publish.privacy import Kept

    where = place(args.to, remote=args.remote, branch=args.branch, private=args.private)
    plugins = discover(args)
    with tempfile.TemporaryDirectory(prefix="tlbench-publish-") as temporary:
        bundle = gather(
            args.runs,
            Path(temporary),
            plugins,
            card=where.card,
            metric=args.metric,
            title=args.title,
            kept=Kept(args.keep_host, args.keep_paths),
            predictions=args.predictions,
            license=args.license,
        )
        _notes(bundle)
        if args.dry_run:
            _list(bundle, where)
            return 0
        done = where.put(bundle)
    if not done.changed:
        print(f"nothing new: {done.address} has all {len(bundle.files)} files already")
        return 0
    removed = f", {done.removed} stale ones removed" if done.removed else ""
    print(f"published {_count(bundle)}{removed}\n{done.address}")
    return 0


def _count(bundle: Bundle) -> str:
    from tlbench.leaderboard.text import size

    return f"{len(bundle.files)} files, {size(bundle.size)}"


def _notes(bundle: Bundle) -> None:
    from rich.text import Text

    for note in bundle.notes:
        console(stderr=True).print(Text.assemble(("note ", "yellow"), note))


def _list(bundle: Bundle, where: Place) -> None:
    from tlbench.leaderboard.text import clean, size

    print(f"{clean(where.title)}:")
    for name, length in bundle.files.items():
        print(f"{size(length):>10}  {clean(name)}")
    print(f"would publish {_count(bundle)}; nothing was sent or written")
