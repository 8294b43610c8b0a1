"""Stored predictions: every metric of a record can be computed from them again, and a hostile file does no harm."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from tlbench.api.records import Record, Status
from tlbench.errors import StoreError
from tlbench.evaluation.judging import Predictions
from tlbench.plugins import Plugins
from tlbench.results import predictions as kept
from tlbench.results.predictions import Stored, read, rescored, write
from tlbench.run import Options, Run
from tlbench.watch import LineWatcher

if TYPE_CHECKING:
    from collections.abc import Callable

SCORERS = Path(__file__).parent / "scorers.py"
METRICS = ("accuracy", "balanced-accuracy", "macro-f1", "log-loss", "nmi", "ari")
KEY = "0123456789abcdef" * 2

SUITE = """
tlbench: 1
name: kept
sources: [{source}]
targets: [{target}]
tasks: [{task}]
backbones: [{backbone}]
strategies: [{strategies}]
seeds: 1
recipe: {{steps: 4, batch_size: 16, curve_points: 2}}
metrics: [{metrics}]
"""
PIXELS = "{name: identity, size: 8}"
NET = "{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}"
LOW, HIGH = "{name: digits, classes: [0, 1, 2, 3, 4]}", "{name: digits, classes: [5, 6, 7, 8, 9]}"
KINDS = {
    "fine-tuning": ("{name: digits, shift: inverted}", "digits", "{name: fine-tuning, labels: 5}", NET, "fine-tune"),
    "adaptation": ("digits", "{name: digits, shift: noisy}", "adaptation", PIXELS, "source-only"),
    "zero-shot": (
        "{name: described, classes: [0, 1, 2, 4, 5, 7, 8]}",
        "{name: described, classes: [3, 6, 9]}",
        "{name: zero-shot, generalised: true}",
        PIXELS,
        "attribute-means",
    ),
    "few-shot": (
        LOW,
        HIGH,
        "{name: few-shot, ways: 3, shots: 2, queries: 4, episodes: 20}",
        PIXELS,
        "adapts, refitted",
    ),
    "clustering": ("{name: digits, half: first}", HIGH, "clustering", PIXELS, "k-means"),
    "multi-task": ("{name: digits, shift: rotated}", LOW, "{name: multi-task, labels: 5}", PIXELS, "both, majority"),
}


class Quiet(LineWatcher):
    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(self.text, quiet=True)


def run_of(folder: Path, kind: str, metrics: tuple[str, ...] = METRICS, **options: Any) -> Run:
    source, target, task, backbone, strategies = KINDS[kind]
    path = folder / "suite.yaml"
    path.write_text(
        SUITE.format(
            source=source,
            target=target,
            task=task,
            backbone=backbone,
            strategies=strategies,
            metrics=", ".join(metrics),
        )
    )
    plugins = Plugins.discover(extra=[str(SCORERS)], entry_points=False)
    stated = {"cache": folder / "cache", "out": folder / "run", "executor": "in-process", "save_predictions": True}
    return Run.of(str(path), plugins, Options(**{**stated, **options}))


def results(run: Run) -> dict[str, Record]:
    found = run.folder.records()
    assert all(r.status == Status.OK for r in found.values()), [r.reason for r in found.values()]
    return found


# ---- what a trial stores -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_computed_from_stored_predictions_equal_the_records_to_the_last_bit(tmp_path: Path, kind: str) -> None:
    run = run_of(tmp_path, kind)
    run.execute(Quiet())
    metrics = [run.plugins.build("metrics", name, {}) for name in METRICS]
    found = results(run)
    assert {r.trial["strategy"]["name"] for r in found.values()} >= set(KINDS[kind][4].split(", "))
    for record in found.values():
        assert record.predictions is not None
        stored = read(run.folder.path, record)
        assert rescored(stored, metrics, record) == record.metrics
        assert all(s.scores.dtype == np.float32 and s.y.dtype == np.int64 for s in stored.values())
        test = {name: len(s.y) for name, s in stored.items()}
        if kind == "few-shot":
            assert stored["target"].scores.shape == (20, 12, 3)
        else:
            assert test == {name: n for name, n in record.data["test"].items() if name in record.metrics}


def test_the_stored_scores_are_those_of_clusters_and_give_clustering_accuracy_when_matched(tmp_path: Path) -> None:
    run = run_of(tmp_path, "clustering")
    run.execute(Quiet())
    (record,) = results(run).values()
    scores, y, _ = read(run.folder.path, record)["target"]
    table = np.array([[((scores.argmax(1) == k) & (y == c)).sum() for k in range(5)] for c in range(5)])
    clusters, classes = linear_sum_assignment(-table)
    assert record.metrics["target"]["accuracy"] == table[clusters, classes].sum() / len(y)
    assert (scores.argmax(1) == y).mean() < record.metrics["target"]["accuracy"]  # unmatched: the test can fail


def test_the_mean_over_episodes_and_the_harmonic_mean_follow_by_hand(tmp_path: Path) -> None:
    for kind in ("few-shot", "zero-shot"):
        (tmp_path / kind).mkdir()
        run = run_of(tmp_path / kind, kind, ("balanced-accuracy", "accuracy"))
        run.execute(Quiet())
        for record in results(run).values():
            stored = read(run.folder.path, record)
            right = {pool: (s.scores.argmax(-1) == s.y).mean() for pool, s in stored.items()}
            assert {p: record.metrics[p]["accuracy"] for p in right} == pytest.approx(right, rel=1e-12)
            if kind == "zero-shot" and record.trial["strategy"]["name"] == "attribute-means":
                seen, unseen = right["source"], right["target"]
                assert 0 < unseen < 1
                expected = 2 * seen * unseen / (seen + unseen)
                assert record.metrics["harmonic"]["accuracy"] == pytest.approx(expected, rel=1e-12)


def test_a_finished_trial_without_predictions_is_to_do_again_and_only_where_they_are_asked_for(tmp_path: Path) -> None:
    plain = run_of(tmp_path, "fine-tuning", save_predictions=False)
    plain.execute(Quiet())
    before = results(plain)
    assert all(r.predictions is None for r in before.values())
    assert not (tmp_path / "run" / "predictions").exists()
    assert not plain.plan().todo

    run = run_of(tmp_path, "fine-tuning")
    todo = {t.key for t in run.plan().todo if t.kind == "trial"}
    assert todo == {key for key, r in before.items() if r.trial["kind"] == "trial"}
    run.execute(Quiet())
    after = results(run)
    assert not run.plan().todo
    assert {key: r.metrics for key, r in after.items()} == {key: r.metrics for key, r in before.items()}

    gone = next(iter(todo))
    kept.path_of(run.folder.path, gone).unlink()
    assert [t.key for t in run.plan().todo] == [gone]
    assert not plain.plan().todo


def test_worker_processes_store_the_same_files_as_this_process(tmp_path: Path) -> None:
    files = []
    for executor in ("in-process", "workers"):
        (tmp_path / executor).mkdir()
        run = run_of(tmp_path / executor, "fine-tuning", executor=executor, workers=1)
        run.execute(Quiet())
        found = results(run)
        assert all(read(run.folder.path, r) for r in found.values())
        files.append({key: r.predictions for key, r in found.items()})
    assert files[0] == files[1]


def test_a_trial_that_was_stopped_and_resumed_stores_the_same_file(tmp_path: Path) -> None:
    from tlbench.execution.bench import Bench, make_spec
    from tlbench.execution.trial import run_trial

    files = []
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        run = run_of(tmp_path / name, "fine-tuning")
        trial = next(t for t in run.plan().trials if t.strategy.name == "scratch")
        spec = make_spec(
            plugins=run.plugins, run=run.folder.path, base=tmp_path, data_root=None, cache=tmp_path / name / "cache",
            suite="kept", metrics=METRICS, device="cpu", checkpoint_seconds=0.0, save_predictions=True,
        )  # fmt: skip
        if name == "stopped":
            asked: list[bool] = []
            stopping = Bench(spec, stop=lambda asked=asked: asked.append(True) is None and len(asked) > 2)  # type: ignore[misc]
            record = run_trial(trial, stopping)
            assert (record.status, record.predictions) == (Status.INTERRUPTED, None)
        record = run_trial(trial, Bench(spec))
        assert record.status == Status.OK, record.reason
        assert (record.resumed_from > 0) == (name == "stopped")
        files.append(record.predictions)
    assert files[0] == files[1]
    assert files[0] is not None


def test_a_full_disk_costs_the_predictions_and_not_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(file: Any, **arrays: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez_compressed", full)
    run, watcher = run_of(tmp_path, "clustering"), Quiet()
    run.execute(watcher)
    (record,) = results(run).values()
    assert record.predictions is None
    assert record.metrics["target"]["accuracy"] > 0.2
    assert "its predictions are not stored" in watcher.text.getvalue()
    assert "No space left on device" in capsys.readouterr().out
    assert not list((tmp_path / "run" / "predictions").iterdir())
    monkeypatch.undo()
    assert [t.key for t in run.plan().todo] == [record.key]


def test_predictions_are_read_and_rescored_without_torch(tmp_path: Path) -> None:
    run = run_of(tmp_path, "clustering", ("accuracy",))
    run.execute(Quiet())
    code = (
        "import json, sys; from pathlib import Path\n"
        "from tlbench.results.store import RunFolder\n"
        "from tlbench.results.predictions import read, rescored\n"
        "from tlbench.builtin.metrics import Accuracy\n"
        "folder = RunFolder.open(Path('run'))\n"
        "(record,) = folder.records().values()\n"
        "again = rescored(read(folder.path, record), [Accuracy()], record)\n"
        "print(json.dumps([again == record.metrics, 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == [True, False], done.stderr


# ---- a file from strangers -----------------------------------------------------------------------------


def example(classes: int = 3) -> Predictions:
    rng = np.random.default_rng(0)
    return Predictions({"target": Stored(rng.normal(size=(8, classes)).astype(np.float32), np.arange(8) % classes)})


def recorded(make: Any, about: Any) -> Record:
    return dataclasses.replace(make("m"), key=KEY, predictions=about)


def put(folder: Path, make: Any, content: bytes) -> Record:
    """A file of that content, and a record that speaks of it truly."""
    path = kept.path_of(folder, KEY)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return recorded(make, {"blake2b": digest, "bytes": len(content), "matching": "labels", "harmonic": False})


def archive(write_members: Callable[[zipfile.ZipFile], None]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as found:
        write_members(found)
    return file.getvalue()


def npy(array: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **how)
    return file.getvalue()


def good() -> dict[str, bytes]:
    scored = example().pools["target"]
    return {"scores.target.npy": npy(scored.scores), "y.target.npy": npy(scored.y)}


def with_members(**changed: bytes) -> bytes:
    names = {**good(), **{k.replace("__", ".") + ".npy": v for k, v in changed.items()}}
    return archive(lambda a: [a.writestr(name, content) for name, content in names.items()] and None)


def claiming(shape: str) -> bytes:
    """Scores whose header says that they are of another shape."""
    return npy(np.zeros((8, 3), np.float32)).replace(b"(8, 3), }", f"{shape}, }}".encode())


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def test_what_is_written_is_read_back_and_equal_predictions_make_equal_files(tmp_path: Path, make: Any) -> None:
    about = write(tmp_path, KEY, example())
    again = write(tmp_path, KEY, example())
    assert about == again
    stored = read(tmp_path, recorded(make, about))
    assert np.array_equal(stored["target"].scores, example().pools["target"].scores)
    assert np.array_equal(stored["target"].y, example().pools["target"].y)
    assert [p.name for p in (tmp_path / "predictions").iterdir()] == [f"{KEY}.npz"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"PK\x03\x04 nothing of the kind", "not a zip file"),
        (with_members()[:-40], "not a zip file"),
        (with_members(scores__target=pickle.dumps(Bomb())), "magic string"),
        (with_members(scores__target=npy(np.array([Bomb()] * 8), allow_pickle=True)), "object"),
        (with_members(scores__target=claiming("(99999999999, 3)")), "do not make an array of shape"),
        (with_members(scores__target=claiming("(-8, -3)")), "do not make an array of shape"),
        (with_members(scores__target=npy(np.zeros((8, 3)))), "float64, expected float32"),
        (with_members(scores__target=npy(np.asfortranarray(np.zeros((8, 3), np.float32)))), "in C order"),
        (with_members(scores__target=npy(np.full((8, 3), np.nan, np.float32))), "not finite"),
        (with_members(scores__target=npy(np.zeros((7, 3), np.float32))), "shape [7, 3] and labels [8]"),
        (with_members(y__target=npy(np.full(8, 3))), "outside of its 3 classes"),
        (with_members(y__target=npy(np.full(8, -1))), "outside of its 3 classes"),
        (with_members(group__target=npy(np.zeros(5, np.int64))), "shape"),
        (with_members(scores__source=npy(np.zeros((8, 3), np.float32))), "source lacks its labels"),
        (archive(lambda a: a.writestr("../../escape.npy", b"x")), "'../../escape.npy'"),
        (archive(lambda a: None), "no arrays"),
        (archive(lambda a: [a.writestr(f"y.p{i}.npy", b"") for i in range(65)] and None), "65 arrays"),
    ],
)
def test_a_file_that_is_no_predictions_is_refused_with_its_name(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch, content: bytes, complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    record = put(tmp_path, make, content)
    with pytest.raises(StoreError) as caught:
        read(tmp_path, record)
    assert f"{KEY}.npz" in str(caught.value)
    assert complaint in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_a_small_file_that_unpacks_to_a_huge_one_is_not_unpacked(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_BYTES", 10_000)
    content = with_members(scores__target=npy(np.zeros((100_000, 3), np.float32)))
    assert len(content) < 10_000
    with pytest.raises(StoreError, match="when unpacked"):
        read(tmp_path, put(tmp_path, make, content))
    with pytest.raises(StoreError, match="at most 10,000 are stored"):
        write(tmp_path, KEY, example(1000))


def test_a_file_that_is_not_the_records_own_is_refused(tmp_path: Path, make: Any) -> None:
    about = write(tmp_path, KEY, example())
    path = kept.path_of(tmp_path, KEY)
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(StoreError, match="hash is another one"):
        read(tmp_path, recorded(make, about))
    path.write_bytes(bytes(changed) + b"more")
    with pytest.raises(StoreError, match="bytes, and the record speaks of"):
        read(tmp_path, recorded(make, about))
    path.unlink()
    with pytest.raises(StoreError, match="No such file"):
        read(tmp_path, recorded(make, about))
    with pytest.raises(StoreError, match="--save-predictions"):
        read(tmp_path, recorded(make, None))
    with pytest.raises(StoreError, match="does not say"):
        read(tmp_path, recorded(make, {"bytes": "3"}))
    with pytest.raises(StoreError, match="at most"):
        read(tmp_path, recorded(make, {**about, "bytes": 10**15}))


def test_no_path_leaves_the_run_folder(tmp_path: Path, make: Any) -> None:
    about = write(tmp_path / "elsewhere", KEY, example())
    run = tmp_path / "run"
    (run / "predictions").mkdir(parents=True)
    kept.path_of(run, KEY).symlink_to(kept.path_of(tmp_path / "elsewhere", KEY))
    with pytest.raises(StoreError, match="it is a link"):
        read(run, recorded(make, about))
    other = tmp_path / "other"
    other.mkdir()
    (other / "predictions").symlink_to(tmp_path / "elsewhere" / "predictions")
    with pytest.raises(StoreError, match="is a link"):
        read(other, recorded(make, about))
    with pytest.raises(StoreError, match="not a trial's key"):
        read(run, dataclasses.replace(make("m"), key="../../etc/passwd", predictions=about))
    kept.path_of(run, KEY).unlink()
    os.mkfifo(kept.path_of(run, KEY))  # reading it would wait for ever
    with pytest.raises(StoreError, match="not a regular file"):
        read(run, recorded(make, about))
