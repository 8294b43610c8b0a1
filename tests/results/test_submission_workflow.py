"""The workflows for public submissions: what they may do, and what of a pull request they take."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())


def steps(workflow: Any) -> Iterator[Any]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


# ---- what they may do ------------------------------------------------------------------------------


def test_there_are_the_three() -> None:
    assert [w.name for w in WORKFLOWS] == ["leaderboard.yml", "submission.yml", "verify.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_no_workflow_runs_with_rights_on_what_a_pull_request_brings(path: Path) -> None:
    text, workflow = path.read_text(), read(path.name)
    on = workflow[True]  # YAML 1.1 reads `on` as true
    assert set(on) <= {"pull_request", "push", "workflow_dispatch"}
    assert "secrets." not in text
    assert "secrets: inherit" not in text
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        writes = {what for what, right in job["permissions"].items() if right != "read"}
        assert writes <= ({"pages", "id-token"} if (path.name, name) == ("leaderboard.yml", "publish") else set())
        assert job["timeout-minutes"] <= 360


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_actions_are_pinned_by_commit_and_checkouts_leave_no_token_behind(path: Path) -> None:
    used = [step for step in steps(read(path.name)) if "uses" in step]
    assert used
    for step in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
        if step["uses"].startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_no_expression_of_the_event_gets_into_a_script(path: Path) -> None:
    for step in steps(read(path.name)):
        assert "${{" not in step.get("run", "")


def test_a_submission_is_checked_by_the_tool_of_the_base_branch_and_from_outside_of_it() -> None:
    workflow = read("submission.yml")
    checkouts = {s["with"]["path"]: s["with"]["ref"] for s in steps(workflow) if "checkout@" in s.get("uses", "")}
    assert checkouts == {"trusted": "${{ github.event.pull_request.base.sha }}", "submission": "${{ github.sha }}"}
    scripts = [s for s in steps(workflow) if "run" in s]
    assert scripts
    for step in scripts:
        assert step["working-directory"] == "trusted"
        for command in step["run"].splitlines():
            if "pip install" in command:
                assert "submission" not in command
            if "tlbench" in command.split():
                assert "--no-plugins" in command
                assert " -p " not in command
                assert "--rerun" not in command
    before = [i for i, s in enumerate(steps(workflow)) if "submission.py" in s.get("run", "")]
    after = [i for i, s in enumerate(steps(workflow)) if "tlbench verify" in s.get("run", "")]
    assert before < after


def test_the_job_that_publishes_runs_nothing_and_reads_no_submission() -> None:
    publish = read("leaderboard.yml")["jobs"]["publish"]
    assert [s["uses"].split("@")[0] for s in publish["steps"]] == ["actions/deploy-pages"]
    assert publish["needs"] == "build"


def test_the_board_is_built_on_main_alone() -> None:
    assert read("leaderboard.yml")[True]["push"]["branches"] == ["main"]


def test_the_commands_in_the_scripts_are_those_of_the_tool() -> None:
    from tlbench.cli import parser

    for path in WORKFLOWS:
        for step in steps(read(path.name)):
            for line in step.get("run", "").splitlines():
                words = re.sub(r'"[^"]*"', "x", line.strip()).split()
                if words[:1] == ["tlbench"]:
                    words = [re.sub(r"^x$", "3" if words[i - 1] == "--rerun" else "x", w) for i, w in enumerate(words)]
                    parser().parse_args(words[1:])  # exits where one is unknown


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(str(Path(sys.executable).parent / name))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_a_linter_for_the_security_of_workflows_finds_nothing() -> None:
    command = [tool("zizmor"), "--offline", "--pedantic", "--no-progress", *map(str, WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_the_workflows_fit_the_schema() -> None:
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


# ---- what of a pull request they take --------------------------------------------------------------


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("submission", ROOT / ".github" / "scripts" / "submission.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUN = "results/submissions/ours"
KEY = "0" * 32


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit; what a test adds is committed by ``problems``."""
    git(tmp_path, "init", "-q", "-b", "main")
    put(tmp_path, "README.md", "hello")
    put(tmp_path, "results/submissions/theirs/run.json", "{}")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True, timeout=60)


