"""A data set is looked at once when it is loaded; what is wrong with it is said of it, and costs its trials only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tlbench import cli
from tlbench.api.data import Domain, Split
from tlbench.data.rows import Rows
from tlbench.data.soundness import require_sound
from tlbench.errors import DataError
from tlbench.results.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

Y = np.arange(12) % 3


def images() -> Domain:
    x = np.random.default_rng(0).integers(0, 256, (12, 1, 8, 8), dtype=np.uint8)
    return Domain("d", {"train": Split(x, Y), "test": Split(x.copy(), Y.copy())}, ("a", "b", "c"), "image")


def features() -> Domain:
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    return Domain("d", {"train": Split(x, Y), "test": Split(x.copy(), Y.copy())}, ("a", "b", "c"), "features")


def graph() -> Domain:
    splits = {n: Split({"attributes": np.ones((12, 5), np.float32), "node": Y}, Y) for n in ("train", "test")}
    return Domain("d", splits, ("a", "b", "c"), "graph")


def with_test(domain: Domain, **changed: Any) -> Domain:
    return replace(domain, splits={**domain.splits, "test": replace(domain.splits["test"], **changed)})


def spoilt(x: Any, value: float) -> Any:
    x = x.copy()
    x[7, 2] = value
    return x


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: [d], r"load\(\) returned a list; return a tlbench.Domain"),
        (lambda d: replace(d, kind="images"), "kind is 'images'; it must be 'image', 'features' or 'graph'"),
        (lambda d: replace(d, splits={"train": d.splits["train"]}), r"this one has \['train'\]"),
        (lambda d: replace(d, label_names=()), "label_names is empty"),
        (lambda d: replace(d, splits={**d.splits, "test": (1, 2)}), "the split test is a tuple; make it a tlbench.Spl"),
        (lambda d: with_test(d, x=d.splits["test"].x / 255), r"test is float64, expected uint8 .* 0 \.\. 255"),
        (
            lambda d: with_test(d, x=d.splits["test"].x[:, 0]),
            r"images of test have shape \[12, 8, 8\]; expected \[N, ch",
        ),
        (lambda d: with_test(d, x=d.splits["test"].x[:11]), "test has 11 examples and 12 labels"),
        (lambda d: with_test(d, x=d.splits["test"].x[..., :7]), r"have shape \(1, 8, 7\), those of train \(1, 8, 8\)"),
        (lambda d: with_test(d, x=d.splits["test"].x.tolist()), "the examples of test are a list"),
        (lambda d: with_test(d, y=Y.tolist()), "labels of test are a list"),
        (lambda d: with_test(d, y=Y[:, None]), r"labels of test have shape \[12, 1\]"),
        (
            lambda d: with_test(d, y=Y.astype(np.float32)),
            r"labels of test are float32, expected int64; .*astype\(np.int64",
        ),
        (lambda d: with_test(d, y=Y + 1), r"beyond its 3 classes: 1 \.\. 3, .* labels start at 0: subtract 1"),
        (
            lambda d: with_test(d, y=Y + 4),
            r"beyond its 3 classes: 4 \.\. 6, and label_names has 3 names; name every class",
        ),
        (lambda d: with_test(d, y=Y - 1), r"negative labels \(-1\); labels are 0 \.\. 2"),
        (lambda d: with_test(d, x=d.splits["test"].x[:0], y=Y[:0]), "the split test is empty"),
        (lambda d: replace(d, class_attributes=np.ones((2, 5))), "class_attributes has 2 rows and label_names 3 names"),
        (
            lambda d: replace(d, class_attributes=np.full((3, 5), np.nan)),
            "class_attributes has values that are not fin",
        ),
        (lambda d: with_test(d, group=Y), "groups of examples go into every split"),
    ],
)
def test_each_fault_of_images_is_said_with_the_data_set_the_field_and_the_remedy(
    make: Callable[[Domain], Domain], words: str
) -> None:
    require_sound(images(), "mine")
    with pytest.raises(DataError, match=f"the data set 'mine': .*{words}"):
        require_sound(make(images()), "mine")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_found_and_large_ones_are_no_fault(value: float) -> None:
    domain = features()
    x = domain.splits["test"].x
    require_sound(with_test(domain, x=spoilt(x, 3e38) * np.sign(spoilt(x, 3e38))), "mine")
    require_sound(with_test(domain, x=np.full((12, 4), 3e38, np.float32)), "mine")  # their sum is infinite
    with pytest.raises(DataError, match="test has values that are not finite"):
        require_sound(with_test(domain, x=spoilt(x, value)), "mine")
    parts = {"attributes": spoilt(np.ones((12, 5), np.float32), value), "node": Y}
    with pytest.raises(DataError, match=r"test \(attributes\) has values that are not finite"):
        require_sound(with_test(graph(), x=parts), "mine")
    with pytest.raises(DataError, match=r"have the parts \['node'\], those of train \['attributes', 'node'\]"):
        require_sound(with_test(graph(), x={"node": Y}), "mine")


def test_of_large_arrays_on_the_disk_no_value_is_read_but_labels(tmp_path: Path) -> None:
    """With a NaN in it, which is found where it is looked for; type and sizes count all the same."""
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(12, 2_000_000))
    x[3, 5] = np.nan
    whole = features()
    splits = {name: replace(split, x=x) for name, split in whole.splits.items()}
    for kept in (x, Rows(x, 1 << 20)):
        large = replace(whole, splits={name: replace(split, x=kept) for name, split in splits.items()})  # type: ignore[arg-type]
        require_sound(large, "mine")
        with pytest.raises(DataError, match="not finite"):
            require_sound(large, "mine", thorough=True)
        with pytest.raises(DataError, match="beyond its 3 classes"):
            require_sound(with_test(large, y=Y + 1), "mine")
        with pytest.raises(DataError, match="12 examples and 11 labels"):
            require_sound(with_test(large, y=Y[1:]), "mine")


PLUGIN = """
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from tlbench import Domain, Split, hookimpl

