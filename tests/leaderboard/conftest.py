"""The hand-made records of ``factory.py`` as a fixture: test modules are imported by path and share none."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The factory: ``make.trial``, ``make.record``, ``make.reference``, ``make.small_board``."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("factory.py"))))
