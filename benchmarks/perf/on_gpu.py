"""What the benchmarks for a GPU share: whether there is one, networks of usual sizes, and trainings through the loop.

Each of them also runs on a CPU at a small size, without a gate, so that it is known to run before it meets a GPU.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from tlbench.api.data import Pool, Seeds, Shape
from tlbench.api.recipe import Recipe
from tlbench.api.types import InputTransform
from tlbench.functional import supervised
from tlbench.models.factory import ModelFactory
from tlbench.models.layout import channels_last
from tlbench.models.torchvision_import import import_timm
from tlbench.training.checkpoint import Checkpoints
from tlbench.training.context import TrialContext, open_context
from tlbench.training.graphs import Graphs
from tlbench.training.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable

HAS_GPU = torch.cuda.is_available()
WHY_NOT = "" if HAS_GPU else "torch sees no GPU on this machine"
DEVICE = torch.device("cuda:0" if HAS_GPU else "cpu")
CLASSES = 10


def gpu_name() -> str:
    """The GPU with its driver's CUDA version, or that there is none."""
    return f"{torch.cuda.get_device_name(DEVICE)}, CUDA {torch.version.cuda}" if HAS_GPU else "no GPU"


@dataclass(frozen=True)
class Network:
    """A network of a usual size under the shape of a backbone, with random weights."""

    name: ClassVar[str] = "network"
    pretrained_on: ClassVar[None] = None

    make: Callable[[], nn.Module]
    size: int

    def load(self, shape: Shape, *, pretrained: bool = True) -> nn.Module:
        net = self.make()
        net.transform = InputTransform(self.size, 3, (0.5,) * 3, (0.5,) * 3)  # type: ignore[assignment]
        net.blocks = []  # type: ignore[assignment]
        return net


def resnet18_cifar() -> nn.Module:
    """ResNet-18 with the stem for small images: 3 x 3, stride 1, no pooling (He et al. 2016, as is usual for CIFAR)."""
    net: nn.Module = import_timm().create_model("resnet18", num_classes=0)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


def timm_network(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net: nn.Module = import_timm().create_model(name, num_classes=0)
        return net

    return make


@dataclass(frozen=True)
class Way:
    """How a training is run: precision, layout, and what is switched on."""

    name: str
    precision: str = "float32"
    last: bool = False
    compile: bool = False
    graphs: bool = False


@dataclass
class Trained:
    """Seconds of each window after the first, its examples, the mean losses of all windows, and what was said."""

    rates: list[float]
    losses: list[float | None]
    replayed: int = 0
    said: list[str] = field(default_factory=list)


def images(size: int, count: int) -> Pool:
    """Random 8-bit images; which ones does not matter to the speed."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return Pool(x, rng.integers(0, CLASSES, count), CLASSES)


def train(
    net: Network, pool: Pool, way: Way, *, batch: int, steps: int, windows: int, recipe: Recipe | None = None
) -> Trained:
    """Train with ``ctx.train`` in this way; examples/s of each window after the first, in which things are set up."""
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.manual_seed(0)
    plan = replace(recipe or Recipe(), steps=steps, batch_size=batch, curve_points=windows, precision=way.precision)  # type: ignore[arg-type]
    models = ModelFactory(net, net.name, Shape("image", (3, net.size, net.size)), Seeds(0), DEVICE)
    if way.last:
        models.layout = channels_last
    said: list[str] = []
    graphs = Graphs(say=said.append) if way.graphs and HAS_GPU else None
    ctx: TrialContext = open_context(
        {"target": pool}, num_classes=CLASSES, models=models, recipe=plan, start="random", tape=Tape(),
        checkpoints=Checkpoints(None), graphs=graphs, compile=way.compile and HAS_GPU,
    )  # fmt: skip
    model = ctx.classifier()
    ctx.train(supervised(model), update=model)
    tape = ctx.session.tape
    found = Trained(
        [w.examples / w.seconds for w in tape.windows[1:]],
        list(tape.losses["loss"]),
        graphs.replayed if graphs else 0,
        said,
    )
    del ctx, model
    gc.collect()
    if HAS_GPU:
        torch.cuda.empty_cache()
    return found


def seconds(work: Callable[[], Any], times: int) -> list[float]:
    """Seconds of each of so many runs, after two for warm-up; on a GPU by its own clock."""
    for _ in range(2):
        work()
    if not HAS_GPU:
        found = []
        for _ in range(times):
            began = time.process_time()
            work()
            found.append(time.process_time() - began)
        return found
    torch.cuda.synchronize(DEVICE)
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]  # type: ignore[no-untyped-call]
    marks[0].record()  # type: ignore[no-untyped-call]
    for mark in marks[1:]:
        work()
        mark.record()  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(DEVICE)
    return [a.elapsed_time(b) / 1e3 for a, b in pairwise(marks)]  # type: ignore[no-untyped-call]