def put(folder: Path, path: str, text: str) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")


def submit(folder: Path) -> None:
    for path in ("run.json", "README.md", "records/a.jsonl", f"predictions/{KEY}.npz", f"signatures/{KEY}.json"):
        put(folder, f"{RUN}/{path}", "x")


def test_a_submission_as_it_should_be_is_in_order(script: ModuleType, checkout: Path) -> None:
    submit(checkout)
    commit(checkout)
    assert script.problems(checkout, False) == ([], RUN)


def link(folder: Path) -> None:
    (folder / RUN / "records" / "b.jsonl").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: put(f, "tlbench/run.py", "import os"), "'tlbench/run.py' is no file that a submission has"),
        (lambda f: put(f, ".github/workflows/x.yml", "on: push"), "is no file that a submission has"),
        (lambda f: put(f, f"{RUN}/plugin.py", "import os"), "is no file that a submission has"),
        (lambda f: put(f, f"{RUN}/weights/{KEY}.safetensors", "x"), "is no file that a submission has"),
        (lambda f: put(f, f"{RUN}/leaderboard/leaderboard.json", "{}"), "is no file that a submission has"),
        (lambda f: put(f, f"{RUN}/verification.json", "{}"), "is written by the maintainers"),
        (lambda f: put(f, f"{RUN}/records/a\n::error::b.jsonl", "x"), "is no file that a submission has"),
        (lambda f: put(f, f"{RUN}/records/$(id).jsonl", "x"), "is no file that a submission has"),
        (lambda f: put(f, "results/submissions/UPPER/run.json", "x"), "is no file that a submission has"),
        (lambda f: put(f, "results/submissions/other/run.json", "x"), "the files are of 2 submissions"),
        (lambda f: put(f, f"{RUN}/run.json", "x").chmod(0o755), "not a plain file (mode 100755)"),
        (link, "not a plain file (mode 120000)"),
        (lambda f: (f / "results/submissions/theirs/run.json").unlink(), "only adding and changing files"),
        (lambda f: put(f, f"{RUN}/records/b.jsonl", "x" * (20 * 2**20 + 1)), "at most 20,971,520 are taken"),
    ],
)
def test_what_a_submission_must_not_have_is_named(
    script: ModuleType, checkout: Path, change: Callable[[Path], object], reason: str
) -> None:
    submit(checkout)
    change(checkout)
    commit(checkout)
    found, _ = script.problems(checkout, False)
    assert any(reason in line for line in found), found


def test_maintainers_add_verifications(script: ModuleType, checkout: Path) -> None:
    put(checkout, "results/submissions/theirs/verification.json", "{}")
    commit(checkout)
    assert script.problems(checkout, True) == ([], "results/submissions/theirs")


def test_too_many_files_and_bytes_are_refused(
    script: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(checkout)
    commit(checkout)
    monkeypatch.setattr(script, "MOST_FILES", 4)
    monkeypatch.setattr(script, "MOST_BYTES", 4)
    found, _ = script.problems(checkout, False)
    assert found[-2:] == ["5 files; at most 4 are taken", "5 bytes in all; at most 4 are taken"]


def test_the_script_tells_the_runner_the_folder_and_puts_no_stranger_s_line_into_the_log(
    checkout: Path, tmp_path: Path
) -> None:
    submit(checkout)
    put(checkout, f"{RUN}/records/a\n::set-output name=run::evil", "x")
    commit(checkout)
    command = [sys.executable, "-I", str(ROOT / ".github" / "scripts" / "submission.py"), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert not any(line.startswith("::") for line in done.stdout.splitlines())
    git(checkout, "rm", "-q", "-f", f"{RUN}/records/a\n::set-output name=run::evil")
    git(checkout, "commit", "-q", "--amend", "-m", "x")
    output = tmp_path / "output"
    environment = {"GITHUB_OUTPUT": str(output), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stdout
    assert output.read_text() == f"run={RUN}\n"
