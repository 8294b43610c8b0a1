"""The default executor: long-lived worker processes, one for each slot of a device.

Imports, data and caches stay warm from trial to trial. A crash, a kill or a timeout costs the one trial
that was running; its worker is replaced. A worker has a process group of its own, so that a trial's own
children go with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from tlbench.api.records import Record, Status
from tlbench.errors import TlbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tlbench.api.trials import Plan, Trial
    from tlbench.api.types import Work

_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.stdin.readline())
from tlbench.execution.worker import main
main()
"""
_News: TypeAlias = "queue.SimpleQueue[tuple[Trial, Record] | tuple[Trial, str] | BaseException | None]"
"""What a slot's thread tells the run: a record, the slot in which a trial begins, an error, or its own end."""
_TICK = 0.1
"""Seconds between two looks at the clock and at the wish to stop."""


class Slot(NamedTuple):
    """Where one worker runs: a device, and on CPU the cores that are its own."""

    name: str
    device: str
    cores: tuple[int, ...]
    shared: bool


@dataclass(frozen=True)
class WorkerProcesses:
    """One worker process for each slot; a slot is a GPU, or as many cores as a trial has threads."""

    name: ClassVar[str] = "workers"

    workers: int | None = None
    """How many trials run at once; by default one for each GPU or, without one, for each core."""
    timeout: float | None = None
    """Seconds that a trial may take, set-up included."""
    grace: float = 5.0
    """Seconds between asking a worker to end and killing it."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError(f"timeout must be positive, got {self.timeout}")

    def run(self, plan: Plan, work: Work) -> Iterator[Record]:
        from tlbench.execution.schedule import Schedule
        from tlbench.execution.sharing import for_this_run
        from tlbench.execution.trial import ended

        trials = [t for t in plan.todo if t.skip is None]
        schedule = Schedule(trials)
        news: _News = queue.SimpleQueue()
        slots = slots_of(work.spec, self.workers)[: max(1, len(trials))]
        halt = threading.Event()  # the run is over, one way or another: end the workers at once
        args = (len(slots), work, schedule, news, halt)
        threads = [threading.Thread(target=self._serve, args=(slot, *args)) for slot in slots]
        kept = contextlib.ExitStack()
        kept.enter_context(for_this_run(work.spec))
        for thread in threads:
            thread.start()
        try:
            alive = len(threads)
            while alive:
                if work.stopping():
                    schedule.close()
                try:
                    heard = news.get(timeout=_TICK)
                except queue.Empty:
                    continue
                if heard is None:
                    alive -= 1
                elif isinstance(heard, BaseException):
                    raise heard
                elif isinstance(heard[1], str):
                    work.started(heard[0], heard[1])
                else:
                    trial, record = heard[0], heard[1]
                    yield record
                    for child, reason in schedule.finish(trial, record):
                        yield ended(child, Status.PARENT_FAILED, reason, work.spec)
        finally:
            halt.set()
            schedule.close()
            for thread in threads:
                thread.join()
            kept.close()

    def _serve(
        self,
        slot: Slot,
        slots: int,
        work: Work,
        schedule: Any,
        news: _News,
        halt: threading.Event,
    ) -> None:
        """One of ``slots`` slots' life: take a trial, have it done, hand in the record."""
        from tlbench.execution.switches import Switches

        worker: _Worker | None = None
        try:
            while not halt.is_set() and (trial := schedule.take()) is not None:
                if worker is None:
                    worker = _Worker(slot, {**work.spec, "device": slot.device, "shared": slot.shared})
                trials = schedule.alike(trial, slots) if Switches.of(work.spec).fuse_seeds else [trial]
                for each in trials:
                    news.put((each, slot.name))
                records = worker.do(trials, work, self.timeout, self.grace, halt)
                if not worker.alive():
                    worker.kill()
                    worker = None
                    if len(trials) > 1 and records is not None and not work.stopping():
                        schedule.apart(trials)  # one of them ended it: each by itself, which one will show
                        continue
                for each, record in zip(trials, records or (), strict=False):
                    news.put((each, record))
                if len(trials) > 1:
                    schedule.settled(trials)  # so that what waited for them is handed out together as well
        except BaseException as error:
            news.put(error)
        finally:
            if worker is not None:
                worker.close()
            news.put(None)


