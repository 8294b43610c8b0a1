"""The import rules of the project, held by reading every module's syntax tree."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "tlbench").rglob("*.py"))
PLUGIN_MODULES = sorted((ROOT / "plugins").glob("*/src/**/*.py"))
LIGHT = ("suite", "plan", "results", "leaderboard")
HEAVY = {"torch", "torchvision", "timm", "sklearn"}
FOR_PLUGINS = {"tlbench", "tlbench.functional", "tlbench.testing", "tlbench.transferability"}
LONGEST = 450


class Import(NamedTuple):
    module: str
    line: int
    typing_only: bool


def dotted(path: Path) -> str:
    """``tlbench.suite.load`` for its file; a package's own name for its ``__init__.py``."""
    if path.is_relative_to(ROOT / "plugins"):
        parts = path.with_suffix("").relative_to(ROOT / "plugins").parts
        parts = parts[parts.index("src") + 1 :]
    else:
        parts = path.with_suffix("").relative_to(ROOT).parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> list[Import]:
    """Every import, at whatever depth: those in functions, and those for type checkers, are marked or not alike."""
    found: list[Import] = []

    def walk(node: ast.AST, typing_only: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                for inner in child.body:
                    walk(ast.Module([inner], []), True)
                for inner in child.orelse:
                    walk(ast.Module([inner], []), typing_only)
            elif isinstance(child, ast.Import):
                found.extend(Import(alias.name, child.lineno, typing_only) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"line {child.lineno}: a relative import"
                # `from tlbench import plan` names a module as `import tlbench.plan` does
                found.extend(Import(f"{child.module}.{alias.name}", child.lineno, typing_only) for alias in child.names)
            else:
                walk(child, typing_only)
            if isinstance(child, ast.Call) and ast.unparse(child.func).endswith("import_module"):
                found.extend(
                    Import(arg.value, child.lineno, typing_only)
                    for arg in child.args
                    if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                )

    walk(tree, False)
    return found


def below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def faults(name: str, source: str) -> list[str]:
    """What a module of this dotted name and source breaks."""
    tree = ast.parse(source)
    found: list[str] = []
    is_plugin = not below(name, "tlbench")
    for module, line, typing_only in imports(tree):
        top = module.split(".")[0]

        def fault(why: str, line: int = line, module: str = module) -> None:
            found.append(f"{name}:{line}: imports {module}: {why}")

        if not is_plugin and top.startswith("tlbench_"):
            fault("the core never imports a plugin")
        if is_plugin and top == "tlbench" and not any(below(module, m) for m in FOR_PLUGINS - {"tlbench"}):
            inside = module.removeprefix("tlbench").removeprefix(".")
            if inside and ((ROOT / "tlbench" / inside.split(".")[0]).is_dir() or _is_module(inside)):
                fault("a plugin imports only tlbench, tlbench.functional, tlbench.testing and tlbench.transferability")
        if below(name, "tlbench.training") and below(module, "tlbench.evaluation"):
            fault("training never imports evaluation")
        if below(name, "tlbench.evaluation") and below(module, "tlbench.training"):
            fault("evaluation never imports training")
        if any(below(name, f"tlbench.{package}") for package in LIGHT) and top in HEAVY and not typing_only:
            fault(f"{', '.join(LIGHT)} never do, not even inside a function")
        if below(name, "tlbench.api") and top == "tlbench" and not below(module, "tlbench.api"):
            fault("tlbench.api imports nothing else of tlbench")
        if not below(name, "tlbench.cli") and module in ("sys.argv", "os.environ", "os.getenv"):
            fault("only tlbench.cli reads the arguments or the environment")
    if not below(name, "tlbench.cli"):
        found += [
            f"{name}:{node.lineno}: {ast.unparse(node)}: only tlbench.cli reads the arguments or the environment"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and ast.unparse(node) in ("sys.argv", "os.environ", "os.environb", "os.getenv")
        ]
    return found


def _is_module(inside: str) -> bool:
    return (ROOT / "tlbench" / f"{inside.split('.')[0]}.py").is_file()


@pytest.mark.parametrize("path", [*MODULES, *PLUGIN_MODULES], ids=dotted)
def test_every_module_keeps_the_import_rules(path: Path) -> None:
    assert faults(dotted(path), path.read_text()) == []


def test_the_rules_are_held_over_the_whole_project() -> None:
    """So that the test above cannot pass by finding nothing."""
    names = {dotted(path) for path in [*MODULES, *PLUGIN_MODULES]}
    assert {"tlbench", "tlbench.cli", "tlbench.suite.load", "tlbench.training.loop", "tlbench_adaptation.dann"} <= names


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("tlbench.run", "import tlbench_adaptation", "the core never imports a plugin"),
        ("tlbench.run", "def f():\n    from tlbench_adaptation import dann", "the core never imports a plugin"),
        ("tlbench_demo", "from tlbench.training.loop import train", "a plugin imports only"),
        ("tlbench_demo", "from tlbench import run", "a plugin imports only"),
        ("tlbench_demo", "import tlbench.errors", "a plugin imports only"),
        ("tlbench.training.loop", "from tlbench.evaluation import predict", "training never imports evaluation"),
        ("tlbench.evaluation.predict", "import tlbench.training.loop", "evaluation never imports training"),
        ("tlbench.plan.build", "def f():\n    import torch", "not even inside a function"),
        ("tlbench.suite.load", "import importlib\nimportlib.import_module('timm')", "not even inside a function"),
        ("tlbench.leaderboard.rows", "from sklearn.metrics import f1_score", "not even inside a function"),
        ("tlbench.results.store", "import torch.cuda", "not even inside a function"),
        ("tlbench.api.types", "from tlbench.errors import TlbenchError", "imports nothing else of tlbench"),
        ("tlbench.run", "import sys\nprint(sys.argv[1])", "only tlbench.cli"),
        ("tlbench.data.hf", "import os\nos.environ['HF_HOME'] = ''", "only tlbench.cli"),
        ("tlbench.data.hf", "from os import getenv", "only tlbench.cli"),
    ],
)
def test_a_module_that_breaks_a_rule_is_caught(name: str, source: str, complaint: str) -> None:
    (fault,) = faults(name, source)
    assert complaint in fault
    assert fault.startswith(f"{name}:{len(source.splitlines())}: ")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("tlbench_demo", "from tlbench import Batch, hookimpl\nfrom tlbench.functional import supervised"),
        ("tlbench.plan.build", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torch import Tensor"),
        ("tlbench.cli", "import os, sys\nprint(sys.argv, os.environ)"),
        ("tlbench.execution.worker", "import sys\nsys.stdin.readline()"),
    ],
)
def test_what_the_rules_allow_is_not_caught(name: str, source: str) -> None:
    assert faults(name, source) == []


@pytest.mark.parametrize("path", [*MODULES, *PLUGIN_MODULES], ids=dotted)
def test_the_first_line_of_every_module_says_what_it_is(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, "no docstring"
    assert text.splitlines()[0].endswith("."), "the first line is no sentence"


@pytest.mark.parametrize("path", [*MODULES, *PLUGIN_MODULES], ids=dotted)
def test_no_module_is_too_long_to_be_read_at_a_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST
