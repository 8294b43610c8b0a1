"""The command about the data cache: what is in it, and making room."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.cli.shared import Commands, Parser, cache_folder
from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tlbench.data.entries import Entry

DAY = 86_400


def add(command: Commands) -> None:
    """Add it."""
    cache = command("cache", _info, "the cache of data and measurements: what is in it, and making room", plugins=False)
    below = cache.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    info = below.add_parser("info", help="how much there is and when it was last used")
    prune = below.add_parser("prune", help="remove what was not used for long; safe while a run reads")
    verify = below.add_parser("verify", help="read every entry against its checksum, and say which are damaged")
    for parser, call in ((info, _info), (prune, _prune), (verify, _verify)):
        parser.add_argument("--cache", type=Path, help="the cache folder (default: the user's)")
        parser.add_argument("--json", action="store_true", help="as JSON")
        parser.set_defaults(call=call)
    prune.add_argument("--older-than", type=float, metavar="DAYS", help="entries that were not used for so many days")
    prune.add_argument("--max-size", type=float, metavar="GIB", help="the least recently used, until the rest fits")
    verify.add_argument("--prune", action="store_true", help="remove the damaged ones, to be made again when wanted")


def _info(args: argparse.Namespace) -> int:
    from tlbench.data.entries import entries

    folder = cache_folder(args.cache)
    found = entries(folder)
    about = _about(found)
    if args.json:
        print(json.dumps({"folder": str(folder), **about}, indent=2))
        return 0
    print(f"{folder}: {_words(found)}")
    if found:
        now = time.time()
        first, last = (now - entry.used for entry in (found[0], found[-1]))
        print(f"last used {_ago(last)}; the entry that was not used for longest, {_ago(first)}")
    return 0


def _prune(args: argparse.Namespace) -> int:
    from tlbench.data.entries import entries, prune

    for option, value in (("--older-than", args.older_than), ("--max-size", args.max_size)):
        if value is not None and not value >= 0:
            raise TlbenchError(f"{option} {value:g}: must not be negative")
    if args.older_than is None and args.max_size is None:
        raise TlbenchError("say what may go: --older-than DAYS, --max-size GIB, or both")
    folder = cache_folder(args.cache)
    removed = prune(
        folder,
        older_than=None if args.older_than is None else args.older_than * DAY,
        max_bytes=None if args.max_size is None else int(args.max_size * 2**30),
    )
    left = entries(folder)
    if args.json:
        print(json.dumps({"folder": str(folder), "removed": _about(removed), "left": _about(left)}, indent=2))
    else:
        print(f"{folder}: removed {_words(removed)}; left {_words(left)}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from tlbench.data.damage import damaged
    from tlbench.data.entries import entries, remove

    folder = cache_folder(args.cache)
    if args.cache is not None and not folder.is_dir():
        raise TlbenchError(f"--cache {folder}: no such folder")
    there = entries(folder)
    found = damaged(folder)
    removed = [remove(entry) if args.prune else False for entry, _ in found]
    if args.json:
        listed = [
            {"entry": str(entry.path), "bytes": entry.num_bytes, "reason": why, "removed": gone}
            for (entry, why), gone in zip(found, removed, strict=True)
        ]
        print(json.dumps({"folder": str(folder), **_about(there), "damaged": listed}, indent=2))
        return 2 if found else 0
    for (entry, why), gone in zip(found, removed, strict=True):
        print(f"{entry.path}: {why}{'; removed' if gone else ''}")
    print(f"{folder}: {_words(there)}; {len(found) or 'none'} damaged")
    if found and not args.prune:
        print("`tlbench cache verify --prune` removes what is damaged; it is made again when it is wanted")
    return 2 if found else 0


def _about(found: Sequence[Entry]) -> dict[str, Any]:
    """Entries and bytes of decoded data, and below ``fusing`` those of measurements of whether fusing seeds pays."""
    (entries, num_bytes), (measured, theirs) = _sums(found)
    return {"entries": entries, "bytes": num_bytes, "fusing": {"entries": measured, "bytes": theirs}}


def _words(found: Sequence[Entry]) -> str:
    (entries, size), (measured, theirs) = _sums(found)
    text = f"{size / 2**30:.2f} GiB" if size >= 2**29 else f"{size / 2**20:.2f} MiB"
    text = f"{entries} {'entry' if entries == 1 else 'entries'}, {text}"
    if measured:
        text += f", and {measured} measurement{'s' if measured > 1 else ''} of fusing, {theirs / 2**10:.1f} KiB"
    return text


def _sums(found: Sequence[Entry]) -> list[tuple[int, int]]:
    """How many entries and bytes are decoded data, and how many are measurements."""
    sizes = [[entry.num_bytes for entry in found if entry.is_data is data] for data in (True, False)]
    return [(len(each), sum(each)) for each in sizes]


def _ago(seconds: float) -> str:
    return f"{seconds / DAY:.1f} days ago" if seconds >= DAY else f"{max(seconds, 0) / 3600:.1f} hours ago"
