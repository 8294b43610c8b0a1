"""Place: a site is written beside its folder, and takes its place when it is whole; ways from there to elsewhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import urllib.parse
from typing import TYPE_CHECKING

from tlbench.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def replacing(out: Path, mark: str) -> Iterator[Path]:
    """A new folder to write to, which takes the place of ``out`` at the end of the block, whole or not at all.

    Raises ``StoreError`` where ``out`` holds something, but no file of the name ``mark``, or cannot be written.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise StoreError(f"{out} is not a folder; --out names another")
    if out.exists() and any(out.iterdir()) and not (out / mark).is_file():
        raise StoreError(f"{out} holds something that is no site of tlbench, and is left alone; --out names another")
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    try:
        part.mkdir(parents=True)
        yield part
        if out.exists():
            out.rename(old)
        part.rename(out)
    except OSError as error:
        if old.exists() and not out.exists():
            old.rename(out)
        raise StoreError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        for rest in (part, old):
            with contextlib.suppress(OSError):
                shutil.rmtree(rest, ignore_errors=True)


def way(page: Path, to: Path) -> str:
    """The relative address of a folder, from the folder of a page."""
    return urllib.parse.quote(os.path.relpath(to.resolve(), page.resolve()).replace(os.sep, "/"))
