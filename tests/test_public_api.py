"""The public names: all listed, all documented, and quick to import."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tlbench
from tlbench.api import hooks

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "timm", "numpy", "pandas", "sklearn", "scipy", "datasets", "pyarrow", "pydantic", "rich", "yaml")
COMMANDS = (
    "run",
    "plan",
    "rank-sources",
    "leaderboard",
    "compare",
    "curves",
    "changes",
    "status",
    "show",
    "logs",
    "list",
    "describe",
    "plugins",
    "schema",
)


def exported() -> list[str]:
    """What ``tlbench/__init__.py`` imports or sets under a name of its own."""
    names: list[str] = []
    for node in ast.parse(Path(tlbench.__file__).read_text()).body:
        if isinstance(node, ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return names


def test_all_lists_what_is_exported_in_order_and_nothing_else() -> None:
    assert sorted(tlbench.__all__) == tlbench.__all__
    assert set(tlbench.__all__) == set(exported()) - {"__all__"}


@pytest.mark.parametrize("name", [n for n in tlbench.__all__ if inspect.isclass(getattr(tlbench, n))])
def test_every_public_class_says_what_it_is(name: str) -> None:
    text = inspect.getdoc(getattr(tlbench, name))
    assert text
    assert not text.startswith(f"{name}(")  # what a dataclass without a docstring says
    assert text != inspect.getdoc(object)
    assert text.splitlines()[0].rstrip().endswith((".", ":"))


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in tlbench.__all__
        if not inspect.isclass(getattr(tlbench, n))
        and not inspect.isfunction(getattr(tlbench, n))
        and n not in ("__version__", "hookimpl")
    ],
)
def test_every_public_alias_or_constant_has_a_text_below_it(name: str) -> None:
    def texts(path: Path) -> set[str]:
        body = ast.parse(path.read_text()).body
        return {
            ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            for node, below in itertools.pairwise(body)
            if isinstance(node, (ast.Assign, ast.AnnAssign))
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        }

    assert name in set().union(*(texts(path) for path in (ROOT / "tlbench/api").glob("*.py")))


def test_every_public_function_says_what_it_does() -> None:
    functions = [n for n in tlbench.__all__ if inspect.isfunction(getattr(tlbench, n))]
    assert functions == ["load"]
    assert all((inspect.getdoc(getattr(tlbench, n)) or "").splitlines()[0].endswith(".") for n in functions)


def test_the_readme_lists_exactly_the_public_names() -> None:
    section = (ROOT / "README.md").read_text().split("\n## Public names\n")[1].split("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ") and "`" in line]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == tlbench.__all__


def test_every_hook_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    names = [name for name in vars(hooks) if name.startswith("tlbench_")]
    assert len(names) == 9
    assert [name for name in names if f"`{name}`" not in readme] == []


LOOK = f"import sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"


def test_the_package_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", f"import tlbench; {LOOK}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], *([c, "--help"] for c in COMMANDS), ["plugins", "new", "-h"]], ids=" ".join
)
def test_no_help_imports_anything_heavy(words: list[str]) -> None:
    look = LOOK.replace("print(", "print('heavy:', ")
    code = (
        f"import atexit; from tlbench.cli import main; atexit.register(lambda: exec({look!r}, {{}})); main({words!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, loaded = done.stdout.splitlines()
    assert loaded == "heavy:"
    assert shown[0].startswith(("usage: tlbench", "tlbench "))


def test_heavy_imports_would_be_seen() -> None:
    done = subprocess.run([sys.executable, "-c", f"import numpy; {LOOK}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["numpy"]


def test_help_comes_within_a_second() -> None:
    """The best of several, so that a busy machine does not count."""

    def seconds() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tlbench.cli", "--help"], capture_output=True, check=True)
        return time.perf_counter() - began

    assert min(seconds() for _ in range(5)) < 1.0
