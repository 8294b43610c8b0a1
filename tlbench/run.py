"""A run: suite, plan, executor, records and leaderboard put together. The composition root."""

from __future__ import annotations

import contextlib
import re
import signal
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tlbench.api.records import Record, Status
from tlbench.api.trials import Plan, Trial
from tlbench.collector import many_objects
from tlbench.discovery.checks import where
from tlbench.errors import StoreError, SuiteError
from tlbench.execution.switches import ON_A_GPU, Switches
from tlbench.plan.build import build
from tlbench.plan.done import FAILED, done_keys
from tlbench.plan.estimate import Estimate, estimate
from tlbench.reports import board_of, write_reports
from tlbench.results.store import RunFolder, Writer
from tlbench.results.valid import current, of_one_content
from tlbench.suite.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tlbench.execution.work import HostWork
    from tlbench.finished import Kept
    from tlbench.leaderboard.board import Leaderboard
    from tlbench.plugins import Plugins
    from tlbench.ranking import Ranking
    from tlbench.suite.suite import Suite

"""Ends that make the exit code 2."""


class Watcher(Protocol):
    """Who follows a run: the terminal, a log, a program."""

    def begin(self, plan: Plan, expected: Estimate) -> None: ...
    def started(self, trial: Trial, slot: str) -> None: ...
    def finished(self, trial: Trial, record: Record) -> None: ...
    def note(self, text: str) -> None: ...
    def end(self, outcome: Outcome) -> None: ...
    def close(self) -> None:
        """Give the terminal back; called however the run ends."""


@dataclass(frozen=True)
class Options:
    """What is not in the suite: where, with what and how.

    None of it changes a result beyond the last digits, which ``device``, ``threads`` and some ``switches`` can.
    """

    cache: Path
    out: Path | None = None
    data_root: Path | None = None
    executor: str = "workers"
    workers: int | None = None
    device: str = "auto"
    threads: int = 1
    timeout: float | None = None
    retry_failed: bool = False
    memory_limit: int | None = None
    cache_limit: int | None = None
    checkpoint_seconds: float = 20.0
    save_predictions: bool = False
    switches: Switches = field(default_factory=Switches)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: what became of every trial of the plan, and the leaderboard of what there is."""

    folder: Path
    statuses: Mapping[str, int]
    missing: int
    stopped: bool
    board: Leaderboard | None = None
    reports: tuple[Path, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 all ok, 2 some trials failed, 3 incomplete."""
        if self.missing or self.statuses.get(Status.INTERRUPTED):
            return 3
        return 2 if any(self.statuses.get(s) for s in FAILED) else 0


