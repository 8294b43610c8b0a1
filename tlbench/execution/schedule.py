"""Which trial may run next: those whose parents are done, in the order of the plan."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from tlbench.api.records import Record, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.api.trials import Trial


MOST_TOGETHER = 8
"""Trials that are handed out together at most: each keeps its model and its data meanwhile."""


class Schedule:
    """Hands out trials to any number of threads. A parent that is not among the trials counts as done."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._ready: deque[Trial] = deque()
        self._waiting: dict[str, set[str]] = {}
        self._children: dict[str, list[Trial]] = {}
        self._families: dict[tuple[str, ...], dict[str, Trial]] | None = None  # of what is ready; made when first asked
        self._taken: set[str] = set()  # still in the queue, but handed out
        self._apart: set[str] = set()
        self._out: set[str] = set()
        self._running = 0
        self._changed = threading.Condition()
        self._closed = False
        here = {t.key for t in trials}
        for trial in trials:
            missing = {key for key in trial.parents if key in here}
            if missing:
                self._waiting[trial.key] = missing
                for key in missing:
                    self._children.setdefault(key, []).append(trial)
            else:
                self._ready.append(trial)

    def take(self) -> Trial | None:
        """The next trial; waits while none is ready; ``None`` when all are done or the schedule is closed."""
        with self._changed:
            while not self._closed:
                while self._ready:
                    trial = self._ready.popleft()
                    if trial.key in self._taken:
                        self._taken.remove(trial.key)
                        continue
                    if self._families is not None and (family := self._families.get(_but_seed(trial))) is not None:
                        family.pop(trial.key, None)
                        if not family:
                            del self._families[_but_seed(trial)]
                    self._running += 1
                    self._out.add(trial.key)
                    return trial
                if not self._running:
                    return None
                self._changed.wait()
            return None

    def alike(self, trial: Trial, slots: int) -> list[Trial]:
        """The trials that are ready and differ from this one in the seed alone, handed out with it, in their order.

        Where there is not enough other work for all ``slots``, only this one's share of them.
        """
        with self._changed:
            if trial.kind == "ranking" or trial.key in self._apart:
                return [trial]
            if self._families is None:
                self._families = {}
                for ready in self._ready:
                    if ready.key not in self._taken:
                        self._families.setdefault(_but_seed(ready), {})[ready.key] = ready
            name = _but_seed(trial)
            family = self._families.pop(name, {})
            share = -(-(len(family) + 1) // max(1, slots - len(self._families)))
            found = sorted(family.values(), key=lambda t: t.seed)[: min(share, MOST_TOGETHER) - 1]
            for other in found:
                del family[other.key]
                self._taken.add(other.key)
            if family:
                self._families[name] = family
            self._running += len(found)
            self._out |= {t.key for t in found}
            return sorted([trial, *found], key=lambda t: t.seed)

    def settled(self, trials: Sequence[Trial]) -> None:
        """Wait until the ends of these are noted: what waited for them is ready then, all of it."""
        with self._changed:
            while not self._closed and any(t.key in self._out for t in trials):
                self._changed.wait()

    def apart(self, trials: Sequence[Trial]) -> None:
        """Take back trials that were handed out together: each is to be done by itself."""
        with self._changed:
            for trial in trials:
                self._apart.add(trial.key)
                if trial.key in self._taken:
                    self._taken.remove(trial.key)  # still in the queue
                else:
                    self._ready.appendleft(trial)
            self._running -= len(trials)
            self._out -= {t.key for t in trials}
            self._changed.notify_all()

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def finish(self, trial: Trial, record: Record) -> list[tuple[Trial, str]]:
        """Note the end of a trial; the trials that can never run because of it, each with the reason.

        Where a parent was only stopped, its dependents wait for the next run and are not ended.
        """
        lost: list[tuple[Trial, str]] = []
        with self._changed:
            self._running -= 1
            self._out.discard(trial.key)
            self._settle(trial, record, lost)
            self._changed.notify_all()
        return lost

    def _settle(self, trial: Trial, record: Record, lost: list[tuple[Trial, str]]) -> None:
        for child in self._children.pop(trial.key, ()):
            if child.key not in self._waiting:
                continue
            if record.status == Status.OK:
                self._waiting[child.key].discard(trial.key)
                if not self._waiting[child.key]:
                    del self._waiting[child.key]
                    self._ready.appendleft(child)
                    if self._families is not None:
                        self._families.setdefault(_but_seed(child), {})[child.key] = child
            else:
                del self._waiting[child.key]
                if record.status != Status.INTERRUPTED:
                    self._lose(child, f"{trial.title} ended as {record.status}: {record.reason}", lost)

    def _lose(self, trial: Trial, reason: str, lost: list[tuple[Trial, str]]) -> None:
        """End a trial that can never run, and with it all that wait for it."""
        lost.append((trial, reason))
        for child in self._children.pop(trial.key, ()):
            if self._waiting.pop(child.key, None) is not None:
                self._lose(child, reason, lost)


def _but_seed(trial: Trial) -> tuple[str, ...]:
    """Everything of a trial but its seed, and its parents, which have that seed too."""
    choices = (trial.source, trial.target, trial.task, trial.strategy, trial.backbone, trial.recipe)
    return (trial.kind, trial.fingerprint, *(c.digest if c is not None else "-" for c in choices))
