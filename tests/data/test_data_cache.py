"""The cache of arrays: built once, whole or absent, mended where damaged, never a reason to fail."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tlbench.api.data import Array, Domain, Split
from tlbench.data.cache import DataCache, available_memory, domain_hash, pack, unpack
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