@dataclass(eq=False)
class Run:
    """One suite in one folder, ready to be planned or executed."""

    suite: Suite
    plugins: Plugins
    options: Options
    folder: RunFolder = field(init=False)

    def __post_init__(self) -> None:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.suite.name).strip(".-") or "suite"
        self.folder = RunFolder(self.options.out or Path("runs") / name)

    @classmethod
    def of(cls, matrix: str, plugins: Plugins, options: Options) -> Run:
        """Load a suite by path or by the name of a shipped one. Raises ``SuiteError``."""
        suite = load(matrix, plugins)
        if options.data_root is None and suite.data_root is not None and not suite.data_root.is_dir():
            raise SuiteError([f"{suite.path}: data_root {suite.data_root}: no such folder; --data-root names another"])
        return cls(suite, plugins, options)

    def plan(self, records: Mapping[str, Record] | None = None) -> Plan:
        """What there is to do, given the records of the folder."""
        if records is None:
            records, _ = of_one_content(self.folder.records())
        return build(
            self.suite,
            self.plugins,
            records,
            retry_failed=self.options.retry_failed,
            has_artifact=lambda key: self.folder.has_weights(records[key]),
            has_predictions=self._has_predictions(records) if self.options.save_predictions else None,
        )

    def _has_predictions(self, records: Mapping[str, Record]) -> Callable[[str], bool]:
        from tlbench.results.predictions import stored

        return lambda key: stored(self.folder.path, records[key])

    def expected(self, plan: Plan, records: Mapping[str, Record]) -> Estimate:
        """How long the rest of the plan will take, from records of the past."""
        return estimate(plan, records.values(), self.slots())

    def slots(self) -> int:
        """How many trials run at once."""
        if self.options.executor != "workers":
            return 1
        from tlbench.execution.processes import slots_of

        return len(slots_of({"device": self._device(), "threads": self.options.threads}, self.options.workers))

    def execute(self, watcher: Watcher) -> Outcome:
        """Run what is not done yet, write a record for each trial, and the leaderboard at the end.

        Where nothing is left to do and nothing has changed since that was found, the records are not read again.
        """
        from tlbench import finished
        from tlbench.leaderboard import index

        about = {"name": self.suite.name, "file": self.suite.path.name, "metrics": list(self.suite.metrics)}
        about |= {"description": self.suite.description, "expect": self.suite.expect}
        with self.folder.writing() as writer:
            before = None if self.options.save_predictions else self._found(about)  # those may be gone
            if before is not None:
                return self._same_again(*before, watcher)
            files = index.files(self.folder.path)
            records, changed = of_one_content(self.folder.records())
            for problem in [*self.folder.problems, *changed]:
                watcher.note(problem)
            plan = self.plan(records)
            writer.plan(about, plan.trials)
            files["run.json"] = index.stat(self.folder.path / "run.json")
            work = self._work(watcher)
            try:
                with _stop_on_ctrl_c(work, watcher):
                    watcher.begin(plan, self.expected(plan, records))
                    for reason, count in Counter(t.skip for t in plan.trials if t.skip is not None).items():
                        watcher.note(f"{count} skipped: {reason}")
                    self._execute(plan, records, writer, watcher, work)
            finally:
                watcher.close()
            since = of_one_content(records)[1]
            for change in since:
                watcher.note(change)
            now = index.files(self.folder.path)
            # Nothing but what was read and what was written here.
            known = {name: its for name, its in now.items() if name not in writer.own} == files
            known = known and all(now[name][0] == size for name, size in writer.own.items())
        records, _ = of_one_content(records)
        here = current(records, plan.trials)
        board, reports, whole = self._report(plan, here, watcher)
        statuses = Counter(str(r.status) for r in here)
        missing = {t.key for t in plan.trials if t.kind == "trial"} - {r.key for r in here}
        outcome = Outcome(self.folder.path, statuses, len(missing), work.stopping(), board, reports)
        same = not since and not (changed and writer.own)  # is said of the records by the next run
        if known and same and board is not None and self._is_done(plan, records):
            finished.write(
                self.folder.path,
                now,
                finished.plan_digest(about, plan.trials),
                board.table,
                board.pairing,
                statuses=statuses,
                notes=[*self.folder.problems, *changed],
                reports=reports if whole else (),
                plugins=self.plugins,
            )
        watcher.end(outcome)
        return outcome

    def _same_again(self, plan: Plan, kept: Kept, watcher: Watcher) -> Outcome:
        """The end of a run that has nothing to do: the board as it was, and its reports where they have changed."""
        from tlbench.leaderboard.board import from_table

        try:
            for note in kept.notes:
                watcher.note(note)
            watcher.begin(plan, Estimate(0.0, 0, 0))
            for reason, count in Counter(t.skip for t in plan.trials if t.skip is not None).items():
                watcher.note(f"{count} skipped: {reason}")
        finally:
            watcher.close()
        with many_objects():
            board = from_table(kept.table, kept.pairing, columns=self.plugins.columns())
        reports = kept.reports or self._write(board, watcher)[0]
        outcome = Outcome(self.folder.path, kept.statuses, 0, False, board, reports)
        watcher.end(outcome)
        return outcome

    def _found(self, about: Mapping[str, Any]) -> tuple[Plan, Kept] | None:
        from tlbench import finished

        return finished.found(
            self.folder.path, self.plugins, lambda: self.plan({}), about, retry_failed=self.options.retry_failed
        )

    def _is_done(self, plan: Plan, records: Mapping[str, Record]) -> bool:
        """Whether the same command would find nothing to do, and be right without a look at more than the records."""
        done = done_keys(plan.trials, records, self.suite.metrics)
        return not self.options.save_predictions and len(done) == len({t.key for t in plan.trials})

    def rank_sources(self, watcher: Watcher) -> Ranking:
        """Score every source of the suite for its targets; trains source models where they are missing, and no more.

        The scores and the source models stay in the folder, for the next time and for the matrix itself.
        """
        from tlbench.ranking import collect, ranking_plan

        with self.folder.writing() as writer:
            records, changed = of_one_content(self.folder.records())
            for problem in [*self.folder.problems, *changed]:
                watcher.note(problem)
            matrix = self.plan(records).trials
            plan = ranking_plan(self.suite, self.plugins, records, lambda key: self.folder.has_weights(records[key]))
            work = self._work(watcher)
            try:
                with _stop_on_ctrl_c(work, watcher):
                    watcher.begin(plan, self.expected(plan, records))
                    self._execute(plan, records, writer, watcher, work)
            finally:
                watcher.close()
        fresh = {r.key: r for r in [*current(records, matrix), *current(records, plan.trials)]}
        return collect(plan, fresh, matrix, self.suite.metrics[0])

    def _work(self, watcher: Watcher) -> HostWork:
        from tlbench.execution.bench import make_spec
        from tlbench.execution.work import HostWork

        device, asked = self._device(), self.options.switches
        if asked.on(device) != asked:
            idle = " and ".join(name for name in ON_A_GPU if getattr(asked, name))
            watcher.note(f"--with {idle}: nothing to do without a GPU")
        spec = make_spec(
            plugins=self.plugins,
            run=self.folder.path,
            base=self.suite.base,
            data_root=self.options.data_root or self.suite.data_root,
            cache=self.options.cache,
            suite=self.suite.name,
            metrics=self.suite.metrics,
            device=device,
            threads=self.options.threads,
            memory_limit=self.options.memory_limit,
            cache_limit=self.options.cache_limit,
            checkpoint_seconds=self.options.checkpoint_seconds,
            save_predictions=self.options.save_predictions,
            switches=asked.on(device),
        )
        return HostWork(spec, watcher.started)

    def _execute(
        self, plan: Plan, records: dict[str, Record], writer: Writer, watcher: Watcher, work: HostWork
    ) -> None:
        """Have every trial done that is not, and write each record as it comes."""
        from tlbench.execution.trial import ended

        by_key = {t.key: t for t in plan.trials}

        def take(record: Record) -> None:
            trial = by_key[record.key]
            writer.write(record)
            records[record.key] = record
            if self._lacks_predictions(record):
                watcher.note(f"{trial.title}: its predictions are not stored; logs/{record.key}.log says why")
            for warning in self.plugins.trial_finished(trial, record):
                watcher.note(warning)
            watcher.finished(trial, record)

        ready = []
        for trial in plan.todo:
            if trial.skip is not None:
                take(ended(trial, Status.SKIPPED, trial.skip, work.spec))
            elif (lost := _lost_parent(trial, plan, records)) is not None:
                take(ended(trial, Status.PARENT_FAILED, lost, work.spec))
            else:
                ready.append(trial)
        if ready:
            for record in self._executor().run(replace(plan, trials=tuple(ready), done=frozenset()), work):
                take(record)

    def _lacks_predictions(self, record: Record) -> bool:
        asked = self.options.save_predictions and record.trial.get("kind") != "ranking"
        return asked and record.status is Status.OK and record.predictions is None

    def _executor(self) -> Any:
        timeout = self.options.timeout if self.options.timeout is not None else self.suite.timeout
        takes = {f.name for f in fields(self.plugins.get("executors", self.options.executor).cls)}
        params = {k: v for k, v in {"workers": self.options.workers, "timeout": timeout}.items() if k in takes}
        return self.plugins.build("executors", self.options.executor, params)

    def _device(self) -> str:
        if self.options.device != "auto":
            return self.options.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def _report(
        self, plan: Plan, records: Sequence[Record], watcher: Watcher
    ) -> tuple[Leaderboard | None, tuple[Path, ...], bool]:
        """The leaderboard of this plan's trials, its files, and whether these are all."""
        if not any(r.status == Status.OK for r in records):
            return None, (), True
        board = board_of(records, plan.trials, self.plugins, self.suite.metrics[0])
        return board, *self._write(board, watcher)

    def _write(self, board: Leaderboard, watcher: Watcher) -> tuple[tuple[Path, ...], bool]:
        """The board's files, and whether these are all: a reporter that fails costs its own file only."""
        paths: list[Path] = []
        whole = True
        for name in sorted(self.plugins.offers("reporters")):
            try:
                paths += write_reports(board, self.folder.path / "leaderboard", self.plugins, [name])
            except StoreError:
                raise
            except Exception as error:
                watcher.note(f"the reporter {name!r} failed: {where(error)}")
                whole = False
        return tuple(paths), whole


def _lost_parent(trial: Trial, plan: Plan, records: Mapping[str, Record]) -> str | None:
    """Why a trial can never run: a parent that ended badly earlier and is not tried again."""
    for key in trial.parents:
        record = records.get(key)
        if key in plan.done and record is not None and record.status != Status.OK:
            title = Trial.from_json(record.trial).title
            return f"{title} ended as {record.status}: {record.reason}. `--retry-failed` tries it again."
    return None


@contextlib.contextmanager
def _stop_on_ctrl_c(work: HostWork, watcher: Watcher) -> Iterator[None]:
    """The first Ctrl-C stops cleanly, the second at once. Outside the main thread signals stay as they are."""

    def stop(number: int, frame: object) -> None:
        if work.stopping():
            raise KeyboardInterrupt
        work.stop.set()
        watcher.note("stopping: what runs now saves its state; press Ctrl-C again to stop at once")

    try:
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    except ValueError:
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
