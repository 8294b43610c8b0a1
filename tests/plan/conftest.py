"""The toys that suites of these tests name, and a way to write a suite in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tlbench.plugins import Plugins

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    """The toys alone, without what tlbench brings along."""
    toys = Path(__file__).parents[1] / "suite" / "toy_plugin.py"
    return Plugins.discover(extra=[str(toys)], entry_points=False, blocked=["builtin"])


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file and returns its path; the file is ``suite.yaml`` unless named."""

    def text_to_file(text: str, name: str = "suite.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return text_to_file
