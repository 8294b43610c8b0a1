"""A folder: the bundle is written beside it, and then takes its place."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlbench.errors import StoreError
from tlbench.publish.manifest import MANIFEST, listed, stale
from tlbench.publish.model import Published

if TYPE_CHECKING:
    from pathlib import Path

    from tlbench.publish.model import Bundle


@dataclass(frozen=True)
class Folder:
    """A folder on this machine: absent, empty, or published here before. Others are never replaced."""

    path: Path
    card = ""

    @property
    def title(self) -> str:
        return str(self.path)

    def put(self, bundle: Bundle) -> Published:
        """Replace the folder by the bundle. Who reads it sees the old one or the new one, and for a moment none."""
        path = self.path.resolve()
        page = str(path / "index.html")
        try:
            before = self._before(path)
            if before is not None and _same(path, bundle, before):
                return Published(page, changed=False)
            beside = path.with_name(f".{path.name}.{os.getpid()}.part")
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copytree(bundle.folder, beside)
                if path.exists():
                    path.replace(old)
                try:
                    beside.replace(path)
                except OSError:
                    if old.exists():
                        old.replace(path)
                    raise
            finally:
                for rest in (beside, old):
                    with contextlib.suppress(FileNotFoundError):
                        shutil.rmtree(rest)
        except OSError as error:
            raise StoreError(f"cannot publish to {self.path}: {error.strerror or error}") from error
        return Published(page, changed=True, removed=len((before or set()) - bundle.files.keys()))

    def _before(self, path: Path) -> frozenset[str] | None:
        """The files that are there, all of them ours; ``None`` where there is no folder."""
        if not path.exists():
            return None
        if not path.is_dir():
            raise StoreError(f"{self.path} is a file, and tlbench publishes to a folder")
        there = frozenset(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_symlink() or not p.is_dir())
        if not there:
            return there
        marker = path / MANIFEST
        if not marker.is_file() or marker.is_symlink():
            stale(there | {"."}, None, (), str(self.path))  # says what stands there
        others = sorted(there - listed(marker.read_bytes(), str(self.path)))
        if others:
            raise StoreError(
                f"{self.path} holds {len(others)} files that tlbench did not put there "
                f"({', '.join(map(repr, others[:3]))}); move them away or choose another folder"
            )
        return there


def _same(path: Path, bundle: Bundle, before: frozenset[str]) -> bool:
    return before == bundle.files.keys() and all(
        (path / name).read_bytes() == (bundle.folder / name).read_bytes() for name in before
    )
