"""Examples that stay on the disk: the same rows as in memory, in bounded memory; files that are moved and linked."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tlbench.api.data import Array, Domain, Split
from tlbench.api.types import InputTransform
from tlbench.data import rows as rows_module
from tlbench.data.cache import DataCache, domain_hash
from tlbench.data.entries import entries, prune
from tlbench.data.images import Images, Layout, decode
from tlbench.data.inputs import resize, to_tensors
from tlbench.data.rows import Rows, pieces, release
from tlbench.errors import DataError

X = np.random.default_rng(0).integers(0, 256, (200, 3, 5, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Array:
    path = tmp_path_factory.mktemp("rows") / "x.npy"
    np.save(path, X)
    found: Array = np.load(path, mmap_mode="r")
    return found


chosen = st.one_of(
    st.slices(200),
    st.lists(st.integers(-200, 199), max_size=30).map(lambda rows: np.array(rows, dtype=np.int64)),
    st.lists(st.booleans(), min_size=200, max_size=200).map(np.array),
)


@given(chosen, st.data())
def test_rows_of_rows_are_what_an_array_gives(mapped: Array, first: Any, data: st.DataObject) -> None:
    one, x = Rows(mapped, 0)[first], X[first]
    assert (one.shape, one.dtype, one.ndim, one.nbytes, one.size, len(one)) == (
        x.shape, x.dtype, x.ndim, x.nbytes, x.size, len(x)
    )  # fmt: skip
    assert np.array_equal(np.asarray(one), x)
    if len(x):
        second = data.draw(st.lists(st.integers(0, len(x) - 1), max_size=20).map(lambda r: np.array(r, dtype=np.int64)))
        assert np.array_equal(np.asarray(one[second]), x[second])
        assert np.array_equal(one.read(second), x[second])
        assert np.array_equal(one[int(len(x) // 2)], x[len(x) // 2])
        assert np.array_equal(one[:, 1], x[:, 1])
    assert torch.equal(to_tensors(one, torch.device("cpu")), torch.from_numpy(x.copy()))


def test_what_is_read_is_the_readers_own(mapped: Array) -> None:
    view = Rows(mapped, 0)
    for copy in (np.asarray(view), view.read(slice(0, 5)), view[3], to_tensors(view[:4], torch.device("cpu")).numpy()):
        copy[:] = 0
    assert np.array_equal(mapped, X)
    with pytest.raises(ValueError, match="without a copy"):
        view.__array__(copy=False)


def test_a_row_that_is_not_there_is_an_error(mapped: Array) -> None:
    for wrong in ([200], [-1]):
        with pytest.raises(IndexError):
            Rows(mapped, 0).read(np.array(wrong))
    with pytest.raises(IndexError):
        Rows(mapped, 0)[np.array([200])]


@pytest.mark.parametrize("array", [X, X[::2], X[:0], X.reshape(200, -1)[:, :7], np.arange(10), np.zeros((3, 0))])
def test_pieces_put_together_are_the_array(array: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "PIECE", 100)
    together = b"".join(piece.tobytes() for piece in pieces(array))
    assert together == array.tobytes()
    if len(array):
        assert together == b"".join(piece.tobytes() for piece in pieces(Rows(array, 0)))


def test_pages_are_given_back_and_what_was_written_to_them_is_kept(tmp_path: Path) -> None:
    array = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(1000, 4096))
    array[:] = 7
    assert resident(array) > 900 * 4096
    release(array)
    assert resident(array) < 100_000
    assert (array[::100] == 7).all()
    release(np.zeros(3))  # in memory: nothing happens


def resident(array: Array) -> int:
    """Bytes of the mapping that count as this process's memory."""
    name = Path(array.filename).name  # type: ignore[attr-defined]
    sizes, mine = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            mine = line.endswith(f"/{name}")
        elif mine and line.startswith("Rss:"):
            sizes += 1024 * int(line.split()[1])
    return sizes


# ---- the cache's files -----------------------------------------------------------------------------


def filled(cache: DataCache, shape: tuple[int, ...] = (50, 8)) -> Array:
    array = cache.empty(shape, np.uint8, "numbers")
    array[:] = np.arange(np.prod(shape)).reshape(shape) % 251
    return array


