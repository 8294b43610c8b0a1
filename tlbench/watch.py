"""Watching a run: a live view for terminals, plain lines for logs, events for programs, or nothing."""

from __future__ import annotations

import json
import time
from typing import IO, TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from tlbench.api.records import Record, Status
from tlbench.discovery.checks import printable

if TYPE_CHECKING:
    from tlbench.api.trials import Plan, Trial
    from tlbench.plan.estimate import Estimate
    from tlbench.run import Outcome

GOOD = frozenset({Status.OK, Status.SKIPPED})


def duration(seconds: float) -> str:
    """``4 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def summary(outcome: Outcome) -> str:
    """One line: how many trials ended how."""
    parts = [
        f"{count} {status}" for status, count in sorted(outcome.statuses.items(), key=lambda i: (i[0] != "ok", i[0]))
    ]
    if outcome.missing:
        parts.append(f"{outcome.missing} not run")
    return ", ".join(parts) or "nothing to do"


def planned(plan: Plan, expected: Estimate) -> str:
    """One line: how much there is to do."""
    todo = len([t for t in plan.todo if t.skip is None])
    already = len(plan.trials) - len(plan.todo)
    text = f"{todo} trials to run, {already} done before"
    if todo and expected.seconds is not None:
        text += f", about {duration(expected.seconds)}"
    return text


class _Remaining:
    """Time left, from the pace of this run; before the first trial ends, from the records of the past."""

    def __init__(self, total: int, expected: float | None) -> None:
        self._total, self._expected, self._done, self._began = total, expected, 0, time.monotonic()

    def tick(self) -> None:
        self._done += 1

    def text(self) -> str:
        left = self._total - self._done
        if left <= 0:
            return ""
        if self._done >= 3:
            return f"about {duration((time.monotonic() - self._began) / self._done * left)} left"
        return f"about {duration(self._expected)} left" if self._expected else ""


class LiveWatcher:
    """A bar with the time left, what each worker does now, and failures as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._slots: dict[str, tuple[str, float]] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def begin(self, plan: Plan, expected: Estimate) -> None:
        self._console.print(f"[bold]{escape(printable(plan.suite))}[/]: {planned(plan, expected)}")
        todo = [t for t in plan.todo if t.skip is None]
        self._left = _Remaining(len(todo), expected.seconds)
        self._bar = self._progress.add_task("trials", total=len(todo), left="")
        self._live.start()

    def started(self, trial: Trial, slot: str) -> None:
        self._slots[slot] = (trial.title, time.monotonic())

    def finished(self, trial: Trial, record: Record) -> None:
        if record.status == Status.SKIPPED and trial.skip is not None:
            return  # known before anything ran; the plan and the board say why
        self._slots = {s: v for s, v in self._slots.items() if v[0] != trial.title}
        self._left.tick()
        self._progress.update(self._bar, advance=1, left=self._left.text())
        if record.status not in GOOD:
            style = "yellow" if record.status == Status.INTERRUPTED else "red"
            self._console.print(
                f"[{style}]{record.status}[/] {escape(printable(trial.title))}\n    {escape(printable(record.reason))}",
                highlight=False,
            )

    def note(self, text: str) -> None:
        self._console.print(f"[yellow]note[/] {escape(printable(text))}", highlight=False)

    def end(self, outcome: Outcome) -> None:
        self._console.print(summary(outcome))

    def close(self) -> None:
        self._live.stop()

    def _render(self) -> Group:
        now = time.monotonic()
        lines = [
            Text(
                f"  {printable(slot)}  {printable(title)}  {duration(now - began)}",
                overflow="ellipsis",
                no_wrap=True,
                style="dim",
            )
            for slot, (title, began) in sorted(self._slots.items())
        ]
        return Group(self._progress, *lines)


class LineWatcher:
    """A line for each trial, for logs and pipes; ``quiet`` keeps to what went wrong."""

    def __init__(self, stream: IO[str], *, quiet: bool = False) -> None:
        self._stream, self._quiet = stream, quiet
        self._total = self._done = 0

    def begin(self, plan: Plan, expected: Estimate) -> None:
        self._total = len([t for t in plan.todo if t.skip is None])
        self._say(f"{plan.suite}: {planned(plan, expected)}")

    def started(self, trial: Trial, slot: str) -> None:
        pass

    def finished(self, trial: Trial, record: Record) -> None:
        if record.status == Status.SKIPPED and trial.skip is not None:
            return  # known before anything ran; the plan and the board say why
        self._done += 1
        line = f"[{self._done}/{self._total}] {record.status} {trial.title}"
        if record.status in GOOD:
            self._say(f"{line} {duration(record.clocks['total'])}" if record.clocks else line)
        else:
            self._say(f"{line}: {record.reason}", always=True)

    def note(self, text: str) -> None:
        self._say(f"note: {text}", always=True)

    def end(self, outcome: Outcome) -> None:
        self._say(summary(outcome))

    def close(self) -> None:
        pass

    def _say(self, text: str, *, always: bool = False) -> None:
        if always or not self._quiet:
            print(printable(text), file=self._stream, flush=True)


class EventWatcher:
    """A line of JSON for each event, for programs."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def begin(self, plan: Plan, expected: Estimate) -> None:
        self._say(
            event="begin",
            suite=plan.suite,
            todo=len(plan.todo),
            done=len(plan.trials) - len(plan.todo),
            seconds=expected.seconds,
        )

    def started(self, trial: Trial, slot: str) -> None:
        self._say(event="started", key=trial.key, title=trial.title, slot=slot)

    def finished(self, trial: Trial, record: Record) -> None:
        self._say(
            event="finished",
            key=trial.key,
            title=trial.title,
            status=record.status,
            reason=record.reason,
            metrics=record.metrics,
        )

    def note(self, text: str) -> None:
        self._say(event="note", text=text)

    def end(self, outcome: Outcome) -> None:
        self._say(
            event="end",
            folder=str(outcome.folder),
            statuses=dict(outcome.statuses),
            missing=outcome.missing,
            exit_code=outcome.exit_code,
            reports=[str(p) for p in outcome.reports],
        )

    def close(self) -> None:
        pass

    def _say(self, **event: object) -> None:
        print(json.dumps(event), file=self._stream, flush=True)
