"""A worker: a process that does one trial after the other for the host, or several together.

Commands and records are lines of JSON on the standard input and on what was the standard output; what the
trials print goes to their logs. The worker ends when its host does, however that ended.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from tlbench.api.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping


def main() -> None:
    """Serve until the standard input closes."""
    commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    stop = threading.Event()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    _print_to(os.devnull)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the host's to handle
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    hello = json.loads(sys.stdin.readline())
    threading.Thread(target=_listen, args=(commands,), daemon=True).start()
    try:
        from tlbench.execution.side_by_side import run_together
        from tlbench.execution.trial import run_trial

        bench = _bench(hello, stop)
    except Exception as error:
        _answer(answers, {"broken": f"{type(error).__name__}: {error}"})
        return
    _answer(answers, {"ready": os.getpid()})
    while True:
        trials = [Trial.from_json(trial) for trial in commands.get()["trials"]]
        _print_to_log(bench, trials[0])
        if len(trials) == 1:
            records = [run_trial(trials[0], bench)]
        else:
            records = run_together(trials, bench, partial(_print_to_log, bench))
        _flush()
        _print_to(os.devnull)
        _answer(answers, {"records": [record.to_json() for record in records]})


def _bench(hello: Mapping[str, Any], stop: threading.Event) -> Any:
    if hello["cores"]:
        os.sched_setaffinity(0, hello["cores"])
    os.chdir(hello["spec"]["base"])
    from tlbench.execution.bench import Bench

    bench = Bench(hello["spec"], stop.is_set)
    for kind in ("datasets", "tasks", "backbones", "strategies"):
        bench.plugins.offers(kind)
    return bench


def _listen(commands: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        commands.put(json.loads(line))
    os._exit(0)  # the host is gone: nobody would take the record


def _answer(answers: IO[str], message: Mapping[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _print_to_log(bench: Any, trial: Trial) -> None:
    _flush()
    _print_to(str(bench.run.log(trial.key)))


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _print_to(path: str) -> None:
    """Send what this process prints, libraries in C included, to the end of a file."""
    try:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:
        target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