def test_a_file_that_build_fills_becomes_the_entry_without_a_copy(tmp_path: Path) -> None:
    cache, inodes = DataCache(tmp_path / "cache", None, tmp_path, memory_limit=1), []

    def build() -> dict[str, Array]:
        array = filled(cache)
        inodes.append(Path(array.filename).stat().st_ino)  # type: ignore[attr-defined]
        cache.empty((9,), np.int64, "left over")
        return {"x": array, "part": array[:20], "y": np.arange(3)}

    found = cache.arrays("key", build)
    assert np.array_equal(found["x"].ravel(), np.arange(400) % 251)
    assert np.array_equal(found["part"], found["x"][:20])
    assert Path(found["x"].filename).stat().st_ino == inodes[0]  # type: ignore[attr-defined]
    assert not found["x"].flags.writeable
    assert [p.name for p in (tmp_path / "cache" / "arrays").iterdir() if p.name.startswith(".")] == []
    assert np.array_equal(DataCache(tmp_path / "cache", None, tmp_path).arrays("key", dict)["x"], found["x"])


def test_nothing_is_left_of_a_build_that_fails(tmp_path: Path) -> None:
    cache = DataCache(tmp_path / "cache", None, tmp_path)

    def build() -> dict[str, Array]:
        filled(cache)
        raise DataError("a corrupt image")

    with pytest.raises(DataError, match="corrupt"):
        cache.arrays("key", build)
    assert {p.suffix for p in (tmp_path / "cache" / "arrays").iterdir()} == {".lock"}


def test_where_no_file_can_be_made_memory_serves_within_the_limit(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    enough, little = (DataCache(tmp_path / "cache", None, tmp_path, limit) for limit in (400, 399))
    assert np.array_equal(enough.arrays("key", lambda: {"x": filled(enough)})["x"].ravel(), np.arange(400) % 251)
    assert "cannot be written" in enough.warnings[0]
    with pytest.raises(DataError, match="numbers needs"):
        little.arrays("key", lambda: {"x": filled(little)})
    with pytest.raises(DataError, match="numbers needs"):  # outside of a build there is no file to fill
        DataCache(tmp_path / "other", None, tmp_path, 399).empty((400,), np.uint8, "numbers")


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    cache = DataCache(tmp_path / "cache", None, tmp_path, 400)
    assert np.array_equal(cache.arrays("key", lambda: {"x": filled(cache)})["x"].ravel(), np.arange(400) % 251)
    assert "No space left on device" in cache.warnings[0]
    assert [p.name for p in (tmp_path / "cache" / "arrays").iterdir() if p.name.startswith(".")] == []


def test_an_entry_made_of_anothers_files_shares_them_and_counts_them_once(tmp_path: Path) -> None:
    cache = DataCache(tmp_path / "cache", None, tmp_path)
    first = cache.arrays("first", lambda: {"x": X, "y": np.arange(200)})
    alone = sum(entry.num_bytes for entry in entries(tmp_path / "cache"))
    second = cache.arrays("second", lambda: {"again": first["x"], "less": first["x"][:3]})
    assert np.array_equal(second["again"], X)
    assert np.array_equal(second["less"], X[:3])
    assert Path(second["again"].filename).samefile(first["x"].filename)  # type: ignore[attr-defined]
    both = sum(entry.num_bytes for entry in entries(tmp_path / "cache"))
    assert alone < both < alone + X.nbytes // 2
    assert len(prune(tmp_path / "cache", max_bytes=X.nbytes)) == 1
    assert np.array_equal(cache.arrays("second", dict)["again"], X)


def test_a_damaged_file_is_not_taken_over(tmp_path: Path) -> None:
    cache = DataCache(tmp_path / "cache", None, tmp_path)
    first = cache.arrays("first", lambda: {"x": X.copy()})
    path = Path(first["x"].filename)  # type: ignore[attr-defined]
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)
    cache.arrays("second", lambda: {"x": X.copy()})
    assert np.array_equal(cache.arrays("first", lambda: {"x": X.copy()})["x"], X)
    assert np.array_equal(cache.arrays("second", dict)["x"], X)


# ---- images ----------------------------------------------------------------------------------------


def photographs(folder: Path, count: int) -> list[Path]:
    rng, paths = np.random.default_rng(1), []
    for i in range(count):
        paths.append(folder / f"{i}.jpg")
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        small.resize((90 + i % 7, 70)).save(paths[-1])
    return paths


