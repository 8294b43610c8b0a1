"""The scaffold: what it writes is a whole plugin, which installs, compiles, passes and is found."""

from __future__ import annotations

import py_compile
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tlbench import PluginError, __version__
from tlbench.plugins import Plugins
from tlbench.scaffold import new_plugin
from tlbench.suite.load import load


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    new_plugin("my-method2", tmp_path)
    return tmp_path / "tlbench-my-method2"


def test_it_returns_every_file_that_it_wrote(tmp_path):
    files = new_plugin("my-method2", tmp_path)
    assert sorted(files) == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert {str(p.relative_to(tmp_path / "tlbench-my-method2")) for p in files} == {
        "pyproject.toml",
        "README.md",
        "suite.yaml",
        "src/tlbench_my_method2/__init__.py",
        "src/tlbench_my_method2/strategy.py",
        "tests/test_my_method2.py",
    }


def test_no_placeholder_is_left(plugin):
    for path in plugin.rglob("*"):
        if path.is_file():
            assert "$" not in path.read_text(), path


def test_its_pyproject_has_the_entry_point_and_needs_tlbench(plugin):
    data = tomllib.loads((plugin / "pyproject.toml").read_text())
    assert data["project"]["name"] == "tlbench-my-method2"
    assert data["project"]["entry-points"]["tlbench"] == {"my-method2": "tlbench_my_method2"}
    assert f"tlbench>={__version__}" in data["project"]["dependencies"]
    assert (plugin / data["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"][0]).is_dir()


def test_its_code_compiles_and_ruff_finds_nothing(plugin):
    for path in plugin.rglob("*.py"):
        py_compile.compile(str(path), doraise=True)
    for options in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *options, "--no-cache"], capture_output=True, text=True, cwd=plugin
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_its_types_are_right(plugin):
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", f"--cache-dir={plugin / 'cache'}", "src"],
        capture_output=True,
        text=True,
        cwd=plugin,
        env={"PATH": "", "MYPYPATH": str(Path(__file__).resolve().parents[1])},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_own_test_of_the_formula_passes_and_fails_for_a_wrong_formula(plugin):
    def formula() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not contract"],
            capture_output=True,
            text=True,
            cwd=plugin,
            env={"PYTHONPATH": f"{plugin / 'src'}:{Path(__file__).resolve().parents[1]}", "PATH": "/usr/bin:/bin"},
        )

    right = formula()
    assert right.returncode == 0, right.stdout + right.stderr
    assert "4 passed" in right.stdout
    source = plugin / "src" / "tlbench_my_method2" / "strategy.py"
    source.write_text(source.read_text().replace("log_p_BC.mean(dim=1)", "log_p_BC.sum(dim=1)"))
    shutil.rmtree(source.parent / "__pycache__")
    assert "2 failed" in formula().stdout  # without smoothing the two formulas agree


def test_the_host_loads_it_and_its_suite_is_right(plugin, monkeypatch):
    monkeypatch.syspath_prepend(plugin / "src")
    plugins = Plugins.discover(extra=["tlbench_my_method2"])
    (found,) = [e for e in plugins.entries() if ("strategies", "my-method2") in e.offers]
    assert (found.status, found.reasons) == ("ok", ())
    suite = load(plugin / "suite.yaml", plugins)
    assert [dict(s.params).get("smoothing") for s in suite.strategies] == [None, 0.1, 0.3]


def test_a_prefix_that_is_there_already_is_not_doubled(tmp_path):
    new_plugin("tlbench-mixup", tmp_path)
    assert (tmp_path / "tlbench-mixup" / "src" / "tlbench_mixup").is_dir()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("My_Method", "Did you mean 'my-method'?"),
        ("../up", "Did you mean 'up'?"),
        ("2fast", "Did you mean 'fast'?"),
        ("", "beginning with a letter"),
        ("a" * 61, "at most 60 characters"),
        ("x\ny", "Did you mean 'x-y'?"),
    ],
)
def test_a_name_that_no_distribution_can_have_is_refused_with_a_remedy(name, remedy, tmp_path):
    with pytest.raises(PluginError) as error:
        new_plugin(name, tmp_path)
    assert remedy in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_there_is_overwritten(plugin, tmp_path):
    mine = plugin / "src" / "tlbench_my_method2" / "strategy.py"
    mine.write_text("mine")
    with pytest.raises(PluginError, match="exists and is not an empty folder"):
        new_plugin("my-method2", tmp_path)
    assert mine.read_text() == "mine"
    (tmp_path / "tlbench-empty").mkdir()
    assert new_plugin("empty", tmp_path)


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PluginError, match="cannot be written"):
        new_plugin("mixup", tmp_path / "file")
