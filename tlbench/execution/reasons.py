"""Reasons: what a record says of the error that ended its trial."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

_HOST = Path(__file__).parents[1]
_MACHINERY = (
    *(f"{_HOST / name}/" for name in ("execution", "training", "models", "evaluation", "data")),
    *(f"/site-packages/{name}/" for name in ("torch", "numpy", "scipy", "sklearn", "timm")),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python, or torch on some device, says that there is no more memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)  # what torch raises on CPU


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or nothing."""
    return next(iter(str(error).strip().splitlines()), "")[:500]


def where(error: BaseException) -> str:
    """The deepest place outside of the host and the libraries below it; it is the author's own line that helps."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not any(part in f.filename for part in _MACHINERY)]
    if not frames:
        return ""
    frame = (own or frames)[-1]
    return f" ({frame.filename.rsplit('/', 1)[-1]}:{frame.lineno})"