def test_threads_decode_what_one_after_the_other_does_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, form, found = photographs(tmp_path, 60), Layout(3, 32, 32, True, ""), []
    for count in (1, 2, 7):
        monkeypatch.setattr("tlbench.data.images.cores", lambda n=count: n)
        cache = DataCache(tmp_path / f"cache{count}", None, tmp_path, memory_limit=1)
        images = Images("photographs", 60, lambda: paths)
        found.append(cache.arrays("key", lambda c=cache, i=images: {"x": decode(i, form, c)})["x"])  # type: ignore[misc]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert len(np.unique(found[0].reshape(60, -1), axis=0)) == 60


@pytest.mark.parametrize("second", ["unreadable", "cut"])
def test_of_several_corrupt_images_the_first_is_named(tmp_path: Path, second: str) -> None:
    paths = photographs(tmp_path, 30)
    paths[11].write_bytes(paths[11].read_bytes()[:600])
    paths[14].write_bytes(b"no image" if second == "unreadable" else paths[14].read_bytes()[:600])
    with pytest.raises(DataError, match="row 11 "):
        decode(Images("set", 30, lambda: paths), Layout(3, 32, 32, True, ""), DataCache(tmp_path / "c", None, tmp_path))


def test_images_come_to_a_backbones_size_alike_in_any_number_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = InputTransform(9, 1, (0.5,), (0.5,))
    whole = resize(X, transform)
    part = torch.from_numpy(X).float()
    grey = (part * part.new_tensor((0.299, 0.587, 0.114))[:, None, None]).sum(1, keepdim=True)
    at_once = torch.nn.functional.interpolate(grey, (9, 9), mode="bilinear", align_corners=False, antialias=True)
    assert np.array_equal(whole, at_once.round().clamp(0, 255).to(torch.uint8).numpy())
    for piece, count in ((1, 1), (3000, 3)):
        monkeypatch.setattr("tlbench.data.inputs.PIECE", piece)
        monkeypatch.setattr("tlbench.data.inputs.cores", lambda n=count: n)
        out = np.empty_like(whole)
        assert resize(X, transform, out) is out
        assert np.array_equal(out, whole)


# ---- memory ----------------------------------------------------------------------------------------

FILL = """
import json, sys
from pathlib import Path
import numpy as np
from tlbench.api.data import Domain, Split
from tlbench.data.cache import DataCache, domain_hash
from tlbench.data.rows import Rows, release

def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])  # of this program alone, unlike ru_maxrss

count = int(sys.argv[2])
cache = DataCache(Path(sys.argv[1]), None, Path("."), memory_limit=1)
before = peak()

def build():
    x = cache.empty((count, 3, 32, 32), np.uint8, "x")
    for begin in range(0, count, 1000):
        x[begin : begin + 1000] = begin // 1000
        release(x)
    return {"x": x, "y": np.zeros(count, np.int64)}

found = cache.arrays("key", build)
again = cache.arrays("again", lambda: dict(found))
content = domain_hash(Domain("d", {"train": Split(found["x"], found["y"])}, ("a",), "image"))
view, rng = Rows(again["x"], 1), np.random.default_rng(0)
total = 0
for _ in range(count // 100):
    rows = rng.integers(0, count, 100)
    total += int(view.read(rows)[:, 0, 0, 0].sum()) - int((rows // 1000 % 256).sum())
print(json.dumps({"more": peak() - before, "bytes": found["x"].nbytes, "wrong": total, "content": content}))
"""


def test_a_data_set_is_written_hashed_and_read_in_memory_that_does_not_grow_with_it(tmp_path: Path) -> None:
    found = []
    for count in (20_000, 100_000):
        command = [sys.executable, "-c", FILL, str(tmp_path / f"cache{count}"), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
        found.append(json.loads(done.stdout))
    small, large = found
    assert large["bytes"] == 307_200_000
    assert small["wrong"] == large["wrong"] == 0
    assert max(small["more"], large["more"]) < 100e6  # 32 rows, with the 2 MiB around each


def test_the_hash_of_a_domain_is_the_same_on_the_disk_and_in_memory(mapped: Array) -> None:
    y = np.arange(200)
    both = (Domain("d", {"train": Split(x, y)}, ("a",), "image") for x in (X, mapped))
    assert len({domain_hash(domain) for domain in both}) == 1
