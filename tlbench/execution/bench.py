"""The bench: what a process needs to do trials, kept warm from one trial to the next."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tlbench.api.data import Array, Domain, Split
from tlbench.api.trials import Choice, Trial, canonical
from tlbench.data.cache import DataCache, domain_hash
from tlbench.data.inputs import fits, resize
from tlbench.data.rows import Rows
from tlbench.data.soundness import require_sound
from tlbench.errors import StoreError, TrialError
from tlbench.execution.switches import Switches
from tlbench.plugins import Plugins
from tlbench.results.predictions import write
from tlbench.results.store import RunFolder
from tlbench.training.context import FeatureCache

if TYPE_CHECKING:
    from functools import partial

    from tlbench.api.types import InputTransform
    from tlbench.evaluation.judging import Predictions


MUCH = 1 << 26
"""Bytes of examples that are not copied without need."""


@dataclass(frozen=True)
class Loaded:
    """A domain of which only the description is kept; its arrays are read back when they are wanted."""

    domain: Domain
    content: str


@dataclass(eq=False)
class Bench:
    """What trials share in this process.

    ``spec`` is plain data from which another process makes the same bench; see ``make_spec``.
    """

    spec: Mapping[str, Any]
    stop: Callable[[], bool] = lambda: False
    meet: Callable[[partial[None]], bool] | None = None
    """Where trials run together: what a training is offered to, before it is done alone."""
    clock: Callable[[], float] = time.perf_counter
    _loaded: dict[str, Loaded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spec = self.spec
        self.plugins = Plugins.from_spec(spec["plugins"])
        self.run = RunFolder(Path(spec["run"]))
        self.base = Path(spec["base"])
        data_root = Path(spec["data_root"]) if spec["data_root"] else None
        self.switches = Switches.of(spec)
        self.cache = DataCache(
            Path(spec["cache"]),
            data_root,
            self.base,
            spec["memory_limit"],
            keep=self.switches.decoded,
            limit=spec["cache_limit"],
        )
        self.device = torch.device(spec["device"])
        self.features = FeatureCache() if self.switches.features else FeatureCache(0)
        metrics = {name: self.plugins.build("metrics", name, {}) for name in spec["metrics"]}
        self.metrics = {name: metric for name, metric in metrics.items() if hasattr(metric, "score")}
        self.comparisons = {name: metric for name, metric in metrics.items() if name not in self.metrics}

    @contextlib.contextmanager
    def at_home(self) -> Iterator[None]:
        """Inside, relative paths start at the suite's folder and the spec's number of threads is used."""
        from threadpoolctl import threadpool_limits

        threads_before = torch.get_num_threads()
        threads = int(self.spec["threads"])
        with contextlib.chdir(self.base), threadpool_limits(threads):
            torch.set_num_threads(threads)
            try:
                yield
            finally:
                torch.set_num_threads(threads_before)

    # ---- domains ---------------------------------------------------------------------------------

    def describe(self, choice: Choice) -> Loaded:
        """Load a data set the first time; afterwards only its description is in memory."""
        if choice.digest not in self._loaded:
            domain: Domain = self.plugins.instantiate("datasets", choice).load(self.cache)
            require_sound(domain, choice.label)
            content = domain_hash(domain)
            self._keep(domain, content, None)
            shell = {name: Split(np.empty((0, *domain.shape.dims)), np.empty(0, np.int64)) for name in domain.splits}
            self._loaded[choice.digest] = Loaded(replace(domain, splits=shell), content)
        return self._loaded[choice.digest]

    def domain(self, choice: Choice, transform: InputTransform | None) -> Domain:
        """The domain as a backbone with this transform sees it; arrays are memory-mapped and read-only.

        Examples that take much memory, or over half of what they may, are ``Rows``: nothing copies them by the way.
        """
        loaded = self.describe(choice)
        arrays = self._keep(None, loaded.content, transform if loaded.domain.kind == "image" else None, choice)
        examples = {name: x for name, x in arrays.items() if name.endswith("/x")}
        room = self._room()
        if sum(x.nbytes for x in examples.values()) > min(MUCH, room // 2):
            rows: Any = {name: Rows(x, room) for name, x in examples.items()}
            arrays = {**arrays, **rows}
        return replace(loaded.domain, splits=_splits(arrays))

    def _room(self) -> int:
        """Bytes that the examples of a data set may take: in memory, and half of what is free on a GPU."""
        room = self.cache.room()
        return min(room, torch.cuda.mem_get_info(self.device)[0] // 2) if self.device.type == "cuda" else room

    def _keep(
        self, domain: Domain | None, content: str, transform: InputTransform | None, choice: Choice | None = None
    ) -> Mapping[str, Array]:
        """All arrays of a domain, resized for a transform; made once for each content and transform."""

        def build() -> Mapping[str, Array]:
            if transform is not None:
                raw = self._keep(domain, content, None, choice)
                if all(fits(x, transform) for name, x in raw.items() if name.endswith("/x")):
                    return raw
                size = (transform.channels, transform.size, transform.size)
                what = "the images at the backbone's size"
                return {
                    name: resize(x, transform, self.cache.empty((len(x), *size), np.uint8, what))
                    if name.endswith("/x")
                    else x
                    for name, x in raw.items()
                }
            found = domain
            if found is None:  # the cache could not keep it, or has lost it
                assert choice is not None
                found = self.plugins.instantiate("datasets", choice).load(self.cache)
            return dict(_arrays(found))

        size = [transform.channels, transform.size] if transform is not None else None
        return self.cache.arrays(canonical(["domain", 1, content, size]), build)

    # ---- predictions -----------------------------------------------------------------------------

    def save_predictions(self, trial: Trial, predictions: Predictions) -> dict[str, Any] | None:
        """Store a trial's test scores where the run asks for them; what the record says of the file.

        Where they cannot be stored the trial's log says why, and the result stands without them.
        """
        if not self.spec.get("save_predictions") or trial.kind == "ranking":
            return None
        try:
            return write(self.run.path, trial.key, predictions)
        except StoreError as error:
            print(error)
            return None

    # ---- weights of source models ----------------------------------------------------------------

    def save_weights(self, trial: Trial, model: nn.Module, about: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a source model; what the record says of the file."""
        path = self.run.weights(trial.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        try:
            save_file(state, partial, {"about": json.dumps(dict(about))})
            digest = hashlib.blake2b(partial.read_bytes(), digest_size=16).hexdigest()
            size = partial.stat().st_size
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)  # on a full disk, half a file takes the room of a record
        return {"file": f"weights/{path.name}", "bytes": size, "blake2b": digest}

    def load_weights(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The state of a source model and what was said of it."""
        path = self.run.weights(key)
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads(file.metadata()["about"])
                return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise TrialError(f"the source model {path} cannot be read ({error}); delete it and run again") from error


def make_spec(
    *,
    plugins: Plugins,
    run: Path,
    base: Path,
    data_root: Path | None,
    cache: Path,
    suite: str,
    metrics: tuple[str, ...],
    device: str,
    threads: int = 1,
    shared: bool = False,
    memory_limit: int | None = None,
    cache_limit: int | None = None,
    checkpoint_seconds: float = 20.0,
    save_predictions: bool = False,
    switches: Switches = Switches(),  # noqa: B008 (frozen)
) -> dict[str, Any]:
    """Everything that another process needs to make the same bench, as plain data."""
    return {
        "plugins": dict(plugins.spec),
        "run": str(run.resolve()),
        "base": str(base.resolve()),
        "data_root": str(data_root.resolve()) if data_root else None,
        "cache": str(cache.resolve()),
        "suite": suite,
        "metrics": list(metrics),
        "device": device,
        "threads": threads,
        "shared": shared,
        "memory_limit": memory_limit,
        "cache_limit": cache_limit,
        "checkpoint_seconds": checkpoint_seconds,
        "save_predictions": save_predictions,
        "switches": switches.to_json(),
    }


def _arrays(domain: Domain) -> Iterator[tuple[str, Array]]:
    """The arrays of a domain under names: ``train/y``, ``train/group``, ``train/x`` or ``train/x.NAME``."""
    for name, split in domain.splits.items():
        yield f"{name}/y", split.y
        if split.group is not None:
            yield f"{name}/group", split.group
        if isinstance(split.x, Mapping):
            yield from ((f"{name}/x.{part}", x) for part, x in split.x.items())
        else:
            yield f"{name}/x", split.x


def _splits(arrays: Mapping[str, Array]) -> dict[str, Split]:
    """The inverse of ``_arrays``."""
    splits = {}
    for name in dict.fromkeys(key.split("/")[0] for key in arrays):
        prefix = f"{name}/x."
        parts = {key.removeprefix(prefix): x for key, x in arrays.items() if key.startswith(prefix)}
        splits[name] = Split(parts or arrays[f"{name}/x"], arrays[f"{name}/y"], arrays.get(f"{name}/group"))
    return splits
