"""Verify: a sound run passes, and whatever was done to it is caught and named."""

from __future__ import annotations

import json
import os
import random
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlbench.api.trials import Trial
from tlbench.cli import main
from tlbench.errors import StoreError
from tlbench.plugins import Plugins
from tlbench.results.store import RunFolder
from tlbench.results.verify import Verification, standing, verify, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.results.conftest import Forge


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.discover(entry_points=False)


def said(found: Verification) -> str:
    return "\n".join(f"{f.check}: {f.line} [{f.key}]" for f in found.faults)


def records_file(folder: Path) -> Path:
    (file,) = (folder / "records").glob("*.jsonl")
    return file


def test_a_real_run_passes_every_check_and_stays_self_reported_as_nothing_was_run_again(
    run_folder: Path, plugins: Plugins
) -> None:
    found = verify(run_folder, plugins)
    assert found.faults == ()
    assert found.status == "self-reported"
    checked = {c.name: c.checked for c in found.checks}
    lines = len(records_file(run_folder).read_text().splitlines())
    assert {checked[n] for n in ("lines", "keys", "scores", "curves", "predictions")} == {lines}
    assert checked["references"] == 16
    assert checked["gains"] > 0


# ---- what is done to lines -------------------------------------------------------------------------


def test_a_score_changed_in_an_editor_fails_its_checksum(run_folder: Path, plugins: Plugins) -> None:
    file = records_file(run_folder)
    rows = file.read_text().splitlines()
    at = next(i for i, row in enumerate(rows) if '"metrics":{"target":{"accuracy":0.' in row)
    rows[at] = rows[at].replace('"metrics":{"target":{"accuracy":0.', '"metrics":{"target":{"accuracy":0.9')
    file.write_text("\n".join(rows) + "\n")
    found = verify(run_folder, plugins)
    assert found.status == "failed"
    assert f"lines: {file}:{at + 1}: the checksum does not match" in said(found)


def test_a_file_cut_in_the_middle_of_a_line_is_named_and_one_cut_at_a_line_shows_in_the_board(
    run_folder: Path, plugins: Plugins
) -> None:
    file = records_file(run_folder)
    lines = file.read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    file.write_bytes(b"".join(lines[:half]) + lines[half][: len(lines[half]) // 2])
    found = verify(run_folder, plugins)
    assert any("torn: its writer was stopped" in note for note in found.notes)
    assert any("planned trials have no record" in note for note in found.notes)
    assert "gains: " in said(found)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"check":"' + b"0" * 24 + b'","record":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "checksum"),
        (b"x" * (2**22 + 10), "a line of more than 4,194,304 bytes"),
        (b"\x80abc", "codec can't decode"),
        (b"{}", "not a record"),
    ],
)
def test_a_line_that_is_no_record_is_named_and_the_others_are_read(
    run_folder: Path, plugins: Plugins, row: bytes, reason: str
) -> None:
    file = records_file(run_folder)
    before = len(file.read_bytes().splitlines())
    with file.open("ab") as out:
        out.write(row + b"\n")
    found = verify(run_folder, plugins)
    assert f"lines: {file}:{before + 1}: " in said(found)
    assert reason in said(found)
    assert len(found.records) == before


def test_nesting_that_a_parser_survives_is_bounded_as_well(run_folder: Path, plugins: Plugins, forge: Forge) -> None:
    def nest(data: dict[str, Any]) -> None:
        deep: Any = 1
        for _ in range(60):
            deep = [deep]
        data["cost"]["deep"] = deep

    forge(run_folder, nest)
    assert "nested deeper than 32 levels" in said(verify(run_folder, plugins))


