"""The two ceilings of a device: how fast it copies memory and how fast it multiplies matrices.

    python -m pytest benchmarks/perf/test_ceilings.py       that both can be measured
    python benchmarks/perf/test_ceilings.py                 the table, to results/perf/ceilings.md

No training is faster than its bytes at the one rate and its operations at the other; P16 to P18 are set beside them.
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

import torch
from beside import spread, write
from on_gpu import DEVICE, HAS_GPU, gpu_name, seconds

MIB = 1 << 20


class Ceiling(NamedTuple):
    what: str
    rates: list[float]
    unit: str

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


def copying(mib: int, times: int = 20) -> Ceiling:
    """Bytes read and written each second by a copy within the device; GB/s."""
    source = torch.empty(mib * MIB, dtype=torch.uint8, device=DEVICE).fill_(1)
    target = torch.empty_like(source)
    rates = [2 * mib * MIB / s / 1e9 for s in seconds(lambda: target.copy_(source), times) if s > 0]
    assert torch.equal(source[-MIB:], target[-MIB:])
    return Ceiling(f"copy of {mib} MiB", rates, "GB/s")


def multiplying(n: int, dtype: torch.dtype, times: int = 20) -> Ceiling:
    """Operations (a multiplication and an addition count two) each second of [n, n] @ [n, n]; TFLOP/s."""
    torch.manual_seed(0)
    a, b = (torch.randn(n, n, device=DEVICE).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    rates = [2 * n**3 / s / 1e12 for s in seconds(lambda: torch.mm(a, b, out=out), times) if s > 0]
    expected = a[0].double() @ b.double()
    assert torch.allclose(out[0].double(), expected, rtol=0.05, atol=0.05 * n**0.5)
    return Ceiling(f"product of {n} x {n}, {str(dtype).removeprefix('torch.')}", rates, "TFLOP/s")


def measured() -> list[Ceiling]:
    if HAS_GPU:
        return [copying(4096), *(multiplying(8192, d) for d in (torch.bfloat16, torch.float32))]
    return [copying(256, 7), *(multiplying(1024, d, 7) for d in (torch.bfloat16, torch.float32))]


def test_both_ceilings_can_be_measured() -> None:
    torch.set_num_threads(1)
    for found in (copying(64, 5), multiplying(256, torch.float32, 20)):
        assert found.rates
        assert found.rate > 0


def main() -> None:
    torch.set_num_threads(1)
    words = f"""
What bounds every training on this device ({gpu_name()}): median (smallest to largest), on a GPU by its own clock, on a
CPU in processor time of one thread. TF32 is {"on" if torch.backends.cuda.matmul.allow_tf32 else "off"} for products.
"""
    header = ("what", "rate", "unit")
    write("ceilings", "The two ceilings", words, header, [(c.what, spread(c.rates), c.unit) for c in measured()])


if __name__ == "__main__":
    main()
