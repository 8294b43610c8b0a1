"""P16, P17, P18: training images/s of usual networks on a GPU, beside what the device's two ceilings allow.

    python -m pytest benchmarks/perf/test_p16_images.py     the gates, where there is a GPU that they were set for
    python benchmarks/perf/test_p16_images.py               the table, to results/perf/p16.md

ResNet-50 and ViT-S/16 at 224², ResNet-18 with a CIFAR stem at 32². The images lie on the device as 8-bit integers; what
is timed is `ctx.train`: batches, scaling, loss, gradient and optimiser. Gates and aims are for an H100.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import pytest
import torch
from beside import spread, write
from on_gpu import (
    CLASSES,
    DEVICE,
    HAS_GPU,
    WHY_NOT,
    Network,
    Trained,
    Way,
    gpu_name,
    images,
    resnet18_cifar,
    timm_network,
    train,
)
from test_ceilings import copying, multiplying
from torch.utils.flop_counter import FlopCounterMode

from tlbench.api.data import Shape

PLAIN = Way("float32")
HALF = Way("bfloat16", "bfloat16")
LAST = Way("bfloat16, channels last", "bfloat16", last=True)
COMPILED = Way("bfloat16, channels last, compiled", "bfloat16", last=True, compile=True)
REPLAYED = Way("bfloat16, channels last, replayed", "bfloat16", last=True, graphs=True)
GATED_ON = "H100"


@dataclass(frozen=True)
class Case:
    id: str
    title: str
    network: Network
    batch: int
    gate: float
    aim: float
    ways: tuple[Way, ...] = (PLAIN, HALF, LAST, REPLAYED, COMPILED)


CASES = (
    Case("P16", "ResNet-50, 224²", Network(timm_network("resnet50"), 224), 256, 3_500, 5_000),
    Case("P17", "ViT-S/16, 224²", Network(timm_network("vit_small_patch16_224"), 224), 256, 5_500, 7_700),
    Case("P18", "ResNet-18 (CIFAR stem), 32²", Network(resnet18_cifar, 32), 512, 60_000, 85_000),
)


def measure(case: Case, way: Way, *, steps: int = 160, windows: int = 8, batch: int | None = None) -> Trained:
    batch = batch or case.batch
    return train(case.network, images(case.network.size, 4 * batch), way, batch=batch, steps=steps, windows=windows)


def flops(case: Case) -> float:
    """Operations to train on one image: three times those of a forward pass, as torch counts them."""
    net = case.network.load(Shape("image", (3, case.network.size, case.network.size))).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, case.network.size, case.network.size))
    return 3.0 * float(counter.get_total_flops())


def check(found: Trained, first: Trained) -> None:
    """Raises ``AssertionError`` where a way of going faster learns otherwise than float32 does, by its first losses."""
    a, b = first.losses[0], found.losses[0]
    assert a is not None
    assert b is not None
    assert abs(a - b) < 0.1 * a, f"mean loss of the first window {b:.4f}, in float32 {a:.4f}"


@pytest.mark.skipif(not HAS_GPU, reason=WHY_NOT)
@pytest.mark.skipif(HAS_GPU and GATED_ON not in gpu_name(), reason=f"the gates are for an {GATED_ON}")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_best_way_reaches_the_gate(case: Case) -> None:
    found = {way.name: statistics.median(measure(case, way).rates) for way in case.ways[2:]}
    assert max(found.values()) >= case.gate, found


@pytest.mark.skipif(HAS_GPU, reason="the gates' own tests run on this machine's GPU")
@pytest.mark.parametrize("case", CASES[2:], ids=lambda case: case.id)
def test_the_measurement_itself_runs_at_a_small_size(case: Case) -> None:
    torch.set_num_threads(1)
    first = measure(case, PLAIN, steps=2, windows=2, batch=4)
    for way in (LAST, REPLAYED):
        found = measure(case, way, steps=2, windows=2, batch=4)
        check(found, first)
        assert found.rates[0] > 0
    assert 1e9 < flops(case) < 1e10  # 0.56 billion multiplications and additions forward (He et al. 2016's, at 32²)
    assert CLASSES == 10


def main() -> None:
    if not HAS_GPU:
        print(f"P16, P17, P18 skipped: {WHY_NOT}")
        return
    ceiling = multiplying(8192, torch.bfloat16)
    rows = []
    for case in CASES:
        each, first = flops(case), None
        for way in case.ways:
            found = measure(case, way)
            first = first or found
            check(found, first)
            share = statistics.median(found.rates) * each / (ceiling.rate * 1e12)
            note = "; ".join(found.said) or (f"{found.replayed} replayed" if way.graphs else "")
            rows.append((case.id, case.title, str(case.batch), way.name, spread(found.rates, 0), f"{100 * share:.0f} %",
                         f"{case.gate:,.0f}", f"{case.aim:,.0f}", note))  # fmt: skip
    words = f"""
Training images/s of `ctx.train` on {gpu_name()} ({DEVICE}): median (smallest to largest) over the windows of a training
after its first. The share is of the rate of bfloat16 products measured in this run, {ceiling.rate:.0f} TFLOP/s; memory
is copied at {copying(4096).rate:.0f} GB/s. Gates and aims are for an {GATED_ON} and the best way of each network. The
mean loss of the first window is within a tenth of that in float32.
"""
    header = ("id", "network", "batch", "way", "images/s", "of the ceiling", "gate", "aim", "")
    write("p16", "P16 to P18: training images/s on a GPU", words, header, rows)


if __name__ == "__main__":
    main()
