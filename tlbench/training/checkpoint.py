"""Checkpoints: a trial that is killed goes on where it was, bit for bit.

A strategy's ``fit`` runs again from its beginning; what it trained already is put back instead of being
trained again. Trainings are numbered in the order of the calls (phases). A checkpoint of a phase holds
what is trained, the optimisers, the generators and the tape; nothing is pickled.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tlbench.training.tape import Snapshot, Tape, Window

if TYPE_CHECKING:
    import numpy as np


class Interrupted(BaseException):
    """The trial was asked to stop and has saved a checkpoint. Not an ``Exception``: no strategy may swallow it."""


@dataclass
class Checkpoints:
    """The checkpoints of one trial in ``folder``; ``None`` keeps none.

    ``every`` is the number of seconds between two, so that short trials write nothing.
    """

    folder: Path | None
    every: float = 20.0
    resumed_from: int = 0

    def __post_init__(self) -> None:
        self._last = time.monotonic()
        self._flushed: dict[int, str] = {}

    def due(self) -> bool:
        """Whether it is time for another."""
        return self.folder is not None and time.monotonic() - self._last >= self.every

    def save(
        self,
        phase: int,
        step: int,
        tape: Tape,
        optimizers: list[torch.optim.Optimizer],
        rng: np.random.Generator,
        extra: dict[str, list[Tensor]],
    ) -> None:
        """Write the state after ``step`` steps of a phase, in the place of the phase's former checkpoint.

        Where the disk does not take it, the trial goes on without checkpoints: they are a comfort, not a result.
        """
        if self.folder is None:
            return
        try:
            self._write_all(self.folder, phase, step, tape, optimizers, rng, extra)
        except (OSError, SafetensorError) as error:
            print(f"no checkpoint could be written to {self.folder} ({error}); this trial keeps none from here on")
            self.folder = None
        self._last = time.monotonic()

    def _write_all(
        self,
        folder: Path,
        phase: int,
        step: int,
        tape: Tape,
        optimizers: list[torch.optim.Optimizer],
        rng: np.random.Generator,
        extra: dict[str, list[Tensor]],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"trained.{k}": v.detach().cpu() for k, v in tape.live()}
        scalars = [_flatten_optimizer(i, o, tensors) for i, o in enumerate(optimizers)]
        tensors["rng.torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        for name, values in extra.items():
            if values:
                tensors[f"losses.{name}"] = torch.stack([v.float().cpu() for v in values])
        meta = {
            "step": step,
            "optimizers": scalars,
            "rng": rng.bit_generator.state,
            "snapshots": [self._flush(s, i) for i, s in enumerate(tape.snapshots)],
            "losses": tape.losses,
            "loss_steps": tape.loss_steps,
            "windows": tape.windows,
            "seconds": tape.seconds,
            "steps": tape.steps,
            "examples": tape.examples,
            "fused": tape.fused,
        }
        _write(
            {k: v.contiguous().clone() for k, v in tensors.items()}, self._path(phase), {"tlbench": json.dumps(meta)}
        )

    def resume(
        self, phase: int, tape: Tape, optimizers: list[torch.optim.Optimizer], rng: np.random.Generator
    ) -> tuple[int, dict[str, list[Tensor]]] | None:
        """Put a phase's checkpoint back; the step it goes on from and the losses of the open window, or ``None``."""
        if self.folder is None or not self._path(phase).is_file():
            return None
        try:
            with safe_open(self._path(phase), framework="pt") as file:
                meta = json.loads(file.metadata()["tlbench"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            snapshots = [_snapshot(self.folder, s) for s in meta["snapshots"]]
        except (SafetensorError, OSError, ValueError, KeyError, TypeError):
            return None  # unreadable: the phase is trained again, which gives the same
        tape.snapshots = snapshots
        self._flushed = {i: str(s["file"]) for i, s in enumerate(meta["snapshots"])}
        tape.losses, tape.loss_steps = meta["losses"], meta["loss_steps"]
        tape.windows = [Window(*w) for w in meta["windows"]]
        tape.seconds, tape.steps, tape.examples = meta["seconds"], meta["steps"], meta["examples"]
        tape.fused = meta.get("fused", {})
        tape.put({k.removeprefix("trained."): v for k, v in tensors.items() if k.startswith("trained.")})
        for index, (optimizer, scalars) in enumerate(zip(optimizers, meta["optimizers"], strict=True)):
            _restore_optimizer(index, optimizer, tensors, scalars)
        rng.bit_generator.state = meta["rng"]
        torch.set_rng_state(tensors["rng.torch"])
        if "rng.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng.cuda"])
        self.resumed_from = max(self.resumed_from, tape.steps)
        extra = {k.removeprefix("losses."): list(v) for k, v in tensors.items() if k.startswith("losses.")}
        return int(meta["step"]), extra

    def begun(self, phase: int) -> bool:
        """Whether a checkpoint of this phase was written."""
        return self.folder is not None and self._path(phase).is_file()

    def forget(self, phase: int, snapshots: int) -> None:
        """Remove this phase's checkpoint; of its snapshots only the first so many hold on."""
        if self.folder is not None:
            self._path(phase).unlink(missing_ok=True)
            self._flushed = {index: name for index, name in self._flushed.items() if index < snapshots}

    def has(self, phase: int) -> bool:
        """Whether the end of this phase is to be kept: where a checkpoint of it was written."""
        return self.begun(phase)

    def _path(self, phase: int) -> Path:
        assert self.folder is not None
        return self.folder / f"phase-{phase}.safetensors"

    def _flush(self, snapshot: Snapshot, index: int) -> dict[str, Any]:
        assert self.folder is not None
        described = {name: getattr(snapshot, name) for name in ("step", "seconds", "first", "point", "at")}
        if snapshot.path is not None:
            return {**described, "file": snapshot.path.name}
        if index not in self._flushed:
            name = f"snapshot-{index}.safetensors"
            _write(snapshot.load(), self.folder / name, None)
            self._flushed[index] = name
        return {**described, "file": self._flushed[index]}


def _snapshot(folder: Path, meta: dict[str, Any]) -> Snapshot:
    path = folder / Path(meta["file"]).name
    with safe_open(path, framework="pt"):
        pass  # raises where the file is missing or not whole
    return Snapshot(meta["step"], meta["seconds"], meta["first"], meta["point"], None, path, meta["at"])


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None) -> None:
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata)
    partial.replace(path)


def _flatten_optimizer(index: int, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tensors of the optimiser's state go to ``tensors``; what is no tensor is returned."""
    scalars: dict[str, Any] = {}
    for parameter, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{parameter}.{name}"] = value.detach().cpu()
            else:
                scalars[f"{parameter}.{name}"] = value
    return scalars


def _restore_optimizer(
    index: int, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]
) -> None:
    state: dict[int, dict[str, Any]] = {}
    prefix = f"optimizer.{index}."
    flat = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    for key, value in {**flat, **scalars}.items():
        parameter, name = key.split(".", 1)
        state.setdefault(int(parameter), {})[name] = value
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for place, values in state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameters[place].shape:
                # in the parameter's own order in memory, which fused kernels take for granted
                values[name] = torch.empty_like(parameters[place], dtype=value.dtype, requires_grad=False).copy_(value)
    whole = optimizer.state_dict()
    optimizer.load_state_dict({**whole, "state": state})
