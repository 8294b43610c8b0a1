"""Side by side: trials that differ in the seed alone, in one process, so that their trainings can be fused.

A strategy's ``fit`` is ordinary code. So each trial runs in a thread of its own, but only one at a time: a turn ends
where the trial begins a training, or ends. The common generators go with the turn, so that a trial draws what it draws
alone. When every trial waits at a training, these are done as one where that is possible and pays; else each trial does
its own, in turn.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tlbench.api.trials import canonical
from tlbench.data.entries import FUSING
from tlbench.execution.environment import device_state
from tlbench.execution.trial import run_trial
from tlbench.training.fused_tape import Seed
from tlbench.training.fusing import WORTH, train_as_one
from tlbench.training.generators import generators, put_back
from tlbench.training.stacked import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from functools import partial

    from tlbench.api.records import Record
    from tlbench.api.trials import Trial
    from tlbench.execution.bench import Bench


def run_together(trials: Sequence[Trial], bench: Bench, log: Callable[[Trial], None] | None = None) -> list[Record]:
    """Do trials that differ in the seed alone; their records in this order.

    ``log`` turns what is printed to a trial's log; without it there is none, and nothing is said of what was not fused.
    """
    members = [_Member(trial, bench, says=log is not None) for trial in trials]
    turn = log or (lambda trial: None)
    decide = Measured(Path(bench.spec["cache"]) / FUSING, str(bench.spec["device"]), int(bench.spec["threads"]))
    ours = generators()
    with bench.at_home():
        for member in members:
            turn(member.trial)
            member.start()
            member.take_turn()
        while waiting := [member for member in members if member.asked is not None]:
            _train(waiting, decide)
            for member in waiting:
                turn(member.trial)
                member.take_turn()
    put_back(ours)
    return [member.result() for member in members]


def _train(members: Sequence[_Member], decide: Measured) -> None:
    """All trainings as one, or none."""
    for member in members:
        member.answer = False
    if len(members) < 2:
        return
    began = time.perf_counter()
    try:
        ends = train_as_one([Seed(m.asked, m.own_generators) for m in members if m.asked is not None], decide)
        for member, end in zip(members, ends, strict=True):
            member.answer = end or True
    except Refused as why:
        for member in members:
            member.answer = str(why)
    finally:
        for member in members:
            member.spent += (time.perf_counter() - began) / len(members)


class _Member(threading.Thread):
    """One trial in its thread; everything but ``run`` and ``_meet`` is called while it waits."""

    def __init__(self, trial: Trial, bench: Bench, *, says: bool) -> None:
        super().__init__(daemon=True, name=trial.title)
        self._says = says
        self.trial, self.bench = trial, copy.copy(bench)  # data, caches and plugins are those of all
        self.bench.spec = {
            **bench.spec,
            "shared": True,
        }  # memory is that of all, and so is the time of a fused training
        self.bench.meet, self.bench.clock = self._meet, self._clock
        self.asked: partial[None] | None = None
        """The training that it waits to begin."""
        self.answer: BaseException | bool | str = False
        """What became of it: done, done with this error, or not done, and why."""
        self.spent = 0.0
        """Seconds that are its own."""
        self._since = 0.0
        self._states = generators()
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._record: Record | None = None
        self._error: BaseException | None = None

    def take_turn(self) -> None:
        """Let it run until it waits at a training or has ended."""
        put_back(self._states)
        self._since = time.perf_counter()
        self._go.release()
        self._back.acquire()
        self.spent += time.perf_counter() - self._since
        self._states = generators()

    def result(self) -> Record:
        """Its record. Raises what is not the trial's to record."""
        self.join()
        if self._error is not None:
            raise self._error
        assert self._record is not None
        return self._record

    @contextlib.contextmanager
    def own_generators(self) -> Iterator[None]:
        """Inside, the common generators are as it left them."""
        before = generators()
        put_back(self._states)
        try:
            yield
        finally:
            put_back(before)

    # ---- in its thread ---------------------------------------------------------------------------

    def run(self) -> None:
        self._go.acquire()
        torch.set_num_threads(int(self.bench.spec["threads"]))  # each thread has a number of its own
        try:
            self._record = run_trial(self.trial, self.bench)
        except BaseException as error:
            self._error = error
        self._back.release()

    def _meet(self, training: partial[None]) -> bool:
        self.asked = training
        self._back.release()
        self._go.acquire()
        self.asked = None
        if isinstance(self.answer, BaseException):
            raise self.answer
        if isinstance(self.answer, str) and self._says:
            print(f"trained apart from the other seeds: {self.answer}")
        return self.answer is True

    def _clock(self) -> float:
        return self.spent + time.perf_counter() - self._since


class Measured:
    """Whether fusing pays, by a measurement that is kept for each shape, device and version of torch.

    Kept, for the last digits of a result depend on it: the same command is to decide the same. Bounded by the number of
    distinct trainings, at some hundred bytes each; `tlbench cache prune` removes those that were not used for long.
    """

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        self._folder = folder
        self._where = {
            "device": device_state(device, threads, shared=False)["fingerprint"],
            "torch": torch.__version__,
            "worth": WORTH,
        }

    def __call__(self, what: Mapping[str, Any], measure: Callable[[], float]) -> bool:
        key = {**what, **self._where}
        path = self._folder / f"{hashlib.blake2b(canonical(key).encode(), digest_size=16).hexdigest()}.json"
        try:
            gain = self.kept(path)
            with contextlib.suppress(OSError):  # a cache that is only read
                os.utime(path)  # when it was last used, for whoever makes room
        except (OSError, ValueError, KeyError, TypeError):
            gain = measure()
            with contextlib.suppress(OSError):  # without a place to keep it, it is measured again
                self._folder.mkdir(parents=True, exist_ok=True)
                partial = path.with_suffix(f".{os.getpid()}.partial")
                partial.write_text(json.dumps({**key, "gain": gain}))
                partial.replace(path)
        return gain > WORTH

    @staticmethod
    def kept(path: Path) -> float:
        """The gain that a file keeps. Raises ``OSError``, or ``ValueError``, ``KeyError`` or ``TypeError``."""
        return float(json.loads(path.read_text())["gain"])
