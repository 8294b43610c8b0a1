"""The bench: what trials of one process share, and what of it another process needs."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from tlbench.api.trials import Choice, Trial
from tlbench.api.types import InputTransform
from tlbench.builtin.digits import Digits
from tlbench.data.cache import DataCache
from tlbench.errors import TrialError
from tlbench.execution.bench import Bench, make_spec
from tlbench.plugins import Plugins

if TYPE_CHECKING:
    from collections.abc import Callable

PARAMS = {"shift": "none", "angle": 25.0, "noise": 0.3, "classes": None, "half": "all"}
DIGITS = Choice("digits", "digits", PARAMS)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "base").mkdir()
    return Bench(
        make_spec(
            plugins=Plugins.discover(entry_points=False),
            run=tmp_path / "run",
            base=tmp_path / "base",
            data_root=None,
            cache=tmp_path / "cache",
            suite="s",
            metrics=("accuracy",),
            device="cpu",
            threads=1,
        )
    )


def test_the_spec_is_plain_data_from_which_the_same_bench_is_made(bench: Bench) -> None:
    again = Bench(json.loads(json.dumps(bench.spec, allow_nan=False)))
    assert again.spec == bench.spec
    assert again.run.path == bench.run.path
    assert list(again.metrics) == ["accuracy"]
    assert set(again.plugins.offers("strategies")) == set(bench.plugins.offers("strategies"))
    assert again.describe(DIGITS).content == bench.describe(DIGITS).content


def test_a_domain_comes_back_as_its_data_set_gave_it_and_cannot_be_written_to(bench: Bench, tmp_path: Path) -> None:
    raw = Digits().load(DataCache(tmp_path / "other", None, tmp_path, None))
    domain = bench.domain(DIGITS, None)
    assert domain.label_names == raw.label_names
    for name, split in raw.splits.items():
        assert np.array_equal(domain.splits[name].x, split.x)  # type: ignore[arg-type]
        assert np.array_equal(domain.splits[name].y, split.y)
        with pytest.raises(ValueError, match="read-only"):
            domain.splits[name].y[0] = 3


def test_a_description_holds_no_examples(bench: Bench) -> None:
    loaded = bench.describe(DIGITS)
    assert all(len(s.y) == 0 for s in loaded.domain.splits.values())
    assert loaded.domain.shape.dims == (1, 8, 8)
    assert loaded.domain.num_classes == 10


def test_images_are_brought_to_the_backbones_size_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    transform = InputTransform(16, 3, (0.5,) * 3, (0.5,) * 3)
    first = bench.domain(DIGITS, transform)
    assert first.splits["train"].x.shape[1:] == (3, 16, 16)  # type: ignore[union-attr]
    monkeypatch.setattr("tlbench.execution.bench.resize", lambda *_: pytest.fail("resized again"))
    assert np.array_equal(bench.domain(DIGITS, transform).splits["test"].x, first.splits["test"].x)  # type: ignore[arg-type]
    assert np.array_equal(Bench(bench.spec).domain(DIGITS, transform).splits["test"].x, first.splits["test"].x)  # type: ignore[arg-type]


def test_relative_paths_begin_at_the_suite_and_the_threads_are_the_specs(bench: Bench) -> None:
    before, threads = Path.cwd(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with contextlib.suppress(LookupError), bench.at_home():
            assert Path.cwd() == bench.base
            assert torch.get_num_threads() == 1
            raise LookupError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert Path.cwd() == before


# ---- weights ---------------------------------------------------------------------------------------


def saved(bench: Bench) -> tuple[Trial, nn.Module, dict[str, Any]]:
    choice = Choice("x", "x", {})
    trial = Trial(None, choice, choice, choice, choice, choice, 0, kind="source-model")
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(3, 4).t())
    return trial, model, bench.save_weights(trial, model, {"shape": [3], "classes": ["a"], "data": "abc"})


def test_the_weights_of_a_source_model_come_back_with_what_was_said_of_them(bench: Bench) -> None:
    trial, model, said = saved(bench)
    state, about = bench.load_weights(trial.key)
    assert about == {"shape": [3], "classes": ["a"], "data": "abc"}
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    content = bench.run.weights(trial.key).read_bytes()
    assert said == {
        "file": f"weights/{trial.key}.safetensors",
        "bytes": len(content),
        "blake2b": hashlib.blake2b(content, digest_size=16).hexdigest(),
    }
    assert [p.name for p in (bench.run.path / "weights").iterdir()] == [f"{trial.key}.safetensors"]


@pytest.mark.parametrize("harm", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"\x80\x04pickle" * 40])
def test_damaged_weights_say_what_to_do(bench: Bench, harm: Callable[[bytes], bytes]) -> None:
    trial, _, _ = saved(bench)
    path = bench.run.weights(trial.key)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(TrialError, match=r"the source model .* cannot be read .*; delete it and run again"):
        bench.load_weights(trial.key)


def test_weights_that_are_not_there_say_so(bench: Bench) -> None:
    with pytest.raises(TrialError, match="cannot be read"):
        bench.load_weights("0" * 32)
