"""The run folder: nothing written is lost, and nothing damaged is believed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from tlbench.api.records import RECORD_VERSION, Record, Status
from tlbench.errors import StoreError
from tlbench.results.lines import from_line, to_line
from tlbench.results.store import RunFolder, check_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def written(folder: Path, *records: Record) -> Path:
    """The file of one more writer."""
    before = set((folder / "records").glob("*")) if folder.exists() else set()
    with RunFolder(folder).writing() as writer:
        for record in records:
            writer.write(record)
    (new,) = set((folder / "records").glob("*")) - before
    return new


def test_a_record_comes_back_as_it_went(make: Any, tmp_path: Path) -> None:
    records = [
        make("a", clocks={"total": 0.1 + 0.2}, losses={"steps": [1, 2], "loss": [None, 1e-300]}, resumed_from=7),
        make("ü → [b]\n\u2028", Status.FAILED, reason='line\nbreak "quoted" \\ \x1b[31m'),
    ]
    file = written(tmp_path, *records)
    assert len(file.read_bytes().splitlines()) == 2
    run = RunFolder.open(tmp_path)
    assert list(run.lines()) == records
    assert run.problems == []
    assert all(from_line(to_line(r)) == r for r in records)


def test_each_record_is_on_disk_when_write_returns(make: Any, tmp_path: Path) -> None:
    with RunFolder(tmp_path).writing() as writer:
        for number in range(3):
            writer.write(make(f"m{number}"))
            assert len(RunFolder.open(tmp_path).records()) == number + 1


def test_a_number_that_json_does_not_have_is_refused_before_anything_is_written(make: Any, tmp_path: Path) -> None:
    with RunFolder(tmp_path).writing() as writer:
        with pytest.raises(ValueError):
            writer.write(make("a", value=float("nan")))
        writer.write(make("b"))
    assert [r.trial["strategy"]["name"] for r in RunFolder.open(tmp_path).lines()] == ["b"]


def test_a_torn_last_line_is_passed_over_wherever_it_was_torn(make: Any, tmp_path: Path) -> None:
    file = written(tmp_path, make("a"), make("b"))
    whole = file.read_bytes()
    second = whole.index(b"\n") + 1
    for end in [*range(second + 1, len(whole) - 1, 37), len(whole) - 2]:
        file.write_bytes(whole[:end])
        run = RunFolder.open(tmp_path)
        assert set(run.records()) == {make("a").key}
        assert len(run.problems) == 1
        assert f"{file}:2: passed over: torn" in run.problems[0]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda row: row.replace(b'"accuracy":0.5', b'"accuracy":0.9'), "the checksum does not match"),
        (lambda row: row[:-40], "the checksum does not match|not a record"),
        (lambda row: b"\x00" * len(row), "not a record"),
        (lambda row: b"\xff\xfe garbage", "codec can't decode"),
        (lambda row: b"{}", "not a record"),
        (lambda row: b"<<<<<<< ours", "not a record"),
    ],
)
def test_a_damaged_line_is_reported_with_file_and_line_and_the_others_are_kept(
    make: Any, tmp_path: Path, damage: Callable[[bytes], bytes], said: str
) -> None:
    file = written(tmp_path, make("a"), make("b"), make("c"))
    rows = file.read_bytes().split(b"\n")
    rows[1] = damage(rows[1])
    file.write_bytes(b"\n".join(rows))
    run = RunFolder.open(tmp_path)
    assert set(run.records()) == {make("a").key, make("c").key}
    (problem,) = run.problems
    assert problem.startswith(f"{file}:2: passed over: ")
    assert any(part in problem for part in said.split("|"))


def test_a_line_of_a_later_version_is_passed_over_and_says_so(make: Any, tmp_path: Path) -> None:
    file = written(tmp_path, make("a"), dataclasses.replace(make("b"), version=RECORD_VERSION + 1), make("c"))
    run = RunFolder.open(tmp_path)
    assert set(run.records()) == {make("a").key, make("c").key}
    assert run.problems == [
        f"{file}:2: passed over: record of version {RECORD_VERSION + 1}; this tlbench reads up to {RECORD_VERSION}"
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "splendid"}, "splendid"),
        ({"colour": "red"}, "unknown fields: colour"),
        ({"key": None}, "missing fields: key"),
    ],
)
def test_a_record_with_other_fields_is_none(make: Any, change: dict[str, Any], said: str) -> None:
    data = {k: v for k, v in {**make("a").to_json(), **change}.items() if v is not None}
    with pytest.raises(ValueError, match=said):
        Record.from_json(data)


def test_the_last_line_of_a_key_counts(make: Any, tmp_path: Path) -> None:
    written(tmp_path, make("a", Status.FAILED), make("a", value=0.7), make("a", value=0.8))
    assert RunFolder.open(tmp_path).records()[make("a").key].metrics["target"]["accuracy"] == 0.8


def test_a_good_end_is_not_replaced_by_a_later_bad_one_of_the_same_code(make: Any, tmp_path: Path) -> None:
    written(tmp_path, make("a"), make("a", Status.KILLED))
    assert RunFolder.open(tmp_path).records()[make("a").key].status == Status.OK


def test_a_good_end_of_other_code_is_replaced(make: Any, tmp_path: Path) -> None:
    written(tmp_path, make("a", fingerprint="old"), make("a", Status.FAILED, fingerprint="new"))
    assert RunFolder.open(tmp_path).records()[make("a").key].status == Status.FAILED


def test_merging_two_machines_is_a_union_of_files(make: Any, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    written(here, make("a"), make("b", Status.FAILED))
    file = written(there, make("b"), make("c"))
    (here / "records" / f"zz-{file.name}").write_bytes(file.read_bytes())
    merged = RunFolder.open(here).records()
    assert {r.trial["strategy"]["name"]: r.status for r in merged.values()} == {
        "a": Status.OK,
        "b": Status.OK,
        "c": Status.OK,
    }


def test_every_writer_has_a_file_of_its_own(make: Any, tmp_path: Path) -> None:
    files = {written(tmp_path, make(f"m{n}")) for n in range(3)}
    assert len(files) == 3
    assert len(RunFolder.open(tmp_path).records()) == 3


def test_a_record_is_found_by_the_beginning_of_its_key(make: Any, tmp_path: Path) -> None:
    written(tmp_path, make("a"), make("b"))
    run, key = RunFolder.open(tmp_path), make("a").key
    assert run.find(key[:8]) == make("a")
    with pytest.raises(StoreError, match="no record whose key begins with 'zz'"):
        run.find("zz")
    with pytest.raises(StoreError, match="2 keys begin with ''"):
        run.find("")


def test_the_plan_comes_back(make: Any, tmp_path: Path) -> None:
    from tlbench.api.trials import Trial

    trials = [Trial.from_json(make(name).trial) for name in "ab"]
    with RunFolder(tmp_path).writing() as writer:
        writer.plan({"name": "s"}, trials)
    assert RunFolder.open(tmp_path).planned() == tuple(trials)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"trials": [{}]}', '{"trials": 3}'])
def test_a_damaged_plan_is_reported_and_passed_over(make: Any, tmp_path: Path, text: str) -> None:
    written(tmp_path, make("a"))
    (tmp_path / "run.json").write_text(text)
    run = RunFolder.open(tmp_path)
    assert run.planned() == ()
    assert "run.json: passed over" in run.problems[0]
    assert len(run.records()) == 1


# ---- what the disk refuses -------------------------------------------------------------------------


def test_a_full_disk_is_a_clear_error_and_loses_nothing_that_was_written(make: Any, tmp_path: Path) -> None:
    """A real limit of the file's size; the write that crosses it comes back short, as on a full disk."""
    code = textwrap.dedent(
        """
        import json, resource, signal, sys
        from pathlib import Path
        from tlbench.api.records import Record
        from tlbench.errors import StoreError
        from tlbench.results.store import RunFolder
        from tlbench.results.lines import to_line
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        record = Record.from_json(json.load(sys.stdin))
        room = int(2.5 * len(to_line(record).encode()))
        with RunFolder(Path("run")).writing() as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
            for _ in range(2):
                writer.write(record)
            for _ in range(2):
                try:
                    writer.write(record)
                except StoreError as error:
                    print(error)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10 * room, resource.RLIM_INFINITY))
            writer.write(record)  # there is room again
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        input=json.dumps(make("a").to_json()),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 2
    for line in said:
        assert "a record could not be written to run" in line
        assert "What was written before is safe; make room and run the same command again." in line
    run = RunFolder.open(tmp_path / "run")
    assert list(run.lines()) == [make("a")] * 3
    assert run.problems == []
    (file,) = (tmp_path / "run" / "records").iterdir()
    assert file.read_bytes() == to_line(make("a")).encode() * 3


def as_nobody(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in the folder without the rights of root, for whom no folder is read-only."""
    head = """
        import os
        from pathlib import Path
        from tlbench.errors import StoreError
        from tlbench.results.store import RunFolder
        from tlbench.api.records import Record, Status
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("existing", [True, False])
def test_a_read_only_folder_is_a_clear_error_and_stays_readable(make: Any, tmp_path: Path, existing: bool) -> None:
    if existing:
        written(tmp_path / "run", make("a"))
    folders = [tmp_path, *(p for p in tmp_path.rglob("*") if p.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = as_nobody(
            tmp_path,
            """
            try:
                RunFolder(Path("run")).writing()
            except StoreError as error:
                print(error)
            if Path("run").exists():
                print(len(RunFolder.open(Path("run")).records()), "readable")
            """,
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "the run folder run cannot be written: Permission denied" in done.stdout
    assert ("1 readable" in done.stdout) == existing


def test_a_folder_that_turns_read_only_during_the_run_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    done = as_nobody(
        tmp_path,
        """
        with RunFolder(Path("run")).writing() as writer:
            Path("run/records").chmod(0o555)
            Path("run").chmod(0o555)
            for act in (lambda: writer.write(Record("0" * 32, Status.OK, {})), lambda: writer.plan({}, [])):
                try:
                    act()
                except StoreError as error:
                    print(error)
            Path("run").chmod(0o755)
            Path("run/records").chmod(0o755)
        """,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "a record could not be written to run: Permission denied" in first
    assert "the run folder run cannot be written: Permission denied" in second


@pytest.mark.parametrize("below", ["run", "run/deeper"])
def test_a_file_in_the_folders_place_is_a_clear_error(tmp_path: Path, below: str) -> None:
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(StoreError, match=r"cannot be written: (Not a directory|File exists)"):
        RunFolder(tmp_path / below).writing()
    with pytest.raises(StoreError, match=r"is no run folder: it has no records/\. `tlbench run --out"):
        RunFolder.open(tmp_path / below)


def test_two_writers_are_refused_and_the_second_may_write_when_the_first_is_done(make: Any, tmp_path: Path) -> None:
    with RunFolder(tmp_path).writing():
        with pytest.raises(StoreError, match="another tlbench is writing to"):
            RunFolder(tmp_path).writing()
        code = "from pathlib import Path; from tlbench.results.store import RunFolder; "
        code += f"RunFolder(Path({str(tmp_path)!r})).writing()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert "another tlbench is writing to" in done.stderr
    written(tmp_path, make("a"))


# ---- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["", "..", "../../etc/passwd", "/etc/passwd", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "a" * 32 + "\n",
     "a" * 31 + "/", "\x00" * 32, "٣" * 32],
)  # fmt: skip
def test_nothing_but_a_key_becomes_a_file_name(tmp_path: Path, key: str) -> None:
    run = RunFolder(tmp_path)
    for use in (check_key, run.weights, run.log, run.work):
        with pytest.raises(StoreError, match="is not a trial's key: 32 hexadecimal digits"):
            use(key)


def test_a_key_names_files_in_the_folder(tmp_path: Path) -> None:
    run, key = RunFolder(tmp_path), "0123456789abcdef" * 2
    assert check_key(key) == key
    assert run.weights(key) == tmp_path / "weights" / f"{key}.safetensors"
    assert run.log(key) == tmp_path / "logs" / f"{key}.log"
    assert run.work(key) == tmp_path / "work" / key


@pytest.mark.parametrize("body", ["null", "[]", "3", '"text"', "[" * 50_000])
def test_a_line_with_a_right_checksum_that_is_no_record_is_passed_over(tmp_path: Path, body: str) -> None:
    check = hashlib.blake2b(body.encode(), digest_size=12).hexdigest()
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "crafted.jsonl").write_text(f'{{"check":"{check}","record":{body}}}\n')
    run = RunFolder.open(tmp_path)
    assert run.records() == {}
    assert "crafted.jsonl:1: passed over" in run.problems[0]
