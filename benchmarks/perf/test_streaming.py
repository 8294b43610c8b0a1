"""Data larger than the memory: what a process takes, and what streaming costs beside data in memory.

    python -m pytest benchmarks/perf/test_streaming.py                     the gates
    python benchmarks/perf/test_streaming.py [--folder F] [--most N]       the tables, to results/perf/streaming.md

**Memory.** A trial (fine-tuning of a small CNN, 100 steps of 64, frozen features, scores of the whole test set) in a
fresh process with a memory limit, on 1,000 to 1,000,000 images of 32², made a thousand at a time. What the process took
at most is the kernel's count (VmHWM) of everything, mapped pages of files too. Records under a limit and without are
equal; that is asserted where both are run.

**Time.** The same training from data on the disk and in memory, A B B A, processor time of all threads; losses are
equal to the bit. The pages are in the system's cache, as they are after the first epoch where memory allows. On a GPU,
wall time.

**Photographs.** JPEG files of 500 x 375, cut to 224²: decoded each epoch by a DataLoader, and decoded once to a mapped
file (which takes no memory) and streamed. Batches agree to 1e-6.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import PIL.Image
import pytest
import torch
from beside import in_turn, spread, write
from growth import into_page
from torch.utils.data import DataLoader

from tlbench.api.data import Pool, Seeds, Shape
from tlbench.api.recipe import Recipe
from tlbench.api.types import InputTransform
from tlbench.builtin.small_backbones import MLP, SmallCNN
from tlbench.data.cache import DataCache
from tlbench.data.images import Images, decode, layout
from tlbench.data.inputs import scaling
from tlbench.data.rows import Rows
from tlbench.execution.bench import Bench, make_spec
from tlbench.execution.trial import run_trial
from tlbench.functional import supervised
from tlbench.models.factory import ModelFactory
from tlbench.plugins import Plugins
from tlbench.run import Options, Run
from tlbench.training.checkpoint import Checkpoints
from tlbench.training.context import open_context
from tlbench.training.streams import Stream
from tlbench.training.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
LIMIT = 128 * MIB
FIXED = 96 * MIB
"""What streaming may take beside the limit: mapped pages around 32 rows, a few batches."""
MOST_RATIO = 1.10
"""Training from the disk beside training from memory, a CNN at 32²."""
PAIRS = 7
ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")

SUITE = """
tlbench: 1
name: streaming
sources: [pretrained]
targets: [{{name: blocks, count: {count}, tests: {tests}}}]
tasks: [fine-tuning]
backbones: [{{name: small-cnn, width: 4, depth: 2}}]
strategies: [{strategy}]
seeds: 1
recipe: {{steps: 100, batch_size: 64, curve_points: 2}}
metrics: [accuracy]
"""


# ---- memory --------------------------------------------------------------------------------------


class Trialed(NamedTuple):
    """A trial in its own process: its largest memory [bytes], processor seconds to make the data and of the trial."""

    images: int
    peak: int
    making: float
    trial: float
    score: float
    losses: list[float]

    @property
    def data(self) -> int:
        return self.images * 3 * 32 * 32


def peak() -> int:
    """Bytes of memory that this program took at most, its mapped files included."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def child(count: int, limit: int | None, folder: Path, strategy: str) -> None:
    """Do the trial and print what it took."""
    torch.set_num_threads(1)
    plugins = Plugins.discover(extra=[str(Path(__file__).with_name("blocks.py"))], entry_points=False)
    tests = max(500, min(count // 10, 20_000))
    (folder / "suite.yaml").write_text(SUITE.format(count=count, tests=tests, strategy=strategy))
    options = Options(cache=folder / "cache", out=folder / "run", device="cpu", memory_limit=limit)
    run = Run.of(str(folder / "suite.yaml"), plugins, options)
    spec = make_spec(
        plugins=plugins,
        run=folder / "run",
        base=folder,
        data_root=None,
        cache=folder / "cache",
        suite="streaming",
        metrics=run.suite.metrics,
        device="cpu",
        memory_limit=limit,
    )
    bench = Bench(spec)
    trial = next(t for t in run.plan({}).trials if t.strategy.name == strategy)
    began = time.process_time()
    bench.describe(trial.target)
    making = time.process_time() - began
    record = run_trial(trial, bench)
    assert record.status == "ok", record.reason
    losses = [float(v) for v in (record.losses or {}).get("loss", [])]
    score = record.metrics["target"]["accuracy"]
    found = Trialed(count + tests, peak(), making, time.process_time() - began - making, score, losses)
    print(json.dumps(found))


def trialed(count: int, limit: int | None, folder: Path, strategy: str = "fine-tune") -> Trialed:
    command = [sys.executable, str(Path(__file__).resolve()), "--child", str(count), str(limit or 0)]
    done = subprocess.run([*command, str(folder), strategy], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Trialed(*json.loads(done.stdout.splitlines()[-1]))


# ---- time ----------------------------------------------------------------------------------------


class Case(NamedTuple):
    name: str
    backbone: Any
    shape: Shape
    batch: int
    steps: int


CASES = (
    Case("CNN 32², batch 64", SmallCNN(width=8), Shape("image", (3, 32, 32)), 64, 25),
    Case("MLP on 64 numbers, batch 64", MLP(), Shape("features", (64,)), 64, 400),
)


def mapped(case: Case, folder: Path, count: int) -> Any:
    path = folder / f"{case.shape.kind}.npy"
    rng = np.random.default_rng(0)
    dtype = np.uint8 if case.shape.kind == "image" else np.float32
    x = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(count, *case.shape.dims))
    for begin in range(0, count, 1000):
        x[begin : begin + 1000] = rng.integers(0, 256, (min(1000, count - begin), *case.shape.dims))
    x.flush()
    return np.load(path, mmap_mode="r")


def trained(case: Case, x: Any, y: Any) -> tuple[float, list[float]]:
    """Seconds of the training alone (processor time; on a GPU wall time), and its losses."""
    models = ModelFactory(case.backbone, case.name, case.shape, Seeds(0), DEVICE)
    ctx = open_context(
        {"target": Pool(x, y, 4)},
        num_classes=4,
        models=models,
        recipe=Recipe(steps=case.steps, batch_size=case.batch, curve_points=case.steps),
        start="random",
        tape=Tape(),
        checkpoints=Checkpoints(None),
    )
    model = ctx.classifier()
    ctx._tensors("target")
    clock = time.perf_counter if ON_GPU else time.process_time
    began = clock()
    ctx.train(supervised(model), update=model)
    if ON_GPU:
        torch.cuda.synchronize()
    seconds = clock() - began
    return seconds, [v for v in ctx.session.tape.losses["loss"] if v is not None]


class Measured(NamedTuple):
    disk: list[float]
    memory: list[float]

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.disk, self.memory, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def measure(case: Case, folder: Path, count: int) -> Measured:
    """Neighbours in turn after one for warm-up. Raises ``AssertionError`` where a loss differs in a bit."""
    x = mapped(case, folder, count)
    y = np.random.default_rng(1).integers(0, 4, count)
    inside = np.array(x)
    streamed, resident = (lambda _: trained(case, Rows(x, 0), y)), (lambda _: trained(case, inside, y))
    pairs = list(in_turn(streamed, resident, PAIRS + 1))[1:]
    assert all(a[1] == b[1] for a, b in pairs), "the losses differ"
    return Measured([a[0] for a, _ in pairs], [b[0] for _, b in pairs])


# ---- photographs ---------------------------------------------------------------------------------

PHOTOS, SIDE, BATCH = 256, 224, 32


def photographs(folder: Path) -> list[Path]:
    """Smooth noise: about as large as photographs of this size are."""
    rng, paths = np.random.default_rng(0), []
    for i in range(PHOTOS):
        paths.append(folder / f"{i}.jpg")
        noise = PIL.Image.fromarray(rng.integers(0, 256, (75, 100, 3), dtype=np.uint8))
        noise.resize((500, 375), PIL.Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths


class Opened(torch.utils.data.Dataset[Any]):
    """Opens, resizes, cuts and scales a photograph each time that it is asked for."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        with PIL.Image.open(self.paths[i]) as image:
            wide = max(SIDE, round(image.width * SIDE / image.height))
            resized = image.convert("RGB").resize((wide, SIDE), PIL.Image.Resampling.BILINEAR)
        left = (wide - SIDE) // 2
        cut = np.array(resized.crop((left, 0, left + SIDE, SIDE)))
        return (torch.from_numpy(cut).permute(2, 0, 1).float().div(255) - 0.5) / 0.5


class Photos(NamedTuple):
    decoding: float
    """Processor seconds to decode all, once."""
    wall: tuple[float, float]
    """Wall seconds of it, with one thread and with all."""
    loader: list[float]
    streamed: list[float]


def photos(folder: Path) -> Photos:
    """Processor seconds of an epoch of batches each way. Raises ``AssertionError`` where batches differ."""
    paths = photographs(folder)
    images = Images("photographs", PHOTOS, lambda: paths)
    form = layout([images], SIDE)
    walls = []
    for name, threads in (("one", 1), ("all", None)):
        with pytest.MonkeyPatch.context() as patch:
            if threads:
                patch.setattr("tlbench.data.images.cores", lambda: 1)
            cache = DataCache(folder / name, None, folder, memory_limit=1)
            began, wall = time.process_time(), time.perf_counter()
            x = cache.arrays("photographs", lambda c=cache: {"x": decode(images, form, c)})["x"]  # type: ignore[misc]
            walls.append(time.perf_counter() - wall)
            decoding = time.process_time() - began
    scale = scaling(InputTransform(SIDE, 3, (0.5,) * 3, (0.5,) * 3), torch.device("cpu"))

    def streamed() -> Iterator[Any]:
        stream = Stream(Rows(x, 0), None, batch_size=BATCH, seed=0, scale=scale, device=torch.device("cpu"))
        return (stream.batch(step).x for step in range(PHOTOS // BATCH))

    def loader() -> Iterator[Any]:
        stream = Stream(Rows(x, 0), None, batch_size=BATCH, seed=0, scale=scale, device=torch.device("cpu"))
        order = torch.cat([stream.rows(step) for step in range(PHOTOS // BATCH)]).tolist()
        return iter(DataLoader(Opened(paths), batch_size=BATCH, sampler=order))

    for a, b in zip(streamed(), loader(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)

    def used(batches: Iterator[Any]) -> float:
        began = time.process_time()
        for _ in batches:
            pass
        return time.process_time() - began

    pairs = list(in_turn(lambda _: used(loader()), lambda _: used(streamed()), 5))
    return Photos(decoding, (walls[0], walls[1]), [a for a, _ in pairs], [b for _, b in pairs])


# ---- gates ---------------------------------------------------------------------------------------


def test_a_trial_on_data_larger_than_the_limit_takes_no_more_memory_than_the_limit_allows(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("small", "large", "whole")]
    for folder in folders:
        folder.mkdir()
    small, large = trialed(1000, 16 * MIB, folders[0]), trialed(100_000, 16 * MIB, folders[1])
    assert large.data > 300_000_000
    assert large.peak - small.peak < 16 * MIB + FIXED
    whole = trialed(100_000, None, folders[2])
    assert (whole.score, whole.losses) == (large.score, large.losses)
    assert whole.peak - large.peak > 200 * MIB  # the measurement sees what it should


@pytest.mark.parametrize("case", CASES[:1], ids=lambda case: case.name.split()[0])
def test_training_from_the_disk_costs_little_more_than_from_memory(case: Case, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    found = []
    for _ in range(3):  # a neighbour on the machine can spoil one measurement, not three
        found.append(measure(case, tmp_path, 50_000).ratio)
        if found[-1] <= MOST_RATIO:
            return
    raise AssertionError(f"{case.name}: {[f'{ratio:.3f}' for ratio in found]}, and at most {MOST_RATIO} is allowed")


# ---- the tables ----------------------------------------------------------------------------------


def main() -> None:
    """Measure and write the tables with their conditions."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where the data are made; deleted in the end (default: temporary)")
    parser.add_argument("--most", type=int, default=1_000_000, help="images of the largest set")
    args = parser.parse_args()
    if args.child:
        count, limit, folder, strategy = args.child
        child(int(count), int(limit) or None, Path(folder), strategy)
        return
    torch.set_num_threads(1)
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    growth = [_grown(n, args.folder) for n in (1_000, 10_000, 100_000, 1_000_000) if n <= args.most]
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        for case in CASES:
            m = measure(case, Path(name), 100_000)
            times = [spread([1e6 * v / case.steps for v in side], 0) for side in m]
            gate = str(MOST_RATIO) if case is CASES[0] else "–"
            rows.append([f"{case.name}, µs a step", str(PAIRS), *times, f"{m.ratio:.3f}; {spread(m.ratios, 3)}", gate])
        p = photos(Path(name))
        times = [spread([1e6 * v / PHOTOS for v in side], 0) for side in (p.streamed, p.loader)]
        ratios = [a / b for a, b in zip(p.loader, p.streamed, strict=True)]
        rows.append(["JPEG 500 x 375 to 224², µs an image", "5", *times, f"{spread(ratios, 1)} times less", "–"])
    took = f"{1e3 * p.decoding / PHOTOS:.1f} ms of processor time, {PHOTOS / p.wall[0]:.0f} a second with one thread"
    table = _table(growth)
    words = f"""
{WORDS.strip()}

A photograph is decoded once, in {took}
and {PHOTOS / p.wall[1]:.0f} with all cores at hand (wall time, at a load of {os.getloadavg()[0]:.1f}).

{table}

From the disk and from memory ({"wall time on the GPU" if ON_GPU else "processor time of all threads"}), or for
photographs streamed and by a DataLoader; median (smallest to largest) of n neighbours:"""
    write("streaming", "Data larger than the memory", words, HEADER, rows)
    into_page("Data", f"Of `test_streaming.py`; see streaming.md.\n\n{table}")


def _grown(count: int, folder: Path | None) -> list[str]:
    """A row of the table of growth: fine-tuning and frozen features under the limit, and fine-tuning without one."""
    found: dict[str, Trialed] = {}
    for name, limit, strategy in (
        ("limited", LIMIT, "fine-tune"), ("features", LIMIT, "class-means"), ("whole", None, "fine-tune"),
    ):  # fmt: skip
        with tempfile.TemporaryDirectory(dir=folder) as place:
            found[name] = trialed(count, limit, Path(place), strategy)
    one, whole = found["limited"], found["whole"]
    assert (one.score, one.losses) == (whole.score, whole.losses), "the records differ"
    mib = [f"{v / MIB:,.0f}" for v in (one.data, one.peak, found["features"].peak, whole.peak)]
    seconds = [f"{one.trial:.1f}", f"{whole.trial:.1f}"]
    return [f"{count:,}", *mib, f"{1e6 * one.making / one.images:.1f}", *seconds]


def _table(rows: list[list[str]]) -> str:
    head = [
        "images", "data, MiB", f"memory, limit {LIMIT // MIB} MiB", "features, same limit", "without a limit",
        "making and hashing, µs an image", "trial, s", "without a limit, s",
    ]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


HEADER = ["from", "n", "disk", "memory, or files", "ratio", "gate"]
WORDS = """
Largest memory of a process [MiB] that does one trial on so many images of 32², the whole of it: Python, torch, mapped
pages of files. Fine-tuning of a small CNN (100 steps of 64 images) and scores of the test set, a tenth of the images up
to 20,000; in another process the means of frozen features of all images. Larger data than the limit are read batch
by batch from the cache's file. Accuracy and losses with a limit and without are equal.
"""


if __name__ == "__main__":
    main()
