"""P6: steps replayed as a CUDA graph beside plain steps; the losses are equal to the bit.

    python -m pytest benchmarks/perf/test_p6_graphs.py      the gate, where there is a GPU
    python benchmarks/perf/test_p6_graphs.py                the table, to results/perf/p6.md

Both go through `ctx.train`, with the same data, weights and recipe. The gate is for bfloat16 with channels last, as one
would train on a GPU; float32 stands beside it.
"""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
import torch
from beside import in_turn, spread, write
from on_gpu import HAS_GPU, WHY_NOT, Network, Trained, Way, gpu_name, images, resnet18_cifar, train

GATE, AIM, PAIRS = 3.0, 5.0, 5
SIZE, BATCH = 32, 128
WAYS = (Way("bfloat16, channels last", "bfloat16", last=True), Way("float32"))


def measure(way: Way, pairs: int = PAIRS, *, steps: int = 400, windows: int = 8, batch: int = BATCH) -> list[
    tuple[Trained, Trained]
]:  # fmt: skip
    """Neighbouring trainings, plain and replayed. Raises ``AssertionError`` where the losses differ in a bit."""
    net, pool = Network(resnet18_cifar, SIZE), images(SIZE, max(2048, 2 * batch) if HAS_GPU else 2 * batch)

    def run(graphs: bool) -> Trained:
        return train(net, pool, replace(way, graphs=graphs), batch=batch, steps=steps, windows=windows)

    found = list(in_turn(lambda _: run(False), lambda _: run(True), pairs))
    for plain, replayed in found:
        assert plain.losses == replayed.losses, f"{way.name}: the losses differ"
        if HAS_GPU:
            assert replayed.said == []
            assert replayed.replayed > steps // 2
    return found


def ratios(found: list[tuple[Trained, Trained]]) -> list[float]:
    return [statistics.median(b.rates) / statistics.median(a.rates) for a, b in found]


@pytest.mark.skipif(not HAS_GPU, reason=WHY_NOT)
def test_replayed_steps_are_faster_by_the_gate() -> None:
    found = ratios(measure(WAYS[0], 3))
    assert statistics.median(found) >= GATE, f"{found}, and at least {GATE} is asked for"


@pytest.mark.skipif(HAS_GPU, reason="the gate's own test runs on this machine's GPU")
def test_the_measurement_itself_runs_at_a_small_size() -> None:
    torch.set_num_threads(1)
    assert len(ratios(measure(WAYS[1], 1, steps=3, windows=3, batch=4))) == 1


def main() -> None:
    if not HAS_GPU:
        print(f"P6 skipped: {WHY_NOT}")
        return
    rows = []
    for way in WAYS:
        found = measure(way)
        plain, replayed = ([statistics.median(t.rates) for t in side] for side in zip(*found, strict=True))
        gate = f"{GATE:g}" if way is WAYS[0] else ""
        rows.append((way.name, spread(plain, 0), spread(replayed, 0), spread(ratios(found)), gate, f"{AIM:g}"))
    words = f"""
Images/s of `ctx.train`, ResNet-18 with a stem for {SIZE}² images, batch {BATCH}, AdamW: median (smallest to largest) of
{PAIRS} neighbouring trainings, A B B A, each the median of its windows after the first. All losses are equal to the
bit. {gpu_name()}.
"""
    write("p6", "P6: steps replayed as a CUDA graph", words, ("way", "plain", "replayed", "ratio", "gate", "aim"), rows)


if __name__ == "__main__":
    main()