@dataclass(frozen=True)
class FromOne:
    "Digits whose labels start at 1."
    name: ClassVar[str] = "from-one"
    def load(self, cache):
        x = np.random.default_rng(0).integers(0, 256, (100, 1, 8, 8), dtype=np.uint8)
        y = np.arange(100) % 10 + 1
        names = tuple("0123456789")
        return Domain("from-one", {"train": Split(x, y), "test": Split(x.copy(), y.copy())}, names, "image")

@hookimpl
def tlbench_datasets():
    return [FromOne]
"""

SUITE = """
tlbench: 1
name: tiny
sources: [{name: digits, shift: inverted}]
targets: [from-one, digits]
tasks: [{name: fine-tuning, labels: 5}]
backbones: [{name: small-cnn, size: 8, channels: 1, width: 4, depth: 2}]
strategies: [linear-probe]
seeds: 1
recipe: {steps: 5, batch_size: 16, curve_points: 1}
"""


def test_trials_on_an_unsound_data_set_fail_with_that_reason_and_the_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plugin.py").write_text(PLUGIN)
    Path("tiny.yaml").write_text(SUITE)
    words = "run tiny.yaml --no-plugins -p plugin.py --executor in-process --cache cache --out run --quiet"
    assert cli.main(words.split()) == 2
    assert "Traceback" not in "".join(capsys.readouterr())
    records = RunFolder.open(Path("run")).records().values()
    assert records
    for record in records:
        if record.trial["target"]["name"] != "from-one":
            assert record.status == "ok"
            continue
        assert record.status == "failed"
        assert record.reason == (
            "the data set 'from-one': the split train has labels beyond its 10 classes: 1 .. 10, and label_names has "
            "10 names; labels start at 0: subtract 1"
        )
    assert {record.status for record in records} == {"ok", "failed"}
