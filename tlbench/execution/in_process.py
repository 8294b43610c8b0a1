"""The in-process executor: one trial after the other, here; for debuggers and small runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tlbench.api.records import Record, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlbench.api.trials import Plan
    from tlbench.api.types import Work


@dataclass(frozen=True)
class InProcess:
    """Runs every trial in this process. It cannot end a trial that hangs, and a crash ends the run."""

    name: ClassVar[str] = "in-process"

    def run(self, plan: Plan, work: Work) -> Iterator[Record]:
        from tlbench.execution.schedule import Schedule
        from tlbench.execution.sharing import for_this_run
        from tlbench.execution.switches import Switches
        from tlbench.execution.trial import ended

        schedule = Schedule([t for t in plan.todo if t.skip is None])
        with for_this_run(work.spec):
            while not work.stopping() and (trial := schedule.take()) is not None:
                trials = schedule.alike(trial, 1) if Switches.of(work.spec).fuse_seeds else [trial]
                for each in trials:
                    work.started(each, "this process")
                records = work.together(trials) if len(trials) > 1 else [work(trial)]
                for each, record in zip(trials, records, strict=True):
                    yield record
                    for child, reason in schedule.finish(each, record):
                        yield ended(child, Status.PARENT_FAILED, reason, work.spec)
