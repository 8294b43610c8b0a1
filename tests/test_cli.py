"""The command line: every command on a real run, every wrong input with its remedy, and never a traceback."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pandas as pd
import pytest
import yaml

from tlbench import __version__, cli
from tlbench.cli import boards
from tlbench.plugins import KINDS

SUITE = """
tlbench: 1
name: tiny
datasets:
  inverted: {name: digits, shift: inverted}
sources: [inverted]
targets: [digits]
tasks: [{name: fine-tuning, labels: 5}]
backbones: [{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}]
strategies: [fine-tune, linear-probe]
seeds: 2
recipe: {steps: 20, batch_size: 16, curve_points: 4}
"""
TRIALS, PARENTS = 8, 2
"""Two seeds of fine-tune, linear-probe and the references scratch and majority; a source model for each seed."""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def process(folder: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """tlbench as a user calls it, with a home of its own."""
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "120"}
    command = [sys.executable, "-m", "tlbench.cli", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, **more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and its finished run, in runs/tiny."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(SUITE)
    done = process(folder, "run", "--matrix", "tiny.yaml", "--no-plugins", "--workers", "2")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to work in."""
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    return folder


@pytest.fixture
def tlbench(here: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Call a command in that folder, in this process; nothing that it says may be a traceback."""

    def call(*words: object) -> Ran:
        capsys.readouterr()
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Ran(code, out, err)

    return call


def keys(folder: Path) -> list[str]:
    """The keys of everything that ran."""
    logs = sorted(path.stem for path in (folder / "runs/tiny/logs").glob("*.log"))
    assert len(logs) == TRIALS + PARENTS
    return logs


# ---- run, plan -----------------------------------------------------------------------------------


def test_a_run_ends_with_its_leaderboard_and_says_where_its_files_are(finished: Path) -> None:
    text = (finished / "stdout").read_text()
    assert f"tiny: {TRIALS + PARENTS} trials to run, 0 done before" in text
    assert text.count("] ok ") == TRIALS + PARENTS
    assert re.search(r"^scratch .*reference", text, re.MULTILINE)
    assert "files in runs/tiny/leaderboard" in text
    assert {p.suffix for p in (finished / "runs/tiny/leaderboard").iterdir()} >= {".md", ".csv", ".json", ".parquet"}


def test_the_same_command_again_repeats_nothing(here: Path, tlbench: Any) -> None:
    before = sorted((here / "runs/tiny/records").iterdir())
    again = tlbench("run", "--matrix", "tiny.yaml", "--no-plugins")
    assert again.code == 0
    assert f"tiny: 0 trials to run, {TRIALS + PARENTS} done before" in again.out
    assert "fine-tune" in again.out
    assert sorted((here / "runs/tiny/records").iterdir()) == before


def test_json_events_are_one_object_a_line(tlbench: Any) -> None:
    again = tlbench("run", "tiny.yaml", "--no-plugins", "--json")
    events = [json.loads(line) for line in again.out.splitlines()]
    assert [e["event"] for e in events] == ["begin", "end"]
    assert events[-1]["exit_code"] == again.code == 0
    assert events[-1]["statuses"] == {"ok": TRIALS + PARENTS}


def test_a_quiet_run_says_only_the_leaderboard(tlbench: Any) -> None:
    again = tlbench("run", "tiny.yaml", "--no-plugins", "--quiet")
    assert "trials to run" not in again.out
    assert "scratch" in again.out


def test_the_plan_tells_what_would_run_and_runs_nothing(here: Path, tlbench: Any) -> None:
    plan = json.loads(tlbench("plan", "tiny.yaml", "--no-plugins", "--out", "elsewhere", "--json").out)
    assert len(plan["plan"]) == plan["counts"]["run"] == TRIALS + PARENTS
    assert not (here / "elsewhere").exists()
    shown = tlbench("plan", "--matrix", "tiny.yaml", "--no-plugins", "--out", "elsewhere")
    assert shown.code == 0
    assert "linear-probe" in shown.out
    assert "scratch" in shown.out  # the reference that the suite did not name


def test_the_plan_of_a_finished_run_has_nothing_to_do(tlbench: Any) -> None:
    plan = json.loads(tlbench("plan", "tiny.yaml", "--no-plugins", "--json").out)
    assert {t["state"] for t in plan["plan"]} == {"done"}


# ---- looking at a run ----------------------------------------------------------------------------


def test_the_leaderboard_of_one_run_and_of_several(tlbench: Any) -> None:
    one = tlbench("leaderboard", "runs/tiny", "--no-plugins")
    assert one.code == 0
    assert "2/2" in one.out  # every row is covered whole
    assert tlbench("leaderboard", "runs/tiny", "runs/tiny", "--no-plugins").out == one.out


def test_the_leaderboard_can_be_written_in_every_form(here: Path, tlbench: Any) -> None:
    forms = [word for form in boards.FORMATS for word in ("--format", form)]
    written = tlbench("leaderboard", "runs/tiny", "--no-plugins", *forms, "--out", "board")
    paths = [Path(line) for line in written.out.split()]
    assert written.code == 0
    assert all(path.parent == Path("board") and path.stat().st_size for path in paths)
    (table,) = [p for p in paths if p.name == "leaderboard.csv"]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert {row["strategy"] for row in rows} == {"fine-tune", "linear-probe", "scratch", "majority"}
    assert set(pd.read_parquet(here / "board/leaderboard.parquet")["strategy"]) == {row["strategy"] for row in rows}
    assert json.loads((here / "board/leaderboard.json").read_text())
    assert re.search(r"^\| scratch +\|", (here / "board/leaderboard.md").read_text(), re.MULTILINE)


def test_one_form_alone_goes_beside_the_run(tlbench: Any) -> None:
    written = tlbench("leaderboard", "runs/tiny", "--no-plugins", "--format", "md")
    assert written.out.split() == ["runs/tiny/leaderboard/leaderboard.md"]


def test_status_counts_and_lists_the_trials(here: Path, tlbench: Any) -> None:
    state = json.loads(tlbench("status", "runs/tiny", "--json").out)
    assert state["statuses"] == {"ok": TRIALS + PARENTS}
    assert state["missing"] == state["ended"] == state["problems"] == []
    listed = tlbench("status", "runs/tiny", "--trials").out
    assert all(key[:12] in listed for key in keys(here))


def test_show_tells_everything_about_a_trial_named_by_the_beginning_of_its_key(here: Path, tlbench: Any) -> None:
    for key in keys(here):
        shown = tlbench("show", key[:12])
        assert shown.code == 0
        assert key in shown.out
        assert "curve of accuracy" in shown.out
        record = json.loads(tlbench("show", key, "--run", "runs/tiny", "--json").out)
        assert (record["key"], record["status"]) == (key, "ok")


def test_logs_show_what_a_trial_printed(here: Path, tlbench: Any) -> None:
    key = keys(here)[0]
    assert tlbench("logs", key[:10]) == (0, "(it printed nothing)\n", "")
    (here / f"runs/tiny/logs/{key}.log").write_text("hello\n")
    assert tlbench("logs", key) == (0, "hello\n", "")


def test_a_key_that_fits_several_trials_asks_for_more_digits(tlbench: Any) -> None:
    for where in ((), ("--run", "runs/tiny")):
        shown = tlbench("show", "", *where)
        assert shown.code == 1
        assert f"{TRIALS + PARENTS}" in shown.err
        assert "--run" in shown.err or "give more digits" in shown.err


def test_a_key_that_no_trial_has_is_answered_with_the_way_to_list_them(tlbench: Any) -> None:
    found = tlbench("show", "zzz", "--run", "runs/tiny")
    assert found.code == 1
    assert "`tlbench status runs/tiny --trials` lists them" in found.err
    assert "no run below runs/" in tlbench("logs", "zzz").err


# ---- what is installed ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_list_shows_every_kind_of_plugin(kind: str, tlbench: Any) -> None:
    names = [entry["name"] for entry in json.loads(tlbench("list", kind, "--json").out)]
    assert names
    shown = tlbench("list", kind).out
    assert all(name in shown for name in names)


def test_describe_tells_the_parameters_of_a_name(tlbench: Any) -> None:
    shown = tlbench("describe", "l2-sp")
    assert shown.code == 0
    assert "alpha" in shown.out
    assert "Li, Grandvalet" in shown.out
    assert "alpha" in json.dumps(json.loads(tlbench("describe", "l2-sp", "--json").out))


def test_plugins_are_listed_with_where_they_come_from(tlbench: Any) -> None:
    found = {p["name"]: p for p in json.loads(tlbench("plugins", "--json").out)}
    assert found["builtin"]["version"] == __version__
    assert found["builtin"]["status"] == "ok"
    assert "builtin" in tlbench("plugins").out


def test_the_schema_accepts_the_suite_and_refuses_a_misspelt_strategy(tlbench: Any) -> None:
    schema = json.loads(tlbench("schema", "--no-plugins").out)
    jsonschema.validate(yaml.safe_load(SUITE), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(SUITE.replace("linear-probe", "linear-prob")), schema)


def test_a_new_plugin_is_written_where_it_was_asked_for(here: Path, tlbench: Any) -> None:
    written = tlbench("plugins", "new", "my-method", "--into", "mine")
    assert written.code == 0
    assert (here / "mine/tlbench-my-method/pyproject.toml").is_file()


# ---- wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "remedies"),
    [
        ("", ["required: COMMAND"]),
        ("leaderbord runs/tiny", ["invalid choice: 'leaderbord'", "leaderboard"]),
        ("run", ["name one suite", "--matrix quick"]),
        ("run tiny.yaml --matrix tiny.yaml", ["name one suite"]),
        ("run --matrix quik", ["quik", "Did you mean the shipped suite 'quick'?"]),
        ("run --matrix absent.yaml", ["absent.yaml"]),
        ("run tiny.yaml --workers 0", ["--workers 0: must be at least 1"]),
        ("run tiny.yaml --workers many", ["--workers", "invalid int value: 'many'"]),
        ("run tiny.yaml --threads 0", ["--threads 0: must be at least 1"]),
        ("run tiny.yaml --timeout 0", ["--timeout 0", "must be positive"]),
        ("run tiny.yaml --memory-limit -1", ["--memory-limit -1", "must be positive"]),
        ("run tiny.yaml --cache-limit 0", ["--cache-limit 0", "must be positive"]),
        ("run tiny.yaml --data-root nowhere", ["--data-root nowhere: no such folder"]),
        ("run tiny.yaml --executor worker", ["unknown executor 'worker'", "Did you mean 'workers'?"]),
        ("run tiny.yaml --device cuba", ["--device cuba", "auto, cpu, cuda or cuda:N"]),
        ("run tiny.yaml -p nowhere.py", ["-p nowhere.py: there is no such file"]),
        ("run tiny.yaml -p no:bultin", ["Did you mean 'no:builtin'?"]),
        ("leaderboard runs", ["runs is no run folder", "tlbench run --out"]),
        ("leaderboard runs/tiny --metric acuracy --no-plugins", ["Did you mean 'accuracy'?"]),
        ("status nowhere", ["nowhere is no run folder"]),
        ("list strategy", ["invalid choice: 'strategy'", "strategies"]),
        ("describe fine-tun", ["fine-tun", "Did you mean 'fine-tune'?"]),
        ("plugins new My_Method", ["Did you mean 'my-method'?"]),
    ],
)
def test_wrong_usage_is_answered_with_the_remedy_and_exit_code_1(words: str, remedies: list[str], tlbench: Any) -> None:
    answer = tlbench(*words.split())
    assert answer.code == 1
    assert "error: " in answer.err
    for remedy in remedies:
        assert remedy in answer.err


@pytest.mark.parametrize(
    ("right", "wrong", "remedy"),
    [
        ("targets: [digits]", "targets: [digits", r"wrong\.yaml:\d+:\d+: "),
        ("linear-probe]", "linear-prob]", r"wrong\.yaml:10:\d+: .*'linear-prob'.* Did you mean 'linear-probe'\?"),
        ("linear-probe]", "{name: l2-sp, alhpa: 1}]", r"wrong\.yaml:10:\d+: .*'alhpa'.* Did you mean 'alpha'\?"),
        ("targets: [digits]", "targets: [digitz]", r"wrong\.yaml:7:\d+: .*'digitz'.* Did you mean 'digits'\?"),
        ("steps: 20", "stpes: 20", r"wrong\.yaml:12:\d+: .*'stpes'.* Did you mean 'steps'\?"),
        ("seeds: 2", "seeds: 0", r"wrong\.yaml:11:\d+: "),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_wrong_suite_is_refused_with_file_line_and_the_nearest_name(
    right: str, wrong: str, remedy: str, command: str, here: Path, tlbench: Any
) -> None:
    assert right in SUITE
    (here / "wrong.yaml").write_text(SUITE.replace(right, wrong))
    answer = tlbench(command, "wrong.yaml", "--no-plugins", "--out", "never")
    assert answer.code == 1
    assert re.search(remedy, answer.err), answer.err
    assert "nothing was run" in answer.err
    assert not (here / "never").exists()


def test_data_that_is_not_there_fails_its_trials_with_the_reason_and_exit_code_2(here: Path, tlbench: Any) -> None:
    (here / "absent.yaml").write_text(
        SUITE.replace("targets: [digits]", "targets: [digits, {name: image-folder, folder: no-images}]")
    )
    done = tlbench("run", "absent.yaml", "--no-plugins", "--out", "runs/absent", "--executor", "in-process", "--quiet")
    assert done.code == 2
    assert "no-images" in done.out
    assert "scratch" in done.out  # the other target has its board


def test_a_damaged_line_of_a_run_is_passed_over_with_a_note_and_the_board_is_shown(here: Path, tlbench: Any) -> None:
    (file,) = (here / "runs/tiny/records").glob("*.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], lines[-1][:200] + "\n", *lines[1:-1], '{"check":"0"}\n', lines[-1][:80]]))
    board = tlbench("leaderboard", "runs/tiny", "--no-plugins")
    assert board.code == 0
    assert "scratch" in board.out
    noted = " ".join(board.err.split())
    assert f"{file.name}:2: passed over".replace(" ", "") in noted.replace(" ", "")
    assert "torn" in noted
    state = json.loads(tlbench("status", "runs/tiny", "--json").out)
    assert len(state["problems"]) == 3
    assert sum(state["statuses"].values()) == len(lines) - 1


def test_a_run_of_which_nothing_can_be_read_says_that_there_is_nothing_to_rank(here: Path, tlbench: Any) -> None:
    for file in (here / "runs/tiny/records").glob("*.jsonl"):
        file.write_bytes(b"\xff\x00 no record\n")
    (here / "runs/tiny/run.json").write_text("{")
    answer = tlbench("leaderboard", "runs/tiny", "--no-plugins")
    assert answer.code == 1
    assert "no trial has ended well yet" in answer.err


def test_a_broken_plugin_is_listed_with_its_reason_and_everything_else_goes_on(here: Path, tlbench: Any) -> None:
    (here / "broken.py").write_text("import surely_not_installed\n")
    found = {p["name"]: p for p in json.loads(tlbench("plugins", "-p", "broken.py", "--json").out)}
    assert found["broken"]["status"] == "broken"
    assert "surely_not_installed" in " ".join(found["broken"]["reasons"])
    assert found["builtin"]["status"] == "ok"
    assert tlbench("run", "tiny.yaml", "--no-plugins", "-p", "broken.py").code == 0


def test_a_suite_that_needs_a_broken_plugin_fails_with_its_reason(here: Path, tlbench: Any) -> None:
    (here / "broken.py").write_text("import surely_not_installed\n")
    (here / "needs.yaml").write_text(SUITE.replace("linear-probe", "my-own-method"))
    answer = tlbench("run", "needs.yaml", "--no-plugins", "-p", "broken.py")
    assert answer.code == 1
    assert re.search(r"needs\.yaml:10:\d+: .*'my-own-method'", answer.err)
    assert "surely_not_installed" in answer.err


# ---- output that nobody takes --------------------------------------------------------------------

BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""As a user has it; without a buffer argparse itself keeps quiet about help that nobody takes."""


@pytest.mark.parametrize(
    "words", ["leaderboard runs/tiny", "list strategies", "schema", "status runs/tiny --trials", "--help", "run --help"]
)
def test_a_reader_that_goes_away_is_no_error_to_tell(words: str, here: Path) -> None:
    """As in `tlbench schema | head -0`: the pipe is closed before the first line is written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "tlbench.cli", *words.split()]
    done = subprocess.run(command, cwd=here, env=BUFFERED, stdout=write, stderr=subprocess.PIPE, text=True, timeout=100)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 1


@pytest.mark.parametrize("words", ["schema", "list strategies", "--help"])
def test_a_full_disk_under_the_output_is_told_without_a_traceback(words: str, here: Path) -> None:
    command = [sys.executable, "-m", "tlbench.cli", *words.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=here, env=BUFFERED, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100
        )
    assert done.returncode == 1
    assert "error: the output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


REPORTER = '''
from dataclasses import dataclass
from typing import ClassVar
from tlbench import hookimpl

@dataclass(frozen=True)
class Broken:
    """Fails."""
    name: ClassVar[str] = "a-broken-one"
    def report(self, leaderboard, folder):
        return leaderboard.no_such_thing

@hookimpl
def tlbench_reporters():
    return [Broken]
'''


def test_a_reporter_that_fails_costs_its_own_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "reporter.py").write_text(REPORTER)
    (tmp_path / "typo.py").write_text("def oops(:\n")
    (tmp_path / "s.yaml").write_text(
        "tlbench: 1\nname: s\nsources: [pretrained]\ntargets: [digits]\n"
        "tasks: [{name: fine-tuning, labels: 2}, adaptation]\n"
        "backbones: [{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}]\n"
        "strategies: [{name: scratch, lr: 0.5}]\nseeds: 1\nrecipe: {steps: 4, curve_points: 2}\n"
    )
    words = ["-p", "reporter.py", "-p", "typo.py", "--no-plugins", "--executor", "in-process", "--cache", "cache"]
    command = [sys.executable, "-m", "tlbench.cli", "run", "s.yaml", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the reporter 'a-broken-one' failed: AttributeError" in done.stdout
    assert "reporter.py:11" in done.stdout.replace("\n", "")
    assert "Traceback" not in done.stdout + done.stderr
    assert "typo.py" in done.stderr  # named on the command line, so its fault is said
    assert (tmp_path / "runs" / "s" / "leaderboard" / "leaderboard.md").is_file()
