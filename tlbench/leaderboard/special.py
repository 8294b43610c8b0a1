"""Quantiles and probabilities, from ``scipy.special``, which is imported when one is first asked for.

``scipy.stats`` takes four times as long to import, and this as long as a fifth of a board from an index.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

_MODULE = "scipy.special"


def prepare() -> None:
    """Import it in another thread: reading files and work on arrays let that go on beside them."""
    threading.Thread(target=importlib.import_module, args=(_MODULE,), name=f"import {_MODULE}").start()


def t_quantile(freedom: Any, p: Any) -> Any:
    """Quantiles of Student's t distributions."""
    return importlib.import_module(_MODULE).stdtrit(freedom, p)


def t_probability(freedom: Any, t: Any) -> Any:
    """Probabilities of values up to ``t`` in Student's t distributions."""
    return importlib.import_module(_MODULE).stdtr(freedom, t)


def normal_quantile(p: float) -> float:
    """Quantile of the standard normal distribution."""
    return float(importlib.import_module(_MODULE).ndtri(p))