def test_nesting_that_no_parser_survives_is_a_fault_and_no_crash(run_folder: Path, plugins: Plugins) -> None:
    import hashlib

    body = '{"key":' + "[" * 100_000 + "]" * 100_000 + "}"
    check = hashlib.blake2b(body.encode(), digest_size=12).hexdigest()
    with records_file(run_folder).open("a") as out:
        out.write(f'{{"check":"{check}","record":{body}}}\n')
    assert "nested deeper than 32 levels" in said(verify(run_folder, plugins))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused_here_and_by_every_reader(
    run_folder: Path, plugins: Plugins, number: str
) -> None:
    import hashlib

    file = records_file(run_folder)
    row = next(r for r in file.read_text().splitlines() if '"kind":"trial"' in r)
    data = json.loads(row)["record"]
    data["metrics"]["target"]["accuracy"] = 123456.5
    body = json.dumps(data, separators=(",", ":")).replace("123456.5", number)
    check = hashlib.blake2b(body.encode(), digest_size=12).hexdigest()
    file.write_text(f'{{"check":"{check}","record":{body}}}\n')
    found = verify(run_folder, plugins)
    assert f"lines: {file}:1: " in said(found)
    assert found.records == {}
    if number != "1e999":
        run = RunFolder.open(run_folder)
        assert run.records() == {}
        assert f"{number} is no number of JSON" in run.problems[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(version=2), "record of version 2; this tlbench reads up to 1"),
        (lambda d: d.update(version=0), "a record of version 0; this tlbench makes and checks 1"),
        (lambda d: d.update(key="../../../etc/passwd"), "key: String should match pattern"),
        (lambda d: d["trial"].update(parents=["../x"]), "trial.parents.0: String should match pattern"),
        (lambda d: d.update(status="splendid"), "splendid"),
        (lambda d: d.update(metrics={"target": [0.9]}), "metrics.target: Input should be a valid dictionary"),
        (lambda d: d["metrics"]["target"].update(accuracy="0.9"), "accuracy: Input should be a valid number"),
        (lambda d: d["metrics"]["target"].update(accuracy=True), "accuracy: Input should be a valid number"),
        (lambda d: d["clocks"].update(total=-1.0), "clocks.total: Input should be greater than or equal to 0"),
        (lambda d: d["trial"].update(seed="0"), "trial.seed"),
        (lambda d: d["trial"].update(task=None), "trial.task"),
        (lambda d: d.update(extra=1), "unknown fields: extra"),
        (lambda d: d.update(suite="x" * 2000), "suite: String should have at most 1000 characters"),
        (lambda d: d.update(predictions={"blake2b": "../x", "bytes": 1}), "predictions.blake2b"),
    ],
)
def test_a_forged_record_of_another_shape_or_version_is_named(
    run_folder: Path, plugins: Plugins, forge: Forge, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    forge(run_folder, change)
    found = verify(run_folder, plugins)
    assert f"lines: {records_file(run_folder)}:" in said(found)
    assert reason in said(found)


def test_a_name_that_stands_twice_in_one_object_is_refused(run_folder: Path, plugins: Plugins) -> None:
    import hashlib

    file = records_file(run_folder)
    body = json.dumps(json.loads(file.read_text().splitlines()[0])["record"], separators=(",", ":"))
    body = body[:-1] + ',"status":"ok"}'
    check = hashlib.blake2b(body.encode(), digest_size=12).hexdigest()
    with file.open("a") as out:
        out.write(f'{{"check":"{check}","record":{body}}}\n')
    assert "a name stands twice" in said(verify(run_folder, plugins))


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is something in plain data; of lists the first two."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, part in inside:
        yield from places(part, (*at, name))


def test_anything_in_the_place_of_anything_else_is_a_fault_or_harmless_and_never_a_crash(
    run_folder: Path, plugins: Plugins, forge: Forge
) -> None:
    strange = [None, "x", -1, 0.5, [], {}, [1], {"a": {"b": 1}}, 1e308, "../x", True, 10**30, "\ud800"]
    file = records_file(run_folder)
    whole = file.read_text()
    (run_folder / "leaderboard" / "leaderboard.json").unlink()
    draw = random.Random(0)
    for _ in range(60):
        value = draw.choice(strange)

        def put(data: dict[str, Any], value: Any = value) -> None:
            *path, last = draw.choice(list(places(data))[1:])
            inner: Any = data
            for name in path:
                inner = inner[name]
            inner[last] = value

        forge(run_folder, put, only=lambda d: d["trial"]["strategy"]["name"] == "linear-probe")
        verify(run_folder, plugins).to_json()
        file.write_text(whole)


# ---- what is done to contents, with right checksums ------------------------------------------------


def better(data: dict[str, Any]) -> None:
    """One test example more right, on the curve as well."""
    n = data["data"]["test"]["target"]
    score = round(data["metrics"]["target"]["accuracy"] * n + 1) / n
    data["metrics"]["target"]["accuracy"] = score
    data["curve"]["scores"][-1] = score


@pytest.mark.parametrize(
    ("change", "check", "reason"),
    [
        (lambda d: d["trial"].update(seed=7), "keys", "is not that of the trial described"),
        (lambda d: d["trial"]["recipe"]["params"].update(steps=21), "keys", "is not that of the trial described"),
        (lambda d: d["metrics"]["target"].update(accuracy=1.5), "scores", "is 1.5, outside of 0 to 1"),
        (lambda d: d["metrics"]["target"].update(accuracy=0.95123), "scores", "which is no number of 450 test"),
        (lambda d: d.update(metrics={}), "scores", "ended well and yet has no score"),
        (lambda d: d.update(status="failed"), "scores", "ended as failed and yet has a result"),
        (lambda d: d["metrics"]["target"].update(accuracy=449 / 450), "curves", "where the result is 0.997778"),
        (lambda d: d["curve"]["steps"].reverse(), "curves", "do not ascend"),
        (lambda d: d["curve"]["scores"].pop(), "curves", "as many scores and seconds as steps"),
        (lambda d: d["curve"].update(metric="nmi"), "curves", "which was not scored"),
        (better, "predictions", "from its predictions it is"),
        (better, "gains", "from the records it is"),
    ],
)
def test_a_forged_content_is_caught_by_the_check_that_is_for_it(
    run_folder: Path,
    plugins: Plugins,
    forge: Forge,
    change: Callable[[dict[str, Any]], object],
    check: str,
    reason: str,
) -> None:
    key = forge(run_folder, change, only=lambda d: d["trial"]["strategy"]["name"] == "fine-tune")
    found = verify(run_folder, plugins)
    assert found.status == "failed"
    faults = [f for f in found.faults if f.check == check and reason in f.text]
    assert faults, said(found)
    assert check == "gains" or {f.key for f in faults} == {key}


def test_a_leaderboard_with_a_higher_gain_than_its_records_give_is_caught(run_folder: Path, plugins: Plugins) -> None:
    file = run_folder / "leaderboard" / "leaderboard.json"
    data = json.loads(file.read_text())
    row = next(r for r in data["groups"][0]["rows"] if r["cells"]["strategy"]["value"] == "fine-tune")
    row["cells"]["gain"]["value"] += 0.1
    file.write_text(json.dumps(data))
    (fault,) = verify(run_folder, plugins).faults
    assert fault.check == "gains"
    assert "fine-tune · gain is " in fault.text


def test_a_gain_over_another_reference_than_the_task_s_is_caught(run_folder: Path, plugins: Plugins) -> None:
    """The reference is no part of the key, so that the key does not show it."""
    file = run_folder / "run.json"
    data = json.loads(file.read_text())
    for trial in data["trials"]:
        if trial["strategy"]["name"] == "fine-tune":
            trial["reference"] = "majority"
    file.write_text(json.dumps(data))
    faults = [f for f in verify(run_folder, plugins).faults if f.check == "references"]
    assert [f.text for f in faults] == [
        "fine-tune is compared with 'majority'; the task fine-tuning(labels=5) compares with scratch with its default "
        "parameters"
    ]


def test_a_task_whose_trials_are_all_skipped_lacks_no_reference_but_a_result_marked_as_skipped_does(
    run_folder: Path, plugins: Plugins
) -> None:
    file = run_folder / "run.json"
    data = json.loads(file.read_text())
    ours = [t for t in data["trials"] if t["strategy"]["name"] == "fine-tune"]
    other = {"name": "adaptation", "label": "adaptation", "params": {}}
    lone = Trial.from_json({**ours[0], "task": other, "reference": "source-only", "skip": "it does not apply"})
    data["trials"].append(lone.to_json())
    file.write_text(json.dumps(data))
    assert [f for f in verify(run_folder, plugins).faults if f.check == "references"] == []
    for trial in ours:
        trial |= {"reference": "majority", "skip": "not really"}
    file.write_text(json.dumps(data))
    assert [f.check for f in verify(run_folder, plugins).faults if f.check == "references"] == ["references"]


def test_predictions_of_another_trial_under_this_one_s_name_are_caught(run_folder: Path, plugins: Plugins) -> None:
    one, other = sorted((run_folder / "predictions").iterdir())[:2]
    shutil.copy(other, one)
    faults = [f for f in verify(run_folder, plugins).faults if f.check == "predictions"]
    assert [f.key for f in faults] == [one.stem]


def test_labels_invented_to_fit_the_predictions_are_caught_by_those_of_the_other_trials(
    run_folder: Path, plugins: Plugins, forge: Forge
) -> None:
    """A forger who makes the file, its hash, the score and the curve fit each other."""
    import hashlib

    def invent(data: dict[str, Any]) -> None:
        path = run_folder / "predictions" / f"{data['key']}.npz"
        with np.load(path) as stored:
            scores = stored["scores.target"]
        np.savez_compressed(path, **{"scores.target": scores, "y.target": scores.argmax(1).astype(np.int64)})
        content = path.read_bytes()
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        data["predictions"].update(blake2b=digest, bytes=len(content))
        data["metrics"]["target"]["accuracy"] = 1.0
        data["curve"]["scores"][-1] = 1.0

    # Trials without a source share their test set: scratch and majority of one target and seed.
    shutil.rmtree(run_folder / "leaderboard")
    is_scratch: Callable[[Any], bool] = lambda d: d["trial"]["strategy"]["name"] == "majority"  # noqa: E731
    forge(run_folder, invent, only=is_scratch)
    faults = verify(run_folder, plugins).faults
    assert {f.check for f in faults} == {"predictions"}
    assert any("its test labels are not those of the other trials" in f.text for f in faults)


# ---- what is done to the folder --------------------------------------------------------------------


def test_a_link_that_leads_out_is_named_and_not_followed(run_folder: Path, plugins: Plugins, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text("secret\n")
    (run_folder / "records" / "zz.jsonl").symlink_to(secret)
    (run_folder / "logs" / "inside").symlink_to(run_folder / "run.json")
    found = verify(run_folder, plugins)
    assert f"folder: {run_folder}/records/zz.jsonl: a link that leads out of the folder" in said(found)
    assert f"folder: {run_folder}/logs/inside: a link; runs have none" in said(found)
    assert f"{run_folder}/records/zz.jsonl: cannot be read: it is a link" in said(found)


def test_records_that_are_a_link_altogether_are_refused(run_folder: Path, plugins: Plugins, tmp_path: Path) -> None:
    (run_folder / "records").rename(tmp_path / "elsewhere")
    (run_folder / "records").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        verify(run_folder, plugins)


@pytest.mark.timeout(30)
def test_a_pipe_in_the_place_of_records_is_named_and_does_not_stop_us(run_folder: Path, plugins: Plugins) -> None:
    os.mkfifo(run_folder / "records" / "pipe.jsonl")
    assert f"{run_folder}/records/pipe.jsonl: is no regular file" in said(verify(run_folder, plugins))


@pytest.mark.parametrize("text", ["{", "[]", '{"trials": 3}', '{"trials": [{}], "suite": {}}', "[" * 100_000, "NaN"])
def test_a_damaged_plan_is_named(run_folder: Path, plugins: Plugins, text: str) -> None:
    (run_folder / "run.json").write_text(text)
    assert f"folder: {run_folder}/run.json: " in said(verify(run_folder, plugins))


# ---- running again ---------------------------------------------------------------------------------


def test_a_sample_run_again_gives_the_same_bits_and_makes_the_run_verified(run_folder: Path, cache: Path) -> None:
    words = ["verify", str(run_folder), "--no-plugins", "--executor", "in-process", "--cache", str(cache)]
    assert main([*words, "--rerun", "4", "--seed", "1"]) == 0
    told = json.loads((run_folder / "verification.json").read_text())
    assert told["status"] == "verified"
    assert [r["outcome"] for r in told["reruns"]] == ["equal"] * 4
    assert told["sample"] == {"asked": 4, "seed": 1, "tolerance": None}
    came = standing(run_folder)
    assert came.status == "verified"
    assert "4 of 16 results run again, all to the bit" in came.text
    assert set(came.trials) == {r["key"] for r in told["reruns"]}
    assert main(words) == 0  # looking at them once more says less, and takes nothing away
    assert standing(run_folder).status == "verified"


def test_a_forgery_that_fits_in_everything_but_its_rerun_is_caught_by_it(
    run_folder: Path, cache: Path, forge: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    def invent(data: dict[str, Any]) -> None:
        data["metrics"]["target"]["accuracy"] = 405 / 450
        data["curve"]["scores"][-1] = 405 / 450
        data["predictions"] = None

    shutil.rmtree(run_folder / "leaderboard")
    key = forge(run_folder, invent, only=lambda d: d["trial"]["strategy"]["name"] == "fine-tune")
    words = ["verify", str(run_folder), "--no-plugins", "--executor", "in-process", "--cache", str(cache)]
    assert main(words) == 0
    assert main([*words, "--rerun", "16"]) == 2
    told = json.loads((run_folder / "verification.json").read_text())
    assert [f["key"] for f in told["failures"]] == [key]
    assert "accuracy on target: 0.9 and " in told["failures"][0]["text"]
    came = standing(run_folder)
    assert came.status == "failed"
    assert came.trials[key].startswith("failed: not the same when run again")
    assert "not the same when run again" in capsys.readouterr().out


def test_a_trial_whose_source_model_is_unknown_cannot_be_run_again_and_verifies_nothing(
    run_folder: Path, cache: Path
) -> None:
    file = records_file(run_folder)
    rows = [r for r in file.read_text().splitlines() if '"kind":"source-model"' not in r]
    file.write_text("".join(f"{r}\n" for r in rows if '"name":"linear-probe"' in r))
    shutil.rmtree(run_folder / "leaderboard")
    words = ["verify", str(run_folder), "--no-plugins", "--executor", "in-process", "--cache", str(cache)]
    assert main([*words, "--rerun", "2"]) == 0
    told = json.loads((run_folder / "verification.json").read_text())
    assert told["status"] == "self-reported"
    assert [r["outcome"] for r in told["reruns"]] == ["not run"] * 2
    assert "there is no record of the source model" in told["reruns"][0]["text"]
    assert "0 of 2 could be run again" in standing(run_folder).text


# ---- the standing ----------------------------------------------------------------------------------


def test_a_run_that_nobody_verified_is_self_reported(run_folder: Path) -> None:
    assert standing(run_folder).status == "self-reported"


def test_a_verification_is_void_once_a_record_is_added(
    run_folder: Path, plugins: Plugins, make: Any, whole_run: Path
) -> None:
    write(verify(run_folder, plugins))
    assert "nothing was run again" in standing(run_folder).text
    with RunFolder(run_folder).writing() as writer:
        writer.write(make("new"))
    came = standing(run_folder)
    assert came.status == "self-reported"
    assert "the records have changed since" in came.text


def test_a_verification_of_the_same_lines_in_other_files_still_holds(run_folder: Path, plugins: Plugins) -> None:
    write(verify(run_folder, plugins))
    file = records_file(run_folder)
    rows = file.read_bytes().splitlines(keepends=True)
    file.unlink()
    (run_folder / "records" / "a.jsonl").write_bytes(b"".join(rows[5:]))
    (run_folder / "records" / "b.jsonl").write_bytes(b"".join(rows[:5]))
    assert "nothing was run again" in standing(run_folder).text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', "[" * 100_000, '{"version": 99}'])
def test_a_damaged_verification_is_not_believed(run_folder: Path, text: str) -> None:
    (run_folder / "verification.json").write_text(text)
    assert standing(run_folder).status == "self-reported"


def test_a_verification_that_claims_more_than_it_tells_is_not_believed(run_folder: Path, plugins: Plugins) -> None:
    path = write(verify(run_folder, plugins))
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "status": "verified"}))
    assert standing(run_folder).status == "self-reported"


