"""Which trial may run next: those whose parents are done, in the order of the plan."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from tlbench.api.records import Record, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlbench.api.trials import Trial


class Schedule:
    """Hands out trials to any number of threads. A parent that is not among the trials counts as done."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._ready: deque[Trial] = deque()
        self._waiting: dict[str, set[str]] = {}
        self._children: dict[str, list[Trial]] = {}
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
                if self._ready:
                    self._running += 1
                    return self._ready.popleft()
                if not self._running:
                    return None
                self._changed.wait()
            return None

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
