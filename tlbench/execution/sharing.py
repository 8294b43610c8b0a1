"""Sharing: a training that sees nothing of the target is done once for all the targets of a run.

``source-only`` is trained on the source alone: for twelve pairs of four domains there are four such trainings and not
twelve. Where the pools, models, recipe and seeds of two trials are the same, the second starts from the checkpoint at
the end of the first's training, as a trial does that was stopped there. Its ``fit`` runs from its beginning and trains
nothing; what it predicts is the same to the bit.

A training is kept only where it drew nothing from the common generators of torch, NumPy and Python, which are seeded
for each pair. So a network with dropout is trained for each pair, as ever. A strategy whose ``trains_as`` names another
trains as that one does: ``source-only`` as ``source-training``, and one is done for both where their recipes are equal.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlbench.api.trials import Trial, canonical
from tlbench.data.rows import Rows, pieces
from tlbench.execution.clock import peaks
from tlbench.training.checkpoint import Checkpoints
from tlbench.training.generators import generators, put_back, same

if TYPE_CHECKING:
    import torch

    from tlbench.api.data import Pool
    from tlbench.execution.desk import Desk

MOST = 4 << 30
"""Bytes of trainings that a run keeps; the oldest go first, the newest stays whatever its size."""
_ABOUT = "about.json"
_TICK = 0.05
"""Seconds between two looks at whether another process has done with the same training."""


class Lasting(Checkpoints):
    """Checkpoints that also keep the end of each training, however short it was."""

    def has(self, phase: int) -> bool:
        return self.folder is not None


@dataclass
class Shared:
    """One trial's part in a training that other trials of the run may have in common with it.

    ``place`` is where the training is kept, ``folder`` where the trial keeps its checkpoints. Afterwards ``by`` is the
    key of the trial that did the training, where that was another, and ``memory`` is what it took there.
    """

    trial: Trial
    place: Path
    folder: Path
    device: torch.device
    by: str | None = None
    memory: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def once(self, stop: Callable[[], bool]) -> Iterator[None]:
        """Inside, this training is nobody else's: it waits for a process that does it, and takes over the result."""
        if self.folder.exists():  # a trial that was stopped goes on from its own checkpoint
            yield
            return
        with _alone(self.place.with_suffix(".lock"), stop):
            taken = self._take()
            before = generators()
            yield
            if taken:
                put_back(before)  # the checkpoint has those of the other trial's pair
            elif same(before, generators()):
                self._keep()

    def _take(self) -> bool:
        try:
            about = json.loads((self.place / _ABOUT).read_bytes())
            os.utime(self.place)
            _link(self.place, self.folder)
        except (OSError, ValueError):
            shutil.rmtree(self.folder, ignore_errors=True)
            return False
        self.by, self.memory = about["trial"], about["memory"]
        return True

    def _keep(self) -> None:
        if not self.folder.is_dir():  # nothing was trained, or the disk is full
            return
        home = self.place.parent
        with contextlib.suppress(OSError):
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
            try:
                _link(self.folder, new)
                (new / _ABOUT).write_text(json.dumps({"trial": self.trial.key, "memory": peaks(self.device)}))
                new.rename(self.place)
                _bound(home)
            finally:
                shutil.rmtree(new, ignore_errors=True)


def shared(trial: Trial, desk: Desk, given: Mapping[str, Pool], folder: Path) -> Shared | None:
    """Where the trial's training is kept for others; ``None`` where it sees the target, or sharing is switched off."""
    seen = [name for name in given if not name.startswith("source")]
    extras = desk.extras
    if seen or not given or extras.attributes or extras.graphs or not desk.bench.switches.share:
        return None
    models = desk.models
    fixed = [
        getattr(desk.strategy, "trains_as", None) or trial.strategy.digest,
        trial.backbone.digest,
        trial.recipe.digest,
        trial.seed,
        list(trial.parents) if desk.start == "source" else [],
        desk.start,
        desk.num_classes,
        [models.shape.kind, list(models.shape.dims)],
        repr(extras.episode),
        [[name, _content(pool)] for name, pool in sorted(given.items())],
    ]
    name = hashlib.blake2b(canonical(fixed).encode(), digest_size=16).hexdigest()
    return Shared(trial, kept_in(desk.bench.run.path) / name, folder, desk.bench.device)


def kept_in(run: Path) -> Path:
    """Where a run keeps shared trainings while it lasts."""
    return run / "work" / "shared"


@contextlib.contextmanager
def for_this_run(spec: Mapping[str, Any]) -> Iterator[None]:
    """The trainings that are kept inside are gone before and after: they are of one run and of its code."""
    if "run" not in spec:  # work without a run folder keeps none
        yield
        return
    folder = kept_in(Path(spec["run"]))
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _content(pool: Pool) -> str:
    """Hash of everything in a pool that a strategy is given."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(str(pool.num_classes).encode())
    parts = pool.x if isinstance(pool.x, Mapping) else {"": pool.x}
    for name, array in [*sorted(parts.items()), ("y", pool.y)]:
        if array is not None:
            array = array if isinstance(array, Rows) else np.asarray(array)
            digest.update(canonical([name, array.dtype.str, list(array.shape)]).encode())
            for piece in pieces(array):
                digest.update(piece.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _link(source: Path, target: Path) -> None:
    """The files of a folder in another one; as hard links, for none is ever changed in its place."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.name == _ABOUT:
            continue
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copy(path, target / path.name)


def _bound(home: Path) -> None:
    """Remove the trainings that were used longest ago until the rest fits; whoever took one has its files."""
    entries = sorted((p for p in home.iterdir() if p.is_dir() and p.name[0] != "."), key=lambda p: p.stat().st_mtime)
    sizes = [sum(f.stat().st_size for f in entry.iterdir()) for entry in entries]
    for i, entry in enumerate(entries[:-1]):
        if sum(sizes[i:]) <= MOST:
            return
        shutil.rmtree(entry, ignore_errors=True)


@contextlib.contextmanager
def _alone(path: Path, stop: Callable[[], bool]) -> Iterator[None]:
    """One process at a time; without waiting on where the trial is asked to stop, or where there are no locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("wb"))
            while not stop():
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, killed or not
                    break
                except BlockingIOError:
                    time.sleep(_TICK)
        yield