# ---- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere"], "is no run folder"),
        (["RUN", "--rerun", "-1"], "--rerun -1"),
        (["RUN", "--tolerance", "-1"], "--tolerance -1"),
        (["RUN", "--data-root", "nowhere"], "no such folder"),
    ],
)
def test_wrong_usage_is_told_in_a_line_and_exits_with_1(
    run_folder: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *[str(run_folder) if w == "RUN" else w for w in words], "--no-plugins"]) == 1
    assert reason in capsys.readouterr().err


def test_what_was_found_is_data_with_json(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(run_folder), "--no-plugins", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((run_folder / "verification.json").read_text())
    assert {c["name"] for c in told["checks"]} >= {"lines", "keys", "predictions", "gains"}


def test_names_from_a_hostile_record_reach_the_terminal_without_control_codes(
    run_folder: Path, forge: Forge, capsys: pytest.CaptureFixture[str]
) -> None:
    def hostile(data: dict[str, Any]) -> None:
        data["metrics"]["\x1b]0;owned\x07[red]x"] = {"accuracy": 1.5}

    forge(run_folder, hostile)
    assert main(["verify", str(run_folder), "--no-plugins"]) == 2
    out = capsys.readouterr().out
    assert "\x1b]0" not in out
    assert "[red]x" in out.replace("\n", "")
