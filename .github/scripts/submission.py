"""What a pull request changes: only files of one submission, of bounded size, and nothing but plain files.

``python -I submission.py CHECKOUT``, where HEAD is the merge of the pull request and HEAD^1 its base. Reads git's own
lists and none of the files. Needs nothing but Python and git. Exit codes: 0 in order, 1 not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

NAME = r"[a-z0-9][a-z0-9-]{0,63}"
FILE = rf"results/submissions/({NAME})/"
ALLOWED = re.compile(
    FILE + r"(?:run\.json|README\.md|records/[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.jsonl|"
    r"predictions/[0-9a-f]{32}\.npz|signatures/[0-9a-f]{32}\.json)"
)
OF_MAINTAINERS = re.compile(FILE + r"verification\.json")
MOST_FILES = 5_000
MOST_FILE = 20 * 2**20
MOST_BYTES = 200 * 2**20
MOST_SAID = 50


def problems(checkout: Path, trusted: bool) -> tuple[list[str], str]:
    """What is wrong with the change, and the folder of the submission; ``trusted`` authors may add verifications."""
    found: list[str] = []
    names: set[str] = set()
    changes = _changes(checkout)
    sizes = _sizes(checkout)
    for status, mode, path in changes[: MOST_FILES + 1]:
        match = ALLOWED.fullmatch(path) or (OF_MAINTAINERS.fullmatch(path) if trusted else None)
        if match is None:
            own = OF_MAINTAINERS.fullmatch(path)
            why = "is written by the maintainers" if own else "is no file that a submission has"
            found.append(f"{path!r} {why}")
            continue
        names.add(match[1])
        if status not in "AM":
            found.append(f"{path!r}: only adding and changing files is checked here, and this is {status!r}")
        elif mode != "100644":
            found.append(f"{path!r}: not a plain file (mode {mode})")
        elif sizes.get(path, MOST_FILE + 1) > MOST_FILE:
            found.append(f"{path!r} has {sizes.get(path, 0):,} bytes; at most {MOST_FILE:,} are taken")
    if len(changes) > MOST_FILES:
        found.append(f"{len(changes):,} files; at most {MOST_FILES:,} are taken")
    if (total := sum(sizes.get(path, 0) for _, _, path in changes)) > MOST_BYTES:
        found.append(f"{total:,} bytes in all; at most {MOST_BYTES:,} are taken")
    if len(names) != 1:
        found.append(f"the files are of {len(names)} submissions; one pull request is one submission")
    return found, f"results/submissions/{min(names)}" if names else ""


def _changes(checkout: Path) -> list[tuple[str, str, str]]:
    """Status, mode and path of every change; a renamed file is one deleted and one added."""
    parts = _git(checkout, "diff", "--raw", "-z", "--no-renames", "--abbrev=40", "HEAD^1", "HEAD").split("\0")
    heads, paths = parts[0:-1:2], parts[1::2]
    return [(head.split()[4], head.split()[1], path) for head, path in zip(heads, paths, strict=True)]


def _sizes(checkout: Path) -> dict[str, int]:
    """Bytes of every file below results/submissions."""
    rows = _git(checkout, "ls-tree", "-r", "-l", "-z", "HEAD", "--", "results/submissions").split("\0")
    found = {}
    for row in filter(None, rows):
        about, path = row.split("\t", 1)
        size = about.split()[3]
        found[path] = int(size) if size.isdigit() else MOST_FILE + 1
    return found


def _git(checkout: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, check=True, timeout=120)
    return done.stdout.decode("utf-8", "surrogateescape")


def main(checkout: Path) -> int:
    found, run = problems(checkout, trusted=os.environ.get("TRUSTED_AUTHOR") == "true")
    for line in found[:MOST_SAID]:
        print(ascii(line)[1:-1])
    if found:
        print(f"{len(found)} problems; results/SUBMITTING.md says what a submission is")
        return 1
    if output := os.environ.get("GITHUB_OUTPUT"):
        with Path(output).open("a") as file:
            file.write(f"run={run}\n")
    print(f"{run}: in order")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
