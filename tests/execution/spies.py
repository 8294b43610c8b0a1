"""A plugin of strategies that look: at their batches, at their own weights, and at whatever is in the process."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from tlbench import hookimpl

SEEN: list[dict[str, Any]] = []
"""What each fit of a spy saw, in the order of the fits."""


@dataclass(frozen=True)
class Spy:
    """Trains on the target, and keeps each batch and the weights before each step."""

    name: ClassVar[str] = "spy"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    uses: ClassVar[frozenset[str]] = frozenset({"target_val", "source_val"})
    start: ClassVar[str] = "random"

    tag: str = "a"
    pool: str = "target"

    def fit(self, ctx: Any) -> Any:
        seen: dict[str, Any] = {"tag": self.tag, "batches": [], "weights": {}, "given": dict(ctx.given)}
        SEEN.append(seen)
        if self.tag == "b":  # another strategy draws other numbers and trains another thing
            ctx.rng.normal(size=100)
            torch.randn(100)
        model = ctx.classifier()

        def loss(batch: Any, step: Any) -> Any:
            seen["batches"].append((batch.x.numpy().tobytes(), batch.y.numpy().tobytes()))
            seen["weights"][step.index] = {k: v.detach().clone() for k, v in model.state_dict().items()}
            scores = model(batch.x)
            if self.tag == "b":
                return F.multi_margin_loss(scores, batch.y)
            return F.cross_entropy(scores, batch.y)

        ctx.train(loss, update=model, on=(self.pool,))
        if self.tag == "averaged":  # something done to the weights after the training
            with torch.no_grad():
                for name, value in model.named_parameters():
                    value.copy_(torch.stack([w[name] for w in seen["weights"].values()]).mean(0))
        seen["weights"][ctx.budget] = {k: v.detach().clone() for k, v in model.state_dict().items()}
        seen["model"] = model
        return model


@dataclass(frozen=True)
class SourceSpy(Spy):
    """The same on the source, beside a target without labels."""

    name: ClassVar[str] = "source-spy"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    pool: str = "source"


@dataclass(frozen=True)
class Untrained:
    """Trains nothing and calls every example its first class."""

    name: ClassVar[str] = "untrained"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[str] = "random"

    def fit(self, ctx: Any) -> Any:
        first = torch.eye(ctx.num_classes)[0]
        return lambda x: first.expand(len(x), -1)


@dataclass(frozen=True)
class Meddler:
    """Leaves every global setting that it finds in another state."""

    name: ClassVar[str] = "meddler"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[str] = "random"

    def fit(self, ctx: Any) -> Any:
        first = torch.eye(ctx.num_classes)[0]
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(2)
        torch.manual_seed(1)
        np.random.seed(1)
        np.seterr(all="raise")
        os.chdir("/")
        return lambda x: first.expand(len(x), -1)


@dataclass(frozen=True)
class Wanting:
    """Wants a pool that no task offers."""

    name: ClassVar[str] = "wanting"
    needs: ClassVar[frozenset[str]] = frozenset({"target", "moonshine"})
    start: ClassVar[str] = "random"

    def fit(self, ctx: Any) -> Any:
        raise AssertionError("it must never run")


# ---- the thief -------------------------------------------------------------------------------------


def digest(array: Any) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def arrays_in_reach(ctx: Any) -> list[Any]:
    """Every array and tensor of the process: of the context, of all frames of all threads, and of all objects."""
    from tlbench.testing import reachable_arrays

    found = list(reachable_arrays(ctx))
    roots: list[Any] = list(gc.get_objects())
    for frame in sys._current_frames().values():
        walk: Any = frame
        while walk is not None:
            roots.extend(walk.f_locals.values())
            walk = walk.f_back
    seen: set[int] = set()
    for root in roots:
        for item in (root, *gc.get_referents(root)):
            if id(item) not in seen:
                seen.add(id(item))
                if issubclass(type(item), np.ndarray | torch.Tensor):
                    found.append(item)
    bases = [b for a in found if isinstance(a, np.ndarray) and isinstance(b := a.base, np.ndarray)]
    return found + bases


def digests_of(arrays: list[Any]) -> set[str]:
    """Of each array of whole numbers as int64, and of each image in an array of images, scaled back to 8 bits."""
    found = set()
    for item in arrays:
        try:
            array = item.detach().cpu().numpy() if isinstance(item, torch.Tensor) else np.asarray(item)
        except (RuntimeError, TypeError, ValueError):
            continue
        if array.ndim == 1 and array.dtype.kind in "iu":
            found.add(digest(array.astype(np.int64)))
        if array.ndim >= 3 and array.shape[-2:] == (8, 8):
            if array.dtype.kind == "f":
                array = np.rint((array.astype(np.float64) * 0.5 + 0.5) * 255)
            if np.isfinite(array).all():
                found |= {digest(image.astype(np.uint8)) for image in array.reshape(-1, 8, 8)}
    return found


@dataclass(frozen=True)
class Thief:
    """Looks for what it may not see, everywhere, before and during its training."""

    name: ClassVar[str] = "thief"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    start: ClassVar[str] = "random"

    wanted: str = ""
    """A JSON file of digests by name: the thief may know what it looks for, and must not hold it."""
    pool: str = "target"

    def fit(self, ctx: Any) -> Any:
        wanted = json.loads(Path(self.wanted).read_text())
        found: dict[str, int] = dict.fromkeys(wanted, 0)

        def search() -> None:
            here = digests_of(arrays_in_reach(ctx))
            for name, digests in wanted.items():
                found[name] = max(found[name], len(here & set(digests)))

        search()
        model = ctx.classifier()

        def loss(batch: Any, step: Any) -> Any:
            if step.index == 2:
                search()
            return F.cross_entropy(model(batch.x), batch.y) if batch.y is not None else model(batch.x).square().mean()

        ctx.train(loss, update=model, on=(self.pool,))
        search()
        SEEN.append(found)
        return model


@dataclass(frozen=True)
class AdaptationThief(Thief):
    """The same where the target's labels are withheld."""

    name: ClassVar[str] = "adaptation-thief"
    needs: ClassVar[frozenset[str]] = frozenset({"source", "target_unlabelled"})

    pool: str = "target_unlabelled"


@hookimpl
def tlbench_strategies() -> list[type]:
    return [Spy, SourceSpy, Untrained, Meddler, Wanting, Thief, AdaptationThief]
