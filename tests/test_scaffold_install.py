"""The scaffold, installed into a fresh environment: found by its entry point, its test passes, its suite runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tlbench.results.store import RunFolder
from tlbench.scaffold import new_plugin

SITE = sysconfig.get_path("purelib")


def call(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command in that folder, with nothing of this process's paths."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "PIP_"))}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(
        [str(w) for w in words], cwd=folder, env=environment, capture_output=True, text=True, timeout=250
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that has the plugin installed.

    What tlbench needs is lent from this environment through a .pth file, so that torch is not installed again;
    the plugin itself is in the fresh one alone. (A checkout that is being tested without having been installed
    is lent too.)
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "venv", with_pip=True, system_site_packages=False)
    python = folder / "venv/bin/python"
    where = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).stdout.strip()
    import tlbench

    lent = dict.fromkeys(
        [str(Path(tlbench.__file__).parents[1]), SITE, *(p for p in sys.path if p.endswith("-packages"))]
    )
    (Path(where) / "lent.pth").write_text("".join(f"{path}\n" for path in lent))
    new_plugin("demo", folder)
    words = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "./tlbench-demo")
    done = call(python, *words, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return python


def test_the_installed_plugin_is_found_by_its_entry_point(python: Path, tmp_path: Path) -> None:
    done = call(python, "-m", "tlbench.cli", "plugins", "--json", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (demo,) = [p for p in json.loads(done.stdout) if p["name"] == "demo"]
    assert (demo["distribution"], demo["version"], demo["status"]) == ("tlbench-demo", "0.1.0", "ok")
    assert demo["origin"] == "entry point"
    assert "demo" in json.dumps(demo["offers"])


def test_it_is_in_the_fresh_environment_and_in_no_other(python: Path, tmp_path: Path) -> None:
    look = "import importlib.util as u; print(u.find_spec('tlbench_demo').origin)"
    assert call(python, "-c", look, folder=tmp_path).stdout.startswith(str(python.parents[1]))
    done = call(sys.executable, "-m", "pip", "show", "tlbench-demo", folder=tmp_path)
    assert done.returncode != 0


def test_its_own_tests_pass_as_installed(python: Path) -> None:
    root = python.parents[2] / "tlbench-demo"
    done = call(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_its_suite_runs_and_its_method_has_results(python: Path) -> None:
    root = python.parents[2] / "tlbench-demo"
    done = call(python, "-m", "tlbench.cli", "run", "--matrix", "suite.yaml", "--quiet", folder=root)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    records = RunFolder.open(root / "runs/demo").records().values()
    own = [r for r in records if r.trial["strategy"]["name"] == "demo"]
    assert len(own) == 12  # two targets, two values of its parameter, three seeds
    assert {r.status for r in own} == {"ok"}
    assert "demo(smoothing=0.3)" in done.stdout
