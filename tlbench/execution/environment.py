"""The conditions of a measurement: versions, git state, device and host."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DISTRIBUTIONS = ("tlbench", "torch", "timm", "numpy", "scipy", "scikit-learn", "datasets", "safetensors", "pandas")


@cache
def versions() -> Mapping[str, str]:
    """Versions of Python and of the libraries that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def git_state(folder: Path = Path(__file__).parent) -> Mapping[str, Any] | None:
    """Commit of tlbench's own checkout and whether it has changes; ``None`` where it is not run from one."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        tracked = _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": dirty} if tracked else None


def _git(folder: Path, *words: str) -> str:
    # Without optional locks: `git status` would write the index anew, beside a user who commits.
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


@cache
def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def device_state(device: str, threads: int, *, shared: bool) -> dict[str, Any]:
    """The device a trial ran on. Speed is comparable only between equal ``fingerprint``s.

    ``shared`` where other trials ran on the same device at the same time.
    """
    if device.startswith("cuda"):
        import torch

        properties = torch.cuda.get_device_properties(device)
        name, memory = properties.name, int(properties.total_memory)
        fingerprint = f"{name} / {memory >> 30} GiB"
    else:
        name, memory = cpu_name(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        fingerprint = f"{name} / {os.cpu_count()} cores / {threads} thread{'s' if threads != 1 else ''}"
    return {
        "device": device,
        "name": name,
        "memory": memory,
        "threads": threads,
        "shared": shared,
        "fingerprint": fingerprint,
    }


def environment(
    device: str, threads: int, *, shared: bool, switches: Mapping[str, bool] | None = None
) -> dict[str, Any]:
    """Everything about where a trial ran that is not part of its key; ``switches`` are those that are not as usual."""
    return {
        "versions": dict(versions()),
        "git": git_state(),
        "device": device_state(device, threads, shared=shared),
        "host": socket.gethostname(),
        "system": platform.platform(),
        **({"switches": dict(switches)} if switches else {}),
    }