def slots_of(spec: Mapping[str, Any], workers: int | None) -> list[Slot]:
    """The slots of this machine for the spec's device: ``cpu``, ``cuda`` (all GPUs) or ``cuda:N``."""
    device = str(spec["device"])
    if device == "cpu":
        cores = sorted(os.sched_getaffinity(0))
        threads = int(spec["threads"])
        count = workers or max(1, len(cores) // threads)
        slots = []
        for i in range(count):
            mine = tuple(cores[i * threads : (i + 1) * threads])
            own = len(mine) == threads  # a worker without cores of its own shares those of the others
            slots.append(Slot(f"cpu {i}", "cpu", mine if own else (), shared=count * threads > len(cores)))
        return slots
    import torch

    gpus = [device] if ":" in device else [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if not gpus:
        raise TlbenchError("no GPU is visible to torch; leave out --device cuda")
    count = workers or len(gpus)
    return [
        Slot(f"{gpus[i % len(gpus)]} #{i}", gpus[i % len(gpus)], (), shared=count > len(gpus)) for i in range(count)
    ]


class _Worker:
    """The host's end of one worker process."""

    def __init__(self, slot: Slot, spec: Mapping[str, Any]) -> None:
        self._spec = spec
        self._rest = b""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._send(sys.path)
        self._send({"spec": spec, "cores": list(slot.cores)})
        self._greeted = False

    def alive(self) -> bool:
        return self._process.poll() is None

    def do(
        self, trials: Sequence[Trial], work: Work, timeout: float | None, grace: float, halt: threading.Event
    ) -> list[Record] | None:
        """Have trials done, one or several together; their records, or ``None`` where the run was halted."""
        from tlbench.execution.clock import now
        from tlbench.execution.trial import ended

        started, began, asked = now(), time.monotonic(), None
        limit = timeout * len(trials) if timeout is not None else float("inf")

        def end(status: Status, reason: str) -> list[Record]:
            return [ended(trial, status, reason, self._spec, started) for trial in trials]

        self._send({"trials": [trial.to_json() for trial in trials]})
        while not halt.is_set():
            message = self._receive(_TICK)
            if message is not None and "records" in message:
                records = [Record.from_json(record) for record in message["records"]]
                if asked is not None:
                    self.kill()  # it was told to end, and would end its next trial too
                stopped = any(r.status == Status.INTERRUPTED for r in records) and asked == "timeout"
                return end(*_died(0, asked, limit)) if stopped else records
            if message is not None and "broken" in message:
                raise TlbenchError(f"a worker process could not start: {message['broken']}")
            if message is not None:  # the greeting: what comes before is the worker's start, not the trial's time
                began = time.monotonic() if asked is None else began
                continue
            if not self.alive():
                return end(*_died(self._process.wait(), asked, limit))
            late = time.monotonic() - began > limit
            if asked is None and (late or work.stopping()):
                asked = "timeout" if late else "stop"
                self._signal(signal.SIGTERM)
                ask_time = time.monotonic()
            elif asked is not None and time.monotonic() - ask_time > grace:
                self._signal(signal.SIGKILL)
                self._process.wait()
                return end(*_died(-signal.SIGKILL, asked, limit))
        return None

    def close(self) -> None:
        """End the worker, which is idle or no longer wanted."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self.kill()

    def kill(self) -> None:
        """End the worker and everything that it started."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its death is noticed where its answers are read
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message, or ``None`` where none came in time or none will come."""
        assert self._process.stdout is not None
        stdout = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            if not (part := os.read(stdout, 1 << 16)):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(1.0)  # end of file: the process is ending
                return None
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


def _died(code: int, asked: str | None, limit: float) -> tuple[Status, str]:
    """Status and reason of a trial whose worker ended instead of answering."""
    if asked == "timeout":
        return Status.TIMEOUT, f"took longer than {limit:g} s and was ended"
    if asked == "stop":
        return Status.INTERRUPTED, "did not end when asked to stop and was killed; the same command runs it again"
    if code >= 0:
        return Status.FAILED, f"the worker process ended with exit code {code} in the middle of the trial"
    name = signal.Signals(-code).name
    if -code in (signal.SIGKILL, signal.SIGTERM):
        hint = "; the system ends processes so when memory runs out" if -code == signal.SIGKILL else ""
        return Status.KILLED, f"the worker process was killed from outside ({name}){hint}"
    return Status.FAILED, f"the worker process crashed ({name})"
