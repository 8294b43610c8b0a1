"""The collector of cycles, held back while many small objects are made: it would look through all of them in vain."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def many_objects() -> Iterator[None]:
    """No collection inside, where there was any outside; what is made inside should have no cycles to collect."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
