"""The cache of arrays: built once, whole or absent, mended where damaged, never a reason to fail."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tlbench import cli
from tlbench.api.data import Array, Domain, Split
from tlbench.data.cache import DataCache, available_memory, domain_hash, pack, unpack
from tlbench.data.entries import entries, prune
from tlbench.errors import DataError


class Builder:
    """Builds the same arrays each time and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Array]:
        self.calls += 1
        rng = np.random.default_rng(3)
        return {
            "x/train": rng.integers(0, 256, (50, 3, 4, 4), dtype=np.uint8),
            "y": np.arange(50),
            "empty": np.zeros((0, 7), dtype=np.float32),
        }


def cache_in(folder: Path, limit: int | None = None) -> DataCache:
    return DataCache(folder / "cache", None, folder, limit)


def same(one: object, other: object) -> bool:
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    return one.keys() == other.keys() and all(
        np.array_equal(one[k], other[k]) and one[k].dtype == other[k].dtype for k in one
    )


def entry_files(folder: Path) -> list[Path]:
    return sorted((folder / "cache").rglob("*.npy"))


def test_arrays_are_built_once_and_come_back_equal_and_read_only(tmp_path: Path) -> None:
    build = Builder()
    first = cache_in(tmp_path).arrays("key", build)
    second = cache_in(tmp_path).arrays("key", build)
    assert build.calls == 1
    assert same(first, Builder()())
    assert same(second, Builder()())
    assert isinstance(second["y"], np.memmap)
    for array in (*first.values(), *second.values()):
        assert not array.flags.writeable


def test_another_key_is_another_entry(tmp_path: Path) -> None:
    build = Builder()
    cache = cache_in(tmp_path)
    cache.arrays("one", build)
    cache.arrays("two", build)
    assert build.calls == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "gone", "manifest", "no manifest"])
def test_a_damaged_entry_is_built_anew(tmp_path: Path, damage: str) -> None:
    build = Builder()
    cache = cache_in(tmp_path)
    cache.arrays("key", build)
    path = next(f for f in entry_files(tmp_path) if f.stat().st_size > 2000)
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-100])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "gone":
        path.unlink()
    elif damage == "manifest":
        (path.parent / "manifest.json").write_text('{"format": 1, "key"')
    else:
        (path.parent / "manifest.json").unlink()
    assert same(cache.arrays("key", build), Builder()())
    assert build.calls == 2
    assert same(cache.arrays("key", build), Builder()())
    assert build.calls == 2
    assert cache.warnings == []


def test_an_entry_whose_files_were_only_copied_is_still_good(tmp_path: Path) -> None:
    build = Builder()
    cache_in(tmp_path).arrays("key", build)
    for path in entry_files(tmp_path):
        os.utime(path, (1, 1))
    cache_in(tmp_path).arrays("key", build)
    assert build.calls == 1


