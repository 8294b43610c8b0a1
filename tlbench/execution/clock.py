"""Clocks and memory of one trial."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Clocks:
    """Seconds by name, each from its own stretches of a clock, that of the wall by default."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = clock()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time inside to ``name``, also where it ends in an error."""
        began = self._clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - began

    def total(self) -> float:
        """Seconds since this object was made."""
        return self._clock() - self._began


def reset_peaks(device: torch.device) -> None:
    """Begin to watch the peak memory anew; where the system does not let us, the peak is that of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peaks(device: torch.device) -> dict[str, Any]:
    """Bytes: the largest resident set of this process, and what torch allocated and reserved on a GPU."""
    found: dict[str, Any] = {"peak_rss": _peak_rss(), "peak_allocated": None, "peak_reserved": None}
    if device.type == "cuda":
        found["peak_allocated"] = torch.cuda.max_memory_allocated(device)
        found["peak_reserved"] = torch.cuda.max_memory_reserved(device)
    return found


def _peak_rss() -> int | None:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def now() -> str:
    """The time in UTC, to the millisecond, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
