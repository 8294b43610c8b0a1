"""The common generators of torch, NumPy and Python, which whatever draws without asking draws from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def generators() -> tuple[Any, ...]:
    """Their states."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else torch.empty(0)
    return torch.get_rng_state(), cuda, np.random.get_state(), random.getstate()


def same(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    """Whether nothing was drawn in between."""
    drawn = [not torch.equal(a, b) for a, b in zip(before[:2], after[:2], strict=True)]
    numpy = [np.array_equal(a, b) for a, b in zip(before[2], after[2], strict=True)]
    return not any(drawn) and all(numpy) and before[3] == after[3]


def put_back(states: tuple[Any, ...]) -> None:
    """Go on from these states."""
    torch.set_rng_state(states[0])
    if len(states[1]):
        torch.cuda.set_rng_state(states[1])
    np.random.set_state(states[2])
    random.setstate(states[3])
