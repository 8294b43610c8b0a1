"""A training that is stopped goes on bit for bit; a damaged checkpoint costs time and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F

from tlbench.api.data import Pool
from tlbench.api.types import Turn
from tlbench.builtin.small_backbones import MLP, SmallCNN
from tlbench.functional import supervised
from tlbench.models.layout import channels_last
from tlbench.training.checkpoint import Checkpoints, Interrupted
from tlbench.training.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def one_phase(ctx: Any) -> nn.Module:
    model: nn.Module = ctx.classifier()
    ctx.train(supervised(model), update=model)
    return model


def two_phases(ctx: Any) -> nn.Module:
    """Head first, then all, with draws from every generator that a strategy may use in between."""
    model = ctx.classifier()
    model.backbone.requires_grad_(False)
    ctx.train(supervised(model), update=model.head, steps=13)
    model.backbone.requires_grad_(True)
    with torch.no_grad():
        model.head.bias.add_(torch.from_numpy(ctx.rng.normal(size=3)).float() + torch.randn(3))
    noise = ctx.rng.normal(size=8).astype("float32")

    def loss(batch: Any, step: Any) -> Any:
        draws = torch.from_numpy(ctx.rng.normal(size=len(batch)).astype("float32"))
        weights = torch.rand(len(batch)) + draws.abs()
        drift = model.backbone.net[0][0].bias - torch.from_numpy(noise)
        return {
            "task": (weights * F.cross_entropy(model(batch.x), batch.y, reduction="none")).mean(),
            "drift": 0.1 * drift.square().sum(),
        }

    ctx.train(loss, update=model)
    fitted: nn.Module = model
    return fitted


def game(ctx: Any) -> nn.Module:
    model = ctx.classifier()
    critic = nn.Linear(5, 1)
    with torch.no_grad():
        critic.weight.fill_(0.1)
        critic.bias.zero_()

    def verdict(batch: Any) -> Any:
        return critic(model.backbone(batch.x)).mean()

    ctx.take_turns(
        Turn(lambda t, s: F.cross_entropy(model(t.x), t.y), model),
        Turn(lambda t, o, s: verdict(t) - verdict(o), critic, on=("target", "source")),
        Turn(lambda t, o, s: verdict(o) - verdict(t), model.backbone, on=("target", "source"), times=2),
    )
    return nn.ModuleList([model, critic])


def stop_after(calls: int) -> Callable[[], bool]:
    """False so many times, and then true for ever."""
    left = [calls]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


def everything(ctx: Any, model: nn.Module) -> dict[str, Any]:
    tape = ctx.session.tape
    snapshots = [
        (s.step, s.first, s.point, {k: v.numpy().tobytes() for k, v in s.load().items()}) for s in tape.snapshots
    ]
    return {
        "weights": {k: v.numpy().tobytes() for k, v in model.state_dict().items()},
        "snapshots": snapshots,
        "losses": tape.losses,
        "loss_steps": tape.loss_steps,
        "steps": tape.steps,
        "examples": tape.examples,
        "rng": ctx.rng.bit_generator.state,
        "torch": torch.get_rng_state().tolist(),
    }


def resumed(make: Any, fit: Callable[[Any], nn.Module], folder: Path, stops: tuple[int, ...], **recipe: Any) -> Any:
    """Stop after so many calls of ``stop``, each time in a context of its own, and then go on to the end."""
    for calls in stops:
        with pytest.raises(Interrupted):
            fit(make(folder=folder, stop=stop_after(calls), **recipe))
    ctx = make(folder=folder, **recipe)
    found = everything(ctx, fit(ctx))
    assert ctx.session.checkpoints.resumed_from > 0
    return found


@pytest.mark.parametrize("fit", [one_phase, two_phases, game])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_stopped_training_goes_on_bit_for_bit(make_context: Any, tmp_path: Path, fit: Any, optimizer: str) -> None:
    recipe = {"optimizer": optimizer, "backbone": MLP(hidden=(8, 5), dropout=0.4), "warmup": 0.1, "clip_norm": 1.0}
    ctx = make_context(**recipe)
    unbroken = everything(ctx, fit(ctx))
    for number, stops in enumerate([(0,), (3, 5), (9, 0, 0), (21,)]):
        again = resumed(make_context, fit, tmp_path / str(number), stops, **recipe)
        for name, value in unbroken.items():
            assert again[name] == value, (name, stops)


def test_a_checkpoint_after_every_step_changes_nothing(make_context: Any, tmp_path: Path) -> None:
    plain = make_context()
    wanted = everything(plain, two_phases(plain))
    kept = make_context(folder=tmp_path, every=0.0)
    assert everything(kept, two_phases(kept)) == wanted
    assert kept.session.checkpoints.resumed_from == 0


def test_a_killed_training_goes_on_from_its_last_checkpoint(make_context: Any, tmp_path: Path) -> None:
    """An end without warning: an exception out of the loss, as late as the second phase."""

    class Killed(BaseException):
        pass

    unbroken = make_context()
    wanted = everything(unbroken, two_phases(unbroken))
    ordinary = F.cross_entropy
    for when in (4, 20, 33):
        ctx = make_context(folder=tmp_path / str(when), every=0.0)
        calls = [0]

        def dies(*args: Any, calls: list[int] = calls, when: int = when, **more: Any) -> Any:
            calls[0] += 1
            if calls[0] == when:
                raise Killed
            return ordinary(*args, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(F, "cross_entropy", dies)
            if when > 30:
                two_phases(ctx)
            else:
                with pytest.raises(Killed):
                    two_phases(ctx)
        again = make_context(folder=tmp_path / str(when), every=0.0)
        assert everything(again, two_phases(again)) == wanted
        assert again.session.checkpoints.resumed_from >= min(when - 1, 30)


@pytest.mark.parametrize(
    ("which", "harm"),
    [
        *[("phase-*", harm) for harm in ("empty", "garbage", "half", "no-metadata", "json", "gone")],
        *[("snapshot-*", harm) for harm in ("empty", "garbage", "half", "gone")],
    ],
)
def test_a_damaged_checkpoint_is_passed_over_and_the_training_done_again(
    make_context: Any, tmp_path: Path, harm: str, which: str
) -> None:
    unbroken = make_context()
    wanted = everything(unbroken, two_phases(unbroken))
    with pytest.raises(Interrupted):
        two_phases(make_context(folder=tmp_path, every=0.0, stop=stop_after(25)))
    files = sorted(tmp_path.glob(f"{which}.safetensors"))
    assert files
    for file in files:
        whole = file.read_bytes()
        if harm == "empty":
            file.write_bytes(b"")
        elif harm == "garbage":
            file.write_bytes(bytes(range(256)) * 20)
        elif harm == "half":
            file.write_bytes(whole[: len(whole) // 2])
        elif harm == "no-metadata":
            file.write_bytes(whole.replace(b"__metadata__", b"__metadatb__"))
        elif harm == "json":
            file.write_bytes(whole.replace(b'{"tlbench":"{', b'{"tlbench":"]'))
        else:
            file.unlink()
    again = make_context(folder=tmp_path)
    assert everything(again, two_phases(again)) == wanted


def test_the_files_hold_tensors_and_text_and_nothing_pickled(make_context: Any, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        game(make_context(folder=tmp_path, every=0.0, stop=stop_after(25)))
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} == {".safetensors"}
    for file in files:
        with safe_open(file, framework="numpy") as opened:
            assert len(list(opened.keys())) > 0
        assert b"\x80\x04" not in file.read_bytes()[:8]


def test_a_short_training_writes_nothing(make_context: Any, tmp_path: Path) -> None:
    one_phase(make_context(folder=tmp_path / "none", every=20.0))
    assert not (tmp_path / "none").exists()


def test_no_strategy_can_swallow_the_wish_to_stop_by_catching_exceptions() -> None:
    assert not issubclass(Interrupted, Exception)


def test_a_trial_goes_on_without_checkpoints_where_none_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("in the way")
    kept = Checkpoints(blocked / "work", every=0.0)
    model = torch.nn.Linear(2, 2)
    tape = Tape()
    tape.track([model])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept.save(0, 1, tape, [optimizer], np.random.default_rng(0), {})
    assert not kept.due()
    assert "keeps none from here on" in capsys.readouterr().out


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_network_with_channels_last_goes_on_from_a_checkpoint_to_the_same_bits(
    make_context: Any, tmp_path: Path, optimizer: str
) -> None:
    """Fused kernels walk through memory: what they are given has to be in the order of the weights."""
    rng = np.random.default_rng(0)
    pool = Pool(rng.integers(0, 256, (50, 3, 8, 8)).astype(np.uint8), np.arange(50) % 3, 3)

    def train(folder: Path | None, stop: Any = lambda: False) -> dict[str, torch.Tensor]:
        ctx = make_context(pools={"target": pool}, backbone=SmallCNN(size=8, width=4, depth=2), folder=folder,
                           stop=stop, optimizer=optimizer)  # fmt: skip
        ctx.models.layout = channels_last
        model = ctx.classifier()
        assert any(not p.is_contiguous() for p in model.parameters())
        ctx.train(supervised(model), update=model)
        return {k: v.clone() for k, v in model.state_dict().items()}

    whole = train(None)
    asked = iter(range(10_000))
    with pytest.raises(Interrupted):
        train(tmp_path, lambda: next(asked) >= 14)
    again = train(tmp_path)
    assert all(torch.equal(whole[k], again[k]) for k in whole)
