"""Work: what an executor is given; does a trial here, or says how another process can."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tlbench.api.records import Record
    from tlbench.api.trials import Trial
    from tlbench.execution.bench import Bench


class HostWork:
    """The ``tlbench.Work`` of one run. ``stop`` is set when the user asks to stop."""

    def __init__(self, spec: Mapping[str, Any], watch: Callable[[Trial, str], None] = lambda trial, slot: None) -> None:
        self.spec = spec
        self.stop = threading.Event()
        self._watch = watch

    def __call__(self, trial: Trial) -> Record:
        from tlbench.execution.trial import run_trial

        return run_trial(trial, self._bench)

    def together(self, trials: Sequence[Trial]) -> list[Record]:
        """Do trials that differ in the seed alone."""
        from tlbench.execution.side_by_side import run_together

        return run_together(trials, self._bench)

    def started(self, trial: Trial, slot: str) -> None:
        self._watch(trial, slot)

    def stopping(self) -> bool:
        return self.stop.is_set()

    @cached_property
    def _bench(self) -> Bench:
        from tlbench.execution.bench import Bench

        return Bench(self.spec, self.stop.is_set)
