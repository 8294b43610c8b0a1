"""P10: features of a frozen backbone in bfloat16, beside float32; the features agree.

    python -m pytest benchmarks/perf/test_p10_bfloat16.py   the gate, where there is AMX or a GPU
    python benchmarks/perf/test_p10_bfloat16.py             the table, to results/perf/p10.md

The gate is for processors with matrix units of their own for bfloat16 (AMX) and for GPUs. Elsewhere the ratio is
measured for the table and held to nothing.
"""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import pytest
import torch
from beside import in_turn, spread, write
from torch import Tensor, nn

from tlbench.api.data import Shape
from tlbench.builtin.small_backbones import SmallCNN

PAIRS, EXAMPLES, GATE = 5, 256, 1.8
ON_GPU = torch.cuda.is_available()
HAS_AMX = bool(torch.cpu._is_amx_tile_supported())
WHY_NOT = "" if ON_GPU or HAS_AMX else "this machine has neither AMX nor a GPU"


class Measured(NamedTuple):
    name: str
    plain: list[float]
    short: list[float]
    cosine: float
    """The smallest cosine between the features of one image in both."""

    @property
    def ratios(self) -> list[float]:
        return [a / b for a, b in zip(self.plain, self.short, strict=True)]

    def row(self) -> tuple[str, ...]:
        times = (spread([s / EXAMPLES * 1e6 for s in part], 0) for part in (self.plain, self.short))
        return self.name, *times, spread(self.ratios), f"{GATE:g}" if not WHY_NOT else "", f"{self.cosine:.5f}"


def measure(name: str, width: int, pairs: int = PAIRS) -> Measured:
    """Seconds of wall time on a GPU, of processor time elsewhere."""
    device = torch.device("cuda" if ON_GPU else "cpu")
    torch.manual_seed(0)
    net: nn.Module = SmallCNN(width=width).load(Shape("image", (3, 32, 32))).to(device).eval()
    x = torch.rand(EXAMPLES, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    clock = time.perf_counter if ON_GPU else time.process_time

    def features(cast: bool) -> tuple[float, Tensor]:
        if ON_GPU:
            torch.cuda.synchronize()
        began = clock()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=cast):
            found = net(x).float()
        if ON_GPU:
            torch.cuda.synchronize()
        return clock() - began, found

    pairs_found = list(in_turn(lambda _: features(False), lambda _: features(True), pairs + 2))[2:]
    (_, a), (_, b) = pairs_found[0]
    cosine = float(torch.cosine_similarity(a, b).min())
    assert cosine > 0.999, f"{name}: features in bfloat16 point elsewhere: cosine {cosine}"
    return Measured(name, [p[0] for p, _ in pairs_found], [q[0] for _, q in pairs_found], cosine)


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "-")
def test_bfloat16_extracts_features_so_many_times_faster() -> None:
    torch.set_num_threads(1)
    assert statistics.median(measure("small-cnn, width 64", 64).ratios) >= GATE


def main() -> None:
    torch.set_num_threads(1)
    rows = [measure(f"small-cnn, width {width}", width).row() for width in (32, 64, 128)]
    note = f"The gate of {GATE:g} is skipped: {WHY_NOT}. " if WHY_NOT else ""
    avx = "The processor has AVX-512 instructions for bfloat16. " if torch.cpu._is_avx512_bf16_supported() else ""
    write(
        "p10",
        "P10: features in bfloat16, beside float32",
        f"""
{note}{avx}Microseconds for an image of 32² ({"wall time on the GPU" if ON_GPU else "processor time"}), {EXAMPLES}
images at once, channels last, autocast: median (smallest to largest) of {PAIRS} neighbouring runs, A B B A, after two
pairs of warm-up. The last column is the smallest cosine between the features of one image in both. `ctx.features`
does this where the recipe's precision is bfloat16.""",
        ("backbone", "float32", "bfloat16", "ratio", "gate", "cosine"),
        rows,
    )


if __name__ == "__main__":
    main()
