"""What changes between two runs of one folder: data, weights. Nothing old is compared with anything new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tlbench.api.records import Status
from tlbench.cli import main
from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
tlbench: 1
name: changes
datasets: {{mine: {{name: image-folder, folder: images}}}}
sources: [{{name: digits, shift: inverted}}]
targets: [mine]
tasks: [{{name: fine-tuning, labels: 3}}]
backbones: [{{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}}]
strategies: {strategies}
seeds: 1
recipe: {{steps: 10, batch_size: 8, curve_points: 2}}
"""


def put_image(folder: Path, label: str, number: int) -> None:
    place = folder / "images" / label
    place.mkdir(parents=True, exist_ok=True)
    level = 40 if label == "dark" else 200
    pixels = np.random.default_rng(number).integers(level - 30, level + 30, size=(8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(place / f"{number}.png")


def run(folder: Path, strategies: str) -> int:
    (folder / "changes.yaml").write_text(SUITE.format(strategies=strategies))
    where = ["--out", str(folder / "run"), "--cache", str(folder / "cache")]
    return main(["run", str(folder / "changes.yaml"), "--no-plugins", "--executor", "in-process", *where])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("dark", "light"):
        for number in range(12):
            put_image(tmp_path, label, number)
    assert run(tmp_path, "[fine-tune]") == 0
    return tmp_path


def contents(folder: Path) -> set[str]:
    """The hashes of the target's content that the ok trials of the last records used."""
    records = RunFolder.open(folder / "run").records().values()
    return {r.data["target"]["content"] for r in records if r.trial["kind"] == "trial" and r.status == Status.OK}


def test_results_on_changed_data_are_never_compared_with_those_on_the_old(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_image(folder, "dark", 100)
    capsys.readouterr()
    assert run(folder, "[fine-tune, l2-sp]") == 3  # the reference and fine-tune must be done again
    said = capsys.readouterr().out
    assert "the data of 3 stored results have changed since" in said
    assert len(contents(folder)) == 2
    assert run(folder, "[fine-tune, l2-sp]") == 0
    assert len(contents(folder)) == 1
    capsys.readouterr()
    assert run(folder, "[fine-tune, l2-sp]") == 0
    assert "have changed" not in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["deleted", "truncated", "changed"])
def test_weights_that_are_not_those_of_their_record_are_made_again(folder: Path, damage: str) -> None:
    (path,) = (folder / "run" / "weights").iterdir()
    before = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(before[:1000] if damage == "truncated" else before[:-1] + bytes([before[-1] ^ 1]))
    assert run(folder, "[fine-tune, {name: fine-tune, train: head}]") == 0
    assert path.read_bytes() == before  # the same training gives the same weights, to the bit
