"""Every strategy that is installed, trained for a few steps on a small problem; what its steps do is looked at."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from tlbench.api.data import Domain, Split
from tlbench.api.recipe import Recipe
from tlbench.api.types import Step
from tlbench.builtin.small_backbones import SmallCNN
from tlbench.builtin.tasks import Adaptation, FewShot
from tlbench.testing import toys
from tlbench.testing.settings import contract_toy
from tlbench.training.graphs import Graphs
from tlbench.training.observe import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tlbench.plugins import Plugins
    from tlbench.testing.toys import Toy
    from tlbench.training.moves import Move

STEPS = 24
AROUND = {"of": {"name": "fine-tune"}}
WITH: Mapping[str, Mapping[str, Any]] = {
    "adaptive": {"of": [{"name": "fine-tune"}]},
    "augment": {**AROUND, "flip": True, "crop": 0.1, "colour": 0.2},
    "nt-guard": AROUND,
    "cyclegan": {"rounds": STEPS, "width": 4, "blocks": 1, "history": 30},
}
"""Parameters of strategies that cannot be made without, or would take long."""
ON_IMAGES = {"augment", "cyclegan", "modified-hausdorff"}
WAITS = ("it reads a value", "what it does follows", "it makes a tensor of numbers")
"""How reasons of an ``Observer`` begin that make the host wait, or the device for the host."""
OF_COUNTS = {"self-taught-clustering"}
"""Takes counts, which no problem here has, and trains nothing by steps."""
VARIANTS: Sequence[tuple[str, Mapping[str, Any], bool]] = (
    ("attribute-embedding", {"ranking": "weighted"}, False),
    ("mmd", {"match": "both", "passes": "joint"}, True),
    ("protonet", {"rotations": True}, True),
    ("scan", {}, True),
    ("scan", {"self_label": 0.5, "threshold": 0.4}, True),
    ("simclr", {}, True),
)
"""Parameters with which a strategy does something else: name, parameters, whether on images."""


@dataclass(frozen=True)
class Case:
    """A strategy with its parameters, and whether it is tried on images."""

    name: str
    params: Mapping[str, Any]
    images: bool = False

    def __str__(self) -> str:
        said = ", ".join(f"{name}: {value}" for name, value in self.params.items())
        words = f" ({said})" if said and self.name not in WITH else ""
        return f"{self.name}{words}{', images' if self.images else ''}"

    def toy(self, strategy: Any) -> Toy:
        toy = bars("episodes" in strategy.needs) if self.images else contract_toy(strategy)
        return replace(toy, recipe=Recipe(steps=STEPS, batch_size=16, curve_points=1))


@dataclass(frozen=True)
class Trained:
    """How a case went: moves made and replayed, reasons said, and what came of it."""

    moves: int
    replayed: int
    reasons: tuple[str, ...]
    scores: Mapping[str, Any]
    losses: Mapping[str, Any]

    def __eq__(self, other: object) -> bool:
        """Whether scores and losses are equal to the bit."""
        return (
            isinstance(other, Trained)
            and self.losses == other.losses
            and self.scores.keys() == other.scores.keys()
            and all(np.array_equal(self.scores[pool], other.scores[pool]) for pool in self.scores)
        )

    __hash__ = None  # type: ignore[assignment]


def cases(plugins: Plugins) -> list[Case]:
    """Every strategy that is installed, and some with other parameters."""
    names = sorted({*plugins.offers("strategies")} - OF_COUNTS)
    usual = [Case(name, WITH.get(name, {}), name in ON_IMAGES) for name in names]
    return usual + [Case(*variant) for variant in VARIANTS if variant[0] in names]


def trained(case: Case, plugins: Plugins, graphs: Counting) -> Trained:
    """The case, its steps under these graphs. Raises ``SkipTrial`` where it does not fit its problem."""
    strategy = plugins.build("strategies", case.name, dict(case.params))
    with opening(graphs):
        fit = toys.fit(strategy, case.toy(strategy), extra=True)
    reasons = tuple(sorted(text.split(": ", 1)[-1] for text in graphs.said))
    return Trained(graphs.moves, graphs.replayed, reasons, fit.scores(), fit.tape.losses)


@contextmanager
def opening(graphs: Graphs) -> Iterator[None]:
    """Contexts of small problems are opened with these graphs."""
    made: Callable[..., Any] = toys.open_context
    toys.open_context = lambda *args, **kwargs: made(*args, **kwargs, graphs=graphs)
    try:
        yield
    finally:
        toys.open_context = made


def tape_capture() -> Any:
    """The capture of ``tape_replay.py``, beside this file."""
    name = "tape_replay"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name].TapeCapture


@dataclass(eq=False)
class Counting(Graphs):
    """Replays on the CPU, and counts the moves that are made, replayed or not."""

    capture: Any = field(default_factory=tape_capture)
    say: Any = field(default=lambda text: None)
    moves: int = 0

    def over(self, move: Move, device: torch.device) -> Any:
        inner: Any = super().over(move, device)

        def counted(given: Sequence[Any], step: Step) -> Any:
            self.moves += 1
            return inner(given, step)

        return counted


@dataclass(eq=False)
class Plain(Counting):
    """Every move plain, with rates in tensors, as for a replay."""

    def over(self, move: Move, device: torch.device) -> Any:
        super().over(move, device)
        return move


@dataclass(eq=False)
class Watching(Counting):
    """Every move plain; ``waits`` is all that would make the host wait for a GPU, but for what ``step.host`` makes."""

    waits: set[str] = field(default_factory=set)

    def over(self, move: Move, device: torch.device) -> Any:
        loss = move.turn.loss

        def watched_loss(*given: Any) -> Any:
            with OnHost() as found:
                terms = loss(*given)
            self.waits |= found.said
            return terms

        watched = replace(move, turn=replace(move.turn, loss=watched_loss))

        def seen(given: Sequence[Any], step: Step) -> Any:
            self.moves += 1
            with Observer(device) as ops:
                terms = watched(given, Outside(step.index, step.total, ops))
            self.waits |= {why for why in ops.reasons if why.startswith(WAITS)}
            return terms

        return seen


class Outside(Step):
    """A step for which the host makes things unobserved."""

    __slots__ = ("_ops",)

    def __init__(self, index: int, total: int, ops: Observer) -> None:
        super().__init__(index, total)
        object.__setattr__(self, "_ops", ops)

    def host(self, make: Callable[[Step], Any]) -> Any:
        with self._ops.paused(), torch._C.DisableTorchFunction():
            return make(self)


class OnHost(TorchFunctionMode):
    """Takes note of what on a GPU would be about the host: tensors made without saying where, or taken from there.

    On the CPU nothing else tells these apart from what is done on the device.
    """

    MAKERS = frozenset(
        {"arange", "empty", "eye", "from_numpy", "full", "linspace", "ones", "rand", "randint", "randn", "randperm",
         "scalar_tensor", "tensor", "zeros", "as_tensor"}
    )  # fmt: skip
    TAKERS = frozenset({"cpu", "numpy", "tolist"})

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        found = func(*args, **kwargs)
        made = name in self.MAKERS and getattr(torch, name, None) is func and kwargs.get("device") is None
        if made and found.dim():  # a 0-d one goes along with the command that it is used in
            self.said.add(f"it makes a tensor on the host (torch.{name})")
        if name in self.TAKERS and getattr(torch.Tensor, name, None) is func:
            self.said.add(f"it takes a tensor to the host (Tensor.{name})")
        return found


def bars(episodes: bool = False) -> Toy:
    """Upright bars, level bars and squares in colour images of 12 pixels; the target's are dimmer."""

    def split(bright: int, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        y, x = rng.permutation(np.arange(96) % 3), np.zeros((96, 3, 12, 12))
        for i, kind in enumerate(y):
            a, b = rng.integers(1, 9), rng.integers(1, 4)
            short, long, wide = slice(a, a + 2), slice(b, b + 8), slice(a, a + 3)
            at = [(long, short), (short, long), (wide, wide)]
            x[i, :, *at[kind]] = bright
        return Split(np.clip(x + rng.normal(20, 8, x.shape), 0, 255).astype(np.uint8), y)

    source, target = (
        Domain(name, {"train": split(bright, bright), "test": split(bright, bright + 1)}, tuple(classes), "image")
        for name, bright, classes in (("bright", 220, "abc"), ("dim", 120, "def" if episodes else "abc"))
    )
    task: Any = FewShot(ways=2, shots=1, queries=3, episodes=5) if episodes else Adaptation()
    return toys.Toy(source, target, task, SmallCNN(size=12, width=4, depth=2))
