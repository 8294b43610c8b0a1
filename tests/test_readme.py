"""The README and its companions: what they show runs, and what they name is there."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tlbench import cli
from tlbench.plan.build import build
from tlbench.plugins import Plugins
from tlbench.results.store import RunFolder
from tlbench.suite.load import load
from tlbench.testing import check_strategy

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def block(name: str) -> str:
    """The fenced block after the line ``<!-- name -->``."""
    found = re.search(rf"^<!-- {name} -->\n```\w+\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def test_the_plugin_of_the_readme_runs_to_a_leaderboard(tmp_path: Path) -> None:
    (tmp_path / "my_method.py").write_text(block("plugin"))
    suite = yaml.safe_load(block("plugin suite"))
    suite |= {"seeds": 1, "recipe": {"steps": 10, "batch_size": 16}}
    (tmp_path / "my-method.yaml").write_text(yaml.safe_dump(suite))
    command = ["run", "-p", "my_method.py", "my-method.yaml", "--no-plugins", "--cache", "cache"]
    done = subprocess.run(
        [sys.executable, "-m", "tlbench.cli", *command], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    records = RunFolder.open(tmp_path / "runs/my-method").records().values()
    mixed = [r for r in records if r.trial["strategy"]["name"] == "mixup"]
    assert [r.status for r in mixed] == ["ok", "ok"]
    assert {r.trial["strategy"]["params"]["alpha"] for r in mixed} == {0.2, 1.0}
    assert "mixup(alpha=1.0)" in done.stdout


def test_the_plugin_of_the_readme_keeps_the_contract(tmp_path: Path) -> None:
    (tmp_path / "my_method.py").write_text(block("plugin"))
    plugins = Plugins.discover(extra=[str(tmp_path / "my_method.py")], entry_points=False)
    check_strategy(plugins.build("strategies", "mixup", {}))


def test_the_plugin_of_the_readme_has_thirty_lines_of_code() -> None:
    lines = [line for line in block("plugin").splitlines() if line.strip()]
    assert len(lines) <= 30


def test_the_recipe_for_ones_own_images_is_a_right_suite_of_a_dozen_lines(tmp_path: Path) -> None:
    (tmp_path / "my-images.yaml").write_text(block("recipe"))
    plugins = Plugins.discover(entry_points=False)
    suite = load(tmp_path / "my-images.yaml", plugins)
    plan = build(suite, plugins, {})
    assert {t.skip for t in plan.trials} == {None}
    assert {t.strategy.name for t in plan.trials} >= {"scratch", "linear-probe", "fine-tune", "l2-sp"}
    assert len({t.backbone.label for t in plan.trials}) == 3
    assert len({t.task.label for t in plan.trials}) == 3
    assert len(block("recipe").splitlines()) <= 14


def test_the_two_commands_make_their_own_environments_and_install_the_pinned_versions() -> None:
    for name, environment in (("command one", ".venv"), ("command two", ".venv-test")):
        first, install, last = block(name).splitlines()
        assert first == f"python3.11 -m venv {environment}"
        assert install.startswith(f"{environment}/bin/pip install -c constraints.txt ")
        assert install.endswith(" ./plugins/*")
        assert last.startswith(f"{environment}/bin/")


def test_the_constraints_pin_exactly_one_version_of_everything_that_the_project_names() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines)
    assert not [version for version in pins.values() if "+" in version]
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in pins}
    for file in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(file.read_text())["project"]
        for text in [*project["dependencies"], *project.get("optional-dependencies", {}).get("test", [])]:
            name = re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", text)[0]).lower()
            assert name in names | {"tlbench"}, text


# ---- what is named is there ----------------------------------------------------------------------


def tree() -> list[str]:
    """The paths of the file tree; a line that is indented lies below the last one that is not."""
    paths: list[str] = []
    folder = ""
    section = README.split("\n## The files\n")[1]
    for line in section.split("```text\n")[1].split("```")[0].splitlines():
        name = line.split()[0]
        if line.startswith("  "):
            paths.append(folder + name)
        else:
            paths.append(name)
            folder = name
        assert len(line.split()) > 1 or name in ("tlbench/", "plugins/", "benchmarks/"), (
            f"{name} has no line of its own"
        )
    return paths


@pytest.mark.parametrize("path", tree())
def test_every_path_of_the_file_tree_is_there(path: str) -> None:
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_the_file_tree_names_every_module_and_folder_of_the_package() -> None:
    there = {
        f"tlbench/{p.name}{'/' if p.is_dir() else ''}" for p in (ROOT / "tlbench").iterdir() if p.name != "__pycache__"
    }
    assert there - set(tree()) == set()
    assert {f"plugins/{p.parent.name}/" for p in ROOT.glob("plugins/*/pyproject.toml")} <= set(tree())


def test_every_command_is_in_the_readme_and_every_command_of_the_readme_exists() -> None:
    actions = cli.parser()._actions
    (commands,) = [a.choices for a in actions if isinstance(a, argparse._SubParsersAction)]
    table = README.split("\n## Commands\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `tlbench ([\w-]+)", table, re.MULTILINE)) == set(commands)


def test_the_exit_codes_of_the_readme_are_those_of_the_help() -> None:
    assert set(re.findall(r"^\| (\d) \|", README, re.MULTILINE)) == set(re.findall(r"\b\d\b", cli.CODES))


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_python_file_that_is_named_with_its_folder_is_there(text: str) -> None:
    named = set(re.findall(r"`((?:tlbench|tests|benchmarks|plugins)/[\w/-]+(?:\.py|/)?)`", text))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_reading_order_has_ten_files() -> None:
    order = re.findall(r"^\d+\. `(tlbench/[\w/]+\.py)`", CONTRIBUTING, re.MULTILINE)
    assert len(order) == len(set(order)) == 10


# ---- the checks of a change ----------------------------------------------------------------------


def ci(folder: Path, commands: str) -> subprocess.CompletedProcess[str]:
    """``.ci/run`` with a README of these commands, and tools that say what they were called with."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", folder / ".ci/run")
    (folder / "README.md").write_text(README.replace(block("command two"), commands))
    for tool in ("ruff", "mypy"):
        path = folder / ".venv-test/bin" / tool
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho {tool} "$@" >> called\n')
        path.chmod(0o755)
    return subprocess.run([folder / ".ci/run"], cwd="/", capture_output=True, text=True, timeout=60)


def test_ci_runs_the_test_command_of_the_readme_and_then_style_and_types(tmp_path: Path) -> None:
    done = ci(tmp_path, 'echo "pytest of $PWD" > called\necho 12 passed in 3 s\n')
    assert done.returncode == 0, done.stderr
    assert "12 passed in 3 s" in done.stdout
    called = (tmp_path / "called").read_text().splitlines()
    assert called == [f"pytest of {tmp_path.resolve()}", "ruff check .", "ruff format --check .", "mypy"]


@pytest.mark.parametrize("commands", ["false\ntouch called\n", "true | false\ntouch called\n"])
def test_ci_stops_where_a_test_fails(commands: str, tmp_path: Path) -> None:
    assert ci(tmp_path, commands).returncode != 0
    assert not (tmp_path / "called").exists()