def test_a_folder_that_cannot_be_made_costs_a_warning_and_no_result(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    build = Builder()
    cache = cache_in(tmp_path)
    for _ in range(2):
        arrays = cache.arrays("key", build)
        assert same(arrays, Builder()())
        assert not arrays["y"].flags.writeable
    assert len(cache.warnings) == 1
    assert "cannot be written" in cache.warnings[0]


def test_a_full_disk_costs_a_warning_and_no_result(tmp_path: Path) -> None:
    """The process may write files of 1,000 bytes and no larger: every write beyond fails as on a full disk."""
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from tlbench.data.cache import DataCache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
cache = DataCache(Path(sys.argv[1]), None, Path("."))
arrays = cache.arrays("key", lambda: {"x": np.arange(5000)})
assert np.array_equal(arrays["x"], np.arange(5000))
assert len(cache.warnings) == 1, cache.warnings
assert not list(Path(sys.argv[1]).rglob("*.npy"))
"""
    run_code(code, str(tmp_path / "cache"))


def test_an_error_of_the_builder_is_passed_on_and_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, Array]:
        raise DataError("row 3 is corrupt")

    with pytest.raises(DataError, match="row 3"):
        cache_in(tmp_path).arrays("key", fail)
    assert same(cache_in(tmp_path).arrays("key", Builder()), Builder()())


RACE = """
import sys, time
from pathlib import Path
import numpy as np
from tlbench.data.cache import DataCache
folder, me = Path(sys.argv[1]), sys.argv[2]
if "nolock" in sys.argv:
    import fcntl
    def refuse(*_): raise OSError("no locks here")
    fcntl.flock = refuse
(folder / f"ready-{me}").touch()
while len(list(folder.glob("ready-*"))) < 2: time.sleep(0.001)
def build():
    (folder / f"built-{me}").touch()
    time.sleep(0.3)
    return {"x": np.arange(100_000)}
x = DataCache(folder / "cache", None, folder).arrays("key", build)["x"]
assert np.array_equal(x, np.arange(100_000)) and isinstance(x, np.memmap)
"""


@pytest.mark.parametrize(("locks", "built"), [("lock", 1), ("nolock", 2)])
def test_two_processes_that_race_for_one_key_end_with_one_good_entry(tmp_path: Path, locks: str, built: int) -> None:
    command = [sys.executable, "-W", "error", "-c", RACE, str(tmp_path)]
    racers = [subprocess.Popen([*command, me, locks], env=environment()) for me in ("a", "b")]
    assert [racer.wait(60) for racer in racers] == [0, 0]
    assert len(list(tmp_path.glob("built-*"))) == built
    left = [path.name for path in (tmp_path / "cache" / "arrays").iterdir() if path.suffix != ".lock"]
    assert len(left) == 1
    assert not left[0].startswith(".")


def test_a_builder_that_was_killed_blocks_nobody(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from tlbench.data.cache import DataCache
DataCache(Path(sys.argv[1]), None, Path(".")).arrays("key", lambda: os.kill(os.getpid(), signal.SIGKILL))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "cache")], env=environment(), check=False)
    assert done.returncode == -9
    assert same(cache_in(tmp_path).arrays("key", Builder()), Builder()())


def test_more_than_the_limit_is_refused_with_both_sizes(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, limit=2**20)
    cache.require_memory(2**20, "digits")
    with pytest.raises(DataError, match=r"digits needs 2\.0 MiB of memory and the limit is 1\.0 MiB"):
        cache.require_memory(2**21, "digits")


def test_without_a_limit_the_free_memory_decides(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.require_memory(1000, "digits")
    assert available_memory() > 0
    with pytest.raises(DataError, match="80 %"):
        cache.require_memory(2**60, "digits")


def test_words_survive_packing() -> None:
    assert unpack(pack({"notes": "28 × 28", "names": ["a"]})) == {"notes": "28 × 28", "names": ["a"]}


def domain() -> Domain:
    x = np.arange(48, dtype=np.uint8).reshape(4, 1, 3, 4)
    y = np.array([0, 1, 0, 1])
    return Domain("d", {"train": Split(x, y), "test": Split(x + 1, y)}, ("a", "b"), "image")


def test_the_hash_of_a_domain_sees_every_value_and_no_place_in_memory(tmp_path: Path) -> None:
    whole = domain()
    train = whole.splits["train"]
    assert isinstance(train.x, np.ndarray)
    base = domain_hash(whole)
    np.save(tmp_path / "x.npy", train.x)
    mapped = Split(np.load(tmp_path / "x.npy", mmap_mode="r"), np.repeat(train.y, 2)[::2])
    assert domain_hash(replace(whole, splits={"test": whole.splits["test"], "train": mapped}, name="e")) == base

    changed, y = train.x.copy(), train.y
    changed[3, 0, 2, 3] += 1
    others = [
        replace(whole, splits={**whole.splits, "train": Split(changed, train.y)}),
        replace(whole, splits={**whole.splits, "train": Split(train.x, train.y[::-1])}),
        replace(whole, splits={**whole.splits, "train": Split(train.x, train.y.astype(np.int32))}),
        replace(whole, splits={**whole.splits, "train": Split(train.x.reshape(4, 1, 4, 3), train.y)}),
        replace(whole, splits={"train": whole.splits["test"], "test": train}),
        replace(whole, label_names=("a", "c")),
        replace(whole, class_attributes=np.eye(2)),
        replace(whole, groups=y),
        replace(whole, splits={**whole.splits, "train": replace(train, group=y)}),
        replace(whole, splits={**whole.splits, "train": replace(train, group=y[::-1])}),
        replace(whole, group_names=("a", "b")),
    ]
    assert len({base, *map(domain_hash, others)}) == len(others) + 1


def run_code(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


# ---- making room -----------------------------------------------------------------------------------


def three_entries(folder: Path) -> tuple[DataCache, list[Path]]:
    """A cache with three entries of one size, used 3, 2 and 1 days ago; their folders in that order."""
    cache = cache_in(folder)
    paths: list[Path] = []
    for days in (3, 2, 1):
        cache.arrays(f"key {days}", Builder())
        (new,) = (p for p in (folder / "cache" / "arrays").iterdir() if p.is_dir() and p not in paths)
        os.utime(new, (time.time() - days * 86_400,) * 2)
        paths.append(new)
    return cache, paths


def test_what_was_not_used_for_long_goes_and_the_rest_stays(tmp_path: Path) -> None:
    _, paths = three_entries(tmp_path)
    assert [entry.path for entry in entries(tmp_path / "cache")] == paths
    assert all(entry.num_bytes > 50 * 48 for entry in entries(tmp_path / "cache"))
    removed = prune(tmp_path / "cache", older_than=1.5 * 86_400)
    assert [entry.path for entry in removed] == paths[:2]
    assert [p for p in (tmp_path / "cache" / "arrays").iterdir() if p.is_dir()] == paths[2:]


def test_a_size_is_kept_by_removing_the_least_recently_used(tmp_path: Path) -> None:
    cache, paths = three_entries(tmp_path)
    cache.arrays("key 3", Builder())  # read again: now the most recently used
    size = entries(tmp_path / "cache")[0].num_bytes
    assert [entry.path for entry in prune(tmp_path / "cache", max_bytes=2 * size + 100)] == [paths[1]]
    assert prune(tmp_path / "cache", max_bytes=2 * size + 100) == []
    assert len(prune(tmp_path / "cache", max_bytes=0)) == 2
    build = Builder()
    assert same(cache.arrays("key 3", build), Builder()())
    assert build.calls == 1
    with pytest.raises(ValueError, match="max_bytes must not be negative"):
        prune(tmp_path / "cache", max_bytes=-1)


def test_arrays_that_are_being_read_stay_readable_when_their_entry_goes(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    held = cache.arrays("key", Builder())
    assert len(prune(tmp_path / "cache", older_than=0)) == 1
    assert same(held, Builder()())
    assert entry_files(tmp_path) == []


def test_an_entry_that_a_process_is_building_is_left_alone(tmp_path: Path) -> None:
    import fcntl

    _, paths = three_entries(tmp_path)
    with paths[0].with_suffix(".lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert [entry.path for entry in prune(tmp_path / "cache", max_bytes=0)] == paths[1:]
    assert [entry.path for entry in entries(tmp_path / "cache")] == [paths[0]]


READERS = """
import sys, time
from pathlib import Path
import numpy as np
from tlbench.data.cache import DataCache
folder, end = Path(sys.argv[1]), time.monotonic() + 3
(folder / f"ready-{sys.argv[2]}").touch()
reads = 0
while time.monotonic() < end:
    for k in range(4):
        cache = DataCache(folder / "cache", None, folder)
        x = cache.arrays(f"key {k}", lambda: {"x": np.full(20_000, k)})["x"]
        assert (x == k).all()
        assert cache.warnings == [], cache.warnings
        reads += 1
assert reads > 20
"""


def test_workers_read_on_while_the_cache_is_emptied_again_and_again(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", READERS, str(tmp_path)]
    readers = [subprocess.Popen([*command, name], env=environment()) for name in ("a", "b")]
    removed = 0
    while any(reader.poll() is None for reader in readers):
        removed += len(prune(tmp_path / "cache", max_bytes=0))
        time.sleep(0.002)
    assert [reader.returncode for reader in readers] == [0, 0]
    assert removed > 5


def test_the_command_tells_and_makes_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, paths = three_entries(tmp_path)
    at = ["--cache", str(tmp_path / "cache")]
    assert cli.main(["cache", "info", *at]) == 0
    told = capsys.readouterr().out
    assert "3 entries" in told
    assert "3.0 days ago" in told
    assert cli.main(["cache", "prune", *at]) == 1
    assert "--older-than DAYS" in capsys.readouterr().err
    assert cli.main(["cache", "prune", "--max-size", "-1", *at]) == 1
    assert "must not be negative" in capsys.readouterr().err
    assert cli.main(["cache", "prune", "--older-than", "1.5", "--json", *at]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["removed"]["entries"], said["left"]["entries"]) == (2, 1)
    assert [p for p in (tmp_path / "cache" / "arrays").iterdir() if p.is_dir()] == paths[2:]
    assert cli.main(["cache", "info", "--json", "--cache", str(tmp_path / "none")]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == 0
    assert cli.main(["cache", "verify", "--cache", str(tmp_path / "none")]) == 1, (
        "a slip is not taken for a sound cache"
    )
    assert "no such folder" in capsys.readouterr().err


def test_a_cache_with_a_limit_makes_room_for_what_is_written_and_not_of_it(tmp_path: Path) -> None:
    _, paths = three_entries(tmp_path)
    size = entries(tmp_path / "cache")[0].num_bytes
    limited = DataCache(tmp_path / "cache", None, tmp_path, limit=int(2.5 * size))
    oldest = limited.arrays("key 3", Builder())  # used now: the one of two days ago goes first
    limited.arrays("key 0", Builder())
    there = [entry.path for entry in entries(tmp_path / "cache")]
    assert len(there) == 2
    assert there[0] == paths[0]
    assert not set(paths[1:]) & set(there)
    limited.limit = 1
    new = limited.arrays("key -1", Builder())
    assert len(entries(tmp_path / "cache")) == 1, "what was just written stays, however little it is"
    assert {name: array.tolist() for name, array in oldest.items()} == {name: a.tolist() for name, a in new.items()}
    again = Builder()
    limited.arrays("key -1", again)
    assert again.calls == 0


def test_a_limit_takes_no_measurement_for_last_digits_depend_on_it(tmp_path: Path) -> None:
    from tlbench.execution.side_by_side import Measured

    decide = Measured(tmp_path / "cache" / "fusing", "cpu", 1)
    assert decide({"seeds": 2}, lambda: 2.0)
    limited = DataCache(tmp_path / "cache", None, tmp_path, limit=1)
    for key in ("a", "b"):
        limited.arrays(key, Builder())
    assert [entry.is_data for entry in entries(tmp_path / "cache")].count(True) == 1
    assert decide({"seeds": 2}, lambda: 0.0), "kept, and so not measured again"


def test_a_run_within_a_small_cache_says_what_one_without_a_limit_says(tmp_path: Path) -> None:
    from tlbench.results.store import RunFolder

    (tmp_path / "suite.yaml").write_text(
        "tlbench: 1\nname: small\nsources: [digits]\n"
        "targets: [{name: digits, shift: rotated}, {name: digits, shift: noisy}]\n"
        "tasks: [{name: fine-tuning, labels: 5}]\nbackbones: [{name: mlp, hidden: [8]}]\n"
        "strategies: [fine-tune]\nseeds: 1\nrecipe: {steps: 4, curve_points: 1}\n"
    )
    found = []
    for name, limit in (("limited", ["--cache-limit", "1e-9"]), ("whole", [])):
        where = ["--cache", str(tmp_path / name), "--out", str(tmp_path / f"{name}-run"), "--device", "cpu"]
        words = ["run", str(tmp_path / "suite.yaml"), "--no-plugins", "--executor", "in-process", "--quiet"]
        assert cli.main([*words, *where, *limit]) == 0
        records = RunFolder.open(tmp_path / f"{name}-run").records()
        found.append({key: (str(r.status), r.metrics) for key, r in records.items()})
    assert found[0] == found[1]
    assert {status for status, _ in found[0].values()} == {"ok"}
    assert len(entries(tmp_path / "limited")) == 1 < len(entries(tmp_path / "whole"))


def test_measurements_of_fusing_are_told_and_go_as_the_data_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kept by what keeps them in a run, two days ago and now; and one half-written by a process that was killed."""
    from tlbench.execution.side_by_side import Measured

    three_entries(tmp_path)
    folder = tmp_path / "cache" / "fusing"
    decide = Measured(folder, "cpu", 1)
    long_ago = (time.time() - 2 * 86_400,) * 2
    for seeds in (2, 3):
        assert decide({"seeds": seeds}, lambda: 2.0)
    for path in [*folder.iterdir(), folder / "half.1.partial"]:
        path.touch()
        os.utime(path, long_ago)
    assert decide({"seeds": 3}, lambda: 0.0), "kept, and so not measured again"
    at = ["--cache", str(tmp_path / "cache")]
    size = sum(path.stat().st_size for path in folder.glob("*.json"))

    assert cli.main(["cache", "info", "--json", *at]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["entries"] == 3
    assert told["fusing"] == {"entries": 2, "bytes": size}
    assert cli.main(["cache", "info", *at]) == 0
    assert f"3 entries, 0.01 MiB, and 2 measurements of fusing, {size / 1024:.1f} KiB" in capsys.readouterr().out

    assert cli.main(["cache", "prune", "--older-than", "1.5", *at]) == 0
    said = capsys.readouterr().out
    assert "removed 2 entries" in said
    assert "and 1 measurement of fusing" in said.split(";")[0]
    (kept,) = folder.iterdir()
    assert json.loads(kept.read_text())["seeds"] == 3, "the one that was used"
    assert cli.main(["cache", "prune", "--max-size", "0", *at]) == 0
    assert entries(tmp_path / "cache") == []
    assert list(folder.iterdir()) == []
    assert not decide({"seeds": 3}, lambda: 0.5), "gone, and so measured again"


# ---- what rots -------------------------------------------------------------------------------------


def rot(path: Path) -> None:
    """Another bit, at the size and the time that the file had."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_bit_that_rots_is_not_seen_by_a_run_and_is_found_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache, paths = three_entries(tmp_path)
    at = ["--cache", str(tmp_path / "cache")]
    assert cli.main(["cache", "verify", *at]) == 0
    assert "3 entries, 0.01 MiB; none damaged" in capsys.readouterr().out

    rot(paths[1] / "0.npy")
    before = {p: p.stat().st_mtime_ns for p in [*entry_files(tmp_path), *paths]}
    assert cli.main(["cache", "verify", *at]) == 2
    told = capsys.readouterr().out
    assert f"{paths[1]}: x/train (0.npy) has another content than was written\n" in told
    assert "1 damaged" in told
    assert "--prune" in told
    assert {p: p.stat().st_mtime_ns for p in [*entry_files(tmp_path), *paths]} == before, "nothing is touched"
    build = Builder()
    assert not same(cache.arrays("key 2", build), Builder()()), "else this test shows nothing"

    assert cli.main(["cache", "verify", "--prune", "--json", *at]) == 2
    said = json.loads(capsys.readouterr().out)
    assert [(one["entry"], one["removed"]) for one in said["damaged"]] == [(str(paths[1]), True)]
    assert said["entries"] == 3
    assert not paths[1].exists()
    assert cli.main(["cache", "verify", *at]) == 0
    assert same(cache.arrays("key 2", build), Builder()())
    assert build.calls == 1


def test_everything_that_can_be_wrong_with_an_entry_is_said(tmp_path: Path) -> None:
    from tlbench.data.damage import damaged

    _, paths = three_entries(tmp_path)
    manifest = paths[0] / "manifest.json"
    whole = manifest.read_text()
    folder = tmp_path / "cache" / "fusing"
    folder.mkdir()
    for name, text in (("good", '{"gain": 1.5}'), ("cut", '{"gain": 1.'), ("nan", '{"gain": NaN}')):
        (folder / f"{name}.json").write_text(text)
    for text in ("{", "[]", '{"format": 1, "key": "key 3", "arrays": {"y": {}}}'):
        manifest.write_text(text)
        said = {d.entry.path.name: d.why for d in damaged(tmp_path / "cache")}
        assert said == {
            paths[0].name: "manifest.json cannot be understood",
            "cut.json": "holds no measurement",
            "nan.json": "holds no measurement",
        }
    for name in ("cut", "nan"):
        (folder / f"{name}.json").unlink()
    manifest.write_text(whole.replace('"key 3"', '"key 4"'))
    assert [d.why for d in damaged(tmp_path / "cache")] == ["manifest.json is of another entry"]
    manifest.write_text(whole.replace('"format": 1', '"format": 99'))
    assert damaged(tmp_path / "cache") == [], "of another version, which is not ours to judge"
    manifest.write_text(whole)
    (paths[0] / "1.npy").unlink()
    assert [d.why for d in damaged(tmp_path / "cache")] == ["y (1.npy) is missing"]
    with (paths[1] / "0.npy").open("ab") as file:
        file.write(b"more")
    size = (paths[1] / "0.npy").stat().st_size
    said = {d.entry.path: d.why for d in damaged(tmp_path / "cache")}
    assert said[paths[1]] == f"x/train (0.npy) has {size:,} bytes and was written with {size - 4:,}"


def test_an_array_that_entries_share_is_damaged_in_each_of_them(tmp_path: Path) -> None:
    from tlbench.data.damage import damaged

    cache = cache_in(tmp_path)
    first = cache.arrays("key", Builder())
    cache.arrays("another", lambda: first)
    shared = [path for path in entry_files(tmp_path) if path.stat().st_nlink == 2]
    assert len(shared) > 1
    assert damaged(tmp_path / "cache") == []
    rot(next(path for path in shared if path.name == "0.npy"))
    found = damaged(tmp_path / "cache")
    assert len(found) == 2
    assert {d.why for d in found} == {"x/train (0.npy) has another content than was written"}


PRUNER = """
import sys, time
from pathlib import Path
from tlbench.data.entries import prune
cache, end, removed = Path(sys.argv[1]) / "cache", time.monotonic() + 4, 0
while time.monotonic() < end:
    removed += len(prune(cache, max_bytes=0))
    time.sleep(0.002)
assert removed > 5
"""


def test_entries_that_are_taken_away_while_they_are_read_are_no_damage(tmp_path: Path) -> None:
    from tlbench.data.damage import damaged

    python = [sys.executable, "-W", "error", "-c"]
    reader = subprocess.Popen([*python, READERS, str(tmp_path), "a"], env=environment())
    pruner = subprocess.Popen([*python, PRUNER, str(tmp_path)], env=environment())
    looked = 0
    while pruner.poll() is None:
        assert damaged(tmp_path / "cache") == []
        looked += 1
    assert (reader.wait(60), pruner.returncode) == (0, 0)
    assert looked > 20
