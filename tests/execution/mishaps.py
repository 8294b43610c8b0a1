"""A plugin of strategies that go wrong in every way that the host must survive, and data that cannot be read."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from tlbench import DataError, hookimpl

TARGET = frozenset({"target"})


@dataclass(frozen=True)
class Mishap:
    """Goes wrong in the way that it is told."""

    name: ClassVar[str] = "mishap"
    needs: ClassVar[frozenset[str]] = TARGET
    start: ClassVar[str] = "random"

    how: str = "raise"

    def fit(self, ctx: Any) -> Any:
        print(f"about to: {self.how}")
        if self.how == "raise":
            raise LookupError("no such luck")
        if self.how == "exit":
            sys.exit(3)
        if self.how == "segfault":
            ctypes.string_at(0)
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "oom":
            torch.empty(1 << 50)
        if self.how == "memory-error":
            np.ones(1 << 50)
        if self.how == "hang":
            time.sleep(3600)
        if self.how == "deaf":  # does not listen to a friendly end, as a hang in C would not
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(3600)
        if self.how == "child":
            child = os.fork()
            if child == 0:
                time.sleep(3600)
            Path("child.pid").write_text(str(child))
            time.sleep(3600)
        model = ctx.classifier()
        if self.how == "nan":
            ctx.train(lambda batch, step: F.cross_entropy(model(batch.x), batch.y) * float("nan"), update=model)
        if self.how == "nan-scores":
            return lambda x: model(x) * float("nan")
        if self.how == "shape":
            return lambda x: model(x)[:, :3]
        if self.how == "nothing":
            return None
        if self.how == "budget":
            ctx.train(lambda batch, step: F.cross_entropy(model(batch.x), batch.y), update=model, steps=10**6)
        if self.how == "pool":
            ctx.features("target_val")
        if self.how == "swallow":  # an author's broad except must not swallow the wish to stop
            while True:
                try:
                    ctx.train(lambda batch, step: F.cross_entropy(model(batch.x), batch.y), update=model)
                except Exception:
                    continue
        return model


@dataclass(frozen=True)
class Slow:
    """Trains with a pause at each step."""

    name: ClassVar[str] = "slow"
    needs: ClassVar[frozenset[str]] = TARGET

    pause: float = 0.01

    def fit(self, ctx: Any) -> Any:
        model = ctx.classifier()

        def loss(batch: Any, step: Any) -> Any:
            time.sleep(self.pause)
            return F.cross_entropy(model(batch.x), batch.y)

        ctx.train(loss, update=model)
        return model


@dataclass(frozen=True)
class Unreadable:
    """Data that is not there."""

    name: ClassVar[str] = "unreadable"

    def load(self, cache: Any) -> Any:
        raise DataError("row 17 of train.parquet is no image; delete it or fetch the file again")


@hookimpl
def tlbench_strategies() -> list[type]:
    return [Mishap, Slow]


@hookimpl
def tlbench_datasets() -> list[type]:
    return [Unreadable]
