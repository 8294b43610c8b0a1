"""P12: `tlbench leaderboard` of up to 1,000,000 records in a fresh process, from the index and from the text.

    python -m pytest benchmarks/perf/test_p12_board.py            the gates that hold on any machine, on 10,000 records
    python benchmarks/perf/test_p12_board.py FOLDER [MOST]        the table, to results/perf/p12.md, and scaling.md

The records are two of results/quick with other data sets, strategies, seeds and scores: 4 kB each, with curves.
They are made in FOLDER (4 GB for a million) and used again where they are there. The board that is shown must be the
same to the letter from the index and from the text, and, up to 10,000 records, from every line read by itself with
Python's JSON, as it was done before there was an index. There is no plan beside the records.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tlbench.api.records import Record
from tlbench.api.trials import Choice, Trial
from tlbench.execution.environment import cpu_name, git_state
from tlbench.leaderboard import index
from tlbench.plugins import Plugins
from tlbench.reports import board_of
from tlbench.results import scan
from tlbench.results.lines import START, from_line, to_line
from tlbench.results.scan import BUFFER
from tlbench.results.store import RunFolder, last_of_each
from tlbench.results.typed import _Record
from tlbench.results.valid import of_one_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest

ROOT = Path(__file__).resolve().parents[2]
WARM, COLD, AIM = 1.5, 10.0, 0.7
SHAPES = {1_010: (1, 1, 1), 10_100: (2, 5, 1), 101_000: (2, 5, 10), 1_010_000: (2, 5, 100)}
"""Records: tasks, backbones and seeds; always 10 strategies on 10 sources and 10 targets, and their reference."""
AXIS = 10


def templates() -> tuple[dict[str, Any], dict[str, Any]]:
    """A reference's record and a strategy's, as plain data."""
    found = [r.to_json() for r in RunFolder.open(ROOT / "results" / "quick").lines() if r.status == "ok"]
    reference = next(r for r in found if r["trial"]["strategy"]["name"] == "scratch")
    strategy = next(r for r in found if r["trial"]["source"] and r["trial"]["kind"] == "trial")
    # Of one content, as otherwise the older results would count as those of data that have changed since.
    about = {**reference["data"], "target": strategy["data"]["target"]}
    return {**reference, "data": about}, strategy


def trials(tasks: int, backbones: int, seeds: int, target: dict[str, Any], recipe: Choice) -> Iterator[Trial]:
    """The trials of a matrix, references before what is measured against them."""
    sources = [Choice("digits", f"s{i}", {**target, "angle": float(i)}) for i in range(AXIS)]
    targets = [Choice("digits", f"t{i}", {**target, "noise": float(i)}) for i in range(AXIS)]
    strategies = [Choice("l2-sp", f"m{i}", {"alpha": 0.1 * i}) for i in range(AXIS)]
    scratch = Choice("scratch", "scratch", {})
    for seed in range(seeds):
        for labels in range(1, tasks + 1):
            task = Choice("fine-tuning", f"fine-tuning(labels={labels})", {"labels": labels, "validation": 0.2})
            for width in range(backbones):
                backbone = Choice("small-cnn", f"cnn{width}", {"size": 16, "channels": 1, "width": width, "depth": 3})
                for its in targets:
                    yield Trial(None, its, task, scratch, backbone, recipe, seed, fingerprint="0" * 24)
                    for strategy in strategies:
                        for source in sources:
                            yield Trial(
                                source, its, task, strategy, backbone, recipe, seed, reference="scratch",
                                fingerprint="0" * 24,
                            )  # fmt: skip


def make(folder: Path, shape: tuple[int, int, int]) -> Path:
    """A run folder with the records of a matrix, unless it is there."""
    if (folder / "records").is_dir():
        return folder
    partial = folder.with_suffix(".partial")
    (partial / "records").mkdir(parents=True)
    reference, strategy = templates()
    rng = random.Random(0)
    base = 0.5
    recipe = Choice.from_json(strategy["trial"]["recipe"])
    with (partial / "records" / "20261121T000000-000000000.jsonl").open("w") as file:
        for trial in trials(*shape, strategy["trial"]["target"]["params"], recipe):
            if trial.source is None:
                base = 0.5 + 0.2 * rng.random()
            score = round(base + (0.1 * rng.random() if trial.source else 0.0), 6)
            data = dict(strategy if trial.source else reference)
            curve = dict(data["curve"])
            curve["scores"] = [round(rng.random() * score, 6) for _ in curve["steps"][:-1]] + [score]
            curve["seconds"] = [round(rng.random(), 6) for _ in curve["steps"]]
            clocks = {name: rng.random() * seconds for name, seconds in data["clocks"].items()}
            data.update(key=trial.key, trial=trial.to_json(), curve=curve, clocks=clocks)
            data["metrics"] = {"target": {"accuracy": score}}
            file.write(to_line(Record.from_json(data)))
    partial.rename(folder)
    return folder


@dataclass(frozen=True)
class Seen:
    """A board of a fresh process: wall seconds, seconds of processor time with that of its helpers, what was shown."""

    wall: float
    cpu: float
    shown: str


def board(run: Path) -> Seen:
    """`tlbench leaderboard RUN` in a fresh interpreter."""
    code = "import sys; from tlbench.cli import main; sys.exit(main(['leaderboard', *sys.argv[1:]]))"
    before, began = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    wall, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Seen(wall, cpu, done.stdout)


def line_by_line(run: Path, plugins: Plugins) -> tuple[float, Any]:
    """Seconds of processor time, and the board, from each line by itself."""
    began = time.process_time()
    (file,) = (run / "records").glob("*.jsonl")
    records, _ = of_one_content(last_of_each(map(from_line, file.read_text().splitlines())))
    made = board_of(list(records.values()), [], plugins)
    return time.process_time() - began, made.to_frame()


def measure(run: Path, times: int) -> tuple[Seen, list[Seen]]:
    """From the text, and then from the index. Raises ``AssertionError`` where they show different boards."""
    shutil.rmtree(run / "index", ignore_errors=True)
    cold = board(run)
    warm = [board(run) for _ in range(times)]
    assert all(seen.shown == cold.shown for seen in warm), "the boards differ"
    return cold, warm


def floor(run: Path, most: int = 50_000) -> list[tuple[str, float]]:
    """Microseconds of processor time a record, of its way to the facts of a board, each step with those before it."""
    (file,) = (run / "records").glob("*.jsonl")
    with file.open("rb", buffering=BUFFER) as lines:
        size = sum(map(len, itertools.islice(lines, most)))
    decode = msgspec.json.Decoder(_Record).decode

    def passed(work: Callable[[bytes], object]) -> float:
        spent = []
        for _ in range(3):
            began = time.process_time()
            with file.open("rb", buffering=BUFFER) as lines:
                for row in itertools.islice(lines, most):
                    work(row)
            spent.append(time.process_time() - began)
        return 1e6 * statistics.median(spent) / most

    def checked(row: bytes) -> memoryview:
        body = memoryview(row)[START:-2]
        hashlib.blake2b(body, digest_size=12).hexdigest()
        return body

    def whole(_: None = None) -> float:
        began = time.process_time()
        found = scan._read([scan.Stretch(str(file), 0, size)], "accuracy")
        assert len(found.facts) == most
        return 1e6 * (time.process_time() - began) / most

    return [
        ("its bytes, cut at the end of the line", passed(len)),
        ("and its checksum", passed(checked)),
        ("and the fields of a board, decoded", passed(lambda row: decode(checked(row)))),
        (
            "and all of it parsed, by the same decoder without types",
            passed(lambda row: msgspec.json.decode(checked(row))),
        ),
        ("**its facts, as they are taken**", statistics.median(whole() for _ in range(3))),
    ]


def test_the_board_of_the_index_is_that_of_the_text_and_far_cheaper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlbench.loading import loaded

    run = make(tmp_path / "run", SHAPES[10_100])
    plugins = Plugins.discover(entry_points=False)
    seconds, frames = [], []
    for _ in range(4):
        began = time.process_time()
        frames.append(loaded([run], plugins).board.to_frame())
        seconds.append(time.process_time() - began)
    _, by_line = line_by_line(run, plugins)
    assert index.read([run], None, index.state([run], None)) is not None
    assert all(frame.equals(by_line) for frame in frames)
    assert by_line["gain"].notna().sum() == 100
    assert min(seconds[1:]) < seconds[0] / 3


def spread(values: Sequence[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def conditions() -> str:
    state = git_state()
    commit = f"{state['commit'][:12]}{' with changes' if state['dirty'] else ''}" if state else "unknown"
    return (
        f"{cpu_name()}, {os.cpu_count()} cores, files in the page cache; Python {platform.python_version()}; "
        f"commit {commit}."
    )


def main(folder: Path, most: int) -> None:
    """Measure and write both tables with their conditions."""
    from growth import into_page  # type: ignore[import-not-found]
    from test_p11_plan import growth  # type: ignore[import-not-found]

    rows, scaling = [], []
    for n, shape in SHAPES.items():
        if n > most:
            continue
        run = make(folder / str(n), shape)
        size = sum(f.stat().st_size for f in (run / "records").iterdir())
        before = f"{line_by_line(run, Plugins.discover())[0]:.2f}" if n <= 10_100 else ""
        cold, warm = measure(run, 5)
        wall, cpu = [s.wall for s in warm], [s.cpu for s in warm]
        text = f"{cold.wall:.2f} | {cold.cpu:.2f} | {before}"
        rows.append(f"| {n:,} | {size / 1e6:,.0f} | {spread(wall)} | {spread(cpu)} | {text} |")
        scaling.append(f"| {n:,} | {statistics.median(cpu):.2f} | {cold.cpu:.2f} | {1e6 * cold.cpu / n:.0f} |")
        print(rows[-1], flush=True)
    text = "\n".join(
        [
            "# P12: `tlbench leaderboard` in a fresh process",
            "",
            "Seconds from the start of the interpreter to the board shown, plugins and all. From the index: median",
            "(smallest to largest) of 5 runs; from the text, which also writes the index: one run. The text is read",
            "anew below 8 MB, and by several processes above 128 MB, whose processor seconds are added up.",
            "What is shown is the same to the letter. *line by line*: processor seconds of reading every line by",
            "itself and making its board, in a warm process.",
            "",
            "| records | MB | index: wall | index: processor | text: wall | text: processor | line by line |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "What a record of 4 kB costs on its way to the columns, in microseconds of one process:",
            "",
            "| | µs |",
            "|---|---|",
            *(f"| {what} | {value:.1f} |" for what, value in floor(run, min(n, 50_000))),
            "",
            f"Gates at a million: {WARM} s from the index (aim {AIM} s), {COLD:.0f} s from the text.",
            "",
            conditions(),
            "",
        ]
    )
    path = ROOT / "results" / "perf"
    path.mkdir(parents=True, exist_ok=True)
    (path / "p12.md").write_text(text)
    text = "\n".join(
        [
            "Processor seconds. Linear growth keeps the last column level once what is there at the start is paid.",
            "",
            "The plan (P11; 1 source, 10 strategies and a reference, 1 to 10,000 seeds; 5 runs):",
            "",
            "| trials | s | µs a trial |",
            "|---|---|---|",
            *growth(Plugins.discover(entry_points=False)),
            "",
            "The board (P12; a fresh process with all its imports):",
            "",
            "| records | from the index, s | from the text, s | from the text, µs a record |",
            "|---|---|---|---|",
            *scaling,
            "",
            conditions(),
        ]
    )
    into_page("Plan and board", text)
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else max(SHAPES))
